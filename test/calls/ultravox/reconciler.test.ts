/** Lost calls: every call ends, and no conversation is cut because updates are missing. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { recordRefusal } from '../../../src/calls/placement/creation-hold.ts';
import { checkCalls } from '../../../src/calls/ultravox/reconciler.ts';
import { unfilteredCalls } from '../../../src/ultravox/error.ts';
import type { Call as UltravoxCall } from '../../../src/ultravox/wire.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { dialLate } from '../placement/waiting-calls.ts';
import {
  type Caller,
  callOf,
  dial,
  done,
  isBilled,
  isEnded,
  newCaller,
  remoteCallOf,
  resumeCreations,
  rowOf,
  setFaults,
  setSimulator,
  steered,
  uuidOf,
  waitForCall,
} from '../support.ts';

let server: TestServer;
let caller: Caller;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  await setSimulator(server, { talkSeconds: 3_000 });
  caller = await newCaller(server);
});
afterAll(() => server.close());

const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000);

const makeOverdue = (id: string) =>
  server.app.db.call.update({
    where: { id: uuidOf(id) },
    data: { lostAt: new Date(Date.now() - 1_000), nextCheckAt: new Date(0) },
  });

/** Looks up calls in half an hour. `get` replaces the request to Ultravox. */
async function checkLater(get: (ultravoxId: string) => Promise<UltravoxCall>): Promise<void> {
  const { ultravox } = server.app;
  const calls = { ...ultravox.calls, get } as typeof ultravox.calls;
  const now = () => inMinutes(30);
  await checkCalls({ ...server.app, now, ultravox: { ...ultravox, calls } });
}

describe('checkCalls', () => {
  it('lets a call last as long as its ringing time and duration together', async () => {
    await setFaults(server, [{ kind: 'webhookLost' }]);
    const made = await dial(caller);
    const row = await server.app.db.call.findUniqueOrThrow({ where: { id: uuidOf(made.id) } });
    const seconds = (row.lostAt!.getTime() - row.ringingAt!.getTime()) / 1000;
    expect(seconds).toBeGreaterThanOrEqual(row.joinTimeoutSeconds + row.maxDurationSeconds);
    await setFaults(server, []);
  });

  it('lets a call last as long as its agent allowed when it was dialed, and not when it was made', async () => {
    const from = await newCaller(server, { maxDuration: '60s' });
    await setFaults(server, [
      {
        kind: 'status',
        status: 429,
        retryAfterSeconds: 60,
        count: 1,
        method: 'POST',
        path: '/calls$',
      },
    ]);
    const { id, status } = await dial(from);
    expect(status).toBe('CREATED');
    await done(from.client, 'updateAgent', { id: from.agentId, maxDuration: '7200s' });
    await resumeCreations(server);
    await waitForCall(from.client, id, 'live', (call) => call.status === 'IN_PROGRESS');
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      // Not due for the worker.
      data: { nextCheckAt: inMinutes(20) },
    });
    await checkCalls({ ...server.app, now: () => inMinutes(30) });
    expect(await callOf(from.client, id)).toMatchObject({ status: 'IN_PROGRESS' });
    expect((await remoteCallOf(server, id)).body.ended).toBeNull();
  });

  it('closes an overdue call as lost while Ultravox is unreachable, and does not hang it up later', async () => {
    const made = await dial(caller);
    await waitForCall(caller.client, made.id, 'live', (call) => call.status === 'IN_PROGRESS');
    await setFaults(server, [{ kind: 'status', status: 500, method: 'GET' }]);
    await makeOverdue(made.id);
    await checkCalls(server.app);
    // The worker may have been first.
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'UNKNOWN' });
    await setFaults(server, []);
    await server.app.db.call.update({
      where: { id: uuidOf(made.id) },
      // Not due for the worker.
      data: { nextCheckAt: inMinutes(20) },
    });
    await checkCalls({ ...server.app, now: () => inMinutes(30) });
    expect((await remoteCallOf(server, made.id)).body.ended).toBeNull();
  });

  it('hangs up and closes a call that Ultravox reports as live beyond its maximum duration', async () => {
    const made = await dial(caller);
    await waitForCall(caller.client, made.id, 'live', (call) => call.status === 'IN_PROGRESS');
    await makeOverdue(made.id);
    await checkCalls(server.app);
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect((await remoteCallOf(server, made.id)).body.ended).not.toBeNull();
  });

  it('closes an overdue call as lost when what Ultravox reports of it cannot be stored', async () => {
    const { id } = await dial(caller);
    await waitForCall(caller.client, id, 'live', ({ answeredAt }) => answeredAt);
    const { body } = await remoteCallOf(server, id);
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      // Not due for the worker.
      data: { lostAt: inMinutes(10), nextCheckAt: inMinutes(20) },
    });
    await server.app.db.$executeRawUnsafe(
      `ALTER TABLE calls ADD CONSTRAINT refused CHECK (id <> '${uuidOf(id)}' OR end_reason <> 'HANGUP')`,
    );
    const ended = new Date().toISOString();
    await checkLater(async () => ({ ...body, ended, endReason: 'hangup' }));
    expect(await rowOf(server, id)).toMatchObject({ status: 'COMPLETED', endReason: 'UNKNOWN' });
  });

  it('looks an overdue call up again when a deadlock kept its end from being stored', async () => {
    const { id } = await dial(caller);
    const call = await waitForCall(caller.client, id, 'live', ({ answeredAt }) => answeredAt);
    const { body } = await remoteCallOf(server, id);
    const { db } = server.app;
    const where = { id: uuidOf(id) };
    // Not due for the worker.
    await db.call.update({ where, data: { lostAt: inMinutes(10), nextCheckAt: inMinutes(20) } });
    await db.$executeRawUnsafe(`CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER deadlock BEFORE UPDATE ON calls
      FOR EACH ROW WHEN (NEW.end_reason = 'HANGUP') EXECUTE FUNCTION deadlock()`);
    const ended = new Date(Date.parse(call.answeredAt) + 5_000).toISOString();
    const lookUp = () => checkLater(async () => ({ ...body, ended, endReason: 'hangup' }));
    try {
      await lookUp();
      expect(await rowOf(server, id)).toMatchObject({ status: 'IN_PROGRESS' });
    } finally {
      await db.$executeRawUnsafe('DROP FUNCTION deadlock CASCADE');
    }
    await db.call.update({ where, data: { nextCheckAt: inMinutes(20) } });
    await lookUp();
    expect(await rowOf(server, id)).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
  });

  it('closes a lost call at its latest possible end, however late that is noticed', async () => {
    const { id } = await dial(caller);
    await waitForCall(caller.client, id, 'live', ({ answeredAt }) => answeredAt);
    const answeredAt = inMinutes(-60 * 24 * 40);
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      data: {
        answeredAt,
        maxDurationSeconds: 600,
        lostAt: new Date(0),
        nextCheckAt: inMinutes(20),
      },
    });
    await checkLater(async () => {
      throw unfilteredCalls();
    });
    expect(await rowOf(server, id)).toMatchObject({ status: 'COMPLETED', durationMs: 600_000 });
  });

  it('looks a call up again if that was requested during a look-up', async () => {
    const { id } = await dial(caller, steered('0001'));
    await waitForCall(caller.client, id, 'billed', isBilled);
    const { body } = await remoteCallOf(server, id);
    const where = { id: uuidOf(id) };
    const requested = inMinutes(25);
    await server.app.db.call.update({ where, data: { nextCheckAt: inMinutes(20) } });
    await checkLater(async (ultravoxId) => {
      if (ultravoxId === body.callId) {
        await server.app.db.call.update({ where, data: { nextCheckAt: requested } });
      }
      return body;
    });
    expect(await rowOf(server, id)).toMatchObject({ nextCheckAt: requested });
  });

  it('does not take a call for never created when Ultravox ignores the filter', async () => {
    const other = await dial(caller);
    const { body } = await remoteCallOf(server, other.id);
    await setFaults(server, [
      { kind: 'dropBefore', count: 1, method: 'POST', path: '/calls$' },
      { kind: 'webhookLost' },
    ]);
    const { id } = await dial(caller);
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      // Not due for the worker.
      data: { sentAt: new Date(Date.now() - 3_600_000), nextCheckAt: inMinutes(20) },
    });
    const { ultravox } = server.app;
    const list = async () => ({ results: [body], next: null, previous: null, total: 1 });
    const calls = { ...ultravox.calls, list } as typeof ultravox.calls;
    const now = () => inMinutes(30);
    await checkCalls({ ...server.app, now, ultravox: { ...ultravox, calls } });
    expect(await rowOf(server, id)).toMatchObject({ status: 'CREATED', placement: 'UNKNOWN' });
    await setFaults(server, []);
  });

  it('does not give up an interrupted call early where the clock of the process is ahead', async () => {
    await setFaults(server, [
      { kind: 'dropBefore', count: 1, method: 'POST', path: '/calls$' },
      { kind: 'webhookLost' },
    ]);
    const { id } = await dial(caller);
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      data: { nextCheckAt: new Date(0) },
    });
    const ahead = Date.now() + 3_600_000;
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => ahead);
    await checkCalls(server.app).finally(() => clock.mockRestore());
    expect(await rowOf(server, id)).toMatchObject({ status: 'CREATED', placement: 'UNKNOWN' });
    await setFaults(server, []);
  });

  it('closes a refused call as lost when Ultravox could not be asked for a day, and not before', async () => {
    await setFaults(server, [
      { kind: 'status', status: 503, method: 'POST', path: '/calls$' },
      { kind: 'status', status: 500, method: 'GET' },
    ]);
    const { id } = await dial(caller);
    const lookUpAfter = async (hours: number) => {
      const at = new Date(Date.now() - hours * 3_600_000);
      await server.app.db.call.update({
        where: { id: uuidOf(id) },
        data: { refusedAt: at, lostAt: at, nextCheckAt: new Date(0) },
      });
      await checkCalls(server.app);
    };
    expect(await rowOf(server, id)).toMatchObject({ placement: 'UNKNOWN' });
    // Ultravox answers, but too early to be sure, however soon other calls count as lost.
    await setFaults(server, [{ kind: 'status', status: 503, method: 'POST', path: '/calls$' }]);
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      // Not due for the worker.
      data: { refusedAt: new Date(Date.now() - 5_000), nextCheckAt: inMinutes(20) },
    });
    const { config } = server.app;
    await checkCalls({
      ...server.app,
      now: () => inMinutes(30),
      config: { ...config, CALL_LOST_AFTER_SECONDS: 1, CALL_REFUSED_AFTER_SECONDS: 10 },
    });
    expect(await rowOf(server, id)).toMatchObject({ placement: 'UNKNOWN' });
    await setFaults(server, [{ kind: 'status', status: 500, method: 'GET' }]);
    await lookUpAfter(23);
    expect(await rowOf(server, id)).toMatchObject({ status: 'CREATED', endedAt: null });
    await lookUpAfter(25);
    const call = await waitForCall(caller.client, id, 'over', isEnded);
    expect(call).toMatchObject({ endReason: 'UNKNOWN' });
    expect(call.failure).toContain('could not be reached');
    await setFaults(server, []);
  });
});

describe('a call that ends while its refused request may still be carried out', () => {
  /** Queued again; the request is considered in doubt for another minute. */
  async function doubtfulCall() {
    await resumeCreations(server);
    await setFaults(server, [
      { kind: 'status', status: 503, count: 1, method: 'POST', path: '/calls$' },
      { kind: 'webhookLost' },
    ]);
    const made = await dial(caller);
    const where = { id: uuidOf(made.id) };
    await server.app.db.call.update({
      where,
      data: { refusedAt: new Date(Date.now() - 60_000), nextCheckAt: new Date(0) },
    });
    await recordRefusal(server.app, 60);
    await until('it to be queued', async () => {
      await checkCalls(server.app);
      return (await rowOf(server, made.id)).placement === 'QUEUED';
    });
    await server.app.db.call.update({
      where,
      data: { refusedAt: inMinutes(1), placeNotBefore: inMinutes(1) },
    });
    return { ...made, where };
  }

  it.each([
    ['by endCall', 'CANCELLED', (id: string) => done(caller.client, 'endCall', { id })],
    [
      'at `placeBefore`',
      'FAILED',
      (id: string) =>
        server.app.db.call.update({
          where: { id: uuidOf(id) },
          data: { placeBefore: new Date(0) },
        }),
    ],
  ])('is found and hung up when it ends %s', async (_, status, end) => {
    const { id } = await doubtfulCall();
    await end(id);
    const ended = await waitForCall(caller.client, id, 'over', isEnded);
    expect(ended.status).toBe(status);
    expect(ended.failure ?? '').not.toContain('Nobody was called');
    const ultravoxId = await dialLate(server, id);
    const remote = await until('the hang-up', async () => {
      await server.app.db.call.updateMany({
        where: { id: uuidOf(id), nextCheckAt: { not: null } },
        data: { nextCheckAt: new Date(0) },
      });
      await checkCalls(server.app);
      const seen = await server.app.ultravox.calls.get(ultravoxId);
      return seen.ended ? seen : null;
    });
    expect(remote.joined === null || remote.endReason === 'agent_hangup').toBe(true);
    expect(await rowOf(server, id)).toMatchObject({ status, placement: 'ACCEPTED', ultravoxId });
    await resumeCreations(server);
    await setFaults(server, []);
  });

  it('is no longer looked up after that time', async () => {
    const { id, where } = await doubtfulCall();
    await done(caller.client, 'endCall', { id });
    await checkCalls(server.app);
    expect((await rowOf(server, id)).nextCheckAt).not.toBeNull();
    await server.app.db.call.update({
      where,
      data: { refusedAt: new Date(Date.now() - 60_000), nextCheckAt: new Date(0) },
    });
    await until('the last look-up', async () => {
      await checkCalls(server.app);
      return (await rowOf(server, id)).nextCheckAt === null;
    });
    await resumeCreations(server);
    await setFaults(server, []);
  });
});
