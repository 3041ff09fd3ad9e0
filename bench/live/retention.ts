/**
 * The partitioned event log, compared with one table with the same events of a month: dropping the oldest
 * events or deleting them in batches, reading and appending: `npx node bench/live/retention.ts [events]`. CPU time is
 * that of the PostgreSQL process that serves the connection, so this runs only on Linux.
 */
import { readFile } from 'node:fs/promises';
import type { Client } from 'pg';
import { newClient } from '../../src/infra/database/connections.ts';
import { partitionDays, utcDay } from '../../src/live/partitions.ts';
import { startBenchDatabase } from '../support/database.ts';
import { type Section, table } from '../support/results.ts';

const DAY_MS = 86_400_000;
const RETENTION_DAYS = 30;
const WIDTH = partitionDays(RETENTION_DAYS);
/** Today as a number of days since 1970-01-01. */
const TODAY = Math.floor(Date.now() / DAY_MS);
/** The first day of the oldest partition. */
const FIRST = Math.floor((TODAY - RETENTION_DAYS) / WIDTH) * WIDTH;
/** Number of calls that share the events of a day. */
const CALLS_PER_DAY = 500;
const BATCH = 5_000;
const READS = 2_000;
const APPENDED = 20_000;
/** Milliseconds per unit of the times in `/proc`. */
const TICK_MS = 10;

interface Bench {
  client: Client;
  organizationId: string;
  agentId: string;
  rows: string[][];
}

interface Cost {
  ms: number;
  cpuMs: number;
}

async function cpuMs({ client }: Bench): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const stat = await readFile(`/proc/${rows[0]?.pid}/stat`, 'utf8');
  const times = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(times[11]) + Number(times[12])) * TICK_MS;
}

/** Average cost of one of `count` executions, which `work` runs. */
async function costOf(bench: Bench, count: number, work: () => Promise<unknown>): Promise<Cost> {
  const [cpu, began] = [await cpuMs(bench), performance.now()];
  await work();
  const ms = performance.now() - began;
  return { ms: ms / count, cpuMs: ((await cpuMs(bench)) - cpu) / count };
}

function report({ rows }: Bench, name: string, one: Cost, partitions: Cost): void {
  const digits = one.ms > 100 ? 0 : 3;
  const shown = ({ ms, cpuMs: cpu }: Cost): string =>
    `${ms.toFixed(digits)} ms, ${cpu.toFixed(digits)} ms`;
  rows.push([name, shown(one), shown(partitions), (partitions.cpuMs / one.cpuMs).toFixed(2)]);
}

/** The table as it would be without partitions, with the indexes needed to delete single rows. */
const ONE_TABLE = `
  CREATE SEQUENCE one_table_id;
  CREATE TABLE one_table (LIKE events INCLUDING DEFAULTS);
  ALTER TABLE one_table ALTER id SET DEFAULT nextval('one_table_id');
  CREATE FUNCTION assign_in_one_table(organization uuid) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE last bigint; assigned bigint;
  BEGIN
    SELECT last_cursor INTO last FROM event_counters WHERE organization_id = organization FOR NO KEY UPDATE;
    UPDATE one_table SET cursor = last + numbered.place
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place
      FROM one_table WHERE organization_id = organization AND cursor = 0) AS numbered
    WHERE one_table.id = numbered.id;
    GET DIAGNOSTICS assigned = ROW_COUNT;
    UPDATE event_counters SET last_cursor = last + assigned WHERE organization_id = organization;
    RETURN last + assigned;
  END $$;`;

const INDEXES = `
  ALTER TABLE one_table ADD PRIMARY KEY (id);
  CREATE UNIQUE INDEX ON one_table (organization_id, cursor) WHERE cursor > 0;
  CREATE INDEX ON one_table (organization_id, id) WHERE cursor = 0;
  CREATE UNIQUE INDEX ON one_table (call_id, sequence);
  ALTER TABLE one_table
    ADD FOREIGN KEY (organization_id) REFERENCES organizations(id),
    ADD FOREIGN KEY (organization_id, call_id) REFERENCES calls(organization_id, id),
    ADD FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns(organization_id, id);`;

/** Fills both tables with the same events: `events` in the oldest partition, a fiftieth of that on each later day. */
async function fill({ client, organizationId, agentId }: Bench, events: number): Promise<void> {
  await client.query(ONE_TABLE);
  await client.query(
    `SELECT ensure_event_partition('1970-01-01'::date + day, $3)
     FROM generate_series($1::int, $2::int) AS day`,
    [FIRST, TODAY, WIDTH],
  );
  await client.query(
    `INSERT INTO one_table (organization_id, cursor, type, call_id, sequence, agent_id, data, created_at, logged_on)
     SELECT $1, row_number() OVER (ORDER BY day, i), 'CALL_RINGING', c.id, 1 + i / $8, $2,
       '{"status":"RINGING","endReason":null}', '1970-01-01'::date + day, '1970-01-01'::date + day
     FROM generate_series($3::int, $4::int) AS day
     CROSS JOIN LATERAL generate_series(0, CASE WHEN day < $3 + $5 THEN $6::int / $5 ELSE $7::int END - 1) AS i
     JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM calls) c ON c.n = i % $8 + (day - $3) * $8`,
    [organizationId, agentId, FIRST, TODAY, WIDTH, events, Math.ceil(events / 50), CALLS_PER_DAY],
  );
  await client.query('INSERT INTO events SELECT * FROM one_table');
  await client.query(INDEXES);
  await client.query(
    `INSERT INTO event_counters (organization_id, last_cursor)
     SELECT $1, max(cursor) FROM one_table
     ON CONFLICT (organization_id) DO UPDATE SET last_cursor = excluded.last_cursor`,
    [organizationId],
  );
  await client.query('VACUUM ANALYZE');
}

/** Average cost of a read. */
async function readCost(bench: Bench, text: string, values: () => unknown[]): Promise<Cost> {
  const run = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      await bench.client.query({ name: text.slice(-60), text, values: values() });
    }
  };
  await run(50);
  return costOf(bench, READS, () => run(READS));
}

async function benchPages(bench: Bench): Promise<void> {
  const { client, organizationId } = bench;
  const { rows } = await client.query<{ last: string }>(
    'SELECT max(cursor) AS last FROM one_table WHERE organization_id = $1 AND cursor > 0',
    [organizationId],
  );
  const last = BigInt(rows[0]?.last ?? 0);
  for (const [name, after] of [
    ['the 5 newest events', last - 5n],
    ['500 events in the middle', last / 2n],
  ] as const) {
    const costs: Cost[] = [];
    for (const from of ['one_table', 'events']) {
      const text = `SELECT * FROM ${from} WHERE organization_id = $1 AND cursor > $2 AND cursor > 0
        ORDER BY cursor LIMIT 500 -- ${from}, ${name}`;
      costs.push(await readCost(bench, text, () => [organizationId, after]));
    }
    report(bench, `read ${name}`, costs[0] as Cost, costs[1] as Cost);
  }
}

async function benchCalls(bench: Bench): Promise<void> {
  for (const [age, day] of [
    ['a new call', TODAY - 1],
    ['an old call', FIRST + WIDTH + 1],
    ['50 new calls', TODAY - 1],
  ] as const) {
    const { rows: calls } = await bench.client.query<{ id: string }>(
      `SELECT DISTINCT call_id AS id FROM one_table WHERE logged_on = '1970-01-01'::date + $1::int`,
      [day],
    );
    let next = 0;
    const ids = (): string[] =>
      Array.from({ length: age.startsWith('50') ? 50 : 1 }, () => {
        next += 1;
        return calls[next % calls.length]?.id ?? '';
      });
    // As the server does.
    const since = utcDay(new Date((day - 1) * DAY_MS));
    const text = (from: string, bound: string): string =>
      `SELECT e.* FROM unnest($1::uuid[]) AS c(id) CROSS JOIN LATERAL (SELECT * FROM ${from}
         WHERE call_id = c.id AND cursor > 0 ${bound} ORDER BY sequence LIMIT 21) e -- ${from}, ${age}`;
    report(
      bench,
      `read events of ${age}`,
      await readCost(bench, text('one_table', ''), () => [ids()]),
      await readCost(bench, text('events', 'AND logged_on >= $2'), () => [ids(), since]),
    );
  }
}

async function benchAppends(bench: Bench): Promise<void> {
  const { client, organizationId, agentId } = bench;
  let sequence = 1_000_000;
  const today = `(now() AT TIME ZONE 'UTC')::date, ${WIDTH}`;
  const append = (into: string, assign: string): Promise<Cost> => {
    const text = `INSERT INTO ${into} (organization_id, type, call_id, sequence, agent_id, data)
      SELECT $1, 'CALL_RINGING', (SELECT id FROM calls LIMIT 1), $3::int + i, $2,
        '{"status":"RINGING","endReason":null}' FROM generate_series(1, 5) AS i`;
    return costOf(bench, APPENDED, async () => {
      for (let done = 0; done < APPENDED; done += 5) {
        sequence += 5;
        await client.query({ name: into, text, values: [organizationId, agentId, sequence] });
        await client.query({ name: assign, text: `SELECT ${assign}`, values: [organizationId] });
      }
    });
  };
  const one = await append('one_table', 'assign_in_one_table($1)');
  const partitions = await append('events', `assign_event_cursors($1, ${today})`);
  report(bench, 'append an event, five at a time', one, partitions);
}

/** @returns the number of partitions. */
async function benchDropping(bench: Bench, events: number): Promise<number> {
  const { client, organizationId } = bench;
  const inBatches = await costOf(bench, 1, async () => {
    for (let from = 0; from < events; from += BATCH) {
      await client.query(
        'DELETE FROM one_table WHERE organization_id = $1 AND cursor > $2 AND cursor <= $3',
        [organizationId, from, from + BATCH],
      );
    }
    // Autovacuum would do this afterward.
    await client.query('VACUUM one_table');
  });
  const { rows } = await client.query<{ name: string }>(
    'SELECT name FROM event_partitions ORDER BY starts_on',
  );
  const dropped = await costOf(bench, 1, async () => {
    await client.query(`ALTER TABLE events DETACH PARTITION ${rows[0]?.name} CONCURRENTLY`);
    await client.query(`DROP TABLE ${rows[0]?.name}`);
  });
  report(bench, `drop ${events.toLocaleString('en')} expired events`, inBatches, dropped);
  return rows.length;
}

export async function benchRetention(events: number): Promise<Section> {
  const database = await startBenchDatabase();
  // The server process of this connection does nothing else.
  const client = newClient(database.url);
  try {
    await client.connect();
    const { organizationId, agentId } = database;
    const bench: Bench = { client, organizationId, agentId, rows: [] };
    await fill(bench, events);
    await benchPages(bench);
    await benchCalls(bench);
    await benchAppends(bench);
    const count = await benchDropping(bench, events);
    return {
      title: 'Event log',
      text: `Time, and CPU of PostgreSQL, with ${count} partitions, compared with one table that has the same events of a month. Deleting includes the VACUUM that must follow it.`,
      table: table(['', 'one table', 'partitions', 'ratio of CPU'], bench.rows),
    };
  } finally {
    await client.end();
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchRetention(Number(process.argv[2] ?? 1_000_000));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
