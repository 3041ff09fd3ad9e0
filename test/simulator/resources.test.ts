import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Api, apiOf, type Body, makeAgent, until } from './harness.ts';

let simulator: Simulator;
let api: Api;

beforeAll(async () => {
  simulator = await startSimulator({ speed: 200 });
  api = apiOf(simulator);
});
afterAll(() => simulator.close());

describe('resources of the simulator', () => {
  it('are paged by absolute addresses that survive new items', async () => {
    const names: string[] = [];
    for (let index = 0; index < 25; index += 1) {
      names.unshift((await makeAgent(api, {}, `page-${index}`)).name);
    }
    const seen: string[] = [];
    let next: string | null = '/api/agents?pageSize=10&search=page-';
    while (next !== null) {
      const { body }: Body = await api('GET', next);
      expect(body.total).toBeGreaterThanOrEqual(25);
      seen.push(...body.results.map((item: Body) => item.name));
      if (next.startsWith('http') && seen.length === 20) await makeAgent(api, {}, 'page-new');
      next = body.next;
      if (next !== null) expect(next).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/api\/agents\?/);
    }
    expect(seen).toEqual(names);
    const first = (await api('GET', '/api/agents?pageSize=10')).body;
    const second = (await api('GET', first.next)).body;
    const back = (await api('GET', second.previous)).body;
    expect(back.results).toEqual(first.results);
  });

  it('replace the template of an agent, publish a revision and hide secrets', async () => {
    const agent = await makeAgent(api, { temperature: 0.5, sharedSecrets: ['x'.repeat(20)] });
    expect(JSON.stringify(agent)).not.toContain('xxxx');
    const path = `/api/agents/${agent.agentId}`;
    const patched = (await api('PATCH', path, { callTemplate: { systemPrompt: 'New.' } })).body;
    expect(patched.callTemplate).toMatchObject({ systemPrompt: 'New.', temperature: 0 });
    expect(patched.publishedRevisionId).not.toBe(agent.publishedRevisionId);
    const named = (await api('PATCH', path, { name: 'Renamed' })).body;
    expect(named).toMatchObject({ name: 'Renamed', callTemplate: { systemPrompt: 'New.' } });
    expect((await api('DELETE', path)).status).toBe(204);
    expect((await api('GET', path)).status).toBe(404);
  });

  it('include tools: created, replaced, listed with built-in ones and deleted', async () => {
    const definition = {
      description: 'Looks up an order',
      dynamicParameters: [
        {
          name: 'id',
          location: 'PARAMETER_LOCATION_BODY',
          schema: { type: 'string' },
          required: true,
        },
      ],
      http: { baseUrlPattern: 'https://tools.test/orders', httpMethod: 'POST' },
    };
    const made = await api('POST', '/api/tools', { name: 'findOrder', definition });
    expect(made.status).toBe(201);
    expect(made.body.definition.modelToolName).toBe('findOrder');
    const listed = (await api('GET', '/api/tools')).body.results;
    expect(listed[0].name).toBe('findOrder');
    expect(listed.map((tool: Body) => tool.name)).toEqual(
      expect.arrayContaining(['hangUp', 'queryCorpus', 'coldTransfer', 'warmTransfer']),
    );
    const path = `/api/tools/${made.body.toolId}`;
    const replaced = await api('PUT', path, { name: 'findOrders', definition: { client: {} } });
    expect(replaced.body.definition).toEqual({ modelToolName: 'findOrders', client: {} });
    expect((await api('PATCH', path, {})).status).toBe(405);
    const hangUp = listed.find((tool: Body) => tool.name === 'hangUp');
    expect((await api('DELETE', `/api/tools/${hangUp.toolId}`)).status).toBe(403);
    expect((await api('DELETE', path)).status).toBe(204);
    const long = { name: 'x'.repeat(41), definition };
    expect((await api('POST', '/api/tools', long)).status).toBe(400);
  });

  it('include voices: filtered, previewed, registered and cloned', async () => {
    const all = (await api('GET', '/api/voices?pageSize=100')).body;
    expect(all.total).toBeGreaterThanOrEqual(12);
    const mark = all.results.find((voice: Body) => voice.name === 'Mark');
    expect(mark.voiceId).toBe('91fa9bcf-93c8-467c-8b29-973720e3f167');
    expect((await fetch(mark.previewUrl)).headers.get('content-type')).toBe('audio/wav');
    const preview = await api('GET', `/api/voices/${mark.voiceId}/preview`);
    expect(preview.status).toBe(200);
    const spanish = (await api('GET', '/api/voices?primaryLanguage=es')).body.results;
    expect(spanish.map((voice: Body) => voice.primaryLanguage)).toEqual(['es', 'es-MX']);
    const two = (await api('GET', '/api/voices?provider=lmnt&provider=google&pageSize=100')).body;
    expect(new Set(two.results.map((voice: Body) => voice.provider))).toEqual(
      new Set(['lmnt', 'google']),
    );
    const voice = { name: 'Mine', definition: { elevenLabs: { voiceId: 'abc' } } };
    const made = await api('POST', '/api/voices', voice);
    expect(made.body).toMatchObject({ provider: 'eleven_labs', ownership: 'private' });
    expect((await api('POST', '/api/voices', voice)).status).toBe(400);
    const form = new FormData();
    form.set('file', new Blob(['RIFF....'], { type: 'audio/wav' }), 'me.wav');
    form.set('name', 'Clone');
    form.set('language', 'de');
    const cloned = await fetch(`${simulator.url}/api/voices`, {
      method: 'POST',
      headers: { 'x-api-key': simulator.apiKey },
      body: form,
    });
    expect(cloned.status).toBe(201);
    expect(await cloned.json()).toMatchObject({ name: 'Clone', primaryLanguage: 'de' });
    expect((await api('DELETE', `/api/voices/${mark.voiceId}`)).status).toBe(403);
    expect((await api('DELETE', `/api/voices/${made.body.voiceId}`)).status).toBe(204);
  });

  it('include knowledge bases: uploads, crawls, readiness and queries', async () => {
    const corpus = (await api('POST', '/api/corpora', { name: 'Handbook' })).body;
    expect(corpus.stats.status).toBe('CORPUS_STATUS_EMPTY');
    const path = `/api/corpora/${corpus.corpusId}`;
    const upload = (
      await api('POST', `${path}/uploads`, { mimeType: 'text/plain', fileName: 'a.txt' })
    ).body;
    const source = { name: 'Files', upload: { documentIds: [upload.documentId] } };
    expect((await api('POST', `${path}/sources`, source)).status).toBe(400);
    const put = (type: string) =>
      fetch(upload.presignedUrl, {
        method: 'PUT',
        headers: { 'content-type': type },
        body: 'Returns are accepted within thirty days.\n\nShipping is free.',
      });
    expect((await put('text/markdown')).status).toBe(403);
    expect((await put('text/plain')).status).toBe(200);
    const made = (await api('POST', `${path}/sources`, source)).body;
    expect(made.stats.status).toBe('SOURCE_STATUS_INITIALIZING');
    const web = { name: 'Web', crawl: { startUrls: ['https://shop.test'], maxDepth: 1 } };
    expect((await api('POST', `${path}/sources`, web)).status).toBe(201);
    const ready = await until('the corpus to be ready', async () => {
      const { body } = await api('GET', path);
      return body.stats.status === 'CORPUS_STATUS_READY' && body;
    });
    expect(ready.stats.numDocs).toBe(2);
    const documents = (await api('GET', `${path}/sources/${made.sourceId}/documents`)).body.results;
    expect(documents[0]).toMatchObject({ documentId: upload.documentId, mimeType: 'text/plain' });
    const found = (await api('POST', `${path}/query`, { query: 'When are returns accepted?' }))
      .body;
    expect(found[0]).toMatchObject({ citation: { documentId: upload.documentId } });
    expect((await api('POST', `${path}/sources`, { name: 'None' })).status).toBe(400);
    expect((await api('DELETE', `${path}/sources/${made.sourceId}`)).status).toBe(204);
    expect((await api('DELETE', path)).status).toBe(204);
    expect((await api('GET', `${path}/sources`)).status).toBe(404);
  });

  it('include telephony configurations, with prefixes instead of secrets', async () => {
    const path = '/api/telephony_configs/telnyx';
    expect((await api('GET', path)).status).toBe(404);
    expect((await api('POST', path, { accountSid: 'a' })).status).toBe(400);
    const given = {
      accountSid: 'a',
      apiKey: 'KEYsecret',
      publicKey: 'PUBsecret',
      applicationSid: 'p',
    };
    const made = await api('POST', path, given);
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ apiKeyPrefix: { prefix: 'KEYs' } });
    expect(JSON.stringify(made.body)).not.toContain('secret');
    const both = {
      callCreationAllowAllAgents: true,
      callCreationAllowedAgentIds: [crypto.randomUUID()],
    };
    expect((await api('PATCH', path, both)).status).toBe(400);
    expect((await api('DELETE', path)).status).toBe(204);
  });

  it('include account and models', async () => {
    expect((await api('GET', '/api/accounts/me')).body).toMatchObject({
      allowedConcurrentCalls: null,
    });
    const { results } = (await api('GET', '/api/models')).body;
    expect(results[0]).toEqual({ name: 'ultravox-v0.7' });
  });
});

describe('the language model of the simulator', () => {
  const ask = async (content: string): Promise<Body> => {
    const response = await fetch(`${simulator.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${simulator.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        messages: [{ role: 'user', content }],
        response_format: { json_schema: { schema: { properties: { extractedData: {} } } } },
      }),
    });
    expect(response.status).toBe(200);
    const answer: Body = await response.json();
    return JSON.parse(answer.choices[0].message.content);
  };

  it('gives a short example of a schema whose examples are endless', async () => {
    const self = { $ref: '#' };
    const large = { type: 'array', minItems: 1e9 };
    const schemas = [
      { type: 'object', required: ['a', 'b'], properties: { a: self, b: self } },
      { allOf: [self, self] },
      { ...large, items: { type: 'integer' } },
      { ...large, items: { ...large, items: { ...large, items: large } } },
      { type: 'string', minLength: 5e8 },
      { ...large, items: { ...large, items: { type: 'string', minLength: 5e8 } } },
      { ...large, items: { ...large, items: { ...large, items: { const: 'x'.repeat(50_000) } } } },
    ];
    for (const extractionSchema of schemas) {
      const answer = await ask(JSON.stringify({ transcript: [], extractionSchema }));
      expect(JSON.stringify(answer.extractedData).length).toBeLessThan(5_000_000);
    }
  });

  it('answers a message without a task', async () => {
    expect(await ask('null')).toEqual({ extractedData: {} });
  });
});
