/**
 * Finds timestamps that were stored by sessions in a time zone other than UTC. Versions before December
 * 2026 opened such sessions.
 *
 * Prisma wrote timestamps in UTC without an offset, and PostgreSQL interpreted them in the session's time zone.
 * Values that SQL computed (`now()`) or received with an offset were stored correctly.
 */
import { type Client, escapeIdentifier } from 'pg';
import { ConfigError } from '../errors.ts';
import { serverTimeZone } from '../infra/database/connections.ts';

/** Tables whose ids are UUIDv7s generated within a minute of `created_at`. One shifted row is proof. */
const CERTAIN_TABLES = ['api_keys', 'campaign_contacts'];
/** Tables whose ids may be older, if a mutation was repeated. Only several rows with the same shift are proof. */
const LIKELY_TABLES = ['agents', 'calls', 'contacts'];
const LIKELY_ROWS = 3;
const SAMPLE = 1_000;
/** Seconds. Offsets of time zones are multiples of a quarter of an hour. */
const QUARTER = 900;

/** Time at which a row with a UUIDv7 as its id was created. */
export const ID_TIMESTAMP = `to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)`;
export const IS_V7 = `substr(id::text, 15, 1) = '7'`;

/**
 * Difference in seconds between the stored and the true timestamps of the sampled rows. Null when they agree.
 * The tables need not exist.
 */
export async function findShift(client: Client): Promise<number | null> {
  const { rows: found } = await client.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL',
    [[...CERTAIN_TABLES, ...LIKELY_TABLES]],
  );
  if (found.length === 0) return null;
  const samples = found.flatMap(({ name }) =>
    ['ASC', 'DESC'].map(
      (order) => `(SELECT extract(epoch FROM created_at - ${ID_TIMESTAMP}) AS seconds,
          ${CERTAIN_TABLES.includes(name)} AS is_certain
        FROM ${escapeIdentifier(name)} WHERE ${IS_V7} ORDER BY id ${order} LIMIT ${SAMPLE})`,
    ),
  );
  const { rows } = await client.query<{ seconds: string }>(
    `SELECT shift AS seconds
     FROM (${samples.join(' UNION ALL ')}) AS sample,
       LATERAL (SELECT round(seconds / ${QUARTER}) * ${QUARTER} AS shift) AS rounded
     WHERE shift <> 0 AND abs(seconds - shift) < 60
     GROUP BY shift HAVING bool_or(is_certain) OR count(*) >= ${LIKELY_ROWS}
     ORDER BY count(*) DESC LIMIT 1`,
  );
  return rows[0] ? Number(rows[0].seconds) : null;
}

/** @throws ConfigError if the database was written in another time zone; its message explains the repair */
export async function refuseShifted(databaseUrl: string, client: Client): Promise<void> {
  const shift = await findShift(client);
  if (shift === null) return;
  const zone = await serverTimeZone(databaseUrl);
  const hours = Math.abs(shift) / 3_600;
  throw new ConfigError([
    `The timestamps in this database are ${hours} hours too ${shift > 0 ? 'late' : 'early'}: an earlier version wrote them in the time zone of the PostgreSQL server, not in UTC. ` +
      'Stop every process that uses the database, make a backup (pg_dump), and run, with the same settings: ' +
      `npm run repair-time-zone -- ${zone === 'UTC' ? '<the zone the server had then, such as America/New_York>' : zone}`,
  ]);
}
