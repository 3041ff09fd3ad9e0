/** Work after the end of a call: transcript, summary, findings, and the steps. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { findingsIn } from '../../../src/calls/post-call/findings.ts';
import { expireTranscripts } from '../../../src/calls/post-call/transcript.ts';
import { turnsOf } from '../../../src/calls/post-call/turns.ts';
import { checkCalls } from '../../../src/calls/ultravox/reconciler.ts';
import { refreshCall } from '../../../src/calls/updates/end.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  type CallView,
  callOf,
  dataOf,
  dial,
  dialLong,
  done,
  newCaller,
  newPerson,
  rowOf,
  say,
  setFaults,
  steered,
  uuidOf,
  waitForCall,
} from '../support.ts';

const AFTER = `
  id status summary shortSummary answeredBy answeredByEvidence doNotCallRequested doNotCallQuote dncRequested dncQuote
  postCallSteps { kind status attempts nextAttemptAt detail finishedAt }
  transcript(first: 100) {
    totalCount
    nodes { position speaker text startSeconds endSeconds toolName toolArguments toolResult stage }
  }
  events(first: 100) { nodes { type sequence } }`;

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  server = await startTestServer({
    simulator: { summaryDelaySeconds: 1, talkSeconds: 20 },
    settings: { TRANSCRIPT_RETENTION_DAYS: '30' },
  });
  caller = await newCaller(server, { builtInConfig: { hangUp: true, leaveVoicemail: true } });
});
afterAll(() => server.close());

// biome-ignore lint/suspicious/noExplicitAny: whatever AFTER asks for
async function resultsOf(id: string): Promise<any> {
  const answer = await caller.client.send(`query ($id: ID!) { call(id: $id) { ${AFTER} } }`, {
    id,
  });
  return dataOf(answer).call;
}

type Step = { kind: string; status: string; attempts: number; detail: string | null };
const stepOf = (call: { postCallSteps: Step[] }, kind: string) =>
  call.postCallSteps.find((step) => step.kind === kind);

const finished = (id: string) =>
  until(
    `the steps of ${id}`,
    async () => {
      const call = await resultsOf(id);
      const { postCallSteps: steps } = call;
      if (steps.length > 0 && steps.every(({ status }: Step) => status !== 'PENDING')) return call;
      throw new Error(JSON.stringify(steps));
    },
    30_000,
  );

async function searched(transcript: string): Promise<string[]> {
  const query = 'query ($f: CallFilter) { calls(filter: $f, first: 100) { nodes { id } } }';
  const answer = await caller.client.send(query, { f: { transcript } });
  return dataOf(answer).calls.nodes.map(({ id }: { id: string }) => id);
}

const answered = (id: string) =>
  waitForCall(caller.client, id, 'answered', ({ answeredAt }) => answeredAt !== null);

/** A call in which the person says these things, and which then ends. */
async function callWith(texts: readonly string[], phoneNumber = newPerson()): Promise<string> {
  const { id } = await dialLong(server, caller, phoneNumber);
  await say(server, caller.client, id, texts);
  await done(caller.client, 'endCall', { id });
  await finished(id);
  return id;
}

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
    const empty = await caller.client.send('{ calls(filter: { transcript: "…" }) { totalCount } }');
    expect(empty.errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
  });

  it('is deleted with its call, and after the retention time', async () => {
    const [deleted, expired] = [await callWith(['Delete me']), await callWith(['Stop calling me'])];
    await done(caller.client, 'deleteCalls', { ids: [deleted] });
    const callId = uuidOf(expired);
    const longAgo = new Date(Date.now() - 31 * 86_400_000);
    await server.app.db.callTranscript.update({ where: { callId }, data: { storedAt: longAgo } });
    await expireTranscripts(server.app);
    for (const id of [deleted, expired]) {
      expect(await server.app.db.callTurn.count({ where: { callId: uuidOf(id) } })).toBe(0);
    }
    expect(await searched('stop calling')).toEqual([]);
    expect(await rowOf(server, deleted)).toMatchObject({ summary: null, answeredByEvidence: null });
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
    expect(dataOf(await set(true)).updateOrganization.organization.addDoNotCallRequests).toBe(true);
    const asked = await callWith([WORDS], added);
    await set(false);
    expect(await isListed(added)).toBe(true);
    // The entry outlives the call, so it has none of its words.
    const [entry] = await server.app.db.doNotCallEntry.findMany({ where: { phoneNumber: added } });
    expect(entry).toMatchObject({ source: 'CALL', reason: `Requested in the call ${asked}` });
  });
});

describe('findingsIn', () => {
  const said = (text: string) => [
    { speaker: 'AGENT', text: 'Shall I never call you again?', toolName: null } as const,
    { speaker: 'USER', text, toolName: null } as const,
  ];
  const outbound = { direction: 'OUTBOUND' } as const;

  it.each([
    "Please don't ring me again.",
    'Bitte nicht mehr anrufen!',
    'Rufen Sie mich bitte nie wieder an.',
    'No me llamen más, por favor.',
    'Ne m’appelez plus.',
  ])('finds a do-not-call request in “%s”', (text) => {
    expect(findingsIn(said(text), outbound).dncQuote).toBe(text);
  });

  it.each([
    'Never mind, call me again tomorrow.',
    'Da muss ich nicht mehr anrufen, das reicht mir.',
  ])('finds none in “%s”', (text) => {
    expect(findingsIn(said(text), outbound).dncQuote).toBeNull();
  });

  it.each([
    "She is not available. Take me off your list and don't call me again.",
    "I am unable to take your call any more. Don't call me again.",
    'You cannot leave me a message. Never call me again.',
  ])('does not take a person who asks not to be called again for a voicemail: “%s”', (text) => {
    expect(findingsIn(said(text), outbound)).toEqual({
      answeredBy: 'HUMAN',
      evidence: `It said “${text}”.`,
      dncQuote: text,
    });
    const quote = text.slice(0, 20);
    const model = {
      answeredBy: 'VOICEMAIL',
      answeredByQuote: quote,
      doNotCallQuote: null,
    } as const;
    expect(findingsIn(said(text), outbound, model).dncQuote).toBe(text);
    const left = { speaker: 'TOOL', text: '', toolName: 'leaveVoicemail' } as const;
    expect(findingsIn([...said(text), left], outbound)).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: text,
    });
  });

  it.each([
    'You have reached our mailbox. Please do not call this office after 5 pm.',
    'Leave a message after the tone. If you want to be removed from our list, press 2.',
    'I can’t take your call right now.',
    'Hi, we can`t come to the phone.',
    'You have reached the VOICE-MAIL of John.',
    'Deje su recado despue\u0301s de la sen\u0303al.',
    'Parlez après le bip.',
  ])('takes a greeting for a voicemail without a request: “%s”', (text) => {
    expect(findingsIn(said(text), outbound)).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: null,
    });
  });

  it('takes from a model only what the other side literally said', () => {
    const turns = said('I would rather\nbe left in peace.');
    const found = (quote: string) => {
      const model = {
        answeredBy: 'VOICEMAIL',
        answeredByQuote: quote,
        doNotCallQuote: quote,
      } as const;
      return findingsIn(turns, outbound, model);
    };
    expect(found('rather be left in')).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: 'I would rather\nbe left in peace.',
    });
    for (const quote of ['rather be right', 'Shall I never call you again?', 'I', '']) {
      expect(found(quote)).toMatchObject({ answeredBy: 'HUMAN', dncQuote: null });
    }
    const model = { answeredBy: null, answeredByQuote: null, doNotCallQuote: 'left in peace' };
    expect(findingsIn(turns, outbound, model)).toMatchObject({
      answeredBy: 'HUMAN',
      dncQuote: 'I would rather\nbe left in peace.',
    });
  });

  it('takes from a model a quotation that a pause splits into two turns', () => {
    const turns = [...said('I would rather'), ...said('be left in peace.').slice(1)];
    const model = { answeredBy: null, answeredByQuote: null, doNotCallQuote: 'rather be left' };
    expect(findingsIn(turns, outbound, model).dncQuote).toBe('I would rather be left in peace.');
  });

  it('needs a new quotation to take a person for a voicemail after all', () => {
    // By phrases a voicemail, by an earlier analysis a person.
    const turns = said('She is not available. May I take a message?');
    const person = { answeredBy: 'HUMAN', answeredByEvidence: 'It said “May I”.' } as const;
    const found = (answeredByQuote: string | null) =>
      findingsIn(
        turns,
        { ...outbound, ...person },
        { answeredBy: 'VOICEMAIL', answeredByQuote, doNotCallQuote: null },
      );
    const kept = { answeredBy: 'HUMAN', evidence: person.answeredByEvidence, dncQuote: null };
    expect(found(null)).toEqual(kept);
    expect(found('Leave a message')).toEqual(kept);
    expect(found('She is not available.')).toMatchObject({ answeredBy: 'VOICEMAIL' });
  });

  it('does not ask a model about a call that came in, or in which a message was left', () => {
    const model = {
      answeredBy: 'VOICEMAIL',
      answeredByQuote: 'Hello there',
      doNotCallQuote: null,
    } as const;
    const turns = said('Hello there');
    expect(findingsIn(turns, { direction: 'INBOUND' }, model).answeredBy).toBe('HUMAN');
    const left = { speaker: 'TOOL', text: '', toolName: 'leaveVoicemail' } as const;
    const human = { ...model, answeredBy: 'HUMAN' } as const;
    expect(findingsIn([...turns, left], outbound, human).answeredBy).toBe('VOICEMAIL');
  });
});

describe('summary', () => {
  it('has an event when Ultravox writes it after ANALYZED, and none before', async () => {
    const { id } = await dial(caller);
    const typesOf = async () => (await finished(id)).events.nodes.map(({ type }: CallView) => type);
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
    const asked = server.simulator.requests().filter(({ path }) => path.includes(`${ultravoxId}/`));
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
      expect(failing).toMatchObject({ status: 'PENDING', detail: expect.stringContaining('500') });
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
      data: { status: 'PENDING', nextAttemptAt: longAgo, leaseUntil: longAgo, leaseId: uuidOf(id) },
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

describe('turnsOf', () => {
  it('removes from the arguments of tools what cannot be stored, keys included', () => {
    const message = {
      role: 'MESSAGE_ROLE_TOOL_CALL',
      text: '{"a\\u0000b":[{"\\ud800":"x\\u0000"}],"n":1}',
      callStageId: null,
      invocationId: 'i',
      toolName: 'book',
    } as unknown as Parameters<typeof turnsOf>[0][number];
    expect(turnsOf([message])[0]?.toolArguments).toEqual({ ab: [{ '\ufffd': 'x' }], n: 1 });
  });
});
