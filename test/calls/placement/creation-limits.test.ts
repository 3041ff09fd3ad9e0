/** Creation limits across all processes: calls per second, calls per minute, and concurrent calls. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../../src/app.ts';
import { type Claims, claimWaitingCalls } from '../../../src/calls/placement/claims.ts';
import { creationHold, recordRefusal } from '../../../src/calls/placement/creation-hold.ts';
import { placeClaimedCalls, placeWaitingCalls } from '../../../src/calls/placement/placement.ts';
import { blockedSessions, sessionOf } from '../../support/locks.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  type CallView,
  callOf,
  dial,
  dialsOf,
  done,
  isBilled,
  isEnded,
  newCaller,
  resumeCreations,
  rowOf,
  run,
  setFaults,
  setSimulator,
  typesOf,
  uuidOf,
  waitForCall,
} from '../support.ts';

const CREATION = { method: 'POST', path: '/calls$' };
const TALKED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

async function creationsOf(server: TestServer): Promise<{ status: number; at: string }[]> {
  const { body } = await atSimulator(server, 'GET', '/simulator/requests?method=POST');
  return body.results.filter(({ path: at }: { path: string }) => at.endsWith('/calls'));
}

/** The most of these spans that cover one instant. */
function mostAtOnce(spans: [start: number, end: number][]): number {
  return Math.max(
    ...spans.map(([at]) => spans.filter(([start, end]) => start <= at && at < end).length),
  );
}

describe('creation limits of the Ultravox plan, over two processes', () => {
  const CONCURRENT = 3;
  const PER_SECOND = 4;
  const settings = {
    ULTRAVOX_MAX_CONCURRENT_CALLS: String(CONCURRENT),
    ULTRAVOX_MAX_CALLS_PER_SECOND: String(PER_SECOND),
  };
  let first: TestServer;
  let second: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    first = await startTestServer({
      settings,
      // Short calls, so that the pace is set by what is created in a second too.
      simulator: {
        maxConcurrentCalls: CONCURRENT,
        creationsPerSecond: PER_SECOND,
        ringSeconds: 1,
        talkSeconds: 8,
      },
    });
    second = await startTestServer({ settings, beside: first });
    caller = await newCaller(first);
  });
  afterAll(async () => {
    await second.close();
    await first.close();
  });

  it('are never exceeded: every call is placed once and Ultravox rejects none', async () => {
    const made = await Promise.all(
      Array.from({ length: 18 }, (_, index) =>
        dial({ ...caller, client: (index % 2 ? second : first).client }),
      ),
    );
    for (const { id } of made) {
      const call = await waitForCall(caller.client, id, 'billed', {
        holds: isBilled,
        timeoutMs: 60_000,
      });
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
      expect(typesOf(call)).toEqual(TALKED);
      expect(await dialsOf(first, id)).toHaveLength(1);
    }
    const creations = await creationsOf(first);
    expect(creations).toHaveLength(made.length);
    // Ultravox, which holds to the same limit, never had to refuse.
    expect(creations.filter(({ status }) => status !== 201)).toEqual([]);

    const rows = await first.app.db.call.findMany({
      where: { id: { in: made.map(({ id }) => uuidOf(id)) } },
    });
    const placed = rows.map(({ claimedAt }) => claimedAt!.getTime());
    expect(mostAtOnce(placed.map((at) => [at, at + 1_000]))).toBeLessThanOrEqual(PER_SECOND);
    expect(
      mostAtOnce(rows.map(({ claimedAt, endedAt }) => [claimedAt!.getTime(), endedAt!.getTime()])),
    ).toBeLessThanOrEqual(CONCURRENT);
    const arrived = creations.map(({ at }) => Date.parse(at));
    expect(mostAtOnce(arrived.map((at) => [at, at + 900]))).toBeLessThanOrEqual(PER_SECOND);
  });

  it('return the join URL to the caller when another process placed the test call', async () => {
    await setFaults(first, [{ kind: 'slow', ms: 400, ...CREATION }]);
    const { db } = first.app;
    let session = 0;
    const noting = new Proxy(second.app.db, {
      get(target, name) {
        if (name !== '$transaction') return Reflect.get(target, name);
        return <T>(work: (tx: Tx) => Promise<T>) =>
          target.$transaction(async (tx) => {
            session = await sessionOf(tx);
            return work(tx);
          });
      },
    });
    let asked: ReturnType<typeof run> | undefined;
    let taking: Promise<Claims> | undefined;
    try {
      // While the test holds the lock, the second process stands in line before the first.
      await db.$transaction(async (tx) => {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(7411001)`;
        const lock = { holder: await sessionOf(tx), statement: '%pg_advisory_xact_lock%' };
        taking = claimWaitingCalls({ ...second.app, db: noting });
        await until('the second process to wait', async () =>
          (await blockedSessions(db, lock)).includes(session),
        );
        asked = run(first.client, 'startTestCall', { agentId: caller.agentId });
        await until('the call to wait', () =>
          db.call.findFirst({ where: { placement: 'QUEUED', medium: 'WEBRTC' } }),
        );
      });
      const { ids } = await taking!;
      expect(ids).toHaveLength(1);
      placeClaimedCalls(second.app, ids);
      const payload = await asked;
      expect(payload.userErrors).toEqual([]);
      expect(payload.joinUrl).toMatch(/^ws:/);
    } finally {
      await setFaults(first, []);
    }
  });

  it('keep one connection waiting for their lock, however many calls are to be placed', async () => {
    const { db } = first.app;
    const calls = await db.$transaction(
      async (tx) => {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(7411001)`;
        const lock = { holder: await sessionOf(tx), statement: '%pg_advisory_xact_lock%' };
        const asked = Array.from({ length: 12 }, () => dial(caller));
        await until('the calls to wait', async () => {
          const waiting = await db.call.count({ where: { placement: 'QUEUED' } });
          return waiting >= 12 && (await blockedSessions(db, lock)).length > 0;
        });
        // Each asks for a placement when it is committed. A process has another connection for its campaigns.
        expect((await blockedSessions(db, lock)).length).toBeLessThanOrEqual(4);
        return { asked };
      },
      { timeout: 60_000 },
    );
    for (const { id } of await Promise.all(calls.asked)) {
      await waitForCall(first.client, id, 'ended', isEnded);
    }
  });

  it('count refused creations, and are never exceeded by them', async () => {
    await setFaults(first, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, probability: 0.7, ...CREATION },
    ]);
    const before = (await creationsOf(first)).length;
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        dial({ ...caller, client: (index % 2 ? second : first).client }),
      ),
    );
    for (const { id } of made)
      await waitForCall(caller.client, id, 'over', { holds: isEnded, timeoutMs: 60_000 });
    await setFaults(first, []);
    const creations = (await creationsOf(first)).slice(before);
    expect(creations.length).toBeGreaterThan(made.length);
    const arrived = creations.map(({ at }) => Date.parse(at));
    // They are counted when they are sent; a busy machine receives one later than it was sent.
    expect(mostAtOnce(arrived.map((at) => [at, at + 900]))).toBeLessThanOrEqual(PER_SECOND);

    // Also when Ultravox asks for no pause.
    await until('a second without creations', () => Date.now() > Math.max(...arrived) + 1_500);
    // A call may follow when the first of them is a second old.
    const refused = Date.now();
    for (let count = 0; count < PER_SECOND; count += 1) await recordRefusal(first.app, 0);
    const { id } = await dial({ ...caller, client: second.client });
    await until('the call', async () => (await dialsOf(first, id)).length > 0);
    const [{ at }] = await dialsOf(first, id);
    expect(Date.parse(at)).toBeGreaterThanOrEqual(refused + 950);
  });

  it('let a worker place a call whose API process has stopped', async () => {
    const alone = await startTestServer({ settings: { ...settings, ROLE: 'api' }, beside: first });
    const made = await dial({ ...caller, client: alone.client });
    await alone.close();
    const call = await waitForCall(first.client, made.id, 'billed', isBilled);
    expect(typesOf(call)).toEqual(TALKED);
  });
});

describe('Retry-After of a refused creation', () => {
  let first: TestServer;
  let second: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    first = await startTestServer();
    second = await startTestServer({ beside: first });
    caller = await newCaller(first);
  });
  afterAll(async () => {
    await second.close();
    await first.close();
  });

  it('holds back the calls of all processes, also after the refused call was ended', async () => {
    await setFaults(first, [
      { kind: 'status', status: 429, retryAfterSeconds: 6, count: 1, ...CREATION },
    ]);
    const refused = await run(first.client, 'startTestCall', { agentId: caller.agentId });
    expect(refused.userErrors).toMatchObject([{ code: 'CAPACITY_EXCEEDED' }]);
    const { retryAt } = refused.userErrors[0];
    const [refusal] = await creationsOf(first);
    expect(Date.parse(retryAt) - Date.parse(refusal!.at)).toBeGreaterThanOrEqual(6_000);
    const made = await dial({ ...caller, client: second.client });
    expect(made.status).toBe('CREATED');
    await waitForCall(caller.client, made.id, 'dialed', ({ ringingAt }) => ringingAt !== null);
    const [, creation] = await creationsOf(first);
    expect(Date.parse(creation!.at)).toBeGreaterThanOrEqual(Date.parse(retryAt) - 5);
  });

  it('is followed by one request, and by one more at a time with each that is accepted', async () => {
    const answerMs = 700;
    await first.app.db.creationRefusal.deleteMany();
    await setFaults(first, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, count: 4, ...CREATION },
      { kind: 'slow', ms: answerMs, ...CREATION },
    ]);
    const before = (await creationsOf(first)).length;
    const calls = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        dial({ ...caller, client: (index % 2 ? second : first).client }),
      ),
    );
    for (const { id } of calls) {
      await waitForCall(caller.client, id, 'dialed', ({ ringingAt }) => ringingAt !== null);
    }
    await setFaults(first, []);
    const creations = (await creationsOf(first)).slice(before);
    const refusedAt = Math.max(
      ...creations.flatMap(({ at, status }) => (status === 429 ? Date.parse(at) : [])),
    );
    const later = creations.map(({ at }) => Date.parse(at)).filter((at) => at > refusedAt + 900);
    expect(later.length).toBeGreaterThan(3);
    later.forEach((at, index) => {
      const answered = later.filter((other) => other + answerMs <= at).length;
      expect(index - answered).toBeLessThanOrEqual(answered);
    });
  });

  it('holds back a call that was claimed before the refusal', async () => {
    const { db } = first.app;
    await recordRefusal(first.app, 60);
    const made = await dial(caller);
    await db.call.update({
      where: { id: uuidOf(made.id) },
      data: { placement: 'CLAIMED', claimedAt: new Date() },
    });
    await placeClaimedCalls(second.app, [uuidOf(made.id)]);
    expect(await rowOf(first, made.id)).toMatchObject({ placement: 'QUEUED', sentAt: null });
    expect(await dialsOf(first, made.id)).toEqual([]);
    await db.creationRefusal.deleteMany();
    await placeWaitingCalls(first.app);
    await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(await dialsOf(first, made.id)).toHaveLength(1);
  });
});

describe('Retry-After of another request', () => {
  it('holds back all requests of the account', async () => {
    const server = await startTestServer();
    const caller = await newCaller(server);
    const path = '/api/agents/[^/]+$';
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 3, count: 1, method: 'PATCH', path },
    ]);
    const input = { id: caller.agentId, systemPrompt: 'Answer in one sentence.' };
    await done(server.client, 'updateAgent', input);
    const refusal = await until('the refusal', () =>
      server.simulator.requests().find(({ status }) => status === 429),
    );
    const made = await dial(caller);
    expect(made.status).toBe('CREATED');
    await waitForCall(caller.client, made.id, 'dialed', ({ ringingAt }) => ringingAt !== null);
    const [creation] = await creationsOf(server);
    expect(Date.parse(creation!.at) - Date.parse(refusal.at)).toBeGreaterThanOrEqual(2_900);
    await server.close();
  });
});

describe('creations whose outcome is unknown', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  const placements = async (calls: readonly CallView[]) => {
    const rows = await server.app.db.call.findMany({
      where: { id: { in: calls.map(({ id }) => uuidOf(id)) } },
    });
    return Map.groupBy(rows, ({ placement }) => placement);
  };

  it('let one call at a time be tried, and the others wait', async () => {
    await setFaults(server, [{ kind: 'status', status: 502, ...CREATION }]);
    const lost = await dial(caller);
    expect((await rowOf(server, lost.id)).placement).toBe('UNKNOWN');
    const made: CallView[] = await Promise.all(Array.from({ length: 20 }, () => dial(caller)));
    const waiting = (await placements(made)).get('QUEUED') ?? [];
    expect(waiting.length).toBeGreaterThan(10);

    await setFaults(server, []);
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    await until(
      'the waiting calls to be accepted',
      async () => {
        const accepted = (await placements(made)).get('ACCEPTED') ?? [];
        return accepted.length >= waiting.length;
      },
      60_000,
    );
  });

  it('hold back others while Ultravox cannot be asked what became of them', async () => {
    await setFaults(server, [{ kind: 'status', status: 502, path: '/calls' }]);
    const lost = await dial(caller);
    expect((await rowOf(server, lost.id)).placement).toBe('UNKNOWN');
    await until('a hold', () => creationHold(server.app));
    const made = await dial(caller);
    expect((await rowOf(server, made.id)).placement).toBe('QUEUED');
    await setFaults(server, []);
    await waitForCall(caller.client, made.id, 'dialed', ({ ringingAt }) => ringingAt !== null);
    expect(await dialsOf(server, lost.id)).toEqual([]);
  });
});

it('creates no more calls in a minute than ULTRAVOX_MAX_CALLS_PER_MINUTE', async () => {
  const server = await startTestServer({
    settings: { ULTRAVOX_MAX_CALLS_PER_MINUTE: '3' },
    simulator: { creationsPerMinute: 3 },
  });
  try {
    const caller = await newCaller(server);
    const made: CallView[] = [];
    for (let count = 0; count < 5; count += 1) made.push(await dial(caller));
    const waits = made.map(({ status }) => status === 'CREATED');
    expect(waits).toEqual([false, false, false, true, true]);
    for (const { id } of made.slice(0, 3)) {
      await waitForCall(caller.client, id, 'over', isEnded);
    }
    // Those that are over leave room for other calls, but not in this minute.
    await placeWaitingCalls(server.app);
    expect((await callOf(caller.client, made[3].id)).status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(3);

    // A minute goes by: one leaves the window, and the one that waits longest is next.
    await setSimulator(server, { creationsPerMinute: null });
    const longAgo = new Date(Date.now() - 61_000);
    await server.app.db.call.update({
      where: { id: uuidOf(made[0].id) },
      data: { claimedAt: longAgo, sentAt: longAgo, ringingAt: longAgo },
    });
    await placeWaitingCalls(server.app);
    await waitForCall(caller.client, made[3].id, 'dialed', ({ ringingAt }) => ringingAt !== null);
    expect((await callOf(caller.client, made[4].id)).status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(4);
  } finally {
    await server.close();
  }
});
