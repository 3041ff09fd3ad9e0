/** Every call reaches an end, and no conversation is cut because nothing was heard of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkCalls } from '../../src/calls/reconciler.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import {
  type Caller,
  callOf,
  dial,
  isEnded,
  newCaller,
  remoteCallOf,
  setFaults,
  setSimulator,
  uuidOf,
  waitForCall,
} from './support.ts';

let server: TestServer;
let caller: Caller;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  await setSimulator(server, { talkSeconds: 3_000 });
  caller = await newCaller(server);
});
afterAll(() => server.close());

const settleNow = (id: string) =>
  server.app.db.call.update({
    where: { id: uuidOf(id) },
    data: { settleBy: new Date(Date.now() - 1_000), nextCheckAt: new Date(0) },
  });

describe('a call of which nothing is heard', () => {
  it('may be talking as long as it may ring and talk together', async () => {
    await setFaults(server, [{ kind: 'webhookLost' }]);
    const made = await dial(caller);
    const row = await server.app.db.call.findUniqueOrThrow({ where: { id: uuidOf(made.id) } });
    const seconds = (row.settleBy!.getTime() - row.ringingAt!.getTime()) / 1000;
    expect(seconds).toBeGreaterThanOrEqual(row.joinTimeoutSeconds + row.maxDurationSeconds);
    await setFaults(server, []);
  });

  it('is settled when Ultravox cannot be asked, and is let talk when it can be again', async () => {
    const made = await dial(caller);
    await waitForCall(caller.client, made.id, 'live', (call) => call.status === 'IN_PROGRESS');
    await setFaults(server, [{ kind: 'status', status: 500, method: 'GET' }]);
    await settleNow(made.id);
    await checkCalls(server.app);
    expect(await callOf(caller.client, made.id)).toMatchObject({
      status: 'COMPLETED',
      endReason: 'UNKNOWN',
    });
    await setFaults(server, []);
    await server.app.db.call.update({
      where: { id: uuidOf(made.id) },
      data: { nextCheckAt: new Date(0) },
    });
    await checkCalls(server.app);
    expect((await remoteCallOf(server, made.id)).body.ended).toBeNull();
  });

  it('that Ultravox calls live for longer than it may last is hung up and settled', async () => {
    const made = await dial(caller);
    await waitForCall(caller.client, made.id, 'live', (call) => call.status === 'IN_PROGRESS');
    await settleNow(made.id);
    await checkCalls(server.app);
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
    expect((await remoteCallOf(server, made.id)).body.ended).not.toBeNull();
  });
});
