/** The search at Ultravox for calls that no webhook has announced. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { discoverCalls } from '../../../src/calls/ultravox/discovery.ts';
import type { Call as UltravoxCall } from '../../../src/ultravox/wire.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { atSimulator, makeAgent, newPerson, setFaults, uuidOf } from '../support.ts';

let server: TestServer;
let agentId: string;
beforeAll(async () => {
  // Without a worker, calls are searched for when a test says so.
  server = await startTestServer({
    settings: { ROLE: 'api', PRICE_PER_MINUTE: '999999.999999', LOG_LEVEL: 'silent' },
  });
  await setFaults(server, [{ kind: 'webhookLost' }]);
  const id = await makeAgent(server);
  const row = await server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(id) } });
  agentId = row.remoteId!;
});
afterAll(() => server.close());

/** Makes an inbound call that is not announced. */
async function callIn(): Promise<UltravoxCall> {
  const input = { agentId, from: newPerson(), to: newPerson(), medium: 'sip', force: true };
  const { status, body } = await atSimulator(server, 'POST', '/simulator/inbound-calls', input);
  expect(status).toBe(201);
  return server.app.ultravox.calls.get(body.callId);
}

const isKnown = async ({ callId }: UltravoxCall) =>
  (await server.app.db.call.count({ where: { ultravoxId: callId } })) === 1;

/**
 * Another process, and the times that it searches from. Its Ultravox has these calls, the oldest first, and fails or
 * waits before one of them.
 */
function processWith(
  calls: readonly UltravoxCall[],
  stop: { at: number; until?: Promise<void> } = { at: Number.POSITIVE_INFINITY },
) {
  const asked: string[] = [];
  async function* listAll({ fromDate, sort }: { fromDate?: string; sort?: string }) {
    asked.push(fromDate!);
    const listed = calls.filter(({ created }) => Date.parse(created) >= Date.parse(fromDate!));
    if (sort === '-created') listed.reverse();
    for (const [index, seen] of listed.entries()) {
      if (index === stop.at && !stop.until) throw new Error('The connection broke');
      if (index === stop.at) await stop.until;
      yield seen;
    }
  }
  const { ultravox } = server.app;
  const changed = { ...ultravox.calls, listAll } as typeof ultravox.calls;
  const app: App = { ...server.app, ultravox: { ...ultravox, calls: changed } };
  return { app, asked };
}

/** That many calls, created a second after each other in the last hours, of which the database has all. */
function manyCalls(like: UltravoxCall, count: number): UltravoxCall[] {
  const first = Date.parse(like.created) - 2 * 3_600_000;
  return Array.from({ length: count }, (_, second) => ({
    ...like,
    created: new Date(first + second * 1000).toISOString(),
  }));
}

/** Lets the next search begin with this call. */
async function continueWith(first: UltravoxCall): Promise<void> {
  await discoverCalls(server.app);
  await server.app.db.callDiscovery.updateMany({ data: { upTo: new Date(first.created) } });
}

describe('discoverCalls', () => {
  it('continues after a downtime where the last search was', async () => {
    const missed = await callIn();
    const days = (count: number) => new Date(Date.now() - count * 24 * 3_600_000);
    await discoverCalls(server.app);
    await server.app.db.callDiscovery.updateMany({ data: { upTo: days(3) } });
    const { app, asked } = processWith([{ ...missed, created: days(2).toISOString() }]);
    await discoverCalls(app);
    expect(Date.parse(asked[0]!)).toBeLessThanOrEqual(days(3).getTime());
    await discoverCalls(app);
    expect(Date.parse(asked[1]!)).toBeGreaterThan(days(2.1).getTime());
    await discoverCalls({ ...server.app });
    expect(await isKnown(missed)).toBe(true);
  });

  it('stores a call that ended long ago, also with durations that cannot be true', async () => {
    const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    const [joined, ended] = [minutesAgo(30), minutesAgo(20)];
    const missed = {
      ...(await callIn()),
      ...{ joined: joined.toISOString(), ended: ended.toISOString(), endReason: 'hangup' },
      ...{ maxDuration: 'PT1H', joinTimeout: 'soon' },
      ...{ billingStatus: 'BILLING_STATUS_BILLED', billedDuration: '99999999999s' },
    };
    await discoverCalls(processWith([missed]).app);
    const row = await server.app.db.call.findUniqueOrThrow({
      where: { ultravoxId: missed.callId },
    });
    // It rang until it was answered at the latest, not until it was found.
    expect(row).toMatchObject({ ringingAt: joined, answeredAt: joined, endedAt: ended });
    expect(row).toMatchObject({ maxDurationSeconds: 3_600, joinTimeoutSeconds: 30 });
    expect(row).toMatchObject({ status: 'COMPLETED', billedDurationSeconds: 24 * 86_400 });
    expect(row.costAmount!.toString()).toBe('999999.999999');
  });

  it('continues after calls whose creation times cannot be true', async () => {
    const [first, second] = [await callIn(), await callIn()];
    const calls = [
      { ...first, created: '+275760-09-13T00:00:00Z' },
      { ...second, created: '-000001-01-01T00:00:00Z' },
    ];
    for (const call of calls) {
      const { app } = processWith([]);
      async function* listAll() {
        yield call;
      }
      Object.assign(app.ultravox.calls, { listAll });
      await discoverCalls(app);
      const row = await server.app.db.call.findUniqueOrThrow({
        where: { ultravoxId: call.callId },
      });
      expect(row.createdAt.getTime()).toBeLessThanOrEqual(Date.now());
    }
  });

  it('finds a call that is older than thousands of others, and lists those only once', async () => {
    const calls = manyCalls(await callIn(), 3_000);
    await continueWith(calls[0]!);
    const missed = { ...(await callIn()), created: calls[0]!.created };
    const { app, asked } = processWith([missed, ...calls]);
    await discoverCalls(app);
    expect(await isKnown(missed)).toBe(true);
    await discoverCalls(app);
    expect(Date.parse(asked[1]!) - Date.parse(asked[0]!)).toBeGreaterThan(40 * 60_000);
  });

  it('finds calls after one whose creation lies in the future', async () => {
    const known = await callIn();
    const created = new Date(Date.now() + 3_600_000).toISOString();
    const ahead = { ...(await callIn()), created };
    await discoverCalls(processWith([known, ahead]).app);
    const missed = await callIn();
    await discoverCalls(processWith([known, missed, ahead]).app);
    expect(await isKnown(missed)).toBe(true);
    const where = { ultravoxId: ahead.callId };
    const row = await server.app.db.call.findUniqueOrThrow({ where });
    // Otherwise it would count as created in the last minute until then.
    expect(row.claimedAt!.getTime()).toBeLessThanOrEqual(Date.now());
    expect(row.createdAt).toEqual(row.claimedAt);
  });

  it('returns to the present from a progress in the future', async () => {
    const created = new Date(Date.now() + 3_600_000).toISOString();
    await continueWith({ ...(await callIn()), created });
    const missed = await callIn();
    await discoverCalls(server.app);
    expect(await isKnown(missed)).toBe(true);
  });

  it('continues where a search was interrupted', async () => {
    const calls = manyCalls(await callIn(), 3_000);
    await continueWith(calls[0]!);
    const broken = processWith(calls, { at: 1_000 });
    await expect(discoverCalls(broken.app)).rejects.toThrow('broke');
    await expect(discoverCalls(broken.app)).rejects.toThrow('broke');
    const [first, second] = broken.asked.map((from) => Date.parse(from));
    expect(second! - first!).toBe(999_000);
  });
});

describe('discoverCalls in several processes', () => {
  /** Starts a search that stops after a page until it is told to go on. */
  async function startSearch(known: UltravoxCall) {
    const calls = manyCalls(known, 3_000);
    await continueWith(calls[0]!);
    const gate = Promise.withResolvers<void>();
    const slow = processWith(calls, { at: 1_000, until: gate.promise });
    const search = discoverCalls(slow.app);
    await until('a part of the calls to be searched', async () => {
      const { upTo } = await server.app.db.callDiscovery.findFirstOrThrow();
      return upTo.toISOString() === calls[999]!.created;
    });
    return { calls, slow, search, goOn: gate.resolve };
  }

  it('lists the calls in one of them', async () => {
    const { calls, search, goOn } = await startSearch(await callIn());
    const other = processWith(calls);
    await discoverCalls(other.app);
    expect(other.asked).toEqual([]);
    goOn();
    await search;
    await discoverCalls(other.app);
    expect(Date.parse(other.asked[0]!)).toBeGreaterThan(Date.parse(calls[2_500]!.created));
  });

  it('continues in another one when a process has died', async () => {
    const { calls, search, goOn } = await startSearch(await callIn());
    await server.app.db.callDiscovery.updateMany({ data: { leaseUntil: new Date(0) } });
    const other = processWith(calls);
    await discoverCalls(other.app);
    expect(other.asked).toHaveLength(1);
    expect(Date.parse(other.asked[0]!)).toBeGreaterThan(Date.parse(calls[500]!.created));
    goOn();
    await expect(search).rejects.toThrow('lease');
  });
});

describe('discoverCalls, when a call cannot be ingested', () => {
  it.each([
    ['goes past it after it was tried a few times', 'P0001', true],
    ['waits while the database is away', '57P01', false],
  ])('%s', async (_, condition, isPassed) => {
    const [first, ...later] = manyCalls(await callIn(), 400);
    await continueWith(first!);
    const bad = { ...(await callIn()), created: first!.created };
    const { db } = server.app;
    await db.$executeRawUnsafe(`CREATE OR REPLACE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '${condition}', MESSAGE = 'By the test'; END $$`);
    await db.$executeRawUnsafe(`CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON calls
      FOR EACH ROW WHEN (NEW.ultravox_id = '${bad.callId}') EXECUTE FUNCTION fails()`);
    try {
      const { app } = processWith([bad, ...later]);
      const isPast = async () => {
        const { upTo } = await db.callDiscovery.findFirstOrThrow();
        return upTo.toISOString() === later.at(-1)!.created;
      };
      for (let searches = 1; searches <= 3; searches += 1) {
        await discoverCalls(app).catch(() => undefined);
        expect(await isPast()).toBe(isPassed && searches === 3);
      }
    } finally {
      await db.$executeRawUnsafe('DROP FUNCTION fails CASCADE');
    }
  });
});
