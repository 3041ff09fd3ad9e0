/**
 * Contacts on their way into a campaign: rows of a temporary table of one transaction, in which what
 * comes twice is found and the plan is joined in SQL, wherever the contacts come from.
 */
import type { Tx } from '../app.ts';
import { recordOf } from '../contacts/rows.ts';
import { type Campaign, Prisma } from '../generated/prisma/client.ts';
import type { Viewer } from '../organizations/viewer.ts';
import type { ContactRun } from './plan.ts';
import {
  type FileSource,
  type RowProblem,
  rowsOfFile,
  type SourceOfContacts,
  type SourceRow,
  type StoredSource,
} from './sources.ts';
import { canonicalTimeZone } from './zone.ts';

const BATCH_ROWS = 1_000;
const MAX_PROBLEMS = 100;

/** What is copied of a contact. */
const COPIED = Prisma.raw(`phone_number, first_name, last_name, email, company_name, industry,
  location, pin_code, keywords, timezone, metadata`);

/** The columns of `campaign_contacts` that the staged rows have, under the same names. */
export const STAGED_COLUMNS = Prisma.sql`contact_id, client_id, identity, ${COPIED}`;
export const STAGE = Prisma.raw('pg_temp.campaign_stage');

export interface Staged {
  /** Rows to be added. */
  count: number;
  duplicateCount: number;
  problemCount: number;
  problems: RowProblem[];
}

/**
 * Fills the stage, with `ordinal` in the order of the source, and leaves in it what is not yet in
 * the campaign: the first row of each identity. It is gone when the transaction ends.
 */
export async function stageContacts(
  tx: Tx,
  viewer: Viewer,
  campaign: Campaign,
  source: SourceOfContacts,
): Promise<Staged> {
  await tx.$executeRaw`
    CREATE TEMP TABLE campaign_stage (
      ordinal int NOT NULL, contact_id uuid, client_id text, identity text NOT NULL,
      phone_number text NOT NULL, first_name text, last_name text, email text, company_name text,
      industry text, location text, pin_code text, keywords text, timezone text,
      metadata jsonb NOT NULL
    ) ON COMMIT DROP`;
  const problems: RowProblem[] = [];
  let problemCount = 0;
  let staged = 0;
  if (source.kind === 'FOLDER' || source.kind === 'IDS') {
    staged = await tx.$executeRaw`
      INSERT INTO ${STAGE} (ordinal, contact_id, identity, ${COPIED})
      SELECT ordinal, id, 'tel:' || phone_number, ${COPIED}
      FROM (${storedContacts(viewer, source)}) AS stored`;
  } else {
    for await (const batch of batchesOf(source)) {
      await stageRows(tx, batch.rows, staged);
      staged += batch.rows.length;
      problemCount += batch.problems.length;
      problems.push(...batch.problems.slice(0, MAX_PROBLEMS - problems.length));
    }
  }
  // A temporary table has no statistics unless they are made.
  await tx.$executeRaw`ANALYZE ${STAGE}`;
  await useCallingZones(tx);
  const removed = await removeDuplicates(tx, campaign, source);
  return { count: staged - removed, duplicateCount: removed, problemCount, problems };
}

/**
 * The stored contacts of a source with their `ordinal`: a folder's in the order in which they were
 * made, those listed in the order of the list.
 */
export function storedContacts({ organizationId }: Viewer, source: StoredSource): Prisma.Sql {
  return source.kind === 'FOLDER'
    ? Prisma.sql`
        SELECT row_number() OVER (ORDER BY c.created_at, c.id) - 1 AS ordinal, c.*
        FROM contacts c
        WHERE c.organization_id = ${organizationId}::uuid AND c.folder_id = ${source.folderId}::uuid`
    : Prisma.sql`
        SELECT listed.place - 1 AS ordinal, c.*
        FROM unnest(${[...source.contactIds]}::uuid[]) WITH ORDINALITY AS listed(id, place)
        JOIN contacts c ON c.id = listed.id AND c.organization_id = ${organizationId}::uuid`;
}

interface Batch {
  rows: SourceRow[];
  problems: RowProblem[];
}

async function* batchesOf(
  source: { kind: 'ROWS'; rows: readonly SourceRow[] } | FileSource,
): AsyncGenerator<Batch> {
  let batch: Batch = { rows: [], problems: [] };
  for await (const row of source.kind === 'FILE' ? rowsOfFile(source) : source.rows) {
    if ('reason' in row) batch.problems.push(row);
    else batch.rows.push(row);
    if (batch.rows.length + batch.problems.length < BATCH_ROWS) continue;
    yield batch;
    batch = { rows: [], problems: [] };
  }
  yield batch;
}

async function stageRows(tx: Tx, rows: readonly SourceRow[], first: number): Promise<void> {
  if (rows.length === 0) return;
  const records = rows.map((row, index) => ({
    ordinal: first + index,
    client_id: row.clientId,
    identity: row.clientId === null ? `tel:${row.phoneNumber}` : `id:${row.clientId}`,
    ...recordOf(row),
  }));
  await tx.$executeRaw`
    INSERT INTO ${STAGE} (ordinal, client_id, identity, ${COPIED})
    SELECT ordinal, client_id, identity, ${COPIED}
    FROM jsonb_to_recordset(${JSON.stringify(records)}::jsonb) AS r(
      ordinal int, client_id text, identity text, phone_number text, first_name text,
      last_name text, email text, company_name text, industry text, location text, pin_code text,
      keywords text, timezone text, metadata jsonb)`;
}

/** @returns how many rows went. */
async function removeDuplicates(
  tx: Tx,
  campaign: Campaign,
  source: SourceOfContacts,
): Promise<number> {
  let removed = 0;
  // A folder has every number once.
  if (source.kind !== 'FOLDER') {
    removed += await tx.$executeRaw`
      DELETE FROM ${STAGE} s
      USING (
        SELECT identity, min(ordinal) AS first FROM ${STAGE} GROUP BY identity HAVING count(*) > 1
      ) AS repeated
      WHERE s.identity = repeated.identity AND s.ordinal > repeated.first`;
  }
  if (campaign.totalCount > 0) {
    removed += await tx.$executeRaw`
      DELETE FROM ${STAGE} s
      USING campaign_contacts c
      WHERE c.campaign_id = ${campaign.id}::uuid AND c.identity = s.identity`;
  }
  return removed;
}

/** Rewrites the zones of the stage to the names that plans and windows go by. */
async function useCallingZones(tx: Tx): Promise<void> {
  const renamed = await renamedZones(tx, Prisma.sql`${STAGE}`);
  if (renamed.size === 0) return;
  await tx.$executeRaw`
    UPDATE ${STAGE} s SET timezone = ${zoneColumn(Prisma.sql`s.timezone`, renamed)}
    WHERE s.timezone = ANY(${[...renamed.keys()]}::text[])`;
}

type ReadOnly = Pick<Tx, '$queryRaw'>;

/** The zones among some rows that are called by another name than the contacts have them under. */
export async function renamedZones(db: ReadOnly, rows: Prisma.Sql): Promise<Map<string, string>> {
  const zones = await db.$queryRaw<{ timezone: string }[]>`
    SELECT DISTINCT timezone FROM ${rows} WHERE timezone IS NOT NULL`;
  return new Map(
    zones.flatMap(({ timezone }) => {
      const name = callingZone(timezone);
      return name === timezone ? [] : [[timezone, name] as const];
    }),
  );
}

/** A column of zones with those names exchanged. */
export function zoneColumn(column: Prisma.Sql, renamed: ReadonlyMap<string, string>): Prisma.Sql {
  if (renamed.size === 0) return column;
  const names = JSON.stringify(Object.fromEntries(renamed));
  return Prisma.sql`coalesce(${names}::jsonb ->> ${column}, ${column})`;
}

/**
 * Contacts may have a zone under an old short name (`CET`, `EST5EDT`, `Japan`), which PostgreSQL may
 * take for a fixed offset. They are called by the clock of the place that it stands for.
 */
function callingZone(name: string): string {
  return (
    canonicalTimeZone(name) ??
    new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone
  );
}

/** The zones of some rows as runs, in the order of `place`. */
export async function runsOf(
  db: ReadOnly,
  rows: Prisma.Sql,
  place: Prisma.Sql,
): Promise<ContactRun[]> {
  // One text: as rows, a mixed list of a hundred thousand would hold up everything else here.
  const [{ runs }] = await db.$queryRaw<[{ runs: string }]>`
    SELECT coalesce(json_agg(json_build_array(timezone, count) ORDER BY first), '[]')::text AS runs
    FROM (
      SELECT timezone, count(*) AS count, min(place) AS first
      FROM (
        SELECT timezone, place,
          row_number() OVER (ORDER BY place)
            - row_number() OVER (PARTITION BY timezone ORDER BY place) AS island
        FROM (SELECT timezone, ${place} AS place FROM ${rows}) AS placed
      ) AS numbered
      GROUP BY timezone, island
    ) AS runs`;
  return (JSON.parse(runs) as [string | null, number][]).map(([timezone, count]) => ({
    timezone,
    count,
  }));
}
