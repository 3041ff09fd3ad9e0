/**
 * Cost of a dispatch cycle and of recording outcomes, with few and with many campaigns:
 * `npx node bench/campaigns/dispatch.ts [rounds] [contacts]`. Every campaign has 100 due contacts. A round is one
 * dispatch cycle, which claims 50 calls, and one recording of their outcomes after SQL has ended them.
 *
 * The number of statements must not depend on the number of campaigns. Times are those of the median
 * round, with ratios to the fewest campaigns of the same run. Also measures the cost of finding one campaign with due
 * contacts among many that have none, and of a cycle whose due contacts are on the
 * do-not-call list; the latter must not depend on how many more are due.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from 'pg';
import { type App, createApp } from '../../src/app.ts';
import { dispatchCalls } from '../../src/campaigns/dispatch/dispatch-cycle.ts';
import { skipAhead } from '../../src/campaigns/dispatch/skip-ahead.ts';
import { recordOutcomes } from '../../src/campaigns/outcomes/record-outcomes.ts';
import { readConfig } from '../../src/config.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import { startEmbeddedPostgres } from '../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { migrateDatabase } from '../../src/infra/migrations/migrations.ts';
import { JOB_DEFINITIONS } from '../../src/worker.ts';

const ROUNDS = Number(process.argv[2] ?? 15);
const WARM_UP = 3;
const CAMPAIGNS = [10, 100, 1_000];
const ORGANIZATIONS = [1, 50];
const CONTACTS = 100;
const MANY = 1_000;
/** Due contacts per campaign, all on the do-not-call list: more than the rounds clear. */
const LISTED = [2_000, 10_000, Number(process.argv[3] ?? 20_000)];
const LISTED_CAMPAIGNS = 20;

interface Cost {
  calls: number;
  statements: number;
  ms: number;
}

const statements = { count: 0 };

async function costOf(work: () => Promise<number>): Promise<Cost> {
  const before = statements.count;
  const began = performance.now();
  const calls = await work();
  return { calls, statements: statements.count - before, ms: performance.now() - began };
}

/** Fills an empty database with active campaigns whose contacts are all due, and everything that they need. */
async function fill(
  client: Client,
  campaigns: number,
  organizations: number,
  contacts = CONTACTS,
): Promise<void> {
  await client.query('TRUNCATE organizations CASCADE');
  await client.query(
    `INSERT INTO organizations (id, name, updated_at)
     SELECT new_id(), 'Organization ' || i, now() FROM generate_series(1, $1) AS i`,
    [Math.min(organizations, campaigns)],
  );
  await client.query(
    `INSERT INTO voices (id, organization_id, type, name, status, updated_at)
     SELECT new_id(), id, 'SYSTEM', 'Voice', 'ACTIVE', now() FROM organizations`,
  );
  await client.query(
    `INSERT INTO agents (id, organization_id, name, voice_id, system_prompt, model, temperature,
       recording_enabled, remote_id, status, updated_at)
     SELECT new_id(), organization_id, 'Ada', id, 'You are Ada.', 'model', 0, false,
       gen_random_uuid()::text, 'ACTIVE', now() FROM voices`,
  );
  await client.query(
    `INSERT INTO phone_numbers (id, organization_id, phone_number, provider, outbound_agent_id, updated_at)
     SELECT new_id(), organization_id, '+1415555010' || i, 'SIP', id, now()
     FROM agents CROSS JOIN generate_series(0, 2) AS i`,
  );
  await client.query(
    `INSERT INTO campaigns (id, organization_id, name, agent_id, status, contact_source,
       phone_rotation_strategy, schedule_type, timezone, working_days, max_concurrent_calls,
       max_calls_per_day, retry_failed, max_retry_attempts, retry_delay_seconds, total_count,
       pending_count, next_dispatch_at, started_at, updated_at)
     SELECT new_id(), a.organization_id, 'Campaign ' || i, a.id, 'ACTIVE', 'MANUAL', 'ROUND_ROBIN',
       'IMMEDIATE', 'Europe/Berlin', '{1,2,3,4,5,6,7}', 100, 5000, true, 2, 900, $2, $2,
       now() - interval '1 minute', now() - interval '1 minute', now()
     FROM generate_series(1, $1) AS i
     JOIN (SELECT *, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS count FROM agents) a
       ON a.n = 1 + i % a.count`,
    [campaigns, contacts],
  );
  await client.query(
    `INSERT INTO campaign_contacts (id, organization_id, campaign_id, position, identity,
       phone_number, first_name, metadata, status, scheduled_at, next_eligible_at, updated_at)
     SELECT new_id(), organization_id, id, i, 'tel:' || i, '+1212' || (5000000 + i), 'Ada',
       '{"plan":"gold"}', 'SCHEDULED', now() - interval '1 minute', now() - interval '1 minute', now()
     FROM campaigns CROSS JOIN generate_series(0, $1 - 1) AS i`,
    [contacts],
  );
  await client.query('VACUUM ANALYZE');
}

/** Ends all calls. In each campaign every fourth was not answered, which is too few to pause the campaign. */
async function endCalls(client: Client): Promise<void> {
  await client.query(
    `UPDATE calls SET status = (CASE WHEN answered THEN 'COMPLETED' ELSE 'FAILED' END)::"CallStatus",
       end_reason = (CASE WHEN answered THEN 'HANGUP' ELSE 'BUSY' END)::"CallEndReason",
       placement = 'ACCEPTED', ultravox_id = id, ringing_at = claimed_at, ended_at = now()
     FROM (SELECT id AS contact, position % 4 > 0 AS answered FROM campaign_contacts) contacts
     WHERE campaign_contact_id = contact AND placement = 'CLAIMED' `,
  );
}

async function run(app: App, client: Client, campaigns: number, organizations: number) {
  await fill(client, campaigns, organizations);
  const dispatching: Cost[] = [];
  const recording: Cost[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const placed = await costOf(async () => (await dispatchCalls(app)).callIds.length);
    await endCalls(client);
    const recorded = await costOf(async () => (await recordOutcomes(app)).calls);
    if (placed.calls === 0 || recorded.calls !== placed.calls) {
      throw new Error(`${placed.calls} calls were placed and ${recorded.calls} recorded`);
    }
    if (round < WARM_UP) continue;
    dispatching.push(placed);
    recording.push(recorded);
  }
  return { campaigns, dispatching: perCall(dispatching), recording: perCall(recording) };
}

interface PerCall {
  calls: number;
  most: number;
  statements: number;
  ms: number;
}

function perCall(costs: readonly Cost[]): PerCall {
  const calls = costs.reduce((sum, cost) => sum + cost.calls, 0);
  const times = costs.map(({ ms, calls }) => ms / calls).sort((a, b) => a - b);
  return {
    calls: calls / costs.length,
    most: Math.max(...costs.map((cost) => cost.statements)),
    statements: costs.reduce((sum, cost) => sum + cost.statements, 0) / calls,
    ms: times[Math.floor(times.length / 2)] ?? Number.NaN,
  };
}

function lineOf(name: string, { calls, most, statements, ms }: PerCall, first: PerCall): string {
  return [
    name.padEnd(12),
    `${calls.toFixed(0)} calls a cycle`,
    `${most} statements a cycle at most`,
    `${statements.toFixed(2)} a call (${(statements / first.statements).toFixed(2)})`,
    `${ms.toFixed(2)} ms a call (${(ms / first.ms).toFixed(2)})`,
  ].join('  ');
}

/** Cost of finding due contacts after `change`, which leaves them in only one campaign. */
async function search(
  app: App,
  client: Client,
  change: string,
): Promise<Cost & { cycles: number }> {
  await fill(client, MANY, 1);
  await client.query(`${change} (SELECT max(id::text)::uuid FROM campaigns)`);
  await client.query('VACUUM ANALYZE');
  let cycles = 0;
  const cost = await costOf(async () => {
    for (;;) {
      const { callIds, mayHaveMore } = await dispatchCalls(app);
      cycles += 1;
      if (callIds.length > 0 || !mayHaveMore) return callIds.length;
    }
  });
  return { ...cost, cycles };
}

/** Cost of cycles over campaigns whose due contacts are all on the do-not-call list, and of clearing them. */
async function listed(app: App, client: Client, contacts: number): Promise<string> {
  await fill(client, LISTED_CAMPAIGNS, 1, contacts);
  await client.query(
    `INSERT INTO do_not_call_entries (organization_id, phone_number)
     SELECT o.id, n.phone_number FROM organizations o
     CROSS JOIN (SELECT DISTINCT phone_number FROM campaign_contacts) n`,
  );
  await client.query('VACUUM ANALYZE');
  const cycles: number[] = [];
  const steps: number[] = [];
  for (let round = 0; round < WARM_UP + 5; round += 1) {
    let uncalledCampaignIds: readonly string[] = [];
    const cycle = await costOf(async () => {
      const { callIds, ...rest } = await dispatchCalls(app);
      ({ uncalledCampaignIds } = rest);
      return callIds.length;
    });
    const step = await costOf(() => skipAhead(app, uncalledCampaignIds).then(() => 0));
    if (cycle.calls > 0) throw new Error('Somebody on the do-not-call list was called');
    if (round < WARM_UP) continue;
    cycles.push(cycle.ms);
    steps.push(step.ms);
  }
  const median = (all: number[]): string => {
    const sorted = all.sort((a, b) => a - b);
    return (sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(0);
  };
  return `${contacts.toLocaleString('en')} each: ${median(cycles)} ms a cycle, ${median(steps)} ms outside of it`;
}

const log = createLogger({ level: 'warn' });
const directory = await mkdtemp(path.join(tmpdir(), 'truedy-bench-'));
const postgres = await startEmbeddedPostgres({ directory: path.join(directory, 'postgres'), log });
const client = newClient(postgres.url);
try {
  await client.connect();
  await migrateDatabase(postgres.url, { log });
  const encryptionKey = 'a key for benchmarks, of at least 32 characters';
  const app = await createApp({
    config: readConfig({
      DATABASE_URL: postgres.url,
      ENCRYPTION_KEY: encryptionKey,
      ROLE: 'api',
      ULTRAVOX_MAX_CALLS_PER_SECOND: '10000',
      ULTRAVOX_MAX_CALLS_PER_MINUTE: '100000',
      ULTRAVOX_MAX_CONCURRENT_CALLS: '100000',
      ORGANIZATION_MAX_CONCURRENT_CALLS: '100000',
    }),
    databaseUrl: postgres.url,
    encryptionKey,
    ultravox: { baseUrl: 'http://127.0.0.1:1', apiKey: 'nobody is asked' },
    languageModel: null,
    jobDefinitions: JOB_DEFINITIONS,
    log,
  });
  const queries = app.db as unknown as { $on(event: 'query', listener: () => void): void };
  queries.$on('query', () => {
    statements.count += 1;
  });
  try {
    for (const organizations of ORGANIZATIONS) {
      const results: Awaited<ReturnType<typeof run>>[] = [];
      for (const campaigns of CAMPAIGNS) {
        results.push(await run(app, client, campaigns, organizations));
      }
      process.stdout.write(`over ${organizations} organization${organizations > 1 ? 's' : ''}\n`);
      for (const part of ['dispatching', 'recording'] as const) {
        process.stdout.write(`  ${part}\n`);
        for (const result of results) {
          const name = `${result.campaigns.toLocaleString('en')} campaigns`;
          process.stdout.write(`    ${lineOf(name, result[part], results[0]![part])}\n`);
        }
      }
    }
    process.stdout.write(`one of ${MANY.toLocaleString('en')} campaigns has due contacts\n`);
    for (const [name, change] of [
      [
        'the others are held',
        `UPDATE campaigns SET hold_reason = 'WINDOW_CLOSED',
           next_dispatch_at = now() + interval '1 hour' WHERE id <>`,
      ],
      [
        'the others are checked and have no due contact',
        `UPDATE campaign_contacts SET next_eligible_at = now() + interval '1 hour'
         WHERE campaign_id <>`,
      ],
    ] as const) {
      const { calls, cycles, statements, ms } = await search(app, client, change);
      process.stdout.write(
        `  ${name}: ${calls} calls after ${cycles} cycles, ${statements} statements and ${ms.toFixed(0)} ms\n`,
      );
    }
    process.stdout.write(
      `${LISTED_CAMPAIGNS} campaigns, all due contacts on the do-not-call list\n`,
    );
    for (const contacts of LISTED) {
      process.stdout.write(`  ${await listed(app, client, contacts)}\n`);
    }
  } finally {
    await app.close();
  }
} finally {
  await client.end().catch(() => undefined);
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
}
