import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Api, apiOf, type Body, billed, dial, makeAgent, sipTo, until } from './harness.ts';

let simulator: Simulator;
let api: Api;
let agent: Body;

beforeAll(async () => {
  simulator = await startSimulator({ speed: 200 });
  api = apiOf(simulator);
  agent = await makeAgent(api, {
    systemPrompt: 'You are Maria. You talk to {{contact.firstName}}.',
    contextSchema: { type: 'object' },
    recordingEnabled: true,
    firstSpeakerSettings: { agent: { text: 'Good morning, this is Maria.' } },
    selectedTools: [{ toolName: 'queryCorpus', parameterOverrides: { corpus_id: 'kb' } }],
  });
});
afterAll(() => simulator.close());

describe('outcome by the last four digits of the number', () => {
  it.each([
    ['0001', 'unjoined', 'SIP_TERMINATION_BUSY'],
    ['0002', 'unjoined', 'SIP_TERMINATION_REJECTED'],
    ['0003', 'unjoined', 'SIP_TERMINATION_TIMEOUT'],
    ['0004', 'unjoined', 'SIP_TERMINATION_INVALID_NUMBER'],
    ['0005', 'unjoined', 'SIP_TERMINATION_DESTINATION_UNAVAILABLE'],
    ['0006', 'connection_error', 'SIP_TERMINATION_UNKNOWN'],
    ['0007', 'system_error', 'SIP_TERMINATION_UNKNOWN'],
    ['0008', 'timeout', 'SIP_TERMINATION_NORMAL'],
    ['0009', 'agent_hangup', 'SIP_TERMINATION_NORMAL'],
    ['0010', 'hangup', 'SIP_TERMINATION_NORMAL'],
    ['0011', 'agent_hangup', 'SIP_TERMINATION_NORMAL'],
    ['1234', 'hangup', 'SIP_TERMINATION_NORMAL'],
  ])('%s ends with %s and %s', async (digits, endReason, terminationReason) => {
    const created = await dial(api, agent.agentId, `+1415555${digits}`, { maxDuration: '90s' });
    expect(created).toMatchObject({
      joined: null,
      ended: null,
      endReason: null,
      joinUrl: null,
      billingStatus: 'BILLING_STATUS_PENDING',
      sipDetails: { billedDuration: null, terminationReason: null },
    });
    const call = await billed(api, created.callId);
    expect(call).toMatchObject({ endReason, sipDetails: { terminationReason } });
    expect(Date.parse(call.ended)).toBeGreaterThanOrEqual(Date.parse(call.created));
    if (endReason === 'unjoined') {
      expect(call).toMatchObject({
        joined: null,
        billedDuration: '0s',
        billingStatus: 'BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION',
        summary: null,
      });
    } else {
      expect(Number.parseFloat(call.billedDuration) % 6).toBe(0);
      expect(Number.parseFloat(call.billedDuration)).toBeGreaterThan(0);
      expect(call.billingStatus).toBe(
        endReason === 'system_error' ? 'BILLING_STATUS_FREE_SYSTEM_ERROR' : 'BILLING_STATUS_BILLED',
      );
      expect(call.summary).not.toBeNull();
      expect(call.shortSummary).not.toBeNull();
    }
    if (digits === '0008') expect(call.billedDuration).toBe('90s');
  });
});

describe('calls of the simulator', () => {
  it('record the greeting, the rendered prompt, turns and tool use', async () => {
    const created = await dial(api, agent.agentId, '+14155551234', {
      templateContext: { contact: { firstName: 'Bo' } },
      initialMessages: [{ role: 'MESSAGE_ROLE_USER', text: 'Earlier.' }],
    });
    expect(created.systemPrompt).toBe('You are Maria. You talk to Bo.');
    await billed(api, created.callId);
    const path = `/api/calls/${created.callId}/messages`;
    const all = (await api('GET', `${path}?pageSize=100`)).body.results;
    const inCall = (await api('GET', `${path}?mode=in_call&pageSize=100`)).body.results;
    expect(all).toHaveLength(inCall.length + 1);
    expect(inCall[0]).toMatchObject({
      role: 'MESSAGE_ROLE_AGENT',
      text: 'Good morning, this is Maria.',
      callStageMessageIndex: 1,
    });
    const roles = inCall.map((message: Body) => message.role);
    expect(roles).toContain('MESSAGE_ROLE_USER');
    const call = inCall.find((message: Body) => message.role === 'MESSAGE_ROLE_TOOL_CALL');
    const result = inCall.find((message: Body) => message.role === 'MESSAGE_ROLE_TOOL_RESULT');
    expect(call).toMatchObject({ toolName: 'queryCorpus' });
    expect(result.invocationId).toBe(call.invocationId);
    const stages = (await api('GET', `/api/calls/${created.callId}/stages`)).body.results;
    expect(stages).toHaveLength(1);
    expect(inCall[0].callStageId).toBe(stages[0].callStageId);
    const tools = (await api('GET', `/api/calls/${created.callId}/tools`)).body;
    expect(tools[0]).toMatchObject({ name: 'queryCorpus' });
    expect(JSON.stringify(tools[0].definition.staticParameters)).toContain('corpus_id');
  });

  it('have a recording as a signed address of a WAV file, after the end only', async () => {
    const created = await dial(api, agent.agentId, '+14155550008');
    expect((await api('GET', `/api/calls/${created.callId}/recording`)).status).toBe(404);
    await until('the call to be live', async () => {
      const { body } = await api('GET', `/api/calls/${created.callId}`);
      return body.joined !== null;
    });
    simulator.endCall(created.callId);
    const redirect = await api('GET', `/api/calls/${created.callId}/recording`);
    expect(redirect.status).toBe(302);
    const location = redirect.headers.get('location') ?? '';
    const wav = await fetch(location);
    expect(wav.status).toBe(200);
    expect(
      Buffer.from(await wav.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('RIFF');
    expect((await fetch(location.replace(/signature=./, 'signature=x'))).status).toBe(403);
    const silent = await dial(api, agent.agentId, '+14155550001', { recordingEnabled: false });
    await billed(api, silent.callId);
    expect((await api('GET', `/api/calls/${silent.callId}/recording`)).status).toBe(404);
  });

  it('accept data messages while live only', async () => {
    const created = await dial(api, agent.agentId, '+14155550008');
    const path = `/api/calls/${created.callId}/send_data_message`;
    simulator.answerCall(created.callId);
    const said = { type: 'user_text_message', text: 'Typed this.' };
    expect((await api('POST', path, said)).status).toBe(204);
    const forced = { type: 'forced_agent_message', content: 'Please hold.' };
    expect((await api('POST', path, forced)).status).toBe(204);
    expect((await api('POST', path, { type: 'dance' })).status).toBe(400);
    expect((await api('POST', path, { type: 'hang_up', message: 'Bye now.' })).status).toBe(204);
    const { body } = await api('GET', `/api/calls/${created.callId}`);
    expect(body.endReason).toBe('agent_hangup');
    expect((await api('POST', path, { type: 'hang_up' })).status).toBe(422);
    const messages = (await api('GET', `/api/calls/${created.callId}/messages?pageSize=100`)).body;
    const texts = messages.results.map((message: Body) => message.text);
    for (const text of ['Typed this.', 'Please hold.', 'Bye now.']) expect(texts).toContain(text);
  });

  it('join from a browser by themselves or by websocket, and end when it closes', async () => {
    const alone = (await api('POST', `/api/agents/${agent.agentId}/calls`, {})).body;
    expect(alone.joinUrl).toMatch(/^ws:\/\//);
    expect((await billed(api, alone.callId)).endReason).toBe('hangup');
    const created = (
      await api('POST', `/api/agents/${agent.agentId}/calls`, {
        medium: { serverWebSocket: { inputSampleRate: 16000 } },
      })
    ).body;
    expect(created.joinUrl).toMatch(/server_web_socket$/);
    const socket = new WebSocket(created.joinUrl);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    await until('the call to be joined', async () => {
      const { body } = await api('GET', `/api/calls/${created.callId}`);
      return body.joined !== null;
    });
    socket.close();
    expect((await billed(api, created.callId)).endReason).toBe('hangup');
  });

  it('map the context of an incoming call as the provider does', async () => {
    const inbound = { agentId: agent.agentId, from: '+14155550123', to: '+14155550199' };
    const refused = await api('POST', '/simulator/inbound-calls', inbound);
    expect(refused.status).toBe(400);
    await api('POST', '/api/telephony_configs/twilio', {
      accountSid: 'AC1',
      authToken: 'token-token',
      callCreationAllowAllAgents: true,
    });
    const raw = await api('POST', '/simulator/inbound-calls', inbound);
    expect(raw.body).toMatchObject({
      medium: { twilio: {} },
      requestContext: { From: '+14155550123', To: '+14155550199' },
    });
    await api('PATCH', '/api/telephony_configs/twilio', {
      requestContextMapping: { From: 'caller.number', To: 'contact.firstName' },
    });
    const mapped = await api('POST', '/simulator/inbound-calls', inbound);
    expect(mapped.body.requestContext).toEqual({
      caller: { number: '+14155550123' },
      contact: { firstName: '+14155550199' },
    });
    expect(mapped.body.systemPrompt).toContain('+14155550199');
    expect((await billed(api, mapped.body.callId)).endReason).toBe('hangup');
    const sip = await api('POST', '/simulator/inbound-calls', { ...inbound, medium: 'sip' });
    expect(sip.status).toBe(403);
    await api('PATCH', '/api/sip', {
      allowedAgents: [{ agentId: agent.agentId, toUserPattern: '^\\+14155550199$' }],
    });
    const allowed = await api('POST', '/simulator/inbound-calls', { ...inbound, medium: 'sip' });
    expect(allowed.body).toMatchObject({
      medium: { sip: { incoming: {} } },
      requestContext: { ultravox: { sip: { caller_id: '+14155550123' } } },
    });
  });

  it('that a provider dials end without a reason, at the join timeout, when nobody answers', async () => {
    await api('POST', '/api/telephony_configs/telnyx', {
      accountSid: 'AC1',
      apiKey: 'key-key-key',
      publicKey: 'public-key',
      applicationSid: 'APP1',
      callCreationAllowAllAgents: true,
    });
    const calls = await Promise.all(
      ['0001', '0002', '0003', '0004', '0005'].map(async (digits) => {
        const outgoing = { to: `+1415555${digits}`, from: '+14155550199' };
        const { body } = await api('POST', `/api/agents/${agent.agentId}/calls`, {
          medium: { telnyx: { outgoing } },
          joinTimeout: '20s',
        });
        return billed(api, body.callId);
      }),
    );
    for (const call of calls) {
      expect(call).toMatchObject({ joined: null, endReason: 'unjoined', sipDetails: null });
      // 20 seconds at speed 200.
      expect(Date.parse(call.ended) - Date.parse(call.created)).toBeGreaterThanOrEqual(100);
    }
  });

  it('are filtered by agent, date, metadata, duration and text', async () => {
    const other = await makeAgent(api, {}, 'Other');
    const first = await dial(api, other.agentId, '+14155551111', { metadata: { ref: 'one' } });
    const second = await dial(api, other.agentId, '+14155550001', { metadata: { ref: 'two' } });
    await Promise.all([billed(api, first.callId), billed(api, second.callId)]);
    const ids = async (query: string) => {
      const { body } = await api('GET', `/api/calls?agentIds=${other.agentId}&${query}`);
      return body.results.map((call: Body) => call.callId);
    };
    expect(await ids('')).toEqual([second.callId, first.callId]);
    expect(await ids('sort=created')).toEqual([first.callId, second.callId]);
    expect(await ids('metadata.ref=two')).toEqual([second.callId]);
    expect(await ids('durationMin=1s')).toEqual([first.callId]);
    expect(await ids('durationMax=1s')).toEqual([second.callId]);
    expect(await ids(`search=${first.callId}`)).toEqual([first.callId]);
    expect(await ids('fromDate=2999-01-01')).toEqual([]);
    expect(await ids('toDate=2999-01-01')).toHaveLength(2);
    expect((await api('GET', '/api/calls?fromDate=soon')).status).toBe(400);
  });

  it('leave a tombstone when deleted, and after billing with auto_delete', async () => {
    const talking = await dial(api, agent.agentId, '+14155550008');
    expect((await api('DELETE', `/api/calls/${talking.callId}`)).status).toBe(400);
    const kept = await dial(api, agent.agentId, '+14155550001');
    await billed(api, kept.callId);
    expect((await api('DELETE', `/api/calls/${kept.callId}`)).status).toBe(204);
    expect((await api('GET', `/api/calls/${kept.callId}`)).status).toBe(404);
    const tombstone = await api('GET', `/api/deleted_calls/${kept.callId}`);
    expect(tombstone.body).toMatchObject({ endReason: 'unjoined', hadSummary: false });
    const gone = await dial(api, agent.agentId, '+14155550001', {
      retentionPolicy: 'CALL_RETENTION_POLICY_AUTO_DELETE',
    });
    expect(gone.retentionPolicy).toBe('auto_delete');
    await until('the call to delete itself', async () => {
      const answer = await api('GET', `/api/deleted_calls/${gone.callId}`);
      return answer.status === 200;
    });
  });

  it('are logged once for each dial', async () => {
    const created = await dial(api, agent.agentId, '+14155552222', { metadata: { ours: 'a1' } });
    const { body } = await api('GET', `/simulator/dials?callId=${created.callId}`);
    expect(body.results).toEqual([
      {
        at: created.created,
        callId: created.callId,
        to: sipTo('+14155552222').sip.outgoing.to,
        from: 'sip:desk@office.test',
        medium: 'sip',
        metadata: { ours: 'a1' },
        agentId: agent.agentId,
      },
    ]);
  });

  it('do not delay closing the simulator by open websockets', async () => {
    const own = await startSimulator({ settings: { webRtcAutoJoinSeconds: null } });
    const { joinUrl } = (await apiOf(own)('POST', '/api/calls', { systemPrompt: 'Hi.' })).body;
    const socket = new WebSocket(joinUrl);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await new Promise((resolve) => socket.once('open', resolve));
    await own.close();
    await closed;
  });
});
