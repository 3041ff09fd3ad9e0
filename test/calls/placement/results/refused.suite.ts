/** Calls whose creation request Ultravox refuses. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../../src/ids.ts';
import type { TestServer } from '../../../support/servers/server.ts';
import { until } from '../../../support/wait.ts';
import {
  dial,
  dialsOf,
  done,
  isBilled,
  isEnded,
  newPerson,
  problemsOf,
  setFaults,
  tryToDial,
  typesOf,
  waitForCall,
} from '../../support.ts';
import { CREATION, caller, FREE, server, TALKED } from './server.ts';

/** Creations of calls that the simulator has refused since so many requests. */
function refusals(server: TestServer, since: number) {
  return server.simulator
    .requests()
    .slice(since)
    .filter(({ path, status }) => path.endsWith('/calls') && status === 429);
}

export function refusedSuite(): void {
  it.each([
    [429, 2],
    [503, 1],
    [429, null],
  ])('keeps a call waiting after %i with Retry-After %s, then places it', async (status, seconds) => {
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

  it('loses no call while Ultravox is full again and again', async () => {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, probability: 0.5, ...CREATION },
    ]);
    try {
      const calls = await Promise.all(Array.from({ length: 5 }, () => dial(caller)));
      for (const { id } of calls) {
        const call = await waitForCall(caller.client, id, 'billed', {
          holds: isBilled,
          timeoutMs: 60_000,
        });
        expect(typesOf(call)).toEqual(TALKED);
        expect(await dialsOf(server, id)).toHaveLength(1);
      }
    } finally {
      await setFaults(server, []);
    }
  });

  it('cancels a call whose end was requested while Ultravox is full', async () => {
    await setFaults(server, [
      { kind: 'slow', ms: 500, count: 1, ...CREATION },
      { kind: 'status', status: 429, retryAfterSeconds: 30, count: 1, ...CREATION },
    ]);
    const phoneNumber = newPerson();
    const asked = dial(caller, phoneNumber);
    const row = await until('the call to be claimed', () =>
      server.app.db.call.findFirst({ where: { phoneNumber, placement: { not: 'QUEUED' } } }),
    );
    await done(caller.client, 'endCall', { id: publicId('Call', row.id) });
    const { id } = await asked;
    const call = await waitForCall(caller.client, id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', failure: null });
    expect(call).toMatchObject(FREE);
    expect(typesOf(call)).toEqual(['CREATED', 'END_REQUESTED', 'CANCELLED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it.each([
    [400, 'ULTRAVOX_REFUSED', 'Simulated fault'],
    [401, 'ULTRAVOX_UNAVAILABLE', 'Simulated fault'],
    [402, 'PAYMENT_REQUIRED', 'Simulated fault'],
  ])('fails a call after %i, with the reason', async (status, code, text) => {
    await setFaults(server, [{ kind: 'status', status, count: 1, ...CREATION }]);
    const payload = await tryToDial(caller);
    const { call } = payload;
    expect(problemsOf(payload)).toEqual([`${code} `]);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain(text);
    expect(call).toMatchObject(FREE);
    expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  describe.each([
    ['and the webhooks arrive', []],
    ['and the webhooks are lost', [{ kind: 'webhookLost' }]],
  ])('with a lost response %s', (_how, more) => {
    it.each([
      'dropAfter',
      'truncate',
    ])('adopts the call, which is dialed once (%s)', async (kind) => {
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

  it('waits at least a second when Retry-After is 0', async () => {
    await setFaults(server, [{ kind: 'status', status: 429, retryAfterSeconds: 0, ...CREATION }]);
    const before = server.simulator.requests().length;
    const made = await dial(caller);
    const [first, , third] = await until('three refusals', () => {
      const refused = refusals(server, before);
      return refused.length >= 3 && refused;
    });
    expect(Date.parse(third!.at) - Date.parse(first!.at)).toBeGreaterThan(1_900);
    await setFaults(server, []);
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
  });
}
