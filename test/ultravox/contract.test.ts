/**
 * Every request that the product sends to Ultravox, and every response of the simulator to it, checked
 * against Ultravox's own OpenAPI document: `GET https://api.ultravox.ai/api/schema/`, saved to the
 * file that the environment variable ULTRAVOX_OPENAPI names. The document is not ours to distribute.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { runMutation } from '../support/calling.ts';
import { loadOpenApi, type OpenApi } from '../support/openapi.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

const file = process.env.ULTRAVOX_OPENAPI;
const title = file ? 'the wire' : 'the wire (skipped: ULTRAVOX_OPENAPI does not name the document)';

/** Passes everything on to the simulator, and keeps what both sides said. */
async function startProxy(
  target: string,
  api: OpenApi,
): Promise<{ proxy: Server; url: string; seen: Set<string>; problems: string[] }> {
  const seen = new Set<string>();
  const problems: string[] = [];
  const proxy = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url ?? '/', target);
    const headers = new Headers();
    for (const name of ['x-api-key', 'content-type', 'accept']) {
      const value = request.headers[name];
      if (typeof value === 'string') headers.set(name, value);
    }
    const method = request.method ?? 'GET';
    const answer = await fetch(url, {
      method,
      headers,
      redirect: 'manual',
      ...(body.length > 0 ? { body } : {}),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (url.pathname.startsWith('/api/')) {
      const path = url.pathname;
      const contentType = request.headers['content-type']?.split(';')[0] ?? 'application/json';
      const sent = body.length > 0 ? JSON.parse(body.toString()) : undefined;
      const got =
        bytes.length > 0 && answer.headers.get('content-type')?.includes('json')
          ? JSON.parse(bytes.toString())
          : undefined;
      const found = [
        ...api
          .validateRequest({ method, path, query: url.searchParams, body: sent, contentType })
          .map((text) => `request: ${text}`),
        ...api
          .validateResponse({ method, path, status: answer.status, body: got })
          .map((text) => `answer: ${text}`),
      ];
      seen.add(`${method} ${path.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '{id}')}`);
      problems.push(
        ...found.map(
          (text) =>
            `${method} ${path} ${answer.status} ${text} ${JSON.stringify(sent)?.slice(0, 300) ?? ''}`,
        ),
      );
    }
    const out = Object.fromEntries(
      [...answer.headers].filter(
        ([name]) => !['content-length', 'transfer-encoding', 'connection'].includes(name),
      ),
    );
    response.writeHead(answer.status, out).end(bytes);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  return { proxy, url: `http://127.0.0.1:${port}`, seen, problems };
}

describe.skipIf(!file)(title, () => {
  let simulator: Simulator;
  let wire: Awaited<ReturnType<typeof startProxy>>;
  let server: TestServer;

  beforeAll(async () => {
    simulator = await startSimulator({ speed: 50 });
    wire = await startProxy(simulator.url, loadOpenApi(file ?? ''));
    server = await startTestServer({
      ultravox: simulator,
      settings: { ULTRAVOX_BASE_URL: wire.url },
    });
  });
  afterAll(async () => {
    await server.close();
    wire.proxy.closeAllConnections();
    wire.proxy.close();
    await simulator.close();
  });

  it('matches every request and response of the main workflow', async () => {
    const { client } = server;
    const run = (name: string, input: Record<string, unknown>, fields: string) =>
      runMutation(client, name, input, fields);
    const voiceId = await until('the voices', async () => {
      const { data } = await client.send('{ voices(first: 1) { nodes { id } } }');
      return data?.voices.nodes[0]?.id as string | undefined;
    });
    const { voice } = await run(
      'createVoice',
      { name: 'House voice', providerVoiceId: 'abc123', language: 'en', description: 'Ours' },
      'voice { id status }',
    );
    const { tool } = await run(
      'createTool',
      {
        name: 'Look up order',
        description: 'Looks up an order',
        http: { url: 'https://example.com/orders/{id}', method: 'POST' },
        dynamicParameters: [
          { name: 'id', location: 'PATH', required: true, schema: { type: 'string' } },
          { name: 'note', location: 'BODY', required: false, schema: { type: 'string' } },
        ],
        staticParameters: [{ name: 'source', location: 'QUERY', value: 'phone' }],
        automaticParameters: [{ name: 'call', location: 'HEADER', knownValue: 'CALL_ID' }],
        timeout: '5s',
      },
      'tool { id status }',
    );
    await run(
      'updateTool',
      { id: tool.id, description: 'Looks up an order by its number' },
      'tool { id }',
    );
    const { knowledgeBase } = await run(
      'createKnowledgeBase',
      { name: 'Handbook', description: 'What to know' },
      'knowledgeBase { id }',
    );
    await run(
      'addDocumentSource',
      {
        knowledgeBaseId: knowledgeBase.id,
        name: 'Hours',
        filename: 'hours.md',
        content: Buffer.from('# Hours\n\nEight to six.\n').toString('base64'),
      },
      'knowledgeSource { id }',
    );
    await run(
      'addWebSource',
      {
        knowledgeBaseId: knowledgeBase.id,
        name: 'Site',
        urls: ['https://example.com'],
        maxDepth: 1,
      },
      'knowledgeSource { id }',
    );
    const { agent } = await run(
      'createAgent',
      {
        name: 'Everything there is',
        voiceId,
        systemPrompt: 'You are {{who}}.',
        toolIds: [tool.id],
        knowledgeBaseIds: [knowledgeBase.id],
        temperature: 0.2,
        recordingEnabled: true,
        languageHint: 'en-US',
        joinTimeout: '20s',
        maxDuration: '600s',
        timeExceededMessage: 'Time is up.',
        greetingSettings: {
          firstSpeaker: 'AGENT',
          text: 'Hello!',
          delay: '0.5s',
          uninterruptible: true,
        },
        inactivityMessages: [
          { duration: '10s', message: 'Still there?' },
          { duration: '10s', message: 'Goodbye.', endBehavior: 'HANG_UP_SOFT' },
        ],
        vadSettings: {
          turnEndpointDelay: '0.4s',
          minimumTurnDuration: '0.1s',
          minimumInterruptionDuration: '0.1s',
          frameActivationThreshold: 0.2,
        },
        builtInConfig: {
          hangUp: true,
          leaveVoicemail: true,
          transfer: { cold: true, warm: true, target: 'sip:desk@example.com' },
        },
      },
      'agent { id status syncError }',
    );
    expect(agent).toMatchObject({ status: 'ACTIVE', syncError: null });
    await run(
      'updateAgent',
      { id: agent.id, voiceId: voice.id, greetingSettings: { firstSpeaker: 'USER' } },
      'agent { status syncError }',
    );
    const providers = [
      { sip: { server: 'sip.example.com', username: 'desk', password: 'secret' } },
      { twilio: { accountSid: `AC${'0'.repeat(32)}`, authToken: 'f'.repeat(32) } },
      {
        telnyx: {
          accountSid: 'acc',
          apiKey: 'KEY123456789',
          publicKey: 'cHVibGljLWtleS1mb3ItdGVzdHM9PT09PT09PT09PT0=',
          applicationSid: '1234567890',
        },
      },
    ];
    for (const [index, provider] of providers.entries()) {
      const phoneNumber = `+1415555020${index}`;
      const { phoneNumber: number } = await run(
        'importPhoneNumber',
        { phoneNumber, provider },
        'phoneNumber { id status }',
      );
      for (const direction of ['INBOUND', 'OUTBOUND']) {
        await run(
          'assignPhoneNumber',
          { id: number.id, agentId: agent.id, direction },
          'phoneNumber { inboundAddress }',
        );
      }
      await run(
        'createCall',
        {
          agentId: agent.id,
          phoneNumber: '+14155550142',
          fromNumber: phoneNumber,
          variables: { who: 'Ada' },
          settings: {
            greeting: 'Good day',
            maxDuration: '60s',
            joinTimeout: '10s',
            recordingEnabled: false,
          },
        },
        'call { id status }',
      );
    }
    // Until it is ended below.
    simulator.updateSettings({ talkSeconds: 100_000 });
    const { call } = await run(
      'startTestCall',
      { agentId: agent.id, variables: { who: 'Bob' } },
      'call { id } joinUrl',
    );
    await until('the test call to be live', async () => {
      const { data } = await client.send('query($id: ID!) { call(id: $id) { status } }', {
        id: call.id,
      });
      return data.call.status === 'IN_PROGRESS';
    });
    await run('endCall', { id: call.id }, 'call { status }');
    await until('all calls to be billed', async () => {
      const open = await server.app.db.call.count({ where: { billingStatus: 'PENDING' } });
      return open === 0;
    });
    await run('deleteCalls', { ids: [call.id] }, 'deletedCallIds');
    await run('deleteAgent', { id: agent.id }, 'agent { deletedAt }');
    await run('deleteTool', { id: tool.id }, 'deletedToolId');
    await run('deleteKnowledgeBase', { id: knowledgeBase.id }, 'deletedKnowledgeBaseId');
    await run('deleteVoice', { id: voice.id }, 'deletedVoiceId');
    await until('the call to be removed at Ultravox', () =>
      wire.seen.has('DELETE /api/calls/{id}'),
    );

    expect(wire.problems).toEqual([]);
    expect([...wire.seen].sort()).toEqual(
      expect.arrayContaining([
        'DELETE /api/agents/{id}',
        'DELETE /api/corpora/{id}',
        'DELETE /api/tools/{id}',
        'DELETE /api/voices/{id}',
        'GET /api/sip',
        'GET /api/voices',
        'GET /api/webhooks',
        'PATCH /api/agents/{id}',
        'POST /api/agents',
        'POST /api/agents/{id}/calls',
        'POST /api/calls/{id}/send_data_message',
        'POST /api/corpora',
        'POST /api/corpora/{id}/sources',
        'POST /api/corpora/{id}/uploads',
        'POST /api/telephony_configs/telnyx',
        'POST /api/telephony_configs/twilio',
        'POST /api/tools',
        'POST /api/voices',
        'POST /api/webhooks',
        'PUT /api/tools/{id}',
      ]),
    );
    expect(simulator.requests().flatMap((request) => request.ignoredMembers ?? [])).toEqual([]);
  });
});
