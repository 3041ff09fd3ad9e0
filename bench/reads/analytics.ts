/**
 * Time of analytics over many calls, as a ratio to hand-written SQL over `calls` for the same figures:
 * `npx node bench/reads/analytics.ts [calls]`. The calls are from the last year. Both are measured alternately, and
 * the best of three runs counts.
 */

import type { AnalyticsQuery } from '../../src/analytics/query.ts';
import { groupsOf, mediansOf, totalOf } from '../../src/analytics/service.ts';
import { createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { startBenchDatabase } from '../support/database.ts';
import { table } from '../support/results.ts';

const CALLS = Number(process.argv[2] ?? 1_000_000);
const RUNS = 3;
const DAY_MS = 86_400_000;

const database = await startBenchDatabase();
const { client, organizationId } = database;
const log = createLogger({ level: 'warn' });
const config = readConfig({
  DATABASE_URL: database.url,
  ENCRYPTION_KEY: 'a key for benchmarks, of at least 32 characters',
});
const app = await createApp({
  config,
  databaseUrl: database.url,
  encryptionKey: config.ENCRYPTION_KEY as string,
  ultravox: { baseUrl: 'http://127.0.0.1:1', apiKey: 'none' },
  languageModel: null,
  jobDefinitions: [],
  log,
});

/** Inserts the calls of a year with the columns that analytics use, and their rows of figures. */
async function fill(): Promise<void> {
  await client.query('ALTER TABLE calls DISABLE TRIGGER USER');
  await client.query('TRUNCATE call_facts');
  await client.query(
    `INSERT INTO calls (id, organization_id, agent_id, phone_number_id, direction, medium, status,
       end_reason, answered_by, max_duration_seconds, join_timeout_seconds, placement, ultravox_id,
       claimed_at, created_at, answered_at, ended_at, cost_amount, cost_currency, billing_status,
       updated_at)
     SELECT gen_random_uuid(), $1, p.outbound_agent_id, p.id, 'OUTBOUND', 'SIP', 'COMPLETED',
       (ARRAY['HANGUP', 'AGENT_HANGUP', 'NO_ANSWER', 'BUSY'])[1 + i % 4]::"CallEndReason",
       CASE WHEN i % 4 < 2 THEN 'HUMAN'::"AnsweredBy" END, 600, 60, 'ACCEPTED', 'bench-' || i, at, at,
       CASE WHEN i % 4 < 2 THEN at + interval '6 seconds' END,
       at + interval '6 seconds' + (random() * 300) * interval '1 second',
       CASE WHEN i % 4 < 2 THEN round(random()::numeric, 6) END, 'USD', 'BILLED', now()
     FROM (SELECT i, now() - (i::float8 / $2) * interval '364 days' AS at
       FROM generate_series(1, $2::int) AS i) series
     JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS n FROM phone_numbers) p ON p.n = i % 100`,
    [organizationId, CALLS],
  );
  await client.query(
    `INSERT INTO call_facts (call_id, organization_id, created_at, agent_id, campaign_id,
       phone_number_id, end_reason, answered_by, answered, handle_ms, cost_micros, cost_currency)
     SELECT id, organization_id, created_at, agent_id, campaign_id, phone_number_id, end_reason,
       answered_by, answered_at IS NOT NULL, call_handle_ms(answered_at, ended_at),
       (cost_amount * 1000000)::bigint, cost_currency FROM calls ORDER BY created_at`,
  );
  await client.query('ALTER TABLE calls ENABLE TRIGGER USER');
  await client.query('VACUUM ANALYZE calls');
  await client.query('VACUUM ANALYZE call_facts');
}

const FIGURES = `count(*), count(answered_at), avg(extract(epoch FROM ended_at - answered_at)),
  sum(extract(epoch FROM ended_at - answered_at)), sum(cost_amount)`;
const now = Math.ceil(Date.now() / DAY_MS) * DAY_MS;
const days = (count: number) => ({ from: new Date(now - count * DAY_MS), to: new Date(now) });

interface Case {
  name: string;
  days: number;
  groupBy: AnalyticsQuery['groupBy'];
  sql: string;
  median?: true;
}

const ZONE = 'Europe/Berlin';
const CASES: Case[] = [
  { name: 'total of a year', days: 365, groupBy: [], sql: `SELECT ${FIGURES}` },
  {
    name: 'a year by agent',
    days: 365,
    groupBy: ['AGENT'],
    sql: `SELECT agent_id, ${FIGURES}`,
  },
  {
    name: 'a year by day',
    days: 365,
    groupBy: ['DAY'],
    sql: `SELECT date_trunc('day', created_at, '${ZONE}'), ${FIGURES}`,
  },
  {
    name: 'a year by hour of the week and end reason',
    days: 365,
    groupBy: ['HOUR_OF_WEEK', 'END_REASON'],
    sql: `SELECT to_char(created_at AT TIME ZONE '${ZONE}', 'ID HH24'), end_reason, ${FIGURES}`,
  },
  {
    name: 'median of a year by agent',
    days: 365,
    groupBy: ['AGENT'],
    median: true,
    sql: `SELECT agent_id, percentile_cont(0.5) WITHIN GROUP
      (ORDER BY extract(epoch FROM ended_at - answered_at))`,
  },
  {
    name: '30 days by hour',
    days: 30,
    groupBy: ['HOUR'],
    sql: `SELECT date_trunc('hour', created_at, '${ZONE}'), ${FIGURES}`,
  },
];

async function msOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function measure({ days: count, groupBy, median, sql }: Case): Promise<[number, number]> {
  const range = days(count);
  const query: AnalyticsQuery = { range, timezone: ZONE, filter: {}, groupBy };
  const keys = groupBy.length > 0 ? `GROUP BY ${groupBy.map((_, i) => i + 1).join(', ')}` : '';
  const text = `${sql} FROM calls WHERE organization_id = $1 AND created_at >= $2 AND created_at < $3
    AND deleted_at IS NULL ${keys}`;
  let [ours, theirs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let run = 0; run < RUNS; run += 1) {
    ours = Math.min(
      ours,
      await msOf(async () =>
        median
          ? mediansOf(app, { organizationId }, query)
          : totalOf(await groupsOf(app, { organizationId }, query)),
      ),
    );
    theirs = Math.min(
      theirs,
      await msOf(() => client.query(text, [organizationId, range.from, range.to])),
    );
  }
  return [ours, theirs];
}

try {
  await fill();
  const rows: string[][] = [];
  for (const one of CASES) {
    const [ours, theirs] = await measure(one);
    const shown = [ours, theirs].map((ms) => `${Math.round(ms)} ms`);
    rows.push([one.name, ...shown, (ours / theirs).toFixed(2)]);
  }
  process.stdout.write(
    `${CALLS.toLocaleString('en')} calls\n\n${table(['figures', 'analytics', 'SQL over calls', 'ratio'], rows)}\n`,
  );
} finally {
  await app.close();
  await database.stop();
}
