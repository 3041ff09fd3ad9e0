import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Api, apiOf, type Body, makeAgent, sipTo } from './harness.ts';

let simulator: Simulator;
let api: Api;
let agent: Body;

beforeAll(async () => {
  simulator = await startSimulator({ speed: 100 });
  api = apiOf(simulator);
  agent = await makeAgent(api, { systemPrompt: 'Hello {{name}}.' });
});
afterAll(() => simulator.close());

describe('API key of the simulator', () => {
  it.each([
    null,
    'nonsense',
    'AAAAAAAA.00000000000000000000000000000000',
  ])('%s is rejected with 401 and a detail', async (key) => {
    const answer = await apiOf(simulator, key)('GET', '/api/agents');
    expect(answer.status).toBe(401);
    expect(answer.body.detail).toEqual(expect.any(String));
  });

  it('is rejected with 403 once revoked, except by the control endpoints', async () => {
    await api('PATCH', '/simulator/settings', { keyRevoked: true });
    expect((await api('GET', '/api/agents')).status).toBe(403);
    await api('PATCH', '/simulator/settings', { keyRevoked: false });
    expect((await api('GET', '/api/agents')).status).toBe(200);
  });
});

const http = { baseUrlPattern: 'https://tools.test/x', httpMethod: 'POST' };

describe('call template of the simulator', () => {
  it.each<[string, object, string]>([
    ['two media', { medium: { webRtc: {}, sip: { incoming: {} } } }, 'medium'],
    ['SIP without a direction', { medium: { sip: {} } }, 'sip'],
    ['a bad duration', { maxDuration: '10 minutes' }, 'maxDuration'],
    ['a negative duration', { joinTimeout: '-5s' }, 'joinTimeout'],
    ['too much temperature', { temperature: 1.5 }, 'temperature'],
    ['an unknown model', { model: 'gpt' }, 'model'],
    ['an unknown voice', { voice: 'Nobody' }, 'voice'],
    [
      'voice and external voice',
      { voice: 'Mark', externalVoice: { lmnt: { voiceId: 'x' } } },
      'externalVoice',
    ],
    ['overrides without a voice', { voiceOverrides: { lmnt: { speed: 1 } } }, 'voiceOverrides'],
    [
      'overrides of another provider',
      { voice: 'Mark', voiceOverrides: { lmnt: { speed: 1 } } },
      'voiceOverrides',
    ],
    ['two first speakers', { firstSpeakerSettings: { agent: {}, user: {} } }, 'firstSpeaker'],
    ['no first speaker', { firstSpeakerSettings: {} }, 'firstSpeaker'],
    [
      'an unknown end behaviour',
      { inactivityMessages: [{ duration: '5s', message: 'x', endBehavior: 'HANG_UP_SOFT' }] },
      'endBehavior',
    ],
    ['an unknown tool', { selectedTools: [{ toolName: 'nothing' }] }, 'selectedTools'],
    ['queryCorpus without a corpus', { selectedTools: [{ toolName: 'queryCorpus' }] }, 'corpus_id'],
    [
      'the same tool twice',
      { selectedTools: [{ toolName: 'hangUp' }, { toolName: 'hangUp' }] },
      'Duplicate',
    ],
    [
      'a tool name with a space',
      { selectedTools: [{ temporaryTool: { modelToolName: 'a b', client: {} } }] },
      'modelToolName',
    ],
    [
      'a tool on plain HTTP',
      {
        selectedTools: [
          {
            temporaryTool: {
              modelToolName: 'a',
              http: { ...http, baseUrlPattern: 'http://tools.test' },
            },
          },
        ],
      },
      'baseUrlPattern',
    ],
    [
      'a query string in a tool address',
      {
        selectedTools: [
          {
            temporaryTool: {
              modelToolName: 'a',
              http: { ...http, baseUrlPattern: 'https://tools.test?a=1' },
            },
          },
        ],
      },
      'baseUrlPattern',
    ],
    ['a short secret', { sharedSecrets: ['short'] }, 'sharedSecrets'],
    ['text that is no template', { systemPrompt: 'Hi {{name' }, 'systemPrompt'],
    ['a schema that is none', { contextSchema: { type: 'thing' } }, 'contextSchema'],
  ])('with %s is rejected', async (_what, callTemplate, mentions) => {
    const answer = await api('POST', '/api/agents', { name: 'x', callTemplate });
    expect(answer.status).toBe(400);
    expect(JSON.stringify(answer.body)).toContain(mentions);
  });

  it('is rejected with a name over 64 characters', async () => {
    expect((await api('POST', '/api/agents', { name: 'x'.repeat(65) })).body.name).toHaveLength(1);
  });
});

describe('call of the simulator', () => {
  it.each<[string, object, string]>([
    ['a missing variable', {}, 'name'],
    ['metadata that is no string', { metadata: { a: 1 } }, 'metadata'],
    ['reserved metadata', { metadata: { 'ultravox.a': 'x' } }, 'metadata'],
    [
      'a plain number for SIP',
      { medium: { sip: { outgoing: { to: '+14155550100', from: 'x' } } } },
      'SIP URI',
    ],
    [
      'a provider without configuration',
      { medium: { telnyx: { outgoing: { to: '+14155550100', from: '+14155550101' } } } },
      'telnyx',
    ],
    ['remove and removeAll', { toolOverrides: { remove: ['a'], removeAll: true } }, 'removeAll'],
    ['overrides without voice', { voiceOverrides: { elevenLabs: { speed: 1 } } }, 'voiceOverrides'],
  ])('with %s is rejected', async (what, body, mentions) => {
    const context = what === 'a missing variable' ? {} : { templateContext: { name: 'Bo' } };
    const answer = await api('POST', `/api/agents/${agent.agentId}/calls`, { ...context, ...body });
    expect(answer.status).toBe(400);
    expect(JSON.stringify(answer.body)).toContain(mentions);
    expect(simulator.state().calls).toBe(0);
  });

  it('is rejected if its context does not match the context schema', async () => {
    const strict = await makeAgent(api, {
      systemPrompt: 'Hello {{name}}.',
      contextSchema: {
        type: 'object',
        properties: { name: { type: 'string' } },
        required: ['name'],
      },
    });
    const path = `/api/agents/${strict.agentId}/calls`;
    expect((await api('POST', path, { templateContext: { name: 5 } })).status).toBe(400);
    expect((await api('POST', path, {})).status).toBe(400);
    expect((await api('POST', path, { templateContext: { name: 'Bo' } })).status).toBe(201);
    simulator.reset();
  });

  it('is rejected without credit or capacity', async () => {
    const other = await makeAgent(api, { systemPrompt: 'Hi.' });
    const path = `/api/agents/${other.agentId}/calls`;
    simulator.updateSettings({ outOfCredit: true });
    expect((await api('POST', path, {})).status).toBe(402);
    simulator.updateSettings({ outOfCredit: false, maxConcurrentCalls: 1 });
    expect((await api('POST', path, { medium: sipTo('+14155550008') })).status).toBe(201);
    const full = await api('POST', path, {});
    expect(full.status).toBe(429);
    expect(full.headers.get('retry-after')).toBe('5');
    simulator.updateSettings({ maxConcurrentCalls: null, creationsPerMinute: 1 });
    expect((await api('POST', path, {})).status).toBe(201);
    const often = await api('POST', path, {});
    expect(often.status).toBe(429);
    expect(Number(often.headers.get('retry-after'))).toBeGreaterThan(0);
    simulator.reset();
  });
});

describe('malformed request to the simulator', () => {
  it('gets an error response', async () => {
    const headers = { 'x-api-key': simulator.apiKey, 'content-type': 'application/json' };
    const post = (body: string) =>
      fetch(`${simulator.url}/api/agents`, { method: 'POST', headers, body });
    expect((await post('{"name":')).status).toBe(400);
    expect((await post('[]')).status).toBe(400);
    expect((await post('null')).status).toBe(400);
    expect((await post(`"${'x'.repeat(13_000_000)}"`)).status).toBe(413);
    expect((await api('GET', '/api/nothing')).status).toBe(404);
    expect((await api('PUT', '/api/agents')).status).toBe(405);
    expect((await api('GET', '/api/agents/%E0%A4%A')).status).toBe(404);
    expect((await api('GET', '/api/agents?cursor=%%%')).status).toBeLessThan(500);
    expect((await api('GET', '/api/agents?pageSize=many')).status).toBe(400);
    expect((await api('GET', '/simulator/health')).status).toBe(200);
  });

  it('loses unknown members, which are recorded', async () => {
    const path = '/api/agents';
    const made = await api('POST', path, { name: 'x', nonsense: 1, callTemplate: { prompt: 'x' } });
    expect(made.status).toBe(201);
    expect(made.body.callTemplate.prompt).toBeUndefined();
    const { body } = await api('GET', `/simulator/requests?method=POST&path=${path}`);
    expect(body.results.at(-1).ignoredMembers).toEqual(['nonsense', 'callTemplate.prompt']);
  });
});
