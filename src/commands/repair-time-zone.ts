/**
 * `npm run repair-time-zone -- <zone>`: corrects the timestamps of a database that was written by
 * sessions in that time zone; see `deployment/shifted-timestamps.ts`.
 */
import { type Client, escapeIdentifier } from 'pg';
import { readConfig } from '../config.ts';
import { recordUtc } from '../deployment/deployment.ts';
import { findShift, ID_TIMESTAMP, IS_V7 } from '../deployment/shifted-timestamps.ts';
import { ConfigError } from '../errors.ts';
import { newClient } from '../infra/database/connections.ts';

/** Columns that are correct: SQL always computed them or wrote them with an offset. */
const EXACT_COLUMNS = new Set([
  'calls.claimed_at',
  'calls.sent_at',
  // Former names of the two columns above.
  'calls.placing_at',
  'calls.sending_at',
  'calls.place_before',
  'creation_refusals.refused_at',
  'creation_refusals.resume_at',
  'campaign_contacts.scheduled_at',
  'campaign_contacts.next_eligible_at',
  'knowledge_bases.next_check_at',
  'ultravox_webhooks.received_at',
]);
const EXACT_NAMES = new Set(['lease_until', 'sync_lease_until', 'remote_attempt_at']);

/** Columns written both ways. The correct interpretation is the one within the lifetime of the row. */
const MIXED_COLUMNS = new Set(['campaigns.started_at', 'campaigns.ended_at']);

/** Timers written both ways. They are set to fire as soon as possible; their handlers then check what is due. */
const TIMERS: Record<string, (right: (column: string) => string) => string> = {
  'campaigns.next_dispatch_at': (right) => `greatest(now(), ${right('scheduled_at')})`,
  'calls.next_check_at': () => 'now()',
};

/**
 * Corrects every timestamp that was written by sessions in `zone`, in one transaction, and records that
 * the database is in UTC. Rows whose id shows that they were written correctly are not changed.
 *
 * @returns the number of rows changed in each table
 * @throws ConfigError when that zone does not explain the stored timestamps; nothing is changed
 */
export async function repairTimeZone(
  databaseUrl: string,
  zone: string,
): Promise<Record<string, number>> {
  const client = newClient(databaseUrl);
  await client.connect();
  try {
    const known = await client.query('SELECT 1 FROM pg_timezone_names WHERE name = $1', [zone]);
    if (known.rowCount === 0) throw new ConfigError([`${zone} is not a time zone of PostgreSQL`]);
    if ((await findShift(client)) === null) {
      throw new ConfigError(['The timestamps in this database are correct; nothing was changed']);
    }
    await client.query('BEGIN');
    const changed: Record<string, number> = {};
    for (const [table, columns] of await timestampsByTable(client)) {
      const repair = repairOf(table, columns, client.escapeLiteral(zone));
      if (repair) changed[table] = (await client.query(repair)).rowCount ?? 0;
    }
    if ((await findShift(client)) !== null) {
      throw new ConfigError([
        `The timestamps in this database were not written in ${zone}; nothing was changed. Try another zone`,
      ]);
    }
    await recordUtc(client);
    await client.query('COMMIT');
    return changed;
  } finally {
    await client.end(); // Rolls back an open transaction.
  }
}

async function timestampsByTable(client: Client): Promise<Map<string, string[]>> {
  const { rows } = await client.query<{ table: string; columns: string[] }>(
    `SELECT table_name::text AS "table", array_agg(column_name::text) AS columns
     FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
       -- Partitions are updated through their table.
       AND NOT (SELECT relispartition FROM pg_class
         WHERE relnamespace = table_schema::regnamespace AND relname = table_name)
       AND data_type = 'timestamp with time zone' AND table_name <> '_prisma_migrations'
     GROUP BY 1 ORDER BY 1`,
  );
  const withId = await client.query<{ table: string }>(
    `SELECT table_name::text AS "table" FROM information_schema.columns
     WHERE table_schema = current_schema() AND column_name = 'id' AND data_type = 'uuid'`,
  );
  for (const { table } of withId.rows) {
    rows
      .find((row) => row.table === table && row.columns.includes('created_at'))
      ?.columns.push('id');
  }
  return new Map(rows.map(({ table, columns }) => [table, columns]));
}

/**
 * The UPDATE that repairs the table. Null when all its columns are correct. `columns` includes `id` if the
 * id contains the creation time of the row.
 */
function repairOf(table: string, columns: readonly string[], zone: string): string | null {
  const right = (column: string): string =>
    `(${escapeIdentifier(column)} AT TIME ZONE ${zone} AT TIME ZONE 'UTC')`;
  const assignments = columns.flatMap((column) => {
    const name = `${table}.${column}`;
    const target = escapeIdentifier(column);
    if (column === 'id' || EXACT_COLUMNS.has(name) || EXACT_NAMES.has(column)) return [];
    const timer = TIMERS[name];
    if (timer) return `${target} = CASE WHEN ${target} IS NOT NULL THEN ${timer(right)} END`;
    if (!MIXED_COLUMNS.has(name)) return `${target} = ${right(column)}`;
    return `${target} = CASE WHEN ${right(column)} BETWEEN ${right('created_at')} - interval '1 minute'
      AND ${right('updated_at')} + interval '1 minute' THEN ${right(column)} ELSE ${target} END`;
  });
  if (assignments.length === 0) return null;
  const distance = (timestamp: string): string =>
    `abs(extract(epoch FROM ${timestamp} - ${ID_TIMESTAMP}))`;
  const shifted = columns.includes('id')
    ? `NOT (${IS_V7}) OR ${distance(right('created_at'))} < ${distance('created_at')}`
    : 'true';
  return `UPDATE ${escapeIdentifier(table)} SET ${assignments.join(', ')} WHERE ${shifted}`;
}

async function main([zone]: string[]): Promise<void> {
  const { DATABASE_URL: databaseUrl } = readConfig(process.env);
  if (!databaseUrl || !zone) {
    throw new Error(
      'With DATABASE_URL and ENCRYPTION_KEY set: npm run repair-time-zone -- America/New_York',
    );
  }
  for (const [table, rows] of Object.entries(await repairTimeZone(databaseUrl, zone))) {
    if (rows > 0) process.stdout.write(`${table}: ${rows} rows\n`);
  }
}

if (import.meta.main) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
