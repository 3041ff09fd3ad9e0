/** Look-ups of calls whose requests were refused, right before they are sent again. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { creationHold } from '../../../src/calls/placement/creation-hold.ts';
import { placeWaitingCalls } from '../../../src/calls/placement/placement.ts';
import { publicId } from '../../../src/ids.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  type Caller,
  dial,
  dialsOf,
  newCaller,
  resumeCreations,
  rowOf,
  setFaults,
} from '../support.ts';
import { dialLate, insertWaiting } from './waiting-calls.ts';

const LIST = { method: 'GET', path: '/api/calls$' };

describe('a call that is looked up before it is sent again', () => {
  let server: TestServer;
  let caller: Caller;
  beforeAll(async () => {
    // Without a worker, which may release and claim the calls of a test between its steps.
    server = await startTestServer({ settings: { SIMULATOR_SPEED: '200', ROLE: 'api' } });
  });
  afterAll(() => server.close());
  afterEach(async () => {
    await server.app.db.call.deleteMany({ where: { placement: 'QUEUED' } });
    await setFaults(server, []);
  });

  const queued = () => server.app.db.call.findMany({ where: { placement: 'QUEUED' } });

  const lookUps = () =>
    server.simulator
      .requests()
      .filter(({ method, path }) => method === 'GET' && path === '/api/calls').length;

  /** Calls whose requests were refused a while ago, and which may be sent again now. */
  async function refusedCalls(count: number): Promise<string[]> {
    caller = await newCaller(server);
    await resumeCreations(server);
    await insertWaiting(server, caller.agentId, { count, minutesAgo: 2 });
    const refusedAt = new Date(Date.now() - 70_000);
    await server.app.db.call.updateMany({ where: { placement: 'QUEUED' }, data: { refusedAt } });
    return (await queued()).map(({ id }) => id);
  }

  /** Places calls until none is being placed. */
  async function placeOnce(): Promise<void> {
    await placeWaitingCalls(server.app);
    await until('the placements to be over', async () => {
      const where = { placement: { in: ['CLAIMED' as const, 'SENDING' as const] } };
      return (await server.app.db.call.count({ where })) === 0;
    });
  }

  it('is sent although the list of calls is slower than its claim is valid', async () => {
    const [id] = await refusedCalls(1);
    await setFaults(server, [{ kind: 'slow', ms: 6_000, ...LIST }]);
    await placeWaitingCalls(server.app);
    const isAccepted = async () =>
      (await rowOf(server, publicId('Call', id!))).placement === 'ACCEPTED';
    await until('the call to be sent', isAccepted, 25_000);
  }, 30_000);

  it('waits if what Ultravox has of it cannot be stored', async () => {
    const [id] = await refusedCalls(1);
    const { db } = server.app;
    await db.$executeRawUnsafe(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'Refused by the test'; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER refuse BEFORE UPDATE ON calls
      FOR EACH ROW WHEN (NEW.placement = 'ACCEPTED') EXECUTE FUNCTION refuse()`);
    try {
      await setFaults(server, [{ kind: 'webhookLost' }]);
      await dialLate(server, publicId('Call', id!));
      await placeOnce();
    } finally {
      await db.$executeRawUnsafe('DROP FUNCTION refuse CASCADE');
    }
    const [call] = await queued();
    expect(call!.placeNotBefore!.getTime()).toBeGreaterThan(Date.now() + 20_000);
    expect(await dialsOf(server, publicId('Call', id!))).toHaveLength(1);
  });

  it('alone waits while the list of calls fails, and one look-up is enough for all', async () => {
    const ids = await refusedCalls(5);
    await setFaults(server, [{ kind: 'status', status: 500, ...LIST }]);
    const before = lookUps();
    await placeOnce();
    // Reads are attempted three times.
    expect(lookUps() - before).toBe(3);
    const waiting = await queued();
    expect(waiting.map(({ id }) => id).sort()).toEqual(ids.sort());
    expect(waiting.every(({ placeNotBefore }) => placeNotBefore! > new Date())).toBe(true);
    expect(await creationHold(server.app)).toBeNull();
    await server.app.db.call.updateMany({
      where: { placement: 'QUEUED' },
      // As the next call of a campaign contact whose earlier call is looked up.
      data: { refusedAt: null, owner: 'test' },
    });
    const made = await dial(caller);
    expect(await dialsOf(server, made.id)).toHaveLength(1);
  });
});
