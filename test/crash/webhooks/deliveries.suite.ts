/** Webhooks to receivers that fail at random, while workers, the API, Redis and the database are killed and an hour passes. */
import { randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { expect, it, vi } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { waitRandomly } from '../../support/random.ts';
import { until } from '../../support/wait.ts';
import { type Received, verifiesByRecipe } from '../../webhooks/receiver.ts';
import {
  api,
  CRM_SECRET,
  caller,
  client,
  clockFile,
  database,
  logIsComplete,
  openDeliveries,
  random,
  receiver,
  redis,
  SEED,
  uuidOf,
  WORKERS,
  workers,
} from './processes.ts';

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 5);
const CALLS_PER_ROUND = 6;
const STORM_SECONDS = 3_600;
const MOVES_PER_ROUND = 6;

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

let aheadSeconds = 0;

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

export function deliveriesSuite(): void {
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
}
