/**
 * Work after calls while processes are killed. Post-call steps: no transcript is lost or duplicated, and a
 * language model is not asked again needlessly. Webhooks to receivers that fail at random, while workers, the
 * API, Redis and the database are killed and an hour passes: every event arrives under a single ID, and no other
 * events arrive.
 *
 * For a longer run: `CRASH_ROUNDS=100 CRASH_SEED=7 npx vitest run test/crash/webhooks.test.ts`
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { randomFrom, waitRandomly } from '../support/random.ts';
import {
  startTestLanguageModel,
  type TestLanguageModel,
} from '../support/servers/language-model.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/servers/redis.ts';
import {
  type RestartableDatabase,
  startRestartableDatabase,
} from '../support/servers/restartable-database.ts';
import { until } from '../support/wait.ts';
import {
  type Received,
  type Receiver,
  startReceiver,
  verifiesByRecipe,
} from '../webhooks/receiver.ts';

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 5);
const SEED = Number(process.env.CRASH_SEED ?? 20261128);
const CALLS_PER_ROUND = 6;
const WORKERS = 2;
const STORM_SECONDS = 3_600;
const MOVES_PER_ROUND = 6;
const CRM_SECRET = 'a secret of the CRM';

/** What is sent for each type in the log, by docs/webhooks.md. */
const EVENTS_OF: Record<string, string[]> = {
  CALL_CREATED: ['call.started'],
  CALL_IN_PROGRESS: ['call.joined'],
  CALL_COMPLETED: ['call.ended'],
  CALL_FAILED: ['call.ended', 'call.failed'],
  CALL_CANCELLED: ['call.ended'],
  CALL_BILLED: ['call.billed'],
  CALL_ANALYZED: ['call.analyzed'],
  CALL_RECORDING_READY: ['call.recording.ready'],
  CALL_RECORDING_FAILED: ['call.recording.failed'],
  AGENT_SYNCED: ['agent.synced'],
};

const random = randomFrom(SEED);

let directory: string;
let clockFile: string;
let aheadSeconds = 0;
let database: RestartableDatabase;
let redis: TestRedis;
let simulator: Simulator;
let receiver: Receiver;
let model: TestLanguageModel;
let api: ServerProcess;
let workers: ServerProcess[] = [];
let client: GraphQLClient;
let caller: Caller;

/** Moves the clock of all processes, and that of the job queue. */
async function moveClock(seconds: number): Promise<void> {
  aheadSeconds += seconds;
  // Replaced as a whole, because processes read it all the time.
  await writeFile(`${clockFile}.new`, String(aheadSeconds * 1000));
  await rename(`${clockFile}.new`, clockFile);
  await database.query('UPDATE pgboss.job SET start_after = now() WHERE start_after > now()');
}

/** Moves the clock on, no faster than the processes keep up with what is due. Nothing is waited for. */
async function letTimePass(seconds: number, realMs: number): Promise<void> {
  await moveClock(seconds);
  await pause(realMs);
}

/** Requests that wait for an answer that never comes. */
let held = 0;
/** Whether the next request is one of them, whatever chance says. */
let isNextHeld = false;

type Answer = (response: ServerResponse) => unknown;

const ACCEPTED: Answer = (response) => response.writeHead(204).end();

const ANSWERS: readonly Answer[] = [
  ACCEPTED,
  ACCEPTED,
  ACCEPTED,
  (response) => response.writeHead(500).end('Out of order'),
  (response) => response.writeHead(503, { 'retry-after': '20' }).end(),
  (response) => response.writeHead(429, { 'retry-after': '60' }).end(),
  (response) => response.writeHead(302, { location: receiver.url }).end(),
  (response) => response.socket?.destroy(),
  (response) => {
    response.writeHead(500, { 'content-length': '1000' });
    response.write('the first half', () => response.socket?.destroy());
  },
  hold,
];

function hold(): void {
  held += 1;
  isNextHeld = false;
}

/** Each kills a part, and starts it again. Rounds take them in turn. */
const FAILURES: Record<string, () => Promise<void>> = {
  async workerWhileItWaits() {
    const before = held;
    isNextHeld = true;
    await until('a request that waits for its answer', async () => {
      if (held > before) return true;
      // Past the pauses that the receiver has asked for.
      await letTimePass(20, 100);
      return false;
    });
    await Promise.all(workers.map((worker) => worker.kill()));
    await Promise.all(workers.map((worker) => worker.restart()));
  },
  async worker() {
    await waitRandomly(random, 500);
    await workers[Math.floor(random() * WORKERS)]!.restart();
  },
  async database() {
    await waitRandomly(random, 500);
    await database.crash(random() * 1_000);
  },
  async redis() {
    await redis.kill();
    await waitRandomly(random, 1_000);
    await redis.restart();
  },
  async api() {
    await waitRandomly(random, 500);
    await api.restart();
  },
};

/** Creates a call, repeating the request until it is answered. */
async function createCall(key: string): Promise<void> {
  const headers = { 'x-idempotency-key': key };
  await until('the answer to createCall', () => caller.call(undefined, headers), 60_000);
}

async function createCalls(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const input = {
      agentId: caller.agentId,
      phoneNumber: '+14155550142',
      variables: { first_name: name },
    };
    await runMutation(client, 'createCall', input, 'call { id }');
  }
}

/** What was said in a call, without the use of tools. */
async function textsAtUltravox(ultravoxId: string): Promise<string[]> {
  const response = await fetch(
    `${simulator.url}/api/calls/${ultravoxId}/messages?mode=in_call&pageSize=100`,
    { headers: { 'x-api-key': simulator.apiKey } },
  );
  const { results } = (await response.json()) as { results: { role: string; text: string }[] };
  return results.filter(({ role }) => !role.includes('TOOL')).map(({ text }) => text);
}

async function openDeliveries(): Promise<number> {
  const [row] = await database.query<{ open: string }>(
    `SELECT count(*) AS open FROM webhook_deliveries WHERE status <> 'DELIVERED'`,
  );
  return Number(row?.open);
}

/**
 * Resolves when all calls are finished, with all that follows their end, and the log has been read to its end.
 *
 * @throws what is still missing.
 */
async function logIsComplete(): Promise<true> {
  const [row] = await database.query<{ complete: boolean }>(`
    SELECT calls = 0 AND steps = 0 AND events = 0 AND behind IS NULL AS complete, *
    FROM (SELECT
      -- Ultravox bills no call that it never got.
      (SELECT count(*) FROM calls WHERE ended_at IS NULL
        OR (billing_status = 'PENDING' AND ultravox_id IS NOT NULL)) AS calls,
      (SELECT count(*) FROM post_call_steps WHERE status = 'PENDING') AS steps,
      (SELECT count(*) FROM events WHERE cursor = 0) AS events,
      (SELECT json_agg(json_build_object('of', e.last_cursor, 'at', c.cursor))
        FROM event_counters e JOIN event_consumers c USING (organization_id)
        WHERE c.name = 'webhooks' AND c.cursor < e.last_cursor) AS behind) AS missing`);
  if (row?.complete !== true) throw new Error(`Not at the end of the log: ${JSON.stringify(row)}`);
  return true;
}

async function databaseIsIdle(): Promise<boolean> {
  const [row] = await database.query<{ idle: boolean }>(
    `SELECT count(*) = 0 AS idle FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()`,
  );
  return row?.idle === true;
}

interface AnalyzedCall {
  id: string;
  ultravoxId: string;
  texts: string[];
  analyzed: string;
}

interface LogEntry {
  cursor: string;
  type: string;
  callId: string | null;
}

/** What a receiver should get of the log, in its order: cursor, type and call. */
function expectedAt(path: string, log: readonly LogEntry[]): string[] {
  return log.flatMap(({ cursor, type, callId }) => {
    const names = path === '/hook' ? EVENTS_OF[type] : type === 'CALL_ANALYZED' && ['call.results'];
    return (names || []).map((name) => `${cursor} ${name} ${callId}`);
  });
}

function uuidOf(id: string | undefined): string | null {
  return id?.slice(id.indexOf('_') + 1) ?? null;
}

function entryOf({ json }: Received): string {
  return `${json.data.cursor} ${json.event} ${uuidOf(json.data.call?.id)}`;
}

const cursorOf = (entry: string): number => Number.parseInt(entry, 10);

/** Verifies a request at the time at which it says that it was sent. */
function expectGenuine(request: Received, secret: string, format?: 'raw'): void {
  const { headers, body, json } = request;
  const at = Number(headers['webhook-timestamp']) * 1000;
  vi.useFakeTimers({ toFake: ['Date'], now: at });
  try {
    const verifier = new Webhook(secret, format ? { format } : {});
    expect(verifier.verify(body, headers as Record<string, string>)).toEqual(json);
    expect(() => new Webhook(`whsec_${'a'.repeat(32)}`).verify(body, headers as never)).toThrow();
  } finally {
    vi.useRealTimers();
  }
  expect(verifiesByRecipe(request, secret, at)).toBe(true);
  expect(verifiesByRecipe(request, `${secret}x`, at)).toBe(false);
  expect(headers['webhook-id']).toBe(json.id);
  expect(json.data.eventId).toBe(json.id);
}

describe.skipIf(!redisAvailable())('webhooks while processes are killed', () => {
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'truedy-clock-'));
    clockFile = path.join(directory, 'ahead');
    await writeFile(clockFile, '0');
    // A crash that lost a commit would also lose an event that was sent.
    database = await startRestartableDatabase({ durable: true });
    redis = await startRedis();
    receiver = await startReceiver();
    model = await startTestLanguageModel();
    simulator = await startSimulator({ speed: 50, settings: { talkSeconds: 5 } });
    const settings = {
      REDIS_URL: redis.url,
      WEBHOOK_ALLOWED_URLS: receiver.url,
      WEBHOOK_TIMEOUT_SECONDS: '2',
      // Calls run on the real clock, so nothing checks them by the moved one.
      CALL_CHECK_SECONDS: '3600',
      ANALYSIS_BASE_URL: model.url,
      ANALYSIS_MODEL: 'judge',
      LOG_LEVEL: 'silent',
    };
    const shared = { databaseUrl: database.url, simulator, clockFile };
    api = await startServerProcess({ ...shared, settings: { ...settings, ROLE: 'api' } });
    workers = await Promise.all(
      Array.from({ length: WORKERS }, () =>
        startServerProcess({
          ...shared,
          settings: { ...settings, ROLE: 'worker', PUBLIC_URL: api.url },
        }),
      ),
    );
    client = createClient(api.url, api.firstKey);
    caller = await prepareCaller(client);
    const content = {
      recordingEnabled: true,
      successCriteria: 'They agree.',
      crmWebhookUrl: `${receiver.url}/crm`,
      crmWebhookSecret: CRM_SECRET,
    };
    await runMutation(client, 'updateAgent', { id: caller.agentId, ...content }, 'agent { id }');
    await until('the agent', async () => {
      const [agent] = await database.query(
        'SELECT revision = synced_revision AS synced FROM agents',
      );
      return agent.synced;
    });
  });

  afterAll(async () => {
    await Promise.all([api, ...workers].map((process) => process?.stop()));
    await receiver?.close();
    await model?.close();
    await simulator?.close();
    await redis?.stop();
    await database?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('lose and double no transcript, and ask a language model again only for what was not saved', {
    timeout: 300_000,
  }, async () => {
    const names = Array.from({ length: 8 }, (_, number) => `Person${number}`);
    const asked = (name: string) =>
      model.requests.filter((content) => content.includes(name)).length;
    /** By name: how often its answer was lost with the process that had asked. */
    const lost = new Map(names.map((name) => [name, 0]));
    const transcripts = { kind: 'slow', ms: 1_500, path: '/messages$' } as const;
    const points: Record<string, () => Promise<unknown>> = {
      'a transcript is fetched': async () => {
        model.hold();
        simulator.setFaults([transcripts], SEED);
        await createCalls(names);
        await until('a request for a transcript', () =>
          simulator.requests().some(({ path, status }) => path.endsWith('/messages') && !status),
        );
      },
      'the model is asked': () => until('requests to the model', () => model.waiting() > 2),
      'a model has answered': async () => {
        await until('requests to the model', () => model.waiting() > 2);
        model.release();
        await waitRandomly(random, 20);
      },
      'the rest is done': () => waitRandomly(random, 500),
    };
    for (const reach of Object.values(points)) {
      await reach();
      await Promise.all(workers.map((worker) => worker.kill()));
      await until('the end of what they had sent to the database', databaseIsIdle);
      const saved = await database.query<{ name: string }>(
        `SELECT c.variables->>'first_name' AS name FROM calls c JOIN post_call_steps s ON s.call_id = c.id
         WHERE s.kind = 'ANALYSIS'
           AND (s.status = 'DONE' OR s.partial_result->'answers' <> '[]')`,
      );
      for (const name of names) {
        const before = lost.get(name) ?? 0;
        const isSaved = saved.some((row) => row.name === name);
        if (!isSaved && asked(name) > before) lost.set(name, before + 1);
      }
      // As after the time for which they hold: nobody holds them any more.
      await database.query('UPDATE post_call_steps SET lease_until = now()');
      await database.query('UPDATE webhook_deliveries SET claimed_until = now()');
      // One is enough for what the other has left, and the next failure waits for it.
      await workers[0]!.restart();
    }
    simulator.clearFaults();
    await until('the end of the log', logIsComplete, 120_000);
    await until('the CRM', async () => (await openDeliveries()) === 0, 60_000);

    expect([...lost.values()].some((count) => count > 0)).toBe(true);
    for (const name of names) expect([name, asked(name)]).toEqual([name, 1 + lost.get(name)!]);
    const calls = await database.query<AnalyzedCall>(
      `SELECT c.id, c.ultravox_id AS "ultravoxId",
         (SELECT array_agg(text ORDER BY position) FROM call_turns t
          WHERE t.call_id = c.id AND t.speaker <> 'TOOL') AS texts,
         (SELECT count(*) FROM events e WHERE e.call_id = c.id AND e.type = 'CALL_ANALYZED') AS analyzed
       FROM calls c`,
    );
    expect(calls).toHaveLength(names.length);
    for (const { id, ultravoxId, texts, analyzed } of calls) {
      expect(analyzed).toBe('1');
      const results = receiver.at('/crm').filter(({ json }) => uuidOf(json.data.call.id) === id);
      expect(new Set(results.map(({ json }) => json.id)).size).toBe(1);
      const sent: { text: string; speaker: string }[] = results[0]!.json.data.transcript;
      expect(sent.filter(({ speaker }) => speaker !== 'TOOL').map(({ text }) => text)).toEqual(
        texts,
      );
      expect(texts).toEqual(await textsAtUltravox(ultravoxId));
    }
    const steps = await database.query('SELECT DISTINCT status::text FROM post_call_steps');
    expect(steps).toEqual([{ status: 'DONE' }]);
    await workers[1]!.restart();
  });

  it('arrive at least once under one ID each, none of them invented, and sort by cursor', {
    timeout: 900_000,
  }, async () => {
    process.stderr.write(`CRASH_SEED=${SEED}\n`);
    const accepted = new Set<Received>();
    for (const path of ['/hook', '/crm']) {
      receiver.on(path, (response, request) => {
        const answer = isNextHeld ? hold : ANSWERS[Math.floor(random() * ANSWERS.length)]!;
        if (answer === ACCEPTED) accepted.add(request);
        answer(response);
      });
    }
    const { secret } = await runMutation(
      client,
      'createWebhookEndpoint',
      { url: `${receiver.url}/hook` },
      'webhookEndpoint { id } secret',
    );
    const { data } = await client.send('{ eventCursor }');

    // A repetition of this test makes calls of its own.
    const prefix = randomUUID();
    const kinds = Object.keys(FAILURES);
    const done: Record<string, number> = {};
    for (let round = 0; round < ROUNDS; round += 1) {
      const keys = Array.from({ length: CALLS_PER_ROUND }, (_, n) => `${prefix}-${round}-${n}`);
      const created = Promise.all(keys.map(createCall));
      const kind = kinds[round % kinds.length]!;
      await FAILURES[kind]!();
      done[kind] = (done[kind] ?? 0) + 1;
      await created;
      for (let move = 0; move < MOVES_PER_ROUND; move += 1) {
        await letTimePass(STORM_SECONDS / ROUNDS / MOVES_PER_ROUND, 200);
      }
    }
    for (const path of ['/hook', '/crm']) {
      receiver.on(path, (response, request) => {
        accepted.add(request);
        ACCEPTED(response);
      });
    }
    // Calls of which Ultravox has given up to tell are asked for an hour later.
    const askAt = Date.now() + 20_000;
    const logIsCompleteInTime = async () => {
      if (Date.now() > askAt) await moveClock(60);
      return logIsComplete();
    };
    await until('the end of the log', logIsCompleteInTime, 180_000);
    // The retries of three days.
    await until(
      'all deliveries',
      async () => {
        if ((await openDeliveries()) === 0) return true;
        await letTimePass(900, 300);
        return false;
      },
      120_000,
    );

    const log = await database.query<LogEntry>(
      `SELECT cursor::text, type, call_id AS "callId" FROM events WHERE events.cursor > $1
       ORDER BY events.cursor`,
      [data.eventCursor],
    );
    const callsOf = (type: string) => log.filter((entry) => entry.type === type).length;
    expect(callsOf('CALL_CREATED')).toBe(ROUNDS * CALLS_PER_ROUND);
    // A request that was cut off by a kill may never have reached Ultravox. That call has failed.
    const unknown = await database.query(
      `SELECT calls.id FROM calls JOIN events e ON e.call_id = calls.id
       WHERE e.type = 'CALL_CREATED' AND e.cursor > $1
         AND calls.placement = 'NOT_CREATED' AND calls.status = 'FAILED'`,
      [data.eventCursor],
    );
    expect(callsOf('CALL_ANALYZED')).toBe(ROUNDS * CALLS_PER_ROUND - unknown.length);
    for (const path of ['/hook', '/crm']) {
      const since = BigInt(data.eventCursor);
      const requests = receiver.at(path).filter(({ json }) => BigInt(json.data.cursor) > since);
      const idsOf = new Map<string, Set<string>>();
      for (const request of requests) {
        const entry = entryOf(request);
        idsOf.set(entry, (idsOf.get(entry) ?? new Set()).add(request.json.id));
        if (path === '/hook') expectGenuine(request, secret);
        else expectGenuine(request, CRM_SECRET, 'raw');
      }
      const arrived = [...idsOf.keys()];
      const sorted = arrived.toSorted((a, b) => cursorOf(a) - cursorOf(b));
      expect(sorted).toEqual(expectedAt(path, log));
      const acceptedAt = requests.filter((request) => accepted.has(request)).map(entryOf);
      expect(new Set(acceptedAt)).toEqual(new Set(arrived));
      expect([...idsOf.values()].filter(({ size }) => size !== 1)).toEqual([]);
      expect(new Set([...idsOf.values()].flatMap((ids) => [...ids])).size).toBe(arrived.length);
      process.stderr.write(
        `${path}: ${arrived.length} events in ${requests.length} requests; ${JSON.stringify(done)}\n`,
      );
    }
  });
});
