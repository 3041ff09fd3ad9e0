/** Test calls, which a person joins in a browser. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { until } from '../../support/wait.ts';
import {
  callOf,
  dial,
  done,
  problemsOf,
  rowOf,
  run,
  setFaults,
  setSimulator,
  typesOf,
  uuidOf,
} from '../support.ts';
import { caller, ended, reaching, server } from './server.ts';

const CREATION = { method: 'POST', path: '/agents/[^/]+/calls$' };

export function testCallsSuite(): void {
  describe('startTestCall', () => {
    const startTest = (input: object = {}) =>
      run(caller.client, 'startTestCall', { agentId: caller.agentId, ...input });

    it('returns a join URL; the call is joined and ends', async () => {
      const { call: made, joinUrl } = await startTest();
      expect(joinUrl).toMatch(/^ws:/);
      expect(made).toMatchObject({
        direction: 'INBOUND',
        medium: 'WEBRTC',
        phoneNumber: null,
        number: null,
      });
      await reaching(made.id, 'IN_PROGRESS');
      await done(caller.client, 'endCall', { id: made.id });
      const call = await ended(made.id);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
      expect(typesOf(call).slice(0, 4)).toEqual([
        'CREATED',
        'IN_PROGRESS',
        'END_REQUESTED',
        'COMPLETED',
      ]);
      expect((await rowOf(server, made.id)).joinUrl).toBeNull();
    });

    it('returns the join URL in its response only', async () => {
      const { call, joinUrl } = await startTest();
      const asked = await caller.client.send(`{ call(id: "${call.id}") { joinUrl } }`);
      expect(asked.errors?.[0]?.message).toContain('joinUrl');
      const read = JSON.stringify(await callOf(caller.client, call.id));
      expect(read).not.toContain(joinUrl);
      const { ultravoxId } = await rowOf(server, call.id);
      expect(read).not.toContain(ultravoxId);
      await reaching(call.id, 'IN_PROGRESS');
      await done(caller.client, 'endCall', { id: call.id });
      await ended(call.id);
      const webhooks = await server.app.db.$queryRaw<{ text: string }[]>`
      SELECT payload::text AS text FROM ultravox_webhooks WHERE ultravox_call_id = ${ultravoxId}`;
      expect(webhooks.length).toBeGreaterThan(0);
      expect(JSON.stringify(webhooks)).not.toContain('joinUrl');
    });

    it('returns the join URL although a webhook arrived before the response', async () => {
      const { agents } = server.app.ultravox;
      const original = agents.startCall;
      const spy = vi.spyOn(agents, 'startCall').mockImplementationOnce(async (...args) => {
        const answer = await original(...args);
        const { callId } = args[1].metadata as { callId: string };
        await until('the webhook', async () => (await rowOf(server, callId)).ultravoxId);
        return answer;
      });
      try {
        const payload = await startTest();
        expect(payload.userErrors).toEqual([]);
        expect(payload.joinUrl).toMatch(/^ws:/);
        await reaching(payload.call.id, 'IN_PROGRESS');
        await done(caller.client, 'endCall', { id: payload.call.id });
        await ended(payload.call.id);
      } finally {
        spy.mockRestore();
      }
    });

    it('waits a few seconds for Ultravox to have room', async () => {
      await setFaults(server, [
        { kind: 'status', status: 429, retryAfterSeconds: 1, count: 2, ...CREATION },
      ]);
      const { call, joinUrl, userErrors } = await startTest();
      expect(userErrors).toEqual([]);
      expect(joinUrl).toMatch(/^ws:/);
      await reaching(call.id, 'IN_PROGRESS');
      await done(caller.client, 'endCall', { id: call.id });
      await ended(call.id);
    });

    it('fails with `retryAt` when Ultravox is full, and leaves no call waiting', async () => {
      await setSimulator(server, { maxConcurrentCalls: 1 });
      try {
        const live = await dial(caller);
        await reaching(live.id, 'IN_PROGRESS');
        const { call, joinUrl, userErrors } = await startTest({ variables: { mark: 'when full' } });
        expect([call, joinUrl]).toEqual([null, null]);
        expect(userErrors).toMatchObject([{ code: 'CAPACITY_EXCEEDED', path: [] }]);
        expect(Date.parse(userErrors[0].retryAt)).toBeGreaterThan(Date.now() + 1_000);
        const row = await server.app.db.call.findFirstOrThrow({
          where: { variables: { equals: { mark: 'when full' } } },
        });
        expect(row).toMatchObject({
          status: 'CANCELLED',
          endReason: 'CANCELLED',
          ultravoxId: null,
        });
        await done(caller.client, 'endCall', { id: live.id });
        await ended(live.id);
      } finally {
        await setSimulator(server, { maxConcurrentCalls: null });
      }
    });

    it('runs again with the same idempotency key until it succeeds, and then once', async () => {
      await setSimulator(server, { maxConcurrentCalls: 1 });
      const headers = { 'x-idempotency-key': randomUUID() };
      const input = { agentId: caller.agentId, variables: { mark: 'again' } };
      const start = () => run(caller.client, 'startTestCall', input, headers);
      const live = await dial(caller);
      await reaching(live.id, 'IN_PROGRESS');
      for (let attempt = 0; attempt < 3; attempt += 1) {
        expect(problemsOf(await start())).toEqual(['CAPACITY_EXCEEDED ']);
      }
      await setSimulator(server, { maxConcurrentCalls: null });
      const started = await until('the test call', async () => {
        const payload = await start();
        if (payload.joinUrl) return payload;
        expect(problemsOf(payload)).toEqual(['CAPACITY_EXCEEDED ']);
      });
      expect((await start()).joinUrl).toBe(started.joinUrl);
      const made = await server.app.db.call.findMany({
        where: { variables: { equals: { mark: 'again' } } },
        orderBy: { createdAt: 'asc' },
      });
      expect(made.pop()!.id).toBe(uuidOf(started.call.id));
      expect(made.length).toBeGreaterThanOrEqual(3);
      expect(made.every(({ status }) => status === 'CANCELLED')).toBe(true);
      for (const { id } of [live, started.call]) {
        await done(caller.client, 'endCall', { id });
        await ended(id);
      }
    });

    it('continues with the same idempotency key after a response that was lost', async () => {
      const headers = { 'x-idempotency-key': randomUUID() };
      const input = { agentId: caller.agentId, variables: { mark: headers['x-idempotency-key'] } };
      const start = () => run(caller.client, 'startTestCall', input, headers);
      await setFaults(server, [{ kind: 'dropAfter', count: 1, ...CREATION }]);
      // On a busy machine, Ultravox may still have no room for it.
      const lost = await until('the request to be sent', async () => {
        const payload = await start();
        return problemsOf(payload)[0] === 'CAPACITY_EXCEEDED ' ? null : payload;
      });
      // On a slow machine, the call may already have been found at Ultravox.
      if (!lost.joinUrl) {
        expect(problemsOf(lost)).toEqual(['ULTRAVOX_UNAVAILABLE ']);
        expect(lost.userErrors[0].retryAt).not.toBeNull();
      }
      const started = await until('the test call', async () => {
        const payload = await start();
        return payload.joinUrl ? payload : null;
      });
      const where = {
        variables: { equals: input.variables },
        NOT: { status: 'CANCELLED' },
      } as const;
      expect(await server.app.db.call.findMany({ where })).toMatchObject([
        { id: uuidOf(started.call.id), placement: 'ACCEPTED' },
      ]);
      await done(caller.client, 'endCall', { id: started.call.id });
      await ended(started.call.id);
    });

    it('reports the rejection by Ultravox', async () => {
      await setSimulator(server, { outOfCredit: true });
      const payload = await startTest().finally(() => setSimulator(server, { outOfCredit: false }));
      expect(problemsOf(payload)).toEqual(['PAYMENT_REQUIRED ']);
      expect(payload.userErrors[0].message).toContain('no call time left');
    });

    it('reports all invalid fields at once', async () => {
      const payload = await startTest({ agentId: 'agt_x', variables: { a: [1] } });
      expect(problemsOf(payload)).toEqual(['INVALID_ID agentId', 'INVALID_INPUT variables.a']);
    });
  });
}
