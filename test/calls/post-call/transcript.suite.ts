/** The transcript of a call, and what is found in it. */
import { describe, expect, it } from 'vitest';
import { expireTranscripts } from '../../../src/calls/post-call/transcript.ts';
import {
  atSimulator,
  dataOf,
  dial,
  dialLong,
  done,
  newPerson,
  rowOf,
  say,
  steered,
  uuidOf,
} from '../support.ts';
import { caller, finished, resultsOf, server, stepOf } from './server.ts';

async function searched(transcript: string): Promise<string[]> {
  const query = 'query ($f: CallFilter) { calls(filter: $f, first: 100) { nodes { id } } }';
  const answer = await caller.client.send(query, { f: { transcript } });
  return dataOf(answer).calls.nodes.map(({ id }: { id: string }) => id);
}

/** A call in which the person says these things, and which then ends. */
async function callWith(texts: readonly string[], phoneNumber = newPerson()): Promise<string> {
  const { id } = await dialLong(server, caller, phoneNumber);
  await say(server, caller.client, id, texts);
  await done(caller.client, 'endCall', { id });
  await finished(id);
  return id;
}

export function transcriptSuite(): void {
  describe('transcript', () => {
    it('has every message at Ultravox once, in order, with a tool and its result as one turn', async () => {
      const { id } = await dial(caller, steered('0009'));
      const call = await finished(id);
      const { ultravoxId } = await rowOf(server, id);
      const path = `/api/calls/${ultravoxId}/messages?mode=in_call&pageSize=100`;
      const { results } = (await atSimulator(server, 'GET', path)).body;
      const spoken = results.filter(({ role }: { role: string }) => !role.includes('TOOL'));
      const turns = call.transcript.nodes;
      expect(call.transcript.totalCount).toBe(spoken.length + 1);
      expect(turns.slice(0, -1).map(({ text }: { text: string }) => text)).toEqual(
        spoken.map(({ text }: { text: string }) => text),
      );
      expect(turns[0]).toMatchObject({
        speaker: 'AGENT',
        startSeconds: expect.any(Number),
        stage: 1,
      });
      expect(turns.at(-1)).toMatchObject({
        speaker: 'TOOL',
        text: '',
        toolName: 'hangUp',
        toolArguments: { reason: 'The conversation is over.' },
        toolResult: 'OK',
      });
      expect(call).toMatchObject({
        answeredBy: 'HUMAN',
        doNotCallRequested: false,
        dncRequested: false,
        shortSummary: expect.stringContaining('talked'),
        summary: expect.stringContaining('agent_hangup'),
      });
      expect(call.events.nodes.map(({ type }: { type: string }) => type)).toContain('ANALYZED');
    });

    it('finds calls by words of their transcript, in any case and order, and none otherwise', async () => {
      // Its last word would be cut within a character.
      const words = `I would like a REFUND for the café table. a${'\u{1E900}'.repeat(40)}`;
      const id = await callWith([words]);
      expect(stepOf(await resultsOf(id), 'TRANSCRIPT')).toMatchObject({
        status: 'DONE',
        attempts: 1,
      });
      expect(await searched('refund')).toEqual([id]);
      expect(await searched('Cafe refund')).toEqual([id]);
      expect(await searched('refund zebra')).toEqual([]);
      const stranger = await server.newOrganization();
      const answer = await stranger.client.send(
        '{ calls(filter: { transcript: "refund" }) { totalCount } }',
      );
      expect(dataOf(answer).calls.totalCount).toBe(0);
      const empty = await caller.client.send(
        '{ calls(filter: { transcript: "…" }) { totalCount } }',
      );
      expect(empty.errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
    });

    it('is deleted with its call, and after the retention time', async () => {
      const [deleted, expired] = [
        await callWith(['Delete me']),
        await callWith(['Stop calling me']),
      ];
      await done(caller.client, 'deleteCalls', { ids: [deleted] });
      const callId = uuidOf(expired);
      const longAgo = new Date(Date.now() - 31 * 86_400_000);
      await server.app.db.callTranscript.update({ where: { callId }, data: { storedAt: longAgo } });
      await expireTranscripts(server.app);
      for (const id of [deleted, expired]) {
        expect(await server.app.db.callTurn.count({ where: { callId: uuidOf(id) } })).toBe(0);
      }
      expect(await searched('stop calling')).toEqual([]);
      expect(await rowOf(server, deleted)).toMatchObject({
        summary: null,
        answeredByEvidence: null,
      });
      expect(await resultsOf(expired)).toMatchObject({
        transcript: { totalCount: 0 },
        answeredBy: 'HUMAN',
        answeredByEvidence: null,
        doNotCallRequested: true,
        doNotCallQuote: null,
      });
    });
  });

  describe('answeredBy', () => {
    it('is VOICEMAIL when the agent left a message', async () => {
      const { id } = await dial(caller, steered('0011'));
      expect(await finished(id)).toMatchObject({
        answeredBy: 'VOICEMAIL',
        answeredByEvidence: expect.stringContaining('voicemail'),
      });
    });
  });

  describe('doNotCallRequested', () => {
    const WORDS = 'Please take me off your list, thank you.';

    it('is set by words of the person, and adds the number only if the organization says so', async () => {
      const isListed = async (phoneNumber: string) =>
        (await server.app.db.doNotCallEntry.count({ where: { phoneNumber } })) === 1;
      const [proposed, added] = [newPerson(), newPerson()];
      expect(await resultsOf(await callWith([WORDS], proposed))).toMatchObject({
        doNotCallRequested: true,
        doNotCallQuote: WORDS,
        // The deprecated names.
        dncRequested: true,
        dncQuote: WORDS,
      });
      expect(await isListed(proposed)).toBe(false);
      const set = (value: boolean) =>
        caller.client.send(
          `mutation { updateOrganization(input: { addDoNotCallRequests: ${value} }) { organization { addDoNotCallRequests } } }`,
        );
      expect(dataOf(await set(true)).updateOrganization.organization.addDoNotCallRequests).toBe(
        true,
      );
      const asked = await callWith([WORDS], added);
      await set(false);
      expect(await isListed(added)).toBe(true);
      // The entry outlives the call, so it has none of its words.
      const [entry] = await server.app.db.doNotCallEntry.findMany({
        where: { phoneNumber: added },
      });
      expect(entry).toMatchObject({ source: 'CALL', reason: `Requested in the call ${asked}` });
    });
  });
}
