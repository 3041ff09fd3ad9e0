/**
 * Two campaigns call thousands of people while everything around them fails: workers and the API
 * are killed, the database is restarted, Ultravox answers with 429, 500 and nothing at all.
 *
 * Longer by hand: `CRASH_CONTACTS=5000 CRASH_SEED=7 npx vitest run test/crash/campaign.test.ts`, which
 * takes about ten minutes.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../../src/infra/logger.ts';
import { type EmbeddedDatabase, startEmbeddedPostgres } from '../../src/infra/postgres.ts';
import type { FaultInput } from '../../src/simulator/faults.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { callsAtUltravox, mostAtOnce, type SeenCall } from '../campaigns/engine-support.ts';
import {
  act,
  brokenRules,
  createCampaign,
  ENDINGS,
  type Operator,
  people,
  prepareOperator,
} from '../campaigns/support.ts';
import { createClient } from '../support/graphql.ts';
import { type ServerProcess, startServerProcess } from '../support/process.ts';
import { randomFrom } from '../support/random.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { until } from '../support/wait.ts';

const CONTACTS = Number(process.env.CRASH_CONTACTS ?? 400);
const SEED = Number(process.env.CRASH_SEED ?? 20261121);
const WORKERS = 3;

const LIMITS = { second: 50, minute: 2_500, concurrent: 40, organization: 30, campaign: 25 };

const log = createLogger({ level: 'silent' });
const random = randomFrom(SEED);

let directory: string;
let database: EmbeddedDatabase;
let relay: Relay;
let redis: TestRedis;
let simulator: Simulator;
let api: ServerProcess;
let workers: ServerProcess[] = [];

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function throughRelay(): string {
  const url = new URL(database.url);
  url.port = String(relay.port);
  return url.href;
}

/** As after a crash of the machine: without a word to anybody, and at another port. */
async function restartDatabase(): Promise<void> {
  const file = path.join(directory, 'data', 'postmaster.pid');
  const [pid] = (await readFile(file, 'utf8')).split('\n');
  process.kill(Number(pid), 'SIGQUIT');
  await until('the end of the database', async () => {
    try {
      process.kill(Number(pid), 0);
      return false;
    } catch {
      return true;
    }
  });
  await pause(random() * 1_000);
  database = await startEmbeddedPostgres({ directory, log, durable: false });
  relay.lead(portOf(database.url));
}

async function sql<Row>(query: string): Promise<Row[]> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(query)).rows as Row[];
  } finally {
    await client.end();
  }
}

/** What Ultravox is like for a while. */
function weather(): FaultInput[] {
  const creation = { method: 'POST', path: '/agents/[^/]+/calls$' };
  const kinds: FaultInput[][] = [
    [],
    [{ kind: 'status', status: 429, retryAfterSeconds: 1, probability: 0.3, ...creation }],
    [{ kind: 'status', status: 500, probability: 0.2, ...creation }],
    [{ kind: 'status', status: 503, probability: 0.3, path: '/calls' }],
    [{ kind: 'timeout', probability: 0.1, ...creation }],
    [{ kind: 'dropAfter', probability: 0.2, ...creation }],
    [{ kind: 'dropBefore', probability: 0.2, path: '/calls' }],
    [{ kind: 'webhookLost', probability: 0.2 }],
    [
      { kind: 'webhookDuplicate', probability: 0.5 },
      { kind: 'webhookReorder', probability: 0.5 },
    ],
  ];
  return kinds[Math.floor(random() * kinds.length)]!;
}

/** One after the other, until it is told to stop. */
async function storm(stopped: () => boolean): Promise<Record<string, number>> {
  const done = { killedWorkers: 0, killedApi: 0, restartedDatabase: 0, weather: 0 };
  for (let round = 1; !stopped(); round += 1) {
    await pause(1_000 + random() * 2_000);
    simulator.setFaults(weather(), SEED + round);
    done.weather += 1;
    if (stopped()) break;
    if (round % 8 === 4) {
      await restartDatabase();
      done.restartedDatabase += 1;
    } else if (round % 8 === 7) {
      await api.restart();
      done.killedApi += 1;
    } else if (round % 2 === 0) {
      await workers[Math.floor(random() * WORKERS)]!.restart();
      done.killedWorkers += 1;
    }
  }
  simulator.clearFaults();
  return done;
}

function mostWithin(calls: readonly SeenCall[], ms: number): number {
  const times = calls.map(({ from }) => from).sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last += 1) {
    while (times[first]! <= times[last]! - ms) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

function grouped(calls: readonly SeenCall[], key: 'campaignId' | 'organizationId'): SeenCall[][] {
  return [...Map.groupBy(calls, (call) => call[key]).values()];
}

describe.skipIf(!redisAvailable())('campaigns in a storm', () => {
  let operator: Operator;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'truedy-crash-'));
    database = await startEmbeddedPostgres({ directory, log, durable: false });
    relay = await startRelay(portOf(database.url));
    redis = await startRedis();
    simulator = await startSimulator({
      speed: 100,
      settings: {
        talkSeconds: 20,
        creationsPerSecond: LIMITS.second,
        creationsPerMinute: LIMITS.minute,
        maxConcurrentCalls: LIMITS.concurrent,
      },
    });
    const settings = {
      REDIS_URL: redis.url,
      ULTRAVOX_MAX_CALLS_PER_SECOND: String(LIMITS.second),
      ULTRAVOX_MAX_CALLS_PER_MINUTE: String(LIMITS.minute),
      ULTRAVOX_MAX_CONCURRENT_CALLS: String(LIMITS.concurrent),
      ORGANIZATION_MAX_CONCURRENT_CALLS: String(LIMITS.organization),
      LOG_LEVEL: 'silent',
    };
    const databaseUrl = throughRelay();
    api = await startServerProcess({
      databaseUrl,
      simulator,
      settings: { ...settings, ROLE: 'api' },
    });
    workers = await Promise.all(
      Array.from({ length: WORKERS }, () =>
        startServerProcess({
          databaseUrl,
          simulator,
          settings: { ...settings, ROLE: 'worker', PUBLIC_URL: api.url },
        }),
      ),
    );
    const first = createClient(api.url, api.firstKey);
    operator = await prepareOperator(first);
  });

  afterAll(async () => {
    await Promise.all([api, ...workers].map((process) => process?.stop()));
    await simulator?.close();
    await redis?.stop();
    await relay?.close();
    await database?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('calls everybody, nobody twice for one attempt, and never more than the limits allow', {
    timeout: 900_000,
  }, async () => {
    const retries = { retryFailed: true, maxRetryAttempts: 1, retryDelay: '2s' };
    const busy = Math.floor(CONTACTS * 0.05);
    const rows = [
      ...people(CONTACTS - 2 * busy),
      ...people(busy, { ending: ENDINGS.busy }),
      ...people(busy, { ending: ENDINGS.rejected }),
    ].sort(() => random() - 0.5);
    const half = Math.ceil(rows.length / 2);
    const ids: string[] = [];
    for (const contacts of [rows.slice(0, half), rows.slice(half)]) {
      const campaign = await createCampaign(operator, {
        contacts,
        ...retries,
        maxConcurrentCalls: LIMITS.campaign,
        phoneRotationStrategy: 'ROUND_ROBIN',
        scheduleType: 'IMMEDIATE',
      });
      ids.push(campaign.id);
    }

    let over = false;
    const disturbed = storm(() => over);
    const began = Date.now();
    let resumed = 0;
    await until(
      'the end of the campaigns',
      async () => {
        try {
          const { data } = await operator.client.send(
            '{ campaigns { nodes { id status counts { total called pending calling } } } }',
          );
          const nodes: { id: string; status: string }[] = data.campaigns.nodes;
          if (process.env.CRASH_VERBOSE) process.stderr.write(`${JSON.stringify(nodes)}\n`);
          for (const { id, status } of nodes) {
            // The breaker, in the worst of the weather.
            if (status !== 'PAUSED') continue;
            await act(operator, 'resumeCampaign', id);
            resumed += 1;
          }
          const ended = nodes.every(({ status }) => status === 'COMPLETED');
          if (!ended) await pause(500);
          return ended;
        } catch {
          await pause(500);
          return false;
        }
      },
      850_000,
    ).finally(() => {
      over = true;
    });
    const storms = await disturbed;
    const calls = await callsAtUltravox(simulator);
    process.stderr.write(
      `${CONTACTS} contacts in ${Math.round((Date.now() - began) / 1000)} s: ${JSON.stringify({ ...storms, resumed, calls: calls.length })}\n`,
    );

    const contacts = await sql<{ status: string; count: string }>(
      'SELECT status::text, count(*) FROM campaign_contacts GROUP BY 1',
    );
    const statuses = contacts.map(({ status }) => status);
    expect(statuses.filter((status) => !['COMPLETED', 'FAILED'].includes(status))).toEqual([]);
    expect(new Set(calls.map(({ callId }) => callId)).size).toBe(calls.length);
    const dials = simulator.dials().map(({ metadata }) => metadata.callId);
    expect(new Set(dials).size).toBe(dials.length);
    expect(calls.every(({ to }) => Number.isFinite(to))).toBe(true);

    expect(mostWithin(calls, 1_000)).toBeLessThanOrEqual(LIMITS.second);
    expect(mostWithin(calls, 60_000)).toBeLessThanOrEqual(LIMITS.minute);
    expect(mostAtOnce(calls)).toBeLessThanOrEqual(LIMITS.concurrent);
    for (const some of grouped(calls, 'organizationId')) {
      expect(mostAtOnce(some)).toBeLessThanOrEqual(LIMITS.organization);
    }
    for (const some of grouped(calls, 'campaignId')) {
      expect(mostAtOnce(some)).toBeLessThanOrEqual(LIMITS.campaign);
    }
    expect(await brokenRules((query) => sql(query))).toEqual([]);
  });
});
