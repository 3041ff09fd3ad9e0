/** Calls that are hung up, on request or because they are not wanted. */
import { describe, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { hangUpIfUnwanted, type IngestedCall } from '../../../src/calls/ultravox/ingest.ts';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { runMutation } from '../../support/calling.ts';
import { startTestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
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
  steered,
  typesOf,
  uuidOf,
  waitForCall,
} from '../support.ts';
import { caller, ended, LONG, reaching, server } from './server.ts';

const billed = (id: string) => waitForCall(caller.client, id, 'billed', isBilled);

export function hangUpSuite(): void {
  describe('addToDoNotCall', () => {
    const add = (phoneNumber: string) =>
      runMutation(caller.client, 'addToDoNotCall', { entries: [{ phoneNumber }] }, 'addedCount');

    it('hangs up a ringing call as soon as it is answered', async () => {
      const phoneNumber = steered('0010');
      const made = await dial(caller, phoneNumber, { settings: { joinTimeout: '300s' } });
      expect(made.status).toBe('RINGING');
      await add(phoneNumber);
      const call = await ended(made.id);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
      expect(call.endRequestedAt).not.toBeNull();
      await runMutation(
        caller.client,
        'removeFromDoNotCall',
        { phoneNumbers: [phoneNumber] },
        'removedCount',
      );
    });

    it('hangs up a call that was being sent, and leaves an answered call alone', async () => {
      const talking = await dial(caller);
      await reaching(talking.id, 'IN_PROGRESS');
      await setFaults(server, [
        { kind: 'slow', ms: 2_000, method: 'POST', path: '/agents/[^/]+/calls$' },
      ]);
      const phoneNumber = newPerson();
      const asked = dial(caller, phoneNumber);
      await until('the request', () =>
        server.app.db.call.findFirst({ where: { phoneNumber, placement: 'SENDING' } }),
      );
      await add(phoneNumber);
      await add(talking.phoneNumber);
      const made = await asked;
      await setFaults(server, []);
      expect(await ended(made.id)).toMatchObject({
        status: 'COMPLETED',
        endReason: 'AGENT_HANGUP',
      });
      expect(await callOf(caller.client, talking.id)).toMatchObject({
        status: 'IN_PROGRESS',
        endRequestedAt: null,
      });
      await done(caller.client, 'endCall', { id: talking.id });
      await ended(talking.id);
    });
  });

  describe('endCall', () => {
    it('cancels a waiting call at once, and it is never dialed', async () => {
      const narrow = await startTestServer({
        settings: { ULTRAVOX_MAX_CONCURRENT_CALLS: '1' },
        simulator: LONG,
      });
      try {
        const from = await newCaller(narrow);
        const first = await dial(from);
        const second = await dial(from);
        expect(second.status).toBe('CREATED');
        const { call } = await done(from.client, 'endCall', { id: second.id });
        expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED' });
        expect(typesOf(call)).toEqual(['CREATED', 'CANCELLED']);
        // The room it waited for becomes free, and goes to the next.
        const third = await dial(from);
        const live = await waitForCall(from.client, first.id, 'live', (c) => c.answeredAt !== null);
        await done(from.client, 'endCall', { id: live.id });
        await waitForCall(from.client, third.id, 'dialed', (c) => c.ringingAt !== null);
        expect(await dialsOf(narrow, second.id)).toEqual([]);
        expect(await dialsOf(narrow, third.id)).toHaveLength(1);
      } finally {
        await narrow.close();
      }
    });

    it('hangs up a ringing call as soon as it is answered', async () => {
      const made = await dial(caller, steered('0010'), { settings: { joinTimeout: '300s' } });
      const { call } = await done(caller.client, 'endCall', { id: made.id });
      expect(call.status).toBe('RINGING');
      expect(call.endRequestedAt).not.toBeNull();
      expect(typesOf(call)).toEqual(['CREATED', 'RINGING', 'END_REQUESTED']);
      expect(call.events.nodes.at(-1).status).toBe('RINGING');
      expect(await ended(made.id)).toMatchObject({
        status: 'COMPLETED',
        endReason: 'AGENT_HANGUP',
      });
    });

    it('cancels a ringing call that is never answered', async () => {
      const made = await dial(caller, steered('0003'), { settings: { joinTimeout: '300s' } });
      await done(caller.client, 'endCall', { id: made.id });
      const call = await ended(made.id);
      expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', answeredAt: null });
    });

    it('hangs up an answered call, also when repeated', async () => {
      const made = await dial(caller, newPerson());
      await reaching(made.id, 'IN_PROGRESS');
      await Promise.all([1, 2, 3].map(() => done(caller.client, 'endCall', { id: made.id })));
      const call = await billed(made.id);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
      expect(typesOf(call)).toEqual([
        'CREATED',
        'RINGING',
        'IN_PROGRESS',
        'END_REQUESTED',
        'COMPLETED',
        'BILLED',
      ]);
    });

    it('asks Ultravox again when the hang-up was lost', async () => {
      try {
        const made = await dial(caller);
        await reaching(made.id, 'IN_PROGRESS');
        await setFaults(server, [
          { kind: 'status', status: 500, method: 'POST', path: 'send_data_message', count: 1 },
        ]);
        const { call } = await done(caller.client, 'endCall', { id: made.id });
        expect(call.status).toBe('IN_PROGRESS');
        expect(await ended(made.id)).toMatchObject({
          status: 'COMPLETED',
          endReason: 'AGENT_HANGUP',
        });
      } finally {
        await setFaults(server, []);
      }
    });

    it('hangs up soon although a hang-up or a webhook is lost', async () => {
      const patient = await startTestServer({
        settings: { CALL_CHECK_SECONDS: '120' },
        simulator: LONG,
      });
      try {
        const from = await newCaller(patient);
        const live = await dial(from);
        await waitForCall(from.client, live.id, 'live', (call) => call.status === 'IN_PROGRESS');
        const ringing = await dial(from, steered('0010'), { settings: { joinTimeout: '300s' } });
        await setFaults(patient, [
          { kind: 'webhookLost' },
          { kind: 'status', status: 500, method: 'POST', path: 'send_data_message', count: 1 },
        ]);
        for (const { id } of [live, ringing]) await done(from.client, 'endCall', { id });
        for (const { id } of [live, ringing]) {
          const holds = isEnded;
          expect(
            await waitForCall(from.client, id, 'over', { holds, timeoutMs: 40_000 }),
          ).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
        }
      } finally {
        await patient.close();
      }
    });

    it('succeeds when the call has ended and Ultravox is unreachable', async () => {
      const made = await dial(caller);
      await reaching(made.id, 'IN_PROGRESS');
      await setFaults(server, [
        { kind: 'webhookLost' },
        { kind: 'status', status: 500, method: 'GET' },
      ]);
      try {
        const { ultravoxId } = await rowOf(server, made.id);
        await atSimulator(server, 'POST', `/simulator/calls/${ultravoxId}/end`, {});
        const { call } = await done(caller.client, 'endCall', { id: made.id });
        expect(call.id).toBe(made.id);
      } finally {
        await setFaults(server, []);
      }
      expect(await ended(made.id)).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
    });

    it('has no effect on an ended call', async () => {
      const made = await dial(caller, steered('0001'));
      const before = await billed(made.id);
      const { call } = await done(caller.client, 'endCall', { id: made.id });
      expect(call).toEqual(before);
      expect(await callOf(caller.client, made.id)).toEqual(before);
    });

    it('rejects a malformed ID and an ID of another type', async () => {
      const unknown = await run(caller.client, 'endCall', { id: publicId('Call', newId()) });
      expect(problemsOf(unknown)).toEqual(['NOT_FOUND id']);
      const agent = await run(caller.client, 'endCall', { id: caller.agentId });
      expect(problemsOf(agent)).toEqual(['INVALID_ID id']);
    });
  });

  describe('hangUpIfUnwanted', () => {
    const at = new Date();
    const over = { status: 'FAILED', endReason: 'NO_ANSWER', ringingAt: null, answeredAt: null };
    const ended = { ...over, status: 'COMPLETED', endReason: 'HANGUP' };

    it.each([
      ['hangs up a live call that had ended as never dialed', over, true],
      [
        'ignores a late report of a call whose end was reported',
        { ...ended, ringingAt: at, answeredAt: at },
        false,
      ],
      [
        'ignores a late report of a call that was reported as unanswered',
        { ...over, ringingAt: at },
        false,
      ],
      [
        'ignores a late report of a browser call whose end was reported',
        { ...ended, answeredAt: at },
        false,
      ],
      [
        'leaves alone a live call that had been closed as lost',
        { ...over, endReason: 'UNKNOWN' },
        false,
      ],
    ])('%s', (_, call, isHungUp) => {
      const started: string[] = [];
      const app = { background: (name) => void started.push(name) } as Partial<App> as App;
      const seen = { joined: at.toISOString(), ended: null };
      hangUpIfUnwanted(app, { before: call, after: call, seen } as unknown as IngestedCall);
      expect(started).toEqual(isHungUp ? ['hangUp'] : []);
    });
  });

  describe('a call that Ultravox cancels while it rings', () => {
    const canceled = async (joinTimeoutSeconds: number) => {
      const made = await dial(caller, steered('0003'), { settings: { joinTimeout: '300s' } });
      const where = { id: uuidOf(made.id) };
      const { ultravoxId } = await server.app.db.call.update({
        where,
        data: { joinTimeoutSeconds },
      });
      await atSimulator(server, 'POST', `/simulator/calls/${ultravoxId}/end`, {});
      return ended(made.id);
    };

    it('is CANCELLED, but unanswered if it has rung for its join timeout', async () => {
      expect(await canceled(300)).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED' });
      expect(await canceled(1)).toMatchObject({ status: 'FAILED', endReason: 'NO_ANSWER' });
    });
  });
}
