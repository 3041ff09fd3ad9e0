/**
 * Stages new contacts from any source in a table, in which SQL finds duplicates and joins the contacts to their plan.
 */
import type { Tx } from '../../app.ts';
import { isFullBatch } from '../../contacts/import/csv-rows.ts';
import { PERSON_COLUMNS, personSql } from '../../contacts/person-columns.ts';
import { contactRecord, RECORD_COLUMNS } from '../../contacts/rows.ts';
import { readTimeZone } from '../../contacts/time-zone.ts';
import { userError } from '../../errors.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { newId } from '../../infra/ids.ts';
import { subscriberOf } from '../../infra/phone-number.ts';
import { canonicalTimeZone } from '../../infra/time-zone.ts';
import type { ContactRun } from '../schedule/planner.ts';
import {
  type CheckedSource,
  type FileSource,
  MAX_CAMPAIGN_CONTACTS,
  type ReadRow,
  type RowProblem,
  rowsOfFile,
  type SourceOfContacts,
  type SourceRow,
  type StoredSource,
} from './contact-sources.ts';

const BATCH_ROWS = 1_000;
/** Number of rows from which the plans of statements about a stage depend on statistics. */
const ANALYZED_ROWS = 1_000;
const MAX_PROBLEMS = 100;

/** Columns copied from contacts. */
const COPIED = personSql(({ name }) => name);
const COPIED_DEFINITIONS = personSql(
  ({ name, type, empty }) => `${name} ${type}${empty === 'NULL' ? '' : ' NOT NULL'}`,
);

/** Columns that the staging table and `campaign_contacts` have in common. */
const STAGED = ['contact_id', 'client_id', 'identity', ...PERSON_COLUMNS.map(({ name }) => name)];
export const STAGED_COLUMNS = Prisma.raw(STAGED.join(', '));
/** The same columns of the table `staged`. */
export const COLUMNS_OF_STAGED = Prisma.raw(STAGED.map((name) => `staged.${name}`).join(', '));

/** Where rows are staged. Both tables have the columns `enrollment_id` and `ordinal` and the staged columns. */
export interface Stage {
  id: string;
  table: Prisma.Sql;
}

/** A stage in a temporary table, which PostgreSQL drops when the transaction ends. */
export async function createTemporaryStage(tx: Tx): Promise<Stage> {
  await tx.$executeRaw`
    CREATE TEMP TABLE campaign_stage (
      enrollment_id uuid NOT NULL, ordinal int NOT NULL, contact_id uuid, client_id text,
      identity text NOT NULL, ${COPIED_DEFINITIONS}
    ) ON COMMIT DROP`;
  return { id: newId(), table: Prisma.raw('pg_temp.campaign_stage') };
}

/** The stage of an enrollment, kept until its rows have joined. */
export function durableStage(id: string): Stage {
  return { id, table: Prisma.raw('campaign_enrollment_rows') };
}

/** The rows of a stage starting at an ordinal, as a table. */
export function stagedRows({ table, id }: Stage, from = 0): Prisma.Sql {
  return Prisma.sql`(
    SELECT * FROM ${table} WHERE enrollment_id = ${id}::uuid AND ordinal >= ${from}) AS staged`;
}

export interface Staged {
  /** Number of rows to add. */
  count: number;
  duplicateCount: number;
  problemCount: number;
  problems: RowProblem[];
  warningCount: number;
  warnings: RowProblem[];
}

/**
 * Fills a stage, with `ordinal` in the order of the source. Of duplicates, keeps the first, unless the campaign has
 * it already.
 */
export async function stageContacts(
  tx: Tx,
  stage: Stage,
  campaign: Campaign,
  source: SourceOfContacts,
): Promise<Staged> {
  const problems: RowProblem[] = [];
  const warnings: RowProblem[] = [];
  let problemCount = 0;
  let warningCount = 0;
  let staged = 0;
  if (source.kind === 'FOLDER' || source.kind === 'IDS') {
    staged = await tx.$executeRaw`
      INSERT INTO ${stage.table} (enrollment_id, ordinal, contact_id, identity, ${COPIED})
      SELECT ${stage.id}::uuid, ordinal, id, 'tel:' || subscriber_of(phone_number), ${COPIED}
      FROM (${storedContacts(campaign, source)}) AS stored`;
  } else {
    for await (const batch of batchesOf(source)) {
      await stageRows(tx, stage, batch.rows, staged);
      staged += batch.rows.length;
      problemCount += batch.problems.length;
      problems.push(...batch.problems.slice(0, MAX_PROBLEMS - problems.length));
      const warned = batch.rows.flatMap(({ warning }) => warning ?? []);
      warningCount += warned.length;
      warnings.push(...warned.slice(0, MAX_PROBLEMS - warnings.length));
    }
  }
  // Autovacuum never analyzes temporary tables, and other tables only after a while. Not for a few rows, since all
  // organizations share the durable table, and it is analyzed by one session at a time.
  if (staged >= ANALYZED_ROWS) await tx.$executeRaw`ANALYZE ${stage.table}`;
  await useCallingZones(tx, stage);
  const removed = await removeDuplicates(tx, stage, campaign);
  return {
    count: staged - removed,
    duplicateCount: removed,
    problemCount,
    problems,
    warningCount,
    warnings,
  };
}

/** @throws UserInputError LIMIT_EXCEEDED if the campaign would have `total` contacts. */
export function rejectTooMany(source: CheckedSource, total: number): void {
  if (total <= MAX_CAMPAIGN_CONTACTS) return;
  throw userError(
    'LIMIT_EXCEEDED',
    `The campaign would have ${formatNumber(total)} contacts, but the maximum is ${formatNumber(MAX_CAMPAIGN_CONTACTS)}. No contact was added. Create another campaign for the others.`,
    pathOf(source),
  );
}

/** @throws UserInputError LIMIT_EXCEEDED or EMPTY_CONTACT_SOURCE */
export function rejectUnusable(campaign: Campaign, source: CheckedSource, staged: Staged): void {
  rejectTooMany(source, campaign.totalCount + staged.count);
  const [first] = staged.problems;
  const unusable = staged.duplicateCount === 0 && first !== undefined;
  if (staged.count > 0 || (campaign.totalCount > 0 && !unusable)) return;
  throw userError(
    'EMPTY_CONTACT_SOURCE',
    first
      ? `The file has no valid row. Row ${first.row}: ${first.reason}`
      : 'The contacts have been deleted in the meantime.',
    pathOf(source),
  );
}

function pathOf({ contacts: { kind } }: CheckedSource): string[] {
  const fields = {
    FOLDER: 'contactFolderId',
    IDS: 'contactIds',
    ROWS: 'contacts',
    FILE: 'contactsFile',
  };
  return [fields[kind]];
}

/**
 * The stored contacts of a source with their `ordinal`: contacts of a folder by creation time, listed contacts in list
 * order.
 */
export function storedContacts(
  { organizationId }: { organizationId: string },
  source: StoredSource,
): Prisma.Sql {
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
  let start = 0;
  for await (const { row, end } of source.kind === 'FILE' ? rowsOfFile(source) : listed(source)) {
    if ('reason' in row) batch.problems.push(row);
    else batch.rows.push(row);
    const rows = batch.rows.length + batch.problems.length;
    if (!isFullBatch({ rows, bytes: end - start }, BATCH_ROWS)) continue;
    yield batch;
    batch = { rows: [], problems: [] };
    start = end;
  }
  yield batch;
}

/** The rows of a request, which are in memory already. */
function* listed({ rows }: { rows: readonly SourceRow[] }): Generator<ReadRow> {
  for (const row of rows) yield { row, end: 0 };
}

async function stageRows(
  tx: Tx,
  stage: Stage,
  rows: readonly SourceRow[],
  first: number,
): Promise<void> {
  if (rows.length === 0) return;
  const records = rows.map((row, index) => ({
    ordinal: first + index,
    client_id: row.clientId,
    identity: row.clientId === null ? `tel:${subscriberOf(row.phoneNumber)}` : `id:${row.clientId}`,
    ...contactRecord(row),
  }));
  await tx.$executeRaw`
    INSERT INTO ${stage.table} (enrollment_id, ordinal, client_id, identity, ${COPIED})
    SELECT ${stage.id}::uuid, ordinal, client_id, identity, ${COPIED}
    FROM jsonb_to_recordset(${JSON.stringify(records)}::jsonb) AS r(
      ordinal int, client_id text, identity text, ${RECORD_COLUMNS})`;
}

/**
 * SQL condition: whether a staged row is in the campaign already. Its `clientId` decides or, without one, its phone
 * number, which is then compared with those of all contacts.
 */
export function isEnrolled(campaignId: string, row: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`(
    EXISTS (
      SELECT 1 FROM campaign_contacts c
      WHERE c.campaign_id = ${campaignId}::uuid AND c.identity = ${row}.identity)
    OR ${row}.client_id IS NULL AND EXISTS (
      SELECT 1 FROM campaign_contacts c
      WHERE c.campaign_id = ${campaignId}::uuid AND c.client_id IS NOT NULL
        AND c.phone_number = ANY (phone_number_forms(${row}.phone_number))))`;
}

/** Removes the rows that are in the campaign already, or earlier in the stage. Returns their number. */
async function removeDuplicates(tx: Tx, { id, table }: Stage, campaign: Campaign): Promise<number> {
  const repeated = await tx.$executeRaw`
    DELETE FROM ${table} s
    USING (
      SELECT identity, min(ordinal) AS first FROM ${table}
      WHERE enrollment_id = ${id}::uuid GROUP BY identity HAVING count(*) > 1
    ) AS repeated
    WHERE s.enrollment_id = ${id}::uuid
      AND s.identity = repeated.identity AND s.ordinal > repeated.first`;
  const enrolled =
    campaign.totalCount === 0
      ? 0
      : await tx.$executeRaw`
          DELETE FROM ${table} s
          WHERE s.enrollment_id = ${id}::uuid AND ${isEnrolled(campaign.id, Prisma.sql`s`)}`;
  // Last, since only rows that stay count.
  const known = await tx.$executeRaw`
    DELETE FROM ${table} s
    USING (
      SELECT subscriber_of(phone_number) AS subscriber, min(ordinal) AS first
      FROM ${table} WHERE enrollment_id = ${id}::uuid
      GROUP BY 1 HAVING count(*) > 1
    ) AS shared
    WHERE s.enrollment_id = ${id}::uuid AND s.client_id IS NULL
      AND subscriber_of(s.phone_number) = shared.subscriber AND s.ordinal > shared.first`;
  return repeated + enrolled + known;
}

/** Replaces the time zones of a stage with their canonical names. */
async function useCallingZones(tx: Tx, stage: Stage): Promise<void> {
  const renamed = await renamedZones(tx, stagedRows(stage));
  if (renamed.size === 0) return;
  await tx.$executeRaw`
    UPDATE ${stage.table} s SET timezone = ${zoneColumn(Prisma.sql`s.timezone`, renamed)}
    WHERE s.enrollment_id = ${stage.id}::uuid
      AND s.timezone = ANY(${[...renamed.keys()]}::text[])`;
}

type ReadOnly = Pick<Tx, '$queryRaw'>;

/** Maps the time zones of some rows to their canonical names, where they differ. */
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

/** A time zone column with canonical names. */
export function zoneColumn(column: Prisma.Sql, renamed: ReadonlyMap<string, string>): Prisma.Sql {
  if (renamed.size === 0) return column;
  const names = JSON.stringify(Object.fromEntries(renamed));
  return Prisma.sql`coalesce(${names}::jsonb ->> ${column}, ${column})`;
}

/**
 * Canonical name of a contact's time zone. Contacts may have an old short name (`CET`, `EST5EDT`, `Japan`), or an
 * abbreviation stored by an earlier release, which PostgreSQL may interpret as a fixed offset; it is replaced by the zone
 * of its place.
 */
function callingZone(name: string): string {
  const read = readTimeZone(name);
  const zone = typeof read === 'string' ? read : name;
  return (
    canonicalTimeZone(zone) ??
    new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone
  );
}

/** The time zones of some rows as runs, ordered by `place`. */
export async function runsOf(
  db: ReadOnly,
  rows: Prisma.Sql,
  place: Prisma.Sql,
): Promise<ContactRun[]> {
  // Read as one string, because decoding 100,000 rows would block the event loop.
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
