/** The steps after a call, and the results that they announce. */
import { describe, expect, it, vi } from 'vitest';
import { checkCalls } from '../../../src/calls/ultravox/reconciler.ts';
import { refreshCall } from '../../../src/calls/updates/end.ts';
import { until } from '../../support/wait.ts';
import {
  type CallView,
  callOf,
  dataOf,
  dial,
  dialLong,
  done,
  newCaller,
  rowOf,
  say,
  setFaults,
  steered,
  uuidOf,
  waitForCall,
} from '../support.ts';
import { caller, finished, resultsOf, type Step, server, stepOf } from './server.ts';

const answered = (id: string) =>
  waitForCall(caller.client, id, 'answered', ({ answeredAt }) => answeredAt !== null);

export function stepsSuite(): void {
  describe('summary', () => {
    it('has an event when Ultravox writes it after ANALYZED, and none before', async () => {
      const { id } = await dial(caller);
      const typesOf = async () =>
        (await finished(id)).events.nodes.map(({ type }: CallView) => type);
      expect(await typesOf()).toContain('ANALYZED');
      expect(await typesOf()).not.toContain('SUMMARIZED');
      const { calls } = server.app.ultravox;
      const original = calls.get;
      const late = vi
        .spyOn(calls, 'get')
        .mockImplementation(async (...args) => ({ ...(await original(...args)), summary: 'Late' }));
      try {
        for (let time = 0; time < 2; time += 1)
          await refreshCall(server.app, await rowOf(server, id));
      } finally {
        late.mockRestore();
      }
      expect((await resultsOf(id)).summary).toBe('Late');
      expect((await typesOf()).filter((type: string) => type === 'SUMMARIZED')).toHaveLength(1);
      expect((await typesOf()).at(-1)).toBe('SUMMARIZED');
    });
  });

  describe('postCallSteps', () => {
    it('are the same whatever else is selected', async () => {
      const { id } = await dial(caller);
      const { postCallSteps: steps } = await finished(id);
      const shown = steps.map(({ kind, status }: Step) => ({ kind, status }));
      for (const selection of [
        'status answeredAt endedAt analysis { status } postCallSteps { kind status }',
        'postCallSteps { kind status } analysis { status } status answeredAt endedAt',
        '... on Node { id } endedAt analysis { status } ... on Call { postCallSteps { kind status } }',
      ]) {
        const answer = await caller.client.send(
          `query ($id: ID!) { call(id: $id) { ${selection} } calls(first: 1) { nodes { ${selection} } } }`,
          { id },
        );
        const { call, calls } = dataOf(answer);
        expect(call.postCallSteps).toEqual(shown);
        expect(calls.nodes[0].postCallSteps).toEqual(shown);
      }
    });

    it('are all SKIPPED for a call that was not answered, and Ultravox is not asked', async () => {
      const { id } = await dial(caller, steered('0001'));
      const call = await finished(id);
      expect(new Set(call.postCallSteps.map(({ status }: Step) => status))).toEqual(
        new Set(['SKIPPED']),
      );
      const { ultravoxId } = await rowOf(server, id);
      const asked = server.simulator
        .requests()
        .filter(({ path }) => path.includes(`${ultravoxId}/`));
      expect(asked).toEqual([]);
      expect(await server.app.db.postCallStep.count({ where: { callId: uuidOf(id) } })).toBe(0);
    });

    it('show a failing step and its next attempt, hold up no other call, and lose nothing', async () => {
      const { id } = await dialLong(server, caller);
      await say(server, caller.client, id, ['One', 'Two', 'Three']);
      const { ultravoxId } = await rowOf(server, id);
      await setFaults(server, [{ kind: 'status', status: 500, path: `${ultravoxId}/messages` }]);
      try {
        await done(caller.client, 'endCall', { id });
        await until('a failed attempt', async () => {
          const step = stepOf(await resultsOf(id), 'TRANSCRIPT');
          return step && step.attempts >= 2 && step.detail !== null;
        });
        const failing = stepOf(await resultsOf(id), 'TRANSCRIPT');
        expect(failing).toMatchObject({
          status: 'PENDING',
          detail: expect.stringContaining('500'),
        });
        expect(JSON.stringify(failing)).not.toContain(ultravoxId);
        const other = await finished((await dial(caller)).id);
        expect(stepOf(other, 'TRANSCRIPT')).toMatchObject({ status: 'DONE', attempts: 1 });
      } finally {
        await setFaults(server, []);
      }
      const call = await finished(id);
      expect(stepOf(call, 'TRANSCRIPT')).toMatchObject({ status: 'DONE', detail: null });
      expect(call.transcript.totalCount).toBeGreaterThanOrEqual(3);
    });

    it('are continued after the process that ran them died, with every turn once', async () => {
      const { id } = await dial(caller);
      const before = await finished(id);
      const longAgo = new Date(Date.now() - 60_000);
      await server.app.db.postCallStep.updateMany({
        where: { callId: uuidOf(id), kind: 'TRANSCRIPT' },
        data: {
          status: 'PENDING',
          nextAttemptAt: longAgo,
          leaseUntil: longAgo,
          leaseId: uuidOf(id),
        },
      });
      const again = await finished(id);
      expect(stepOf(again, 'TRANSCRIPT')).toMatchObject({ status: 'DONE', attempts: 2 });
      expect(again.transcript).toEqual(before.transcript);
    });

    it('fail for a call that Ultravox no longer has, which still gets its event', async () => {
      const { id } = await dialLong(server, caller);
      await answered(id);
      const { ultravoxId } = await rowOf(server, id);
      await setFaults(server, [{ kind: 'status', status: 404, path: `${ultravoxId}/messages` }]);
      await done(caller.client, 'endCall', { id });
      const call = await finished(id).finally(() => setFaults(server, []));
      expect(stepOf(call, 'TRANSCRIPT')).toMatchObject({ status: 'FAILED' });
      expect(call.answeredBy).toBeNull();
      expect(call.events.nodes.map(({ type }: { type: string }) => type)).toContain('ANALYZED');
    });
  });

  describe('the CRM webhook', () => {
    it('receives the results of a lost call once, when they are complete', async () => {
      const from = await newCaller(server, { crmWebhookUrl: 'https://crm.example.com/results' });
      const { id } = await dial(from, steered('0003'));
      const { ultravoxId } = await rowOf(server, id);
      await setFaults(server, [
        { kind: 'status', status: 404, path: `${ultravoxId}` },
        { kind: 'webhookLost' },
      ]);
      const where = { id: uuidOf(id) };
      await server.app.db.call.update({ where, data: { nextCheckAt: new Date(0) } });
      await checkCalls(server.app);
      const lost = await finished(id).finally(() => setFaults(server, []));
      expect(lost).toMatchObject({ status: 'FAILED', answeredBy: null });
      const analyzed = (await callOf(from.client, id)).events.nodes.at(-1);
      expect(analyzed).toMatchObject({ type: 'ANALYZED' });
      const query = `query ($id: ID!) { agent(id: $id) { crmWebhookEndpoint {
      deliveries(first: 10) { nodes { eventId cursor } } } } }`;
      const { nodes } = await until('the results', async () => {
        const { agent } = dataOf(await from.client.send(query, { id: from.agentId }));
        const { deliveries } = agent.crmWebhookEndpoint;
        return (
          deliveries.nodes.some(({ cursor }: { cursor: string }) => cursor === analyzed.cursor) &&
          deliveries
        );
      });
      expect(nodes).toHaveLength(1);
    });
  });
}
