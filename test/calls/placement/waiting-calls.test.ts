/** Calls that wait for placement: deadlines, and changes while they wait. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { recordRefusal } from '../../../src/calls/placement/creation-hold.ts';
import {
  placeClaimedCalls,
  placeWaitingCalls,
  releaseDeadClaims,
} from '../../../src/calls/placement/placement.ts';
import { failStaleCalls } from '../../../src/calls/placement/stale-calls.ts';
import { endUnwantedCalls } from '../../../src/calls/placement/unwanted-calls.ts';
import { checkCalls } from '../../../src/calls/ultravox/reconciler.ts';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  addNumber,
  atSimulator,
  type Caller,
  type CallView,
  dial,
  dialsOf,
  done,
  isEnded,
  newCaller,
  newPerson,
  resumeCreations,
  rowOf,
  run,
  setFaults,
  setSimulator,
  uuidOf,
  waitForCall,
} from '../support.ts';
import { dialLate, insertWaiting } from './waiting-calls.ts';

const CREATION = { method: 'POST', path: '/calls$' };
const NOT_FOUND = { kind: 'status', status: 404, ...CREATION };

describe('placeClaimedCalls', () => {
  let server: TestServer;
  let caller: Caller;
  beforeAll(async () => {
    // Without a worker, which may release and claim the calls of a test between its steps.
    server = await startTestServer({ settings: { SIMULATOR_SPEED: '200', ROLE: 'api' } });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  it('does not dial a call whose end was requested after the claim', async () => {
    const phoneNumber = newPerson();
    const row = await waitingCall(phoneNumber);
    await claim(row.id);
    const { call } = await done(caller.client, 'endCall', { id: publicId('Call', row.id) });
    expect(call).toMatchObject({ status: 'CANCELLED' });
    await placeClaimedCalls(server.app, [row.id]);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it('releases a claim that is too old, and dials the call once', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placement: 'CLAIMED', claimedAt: new Date(Date.now() - 60_000) },
    });
    await resumeCreations(server);
    await placeClaimedCalls(server.app, [row.id]);
    expect((await rowOf(server, publicId('Call', row.id))).placement).toBe('QUEUED');
    await placeWaitingCalls(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  it('does not dial a number that was added to the do-not-call list after the claim', async () => {
    const phoneNumber = newPerson();
    const row = await waitingCall(phoneNumber);
    await server.app.db.doNotCallEntry.create({
      data: { organizationId: server.organizationId, phoneNumber },
    });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('do-not-call');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it('dials a call once whose first process died before it sent the request', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placement: 'CLAIMED', claimedAt: new Date(Date.now() - 60_000) },
    });
    await resumeCreations(server);
    await releaseDeadClaims(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  it('does not dial a call that has waited for more than an hour, and fails it', async () => {
    const row = await waitingCall(newPerson());
    await server.app.db.call.update({
      where: { id: row.id },
      data: { createdAt: new Date(Date.now() - 2 * 3_600_000) },
    });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    await failStaleCalls(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('Nobody was called');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it('does not place a test call whose process died ten seconds ago, and fails it', async () => {
    const { db } = server.app;
    await insertWaiting(server, caller.agentId, { count: 1, minutesAgo: 0.2 });
    const { id } = await db.call.findFirstOrThrow({ where: { placement: 'QUEUED' } });
    await db.call.update({ where: { id }, data: { medium: 'WEBRTC' } });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    expect((await rowOf(server, publicId('Call', id))).placement).toBe('QUEUED');
    await failStaleCalls(server.app);
    expect(await rowOf(server, publicId('Call', id))).toMatchObject({ status: 'FAILED' });
  });

  it('does not dial a call whose deadline has passed, and fails it', async () => {
    const row = await waitingCall(newPerson(), {
      placeBefore: new Date(Date.now() + 60_000).toISOString(),
    });
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placeBefore: new Date(Date.now() - 1_000) },
    });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    await failStaleCalls(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('`placeBefore`');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it('does not dial a call whose deadline passes between the claim and the request', async () => {
    const row = await waitingCall(newPerson(), {
      placeBefore: new Date(Date.now() + 60_000).toISOString(),
    });
    await server.app.db.call.update({
      where: { id: row.id },
      data: { placement: 'CLAIMED', claimedAt: new Date(), placeBefore: new Date() },
    });
    await resumeCreations(server);
    await placeClaimedCalls(server.app, [row.id]);
    expect((await rowOf(server, publicId('Call', row.id))).placement).toBe('QUEUED');
    expect(await dialsOf(server, publicId('Call', row.id))).toEqual([]);
  });

  it.each([
    ['waits', 'QUEUED'],
    ['is claimed', 'CLAIMED'],
  ] as const)('does not dial a call that %s by a clock that is slow', async (_, placement) => {
    const row = await waitingCall(newPerson(), {
      placeBefore: new Date(Date.now() + 60_000).toISOString(),
    });
    await server.app.db.call.update({
      where: { id: row.id },
      data: {
        placement,
        claimedAt: placement === 'CLAIMED' ? new Date() : null,
        placeBefore: new Date(Date.now() - 1_000),
      },
    });
    await resumeCreations(server);
    vi.spyOn(server.app, 'now').mockImplementation(() => new Date(Date.now() - 120_000));
    try {
      if (placement === 'QUEUED') await placeWaitingCalls(server.app);
      else await placeClaimedCalls(server.app, [row.id]);
    } finally {
      vi.restoreAllMocks();
    }
    expect((await rowOf(server, publicId('Call', row.id))).placement).toBe('QUEUED');
    await failStaleCalls(server.app);
    expect(await dialsOf(server, publicId('Call', row.id))).toEqual([]);
  });

  it('does not fail a call before its deadline by a clock that is fast', async () => {
    const row = await waitingCall(newPerson(), {
      placeBefore: new Date(Date.now() + 60_000).toISOString(),
    });
    vi.spyOn(server.app, 'now').mockImplementation(() => new Date(Date.now() + 120_000));
    await failStaleCalls(server.app).finally(() => vi.restoreAllMocks());
    const id = publicId('Call', row.id);
    expect((await rowOf(server, id)).status).toBe('CREATED');
    await done(caller.client, 'endCall', { id });
    await resumeCreations(server);
  });

  it('fails the other calls that have waited too long when one cannot be ended', async () => {
    const rows = [await waitingCall(newPerson()), await waitingCall(newPerson())];
    const ids = rows.map(({ id }) => id);
    await server.app.db.call.updateMany({
      where: { id: { in: ids } },
      data: { createdAt: new Date(Date.now() - 2 * 3_600_000) },
    });
    const allow = await refuseChanges(rows[0]!.phoneNumber!);
    await failStaleCalls(server.app);
    const statuses = async () =>
      Promise.all(ids.map(async (id) => (await rowOf(server, publicId('Call', id))).status));
    expect(await statuses()).toEqual(['CREATED', 'FAILED']);
    await allow();
    await failStaleCalls(server.app);
    expect(await statuses()).toEqual(['FAILED', 'FAILED']);
    await setFaults(server, []);
    await resumeCreations(server);
  });

  it('fails many calls that have waited too long in few statements', async () => {
    const { db } = server.app;
    await insertWaiting(server, caller.agentId, { count: 150, minutesAgo: 90 });
    const statements = await recordStatements(server.app, () => failStaleCalls(server.app));
    expect(statements.length).toBeLessThan(30);
    expect(await db.call.count({ where: { placement: 'QUEUED' } })).toBe(0);
    const failed = { placement: 'WITHDRAWN', status: 'FAILED', billingStatus: 'FREE' } as const;
    expect(await db.call.count({ where: failed })).toBeGreaterThanOrEqual(150);
    expect(await db.event.count({ where: { type: 'CALL_FAILED' } })).toBeGreaterThanOrEqual(150);
  });

  it('ends the other calls to numbers on the do-not-call list when one cannot be ended', async () => {
    const rows = [await waitingCall(newPerson()), await waitingCall(newPerson())];
    const ids = rows.map(({ id }) => id);
    const { db } = server.app;
    await db.call.updateMany({
      where: { id: { in: ids } },
      data: {
        placement: 'UNKNOWN',
        claimedAt: new Date(),
        sentAt: new Date(),
        nextCheckAt: new Date(),
        lostAt: new Date(Date.now() + 600_000),
      },
    });
    await db.doNotCallEntry.createMany({
      data: rows.map(({ phoneNumber }) => ({
        organizationId: server.organizationId,
        phoneNumber: phoneNumber!,
      })),
    });
    const allow = await refuseChanges(rows[0]!.phoneNumber!);
    await endUnwantedCalls(server.app);
    const requested = async () =>
      Promise.all(
        ids.map(async (id) => (await rowOf(server, publicId('Call', id))).endRequestedAt !== null),
      );
    expect(await requested()).toEqual([false, true]);
    await allow();
    await db.call.updateMany({
      where: { id: { in: ids } },
      data: { endedAt: new Date(), status: 'FAILED', endReason: 'UNKNOWN', nextCheckAt: null },
    });
    await setFaults(server, []);
    await resumeCreations(server);
  });

  it('refuses a deadline that has passed or is too near', async () => {
    const input = { agentId: caller.agentId, phoneNumber: newPerson() };
    const placeBefore = new Date(Date.now() + 1_000).toISOString();
    const answer = await run(caller.client, 'createCall', { ...input, placeBefore });
    expect(answer.userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['placeBefore'] }]);
  });

  it('is told of the call that was made when the request is repeated after its deadline', async () => {
    const placeBefore = new Date(Date.now() + 60_000).toISOString();
    const input = { agentId: caller.agentId, phoneNumber: newPerson(), placeBefore };
    const headers = { 'x-idempotency-key': newId() };
    const { call } = await run(caller.client, 'createCall', input, headers);
    // The process died before it stored the result.
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseId: newId(), leaseUntil: new Date(Date.now() - 1_000) },
    });
    vi.spyOn(server.app, 'now').mockReturnValue(new Date(Date.now() + 120_000));
    const again = await run(caller.client, 'createCall', input, headers);
    vi.restoreAllMocks();
    expect(again).toMatchObject({ call: { id: call.id }, userErrors: [] });
    expect(await dialsOf(server, call.id)).toHaveLength(1);
  });

  it('fails a call whose caller ID was unassigned while it waited', async () => {
    const { id, phoneNumber: fromNumber } = await addNumber(caller.client, caller.agentId);
    const row = await waitingCall(newPerson(), { fromNumber });
    await done(caller.client, 'unassignPhoneNumber', { id, direction: 'OUTBOUND' });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    const call = await waitForCall(caller.client, publicId('Call', row.id), 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain('no longer an outbound number');
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  /** A call whose creation was refused with 503, and which a look-up did not find. */
  async function doubtfulCall() {
    await resumeCreations(server);
    await setFaults(server, [
      { kind: 'status', status: 503, count: 1, ...CREATION },
      { kind: 'webhookLost' },
    ]);
    const made = await dial(caller);
    const where = { id: uuidOf(made.id) };
    expect((await rowOf(server, made.id)).placement).toBe('UNKNOWN');
    const refusedAt = new Date(Date.now() - 60_000);
    await server.app.db.call.update({ where, data: { refusedAt, nextCheckAt: refusedAt } });
    await recordRefusal(server.app, 60);
    await checkCalls(server.app);
    expect(await rowOf(server, made.id)).toMatchObject({ placement: 'QUEUED', refusedAt });
    return made;
  }

  it('does not dial a call again that Ultravox lists only after it was queued again', async () => {
    const { id } = await doubtfulCall();
    await dialLate(server, id);
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    await until('it to be found', async () => (await rowOf(server, id)).ultravoxId);
    expect(await dialsOf(server, id)).toHaveLength(1);
    await setFaults(server, []);
  });

  it('does not dial a call again while Ultravox cannot be asked about its first request', async () => {
    const { id } = await doubtfulCall();
    for (const status of [500, 503]) {
      await setFaults(server, [{ kind: 'status', status, method: 'GET', path: '/api/calls$' }]);
      await resumeCreations(server);
      await placeWaitingCalls(server.app);
      await until('the look-up to fail', async () => {
        const { placement, placeNotBefore } = await rowOf(server, id);
        return placement === 'QUEUED' && placeNotBefore !== null && placeNotBefore > new Date();
      });
      expect(await dialsOf(server, id)).toEqual([]);
      await server.app.db.call.update({
        where: { id: uuidOf(id) },
        data: { placeNotBefore: null },
      });
    }
    await setFaults(server, []);
    await resumeCreations(server);
    // Look-ups go on after a pause.
    await until('it to be placed', async () => {
      const where = { placement: 'QUEUED' } as const;
      await server.app.db.call.updateMany({ where, data: { placeNotBefore: null } });
      await placeWaitingCalls(server.app);
      return (await rowOf(server, id)).placement === 'ACCEPTED';
    });
    expect(await dialsOf(server, id)).toHaveLength(1);
  });

  it('keeps the first of two calls that Ultravox has made for one, and hangs up the second', async () => {
    await resumeCreations(server);
    const row = await waitingCall(newPerson());
    const id = publicId('Call', row.id);
    await claim(row.id);
    await setSimulator(server, { talkSeconds: 100_000 });
    await setFaults(server, [{ kind: 'slow', ms: 1_000, count: 1, ...CREATION }]);
    const placing = placeClaimedCalls(server.app, [row.id]);
    await until('the request', () => server.simulator.faults()[0]?.count === 0);
    const first = await dialLate(server, id);
    await until(
      'the first to be known',
      async () => (await rowOf(server, id)).ultravoxId === first,
    );
    await placing;
    const dials = await dialsOf(server, id);
    const second = dials.find(({ callId }: { callId: string }) => callId !== first);
    await until('the second to be hung up', async () => {
      const { body } = await atSimulator(server, 'GET', `/api/calls/${second.callId}`);
      return body.endReason === 'agent_hangup';
    });
    await setSimulator(server, { talkSeconds: 45 });
    expect(await rowOf(server, id)).toMatchObject({ ultravoxId: first, status: 'IN_PROGRESS' });
    await done(caller.client, 'endCall', { id });
  });

  const agentOf = ({ agentId }: Caller) =>
    server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(agentId) } });

  const agentToBeSent = (of: Caller) =>
    until('the agent to be sent', async () => {
      const { status, revision, syncedRevision } = await agentOf(of);
      return status === 'ACTIVE' && syncedRevision === revision;
    });

  /** Lets waiting calls be placed at once. */
  async function placeAgain(...ids: string[]): Promise<CallView[]> {
    const where = { placement: 'QUEUED' } as const;
    await server.app.db.call.updateMany({ where, data: { placeNotBefore: null } });
    await placeWaitingCalls(server.app);
    return Promise.all(ids.map((id) => waitForCall(caller.client, id, 'over', isEnded)));
  }

  /** As if another process had claimed the calls and then been held up. */
  async function claim(...ids: string[]): Promise<void> {
    await resumeCreations(server);
    const data = { placement: 'CLAIMED', claimedAt: new Date() } as const;
    await server.app.db.call.updateMany({ where: { id: { in: ids } }, data });
  }

  it('creates a deleted agent again after another call ended while it waited for the agent', async () => {
    const gone = await newCaller(server);
    await setFaults(server, [{ ...NOT_FOUND, count: 1 }]);
    const first = await dial(gone);
    await done(gone.client, 'endCall', { id: first.id });
    await agentToBeSent(gone);
    const { remoteId } = await agentOf(gone);
    await atSimulator(server, 'DELETE', `/api/agents/${remoteId}`);
    const { id } = await dial(gone);
    await agentToBeSent(gone);
    expect(await placeAgain(id)).toMatchObject([{ status: 'COMPLETED' }]);
  });

  it('sends the agent again for the first 404 of each call, whichever process places it', async () => {
    const other = { ...server.app };
    const sent = () =>
      server.simulator.requests().filter(({ method }) => method === 'PATCH').length;
    for (const person of [newPerson(), newPerson()]) {
      const { id } = await waitingCall(person);
      await claim(id);
      await setFaults(server, [{ ...NOT_FOUND, count: 1 }]);
      const before = sent();
      await placeClaimedCalls(other, [id]);
      const call = publicId('Call', id);
      expect((await rowOf(server, call)).placement).toBe('QUEUED');
      await until('the agent to be sent again', () => sent() > before);
      await agentToBeSent(caller);
      expect(await placeAgain(call)).toMatchObject([{ status: 'COMPLETED' }]);
    }
  });

  it('sends the agent again once for all calls that get a 404 together', async () => {
    const rows = [await waitingCall(newPerson()), await waitingCall(newPerson())];
    const ids = rows.map(({ id }) => id);
    await claim(...ids);
    await setFaults(server, [{ ...NOT_FOUND, count: 2 }]);
    const { revision } = await agentOf(caller);
    await placeClaimedCalls(server.app, ids);
    await agentToBeSent(caller);
    expect((await agentOf(caller)).revision).toBe(revision + 1);
    const over = await placeAgain(...ids.map((id) => publicId('Call', id)));
    expect(over).toMatchObject([{ status: 'COMPLETED' }, { status: 'COMPLETED' }]);
  });

  it('does not fail a call at its first 404 while another has the agent sent again', async () => {
    const rows = [await waitingCall(newPerson()), await waitingCall(newPerson())];
    const [first, second] = rows.map(({ id }) => id) as [string, string];
    await claim(first, second);
    await setFaults(server, [{ ...NOT_FOUND, count: 2 }]);
    const left = (count: number) => () => server.simulator.faults()[0]?.count === count;
    const placings = await server.app.db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT FROM agents WHERE id = ${uuidOf(caller.agentId)}::uuid FOR UPDATE`;
      const placing = placeClaimedCalls(server.app, [first]);
      await until('the first 404', left(1));
      const next = placeClaimedCalls(server.app, [second]);
      await until('the second 404', left(0));
      return [placing, next];
    });
    await Promise.all(placings);
    await agentToBeSent(caller);
    const over = await placeAgain(publicId('Call', first), publicId('Call', second));
    expect(over).toMatchObject([{ status: 'COMPLETED' }, { status: 'COMPLETED' }]);
  });

  /** Makes the database refuse changes of the call to a number until the returned function is called. */
  async function refuseChanges(phoneNumber: string): Promise<() => Promise<void>> {
    const { db } = server.app;
    await db.$executeRawUnsafe(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'Refused by the test'; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER refuse BEFORE UPDATE ON calls
      FOR EACH ROW WHEN (NEW.phone_number = '${phoneNumber}') EXECUTE FUNCTION refuse()`);
    return async () => {
      await db.$executeRawUnsafe('DROP FUNCTION refuse CASCADE');
    };
  }

  /** A call that Ultravox has had no room for yet, and has room for now. */
  async function waitingCall(phoneNumber: string, more: object = {}) {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 60, count: 1, ...CREATION },
    ]);
    const made = await dial(caller, phoneNumber, more);
    expect(made.status).toBe('CREATED');
    return server.app.db.call.findUniqueOrThrow({ where: { id: uuidOf(made.id) } });
  }
});
