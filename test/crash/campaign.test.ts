/**
 * Two campaigns with many contacts while workers and the API are killed, the database restarts, and
 * Ultravox fails requests or does not respond.
 *
 * For a longer run of about ten minutes:
 * `CRASH_CONTACTS=5000 CRASH_SEED=7 npx vitest run test/crash/campaign.test.ts`
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
import { randomFrom, waitRandomly } from '../support/random.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/servers/redis.ts';
import {
  type RestartableDatabase,
  startRestartableDatabase,
} from '../support/servers/restartable-database.ts';
import { until } from '../support/wait.ts';

const CONTACTS = Number(process.env.CRASH_CONTACTS ?? 160);
const SEED = Number(process.env.CRASH_SEED ?? 20261121);
const WORKERS = 3;

const LIMITS = { second: 50, minute: 2_500, concurrent: 40, organization: 30, campaign: 25 };

const random = randomFrom(SEED);

let database: RestartableDatabase;
let redis: TestRedis;
let simulator: Simulator;
let api: ServerProcess;
let workers: ServerProcess[] = [];

/** Random faults of Ultravox. */
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

/** Causes one failure after another until `stopped` returns true. */
async function storm(stopped: () => boolean): Promise<Record<string, number>> {
  const done = { killedWorkers: 0, killedApi: 0, restartedDatabase: 0, weather: 0 };
  for (let round = 1; !stopped(); round += 1) {
    // Time for calls between two failures, and a failure at any moment of them.
    await pause(1_000);
    await waitRandomly(random, 2_000);
    simulator.setFaults(weather(), SEED + round);
    done.weather += 1;
    if (stopped()) break;
    if (round % 8 === 4) {
      await database.crash(random() * 1_000);
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

describe.skipIf(!redisAvailable())('campaigns while processes are killed', () => {
  let operator: Operator;

  // A repetition starts with servers of its own.
  beforeEach(async () => {
    database = await startRestartableDatabase({ durable: false });
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
    const databaseUrl = database.url;
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

  afterEach(async () => {
    await Promise.all([api, ...workers].map((process) => process?.stop()));
    await simulator?.close();
    await redis?.stop();
    await database?.stop();
  });

  it('call every contact, once per attempt, within all limits', {
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
            // The circuit breaker pauses a campaign when many calls fail.
            if (status !== 'PAUSED') continue;
            await act(operator, 'resumeCampaign', id);
            resumed += 1;
          }
          const ended = nodes.every(({ status }) => status === 'COMPLETED');
          return ended;
        } catch {
          return false;
        } finally {
          // Asked rarely, since the answer costs the processes time.
          await pause(500);
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

    const contacts = await database.query<{ status: string; count: string }>(
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
    expect(await brokenRules((query) => database.query(query))).toEqual([]);
  });
});
