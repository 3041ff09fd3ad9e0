/** Placing calls: Ultravox's limits across processes, and a phone that never rings twice. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  failStaleCalls,
  giveBackDeadClaims,
  placeClaimedCalls,
  placeWaitingCalls,
  requestFor,
} from '../../src/calls/placement.ts';
import { newId, publicId } from '../../src/infra/ids.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  addNumber,
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
  newPerson,
  problemsOf,
  rowOf,
  run,
  setFaults,
  setSimulator,
  tryToDial,
  typesOf,
  uuidOf,
  waitForCall,
} from './support.ts';

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

describe('the limits of the plan, over two processes', () => {
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

  test('are never broken, every call is placed once, and none is refused', async () => {
    const made = await Promise.all(
      Array.from({ length: 18 }, (_, index) =>
        dial({ ...caller, client: (index % 2 ? second : first).client }),
      ),
    );
    for (const { id } of made) {
      const call = await waitForCall(caller.client, id, 'billed', isBilled, 60_000);
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
    const placed = rows.map(({ placingAt }) => placingAt!.getTime());
    expect(mostAtOnce(placed.map((at) => [at, at + 1_000]))).toBeLessThanOrEqual(PER_SECOND);
    expect(
      mostAtOnce(rows.map(({ placingAt, endedAt }) => [placingAt!.getTime(), endedAt!.getTime()])),
    ).toBeLessThanOrEqual(CONCURRENT);
    const arrived = creations.map(({ at }) => Date.parse(at));
    expect(mostAtOnce(arrived.map((at) => [at, at + 1_000]))).toBeLessThanOrEqual(PER_SECOND);
  });

  test('a call that another process took up still gives its address to who asked', async () => {
    await setFaults(first, [{ kind: 'slow', ms: 400, ...CREATION }]);
    const { db } = first.app;
    let asked: ReturnType<typeof run> | undefined;
    let taking: Promise<void> | undefined;
    try {
      // While the test holds the lock, the second process stands in line before the first.
      await db.$transaction(async (tx) => {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(7411001)`;
        taking = placeWaitingCalls(second.app);
        const waiting = async (count: number) => {
          const [row] = await tx.$queryRaw<{ count: bigint }[]>`
            SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
          return Number(row?.count) >= count;
        };
        await until('the second process to wait', () => waiting(1));
        asked = run(first.client, 'startTestCall', { agentId: caller.agentId });
        await until('both to wait', () => waiting(2));
      });
      await taking;
      const payload = await asked;
      expect(payload.userErrors).toEqual([]);
      expect(payload.joinUrl).toMatch(/^ws:/);
    } finally {
      await setFaults(first, []);
    }
  });

  test('a call made while the other process runs alone is placed by it', async () => {
    const alone = await startTestServer({ settings: { ...settings, ROLE: 'api' }, beside: first });
    const made = await dial({ ...caller, client: alone.client });
    await alone.close();
    const call = await waitForCall(first.client, made.id, 'billed', isBilled);
    expect(typesOf(call)).toEqual(TALKED);
  });
});

test('no more calls are created in a minute than the plan has', async () => {
  const server = await startTestServer({
    settings: { ULTRAVOX_MAX_CALLS_PER_MINUTE: '3' },
    simulator: { creationsPerMinute: 3 },
  });
  try {
    const caller = await newCaller(server);
    const made: CallView[] = [];
    for (let count = 0; count < 5; count += 1) made.push(await dial(caller));
    expect(made.map(({ status }) => status)).toEqual([
      ...['RINGING', 'RINGING', 'RINGING'],
      ...['CREATED', 'CREATED'],
    ]);
    for (const { id } of made.slice(0, 3)) {
      await waitForCall(caller.client, id, 'over', isEnded);
    }
    // Those that are over leave room for other calls, but not in this minute.
    await placeWaitingCalls(server.app);
    expect((await callOf(caller.client, made[3].id)).status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(3);

    // A minute goes by: one leaves the window, and the one that waits longest is next.
    await setSimulator(server, { creationsPerMinute: null });
    await server.app.db.call.update({
      where: { id: uuidOf(made[0].id) },
      data: { placingAt: new Date(Date.now() - 61_000) },
    });
    await placeWaitingCalls(server.app);
    await waitForCall(caller.client, made[3].id, 'dialled', ({ ringingAt }) => ringingAt !== null);
    expect((await callOf(caller.client, made[4].id)).status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(4);
  } finally {
    await server.close();
  }
});

/** Ultravox carries out a request that we have given up, as if it had been stuck on the way. */
async function dialLate(server: TestServer, id: string): Promise<string> {
  const { agent } = await server.app.db.call.findUniqueOrThrow({
    where: { id: uuidOf(id) },
    include: { agent: true },
  });
  const { status, body } = await atSimulator(
    server,
    'POST',
    `/api/agents/${agent.ultravoxId}/calls`,
    {
      metadata: { callId: id },
      medium: { sip: { outgoing: { to: 'sip:+14155550177@x.test', from: 'desk@x.test' } } },
    },
  );
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.callId;
}

describe('when Ultravox', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer({
      settings: { ULTRAVOX_TIMEOUT_SECONDS: '1', LOG_LEVEL: 'silent' },
    });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  test.each([
    [429, 2],
    [503, 2],
    [429, null],
  ])('answers %i with Retry-After %s, the call waits and is placed', async (status, seconds) => {
    await setFaults(server, [
      { kind: 'status', status, retryAfterSeconds: seconds, count: 1, ...CREATION },
    ]);
    const from = Date.now();
    const made = await dial(caller);
    expect(made).toMatchObject({ status: 'CREATED', endReason: null, failure: null });
    const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
    expect(typesOf(call)).toEqual(TALKED);
    const dials = await dialsOf(server, made.id);
    expect(dials).toHaveLength(1);
    expect(Date.parse(dials[0].at) - from).toBeGreaterThanOrEqual((seconds ?? 1) * 1000 - 50);
  });

  test('is full again and again, no call is lost or fails', async () => {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, probability: 0.5, ...CREATION },
    ]);
    try {
      const calls = await Promise.all(Array.from({ length: 8 }, () => dial(caller)));
      for (const { id } of calls) {
        const call = await waitForCall(caller.client, id, 'billed', isBilled, 60_000);
        expect(typesOf(call)).toEqual(TALKED);
        expect(await dialsOf(server, id)).toHaveLength(1);
      }
    } finally {
      await setFaults(server, []);
    }
  }, 90_000);

  test('is full and the call is ended meanwhile, it is cancelled and its end is told', async () => {
    await setFaults(server, [
      { kind: 'slow', ms: 500, count: 1, ...CREATION },
      { kind: 'status', status: 429, retryAfterSeconds: 30, count: 1, ...CREATION },
    ]);
    const phoneNumber = newPerson();
    const asked = dial(caller, phoneNumber);
    const row = await until('the call to be claimed', () =>
      server.app.db.call.findFirst({ where: { phoneNumber, placingAt: { not: null } } }),
    );
    await done(caller.client, 'endCall', { id: publicId('cal', row.id) });
    const call = await asked;
    expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', failure: null });
    expect(typesOf(call)).toEqual(['CREATED', 'CANCELLED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  test.each([
    [400, 'ULTRAVOX_REFUSED', 'Simulated fault'],
    [401, 'ULTRAVOX_UNAVAILABLE', 'Simulated fault'],
    [402, 'PAYMENT_REQUIRED', 'Simulated fault'],
  ])('answers %i, the call fails and says why', async (status, code, text) => {
    await setFaults(server, [{ kind: 'status', status, count: 1, ...CREATION }]);
    const payload = await tryToDial(caller);
    const { call } = payload;
    expect(problemsOf(payload)).toEqual([`${code} `]);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain(text);
    expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  describe.each([
    ['and its webhooks come', []],
    ['and its webhooks are lost', [{ kind: 'webhookLost' }]],
  ])('dials but its answer is lost %s', (_how, more) => {
    test.each([
      'dropAfter',
      'truncate',
    ])('(%s), the call is taken up, dialled once', async (kind) => {
      await setFaults(server, [{ kind, count: 1, ...CREATION }, ...more]);
      try {
        const made = await dial(caller);
        const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
        expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP', failure: null });
        expect(typesOf(call)).toEqual(TALKED);
        expect(await dialsOf(server, made.id)).toHaveLength(1);
      } finally {
        await setFaults(server, []);
      }
    });
  });

  test('dials only after our time was up, the call is taken up, dialled once', async () => {
    await setFaults(server, [{ kind: 'timeout', count: 1, ...CREATION }, { kind: 'webhookLost' }]);
    try {
      const made = await dial(caller);
      expect(made.status).toBe('CREATED');
      await dialLate(server, made.id);
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(typesOf(call)).toEqual(TALKED);
      expect(await dialsOf(server, made.id)).toHaveLength(1);
    } finally {
      await setFaults(server, []);
    }
  });

  test('may or may not have dialled and has no trace of it, the call fails and is never redialled', async () => {
    const made: Record<string, CallView> = {};
    for (const [kind, fault] of Object.entries({
      dropBefore: { kind: 'dropBefore' },
      timeout: { kind: 'timeout' },
      500: { kind: 'status', status: 500 },
    })) {
      await setFaults(server, [{ ...fault, count: 1, ...CREATION }]);
      made[kind] = await dial(caller);
      expect(made[kind].status).toBe('CREATED');
    }
    // A process that died while it sent the request, for all that can be known.
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 60, count: 1, ...CREATION },
    ]);
    made.died = await dial(caller);
    const now = new Date();
    await server.app.db.call.update({
      where: { id: uuidOf(made.died.id) },
      data: { placingAt: now, sendingAt: now, placeNotBefore: null, nextCheckAt: now },
    });
    const { length: before } = await creationsOf(server);
    for (const { id } of Object.values(made)) {
      const call = await waitForCall(caller.client, id, 'over', isEnded, 40_000);
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
      expect(call.failure).toContain('Nobody was called');
      expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
      expect(await dialsOf(server, id)).toEqual([]);
    }
    expect(await creationsOf(server)).toHaveLength(before);
  }, 60_000);

  test('turns out to have dialled after the call was given up, it is hung up when answered', async () => {
    await setSimulator(server, { talkSeconds: 100_000, ringSeconds: 20 });
    await setFaults(server, [{ kind: 'dropBefore', count: 1, ...CREATION }]);
    try {
      const made = await dial(caller);
      await server.app.db.call.update({
        where: { id: uuidOf(made.id) },
        data: { placingAt: new Date(Date.now() - 60_000), nextCheckAt: new Date() },
      });
      await waitForCall(caller.client, made.id, 'given up', isEnded);
      await setFaults(server, [{ kind: 'webhookLost' }]);
      const lateId = await dialLate(server, made.id);
      await until('it to be hung up', async () => {
        const { body } = await atSimulator(server, 'GET', `/api/calls/${lateId}`);
        return body.endReason === 'agent_hangup';
      });
      // What it cost is known all the same; what it was stays as it was told.
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
      expect(typesOf(call)).toEqual(['CREATED', 'FAILED', 'BILLED']);
    } finally {
      await setFaults(server, []);
      await setSimulator(server, { talkSeconds: 45, ringSeconds: 4 });
    }
  });

  test('cannot be asked either what became of a call, the call still reaches an end', async () => {
    await setFaults(server, [
      { kind: 'timeout', count: 1, ...CREATION },
      { kind: 'status', status: 500, method: 'GET' },
    ]);
    try {
      const made = await dial(caller, newPerson(), {
        settings: { joinTimeout: '1s', maxDuration: '2s' },
      });
      const call = await waitForCall(caller.client, made.id, 'over', isEnded, 30_000);
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'UNKNOWN' });
      expect(call.failure).toContain('could not be asked');
    } finally {
      await setFaults(server, []);
    }
  }, 40_000);

  test('holds an agent no more, it is made there again and the call waits for it', async () => {
    const gone = await newCaller(server);
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, count: 1, ...CREATION },
    ]);
    const made = await dial(gone);
    await server.app.db.agent.update({
      where: { id: uuidOf(gone.agentId) },
      data: { ultravoxId: null, status: 'DRAFT' },
    });
    const call = await waitForCall(gone.client, made.id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  test('says that it has no such agent, the agent is sent again and the call waits', async () => {
    await setFaults(server, [{ kind: 'status', status: 404, count: 1, ...CREATION }]);
    const made = await dial(caller);
    expect(made.status).toBe('CREATED');
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
  });

  test('asks to wait for no time at all, it is not asked again at once', async () => {
    await setFaults(server, [{ kind: 'status', status: 429, retryAfterSeconds: 0, ...CREATION }]);
    const before = server.simulator.requests().length;
    const made = await dial(caller);
    const started = Date.now();
    await until('three refusals', () => refusals(server, before) >= 3);
    expect(Date.now() - started).toBeGreaterThan(1_500);
    await setFaults(server, []);
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
  });
});

describe('between the claim and the request', () => {
  let server: TestServer;
  let caller: Caller;
  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  test('a call that is ended meanwhile is not dialled', async () => {
    const phoneNumber = newPerson();
    const row = await waitingCall(phoneNumber);
    // As if another process had claimed it and then been held up.
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placingAt: new Date(), endRequestedAt: new Date() },
    });
    placeClaimedCalls(server.app, [row.id]);
    const call = await waitForCall(caller.client, publicId('cal', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'CANCELLED' });
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  test('a claim that has grown old is given back, and not dialled twice', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placingAt: new Date(Date.now() - 60_000) },
    });
    placeClaimedCalls(server.app, [row.id]);
    const call = await waitForCall(caller.client, publicId('cal', row.id), 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  test('a number that comes onto the do-not-call list meanwhile is not dialled', async () => {
    const phoneNumber = newPerson();
    const row = await waitingCall(phoneNumber);
    await server.app.db.doNotCallEntry.create({
      data: { organizationId: server.organizationId, phoneNumber },
    });
    const call = await waitForCall(caller.client, publicId('cal', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('do-not-call');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  test('a claim whose process died before it sent anything is given back, and dialled once', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placingAt: new Date(Date.now() - 60_000), placeNotBefore: null },
    });
    await giveBackDeadClaims(server.app);
    const call = await waitForCall(caller.client, publicId('cal', row.id), 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  test('a call that has waited for more than an hour is not dialled, and fails', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { createdAt: new Date(Date.now() - 2 * 3_600_000), placeNotBefore: null },
    });
    await placeWaitingCalls(server.app);
    await failStaleCalls(server.app);
    const call = await waitForCall(caller.client, publicId('cal', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('Nobody was called');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  /** A call that Ultravox has had no room for yet. */
  async function waitingCall(phoneNumber: string) {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 3, count: 1, ...CREATION },
    ]);
    const made = await dial(caller, phoneNumber);
    expect(made.status).toBe('CREATED');
    return server.app.db.call.findUniqueOrThrow({ where: { id: uuidOf(made.id) } });
  }
});

/** How many creations of calls the simulator has refused since so many requests. */
function refusals(server: TestServer, since: number): number {
  return server.simulator
    .requests()
    .slice(since)
    .filter(({ path, status }) => path.endsWith('/calls') && status === 429).length;
}

describe('when nothing listens at Ultravox’s address', () => {
  test('a call waits, and is placed when it is back, or fails once it is too late', async () => {
    const server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
    const caller = await newCaller(server);
    const { port } = new URL(server.simulator.url);
    await server.simulator.close();
    const late = await dial(caller);
    expect(late.status).toBe('CREATED');
    const failed = await waitForCall(caller.client, late.id, 'given up', isEnded);
    expect(failed).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(failed.failure).toContain('connection failed');
    expect(Date.parse(failed.endedAt) - Date.parse(failed.createdAt)).toBeGreaterThan(5_000);

    const made = await dial(caller);
    expect(made.status).toBe('CREATED');
    const again = await startSimulator({
      port: Number(port),
      databasePath: path.join(server.app.config.DATA_DIR, 'simulator.db'),
      speed: 50,
    });
    try {
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(typesOf(call)).toEqual(TALKED);
      expect(again.dials().map(({ metadata }) => metadata.callId)).toEqual([made.id]);
    } finally {
      await again.close();
      await server.close();
    }
  }, 60_000);
});

describe('what Ultravox is asked for', () => {
  let server: TestServer;
  let caller: Caller;
  let id: string;

  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server, {
      greetingSettings: { firstSpeaker: 'AGENT', text: 'Hi', delay: '1s' },
    });
    const made = await dial(caller, '+14155550160', {
      variables: { first_name: 'Ada' },
      settings: { recordingEnabled: true },
    });
    id = made.id;
  });
  afterAll(() => server.close());

  async function requestWith(change: { number?: object; settings?: object; alone?: boolean } = {}) {
    const call = await server.app.db.call.findUniqueOrThrow({
      where: { id: uuidOf(id) },
      include: { agent: true, number: true },
    });
    return requestFor(server.app, {
      ...call,
      settings: change.settings ? { ...change.settings } : call.settings,
      number: change.alone ? null : { ...call.number!, ...change.number },
    });
  }

  test('is dialled through the carrier of the number', async () => {
    expect((await requestWith()).medium).toEqual({
      sip: {
        outgoing: {
          to: 'sip:+14155550160@sip.example.com',
          from: caller.ownNumber,
          username: 'desk',
          password: 'sip-password',
        },
      },
    });
    const outgoing = { to: '+14155550160', from: caller.ownNumber };
    for (const provider of ['TWILIO', 'TELNYX'] as const) {
      expect((await requestWith({ number: { provider } })).medium).toEqual({
        [provider.toLowerCase()]: { outgoing },
      });
    }
    expect((await requestWith({ alone: true })).medium).toEqual({ webRtc: {} });
  });

  test('holds our ids, the variables, and of the settings only what was given', async () => {
    expect(await requestWith({ settings: {} })).toEqual({
      medium: expect.anything(),
      metadata: { callId: id, organizationId: publicId('org', server.organizationId) },
      templateContext: { first_name: 'Ada' },
      recordingEnabled: true,
    });
    const settings = { greeting: 'Hello', maxDuration: '90s', joinTimeout: '20s' };
    expect(await requestWith({ settings })).toMatchObject({
      maxDuration: '90s',
      joinTimeout: '20s',
      firstSpeakerSettings: { agent: { text: 'Hello', delay: '1s' } },
    });
  });

  test('the password of a trunk is nowhere but there', async () => {
    await waitForCall(caller.client, id, 'billed', isBilled);
    const { ultravoxId } = await rowOf(server, id);
    const kept = await server.app.db.$queryRaw`
      SELECT to_jsonb(c)::text AS text FROM calls c
      UNION ALL SELECT to_jsonb(n)::text FROM phone_numbers n
      UNION ALL SELECT to_jsonb(w)::text FROM ultravox_webhooks w
      WHERE ultravox_call_id = ${ultravoxId}`;
    expect(JSON.stringify(kept)).not.toContain('sip-password');
    expect(JSON.stringify(await callOf(caller.client, id))).not.toContain('sip-password');
  });

  test('dials over Twilio too', async () => {
    const twilio = await newCaller(server);
    const number = await addNumber(server.client, twilio.agentId, ['OUTBOUND'], {
      twilio: { accountSid: `AC${'0123456789abcdef'.repeat(2)}`, authToken: newId() },
    });
    const made = await dial(twilio, newPerson(), { fromNumber: number.phoneNumber });
    const call = await waitForCall(server.client, made.id, 'billed', isBilled);
    expect(call).toMatchObject({ medium: 'TWILIO', fromNumber: number.phoneNumber });
    expect(typesOf(call)).toEqual(TALKED);
    expect(await dialsOf(server, made.id)).toMatchObject([{ to: made.phoneNumber }]);
  });
});
