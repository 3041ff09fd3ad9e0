import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { loadOpenApi, type OpenApi } from '../support/openapi.ts';
import { type Api, apiOf, type Body, billed, dial, until } from './harness.ts';

const document = process.env.ULTRAVOX_OPENAPI;

/** The document cannot say it, but a call without an agent has none (and the vendor says so). */
const KNOWN = [/^\/agent: must be object$/];

describe.skipIf(!document)('the OpenAPI document of the vendor (set ULTRAVOX_OPENAPI)', () => {
  let simulator: Simulator;
  let openApi: OpenApi;
  let plain: Api;
  const problems: string[] = [];

  const api: Api = async (method, path, body) => {
    const answer = await plain(method, path, body);
    const url = new URL(path, simulator.url);
    const contentType = answer.headers.get('content-type') ?? undefined;
    const given = { method, path: url.pathname, query: url.searchParams };
    const found = [
      ...openApi.validateRequest(body === undefined ? given : { ...given, body }),
      ...openApi.validateResponse({
        method,
        path: url.pathname,
        status: answer.status,
        ...(answer.body === '' ? {} : { body: answer.body }),
        ...(contentType === undefined ? {} : { contentType }),
      }),
    ].filter((problem) => !KNOWN.some((known) => known.test(problem)));
    problems.push(...found.map((problem) => `${method} ${path} ${answer.status}: ${problem}`));
    return answer;
  };

  beforeAll(async () => {
    simulator = await startSimulator({ speed: 200 });
    openApi = loadOpenApi(document ?? '');
    plain = apiOf(simulator);
  });
  afterAll(() => simulator.close());

  it('is kept by agents, tools, voices, webhooks and the account', async () => {
    const tool = (
      await api('POST', '/api/tools', {
        name: 'findOrder',
        definition: { http: { baseUrlPattern: 'https://tools.test', httpMethod: 'POST' } },
      })
    ).body;
    const agent = (
      await api('POST', '/api/agents', {
        name: 'Maria',
        callTemplate: {
          systemPrompt: 'Hi.',
          voice: 'Mark',
          medium: { twilio: {} },
          vadSettings: { turnEndpointDelay: '0.4s' },
          inactivityMessages: [
            { duration: '8s', message: 'Still there?', endBehavior: 'END_BEHAVIOR_HANG_UP_SOFT' },
          ],
          selectedTools: [{ toolId: tool.toolId }, { toolName: 'hangUp' }],
        },
      })
    ).body;
    const hook = (
      await api('POST', '/api/webhooks', { url: 'http://127.0.0.1:9/', events: ['call.billed'] })
    ).body;
    const paths = [
      '/api/agents',
      `/api/agents/${agent.agentId}`,
      `/api/agents/${agent.agentId}/calls`,
      '/api/tools',
      `/api/tools/${tool.toolId}`,
      `/api/tools/${tool.toolId}/history`,
      '/api/voices',
      '/api/voices/91fa9bcf-93c8-467c-8b29-973720e3f167',
      '/api/webhooks',
      `/api/webhooks/${hook.webhookId}`,
      '/api/accounts/me',
      '/api/accounts',
      '/api/models',
      '/api/sip',
    ];
    for (const path of paths) expect((await api('GET', path)).status, path).toBe(200);
    await api('PATCH', `/api/agents/${agent.agentId}`, { callTemplate: agent.callTemplate });
    await api('PATCH', `/api/webhooks/${hook.webhookId}`, { events: ['call.ended'] });
    await api('DELETE', `/api/webhooks/${hook.webhookId}`);
    expect(problems.splice(0)).toEqual([]);
  });

  it('is kept by calls from the dial to the tombstone', async () => {
    const agent = (await api('POST', '/api/agents', { callTemplate: { recordingEnabled: true } }))
      .body;
    for (const number of ['+14155550001', '+14155550006', '+14155551234']) {
      const created = await dial(api, agent.agentId, number, { metadata: { a: 'b' } });
      const path = `/api/calls/${created.callId}`;
      await billed(api, created.callId);
      const stages = (await api('GET', `${path}/stages`)).body.results;
      for (const part of [
        '/messages',
        '/messages?mode=in_call&pageSize=2',
        '/events?minimum_severity=debug',
        '/tools',
        `/stages/${stages[0].callStageId}`,
        `/stages/${stages[0].callStageId}/messages`,
        `/stages/${stages[0].callStageId}/tools`,
      ]) {
        expect((await api('GET', path + part)).status, part).toBe(200);
      }
      await api('GET', `${path}/recording`);
      await api('POST', `${path}/send_data_message`, { type: 'hang_up' });
    }
    await api('POST', '/api/calls', { systemPrompt: 'Hi.' });
    const { body } = await api('GET', '/api/calls?metadata.a=b&sort=-created');
    expect(body.total).toBe(3);
    await api('DELETE', `/api/calls/${body.results[0].callId}`);
    await api('GET', '/api/deleted_calls');
    await api('GET', `/api/deleted_calls/${body.results[0].callId}`);
    expect(problems.splice(0)).toEqual([]);
  });

  it('is kept by knowledge bases and telephony', async () => {
    const corpus = (await api('POST', '/api/corpora', { name: 'A', description: 'B' })).body;
    const path = `/api/corpora/${corpus.corpusId}`;
    await api('POST', `${path}/uploads`, { mimeType: 'text/plain', fileName: 'a.txt' });
    const crawl = { startUrls: ['https://shop.test'], maxDepth: 2 };
    const source = (await api('POST', `${path}/sources`, { name: 'Web', crawl })).body;
    await until('the corpus to be ready', async () => {
      const answer = await api('GET', path);
      return answer.body.stats.status === 'CORPUS_STATUS_READY';
    });
    const documents = (await api('GET', `${path}/sources/${source.sourceId}/documents`)).body;
    await api(
      'GET',
      `${path}/sources/${source.sourceId}/documents/${documents.results[0].documentId}`,
    );
    await api('GET', `${path}/sources`);
    await api('PATCH', `${path}/sources/${source.sourceId}`, { name: 'Site' });
    await api('POST', `${path}/query`, { query: 'opening hours', maxResults: 3 });
    await api('GET', '/api/corpora');
    await api('DELETE', path);
    const given: Record<string, Body> = {
      twilio: { accountSid: 'a', authToken: 'secret' },
      telnyx: { accountSid: 'a', apiKey: 'k', publicKey: 'p', applicationSid: 's' },
      plivo: { authId: 'a', authToken: 'secret' },
    };
    for (const [provider, body] of Object.entries(given)) {
      await api('POST', `/api/telephony_configs/${provider}`, body);
      await api('GET', `/api/telephony_configs/${provider}`);
      await api('PATCH', `/api/telephony_configs/${provider}`, {
        callCreationAllowAllAgents: true,
      });
    }
    await api('PATCH', '/api/sip', { allowAllAgents: true });
    await api('POST', '/api/sip/registrations', { username: 'u', password: 'p', proxy: 'x.test' });
    await api('GET', '/api/sip/registrations');
    expect(problems.splice(0)).toEqual([]);
  });
});
