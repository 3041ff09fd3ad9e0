/** Lists of rows whose texts are as long as they may be. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { announceEvents } from '../../src/live/log.ts';
import { insertAgent } from '../support/agent-rows.ts';
import { liveBytes } from '../support/memory.ts';
import { insertRows } from '../support/rows.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { openSocket } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

const MB = 2 ** 20;
/** 600 kB. */
const LARGE = '語'.repeat(200_000);
const REFUSED = {
  message: expect.stringMatching(
    /would return more than 16 MiB\. Request fewer objects, or omit fields with large values\.$/,
  ),
  extensions: { code: 'QUERY_TOO_COSTLY', limit: 16 * MB },
};

let server: TestServer;
/** A call with large turns and events. */
let callId: string;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  const { app, organizationId } = server;
  const insert = (model: string, rows: object[]) =>
    insertRows(
      server,
      model,
      rows.map((row) => ({ organizationId, ...row })),
    );
  const id = await insertAgent(app, { organizationId });
  const agent = await app.db.agent.findUniqueOrThrow({ where: { id } });
  const copies = Array.from({ length: 100 }, () => ({ ...agent, id: newId(), remoteId: newId() }));
  await insert('Agent', copies);
  const toolId = newId();
  const tool = {
    name: 'T',
    modelToolName: 't',
    description: 'T',
    definition: {},
    status: 'ACTIVE',
  };
  await insert('Tool', [{ id: toolId, ...tool }]);
  await insert(
    'AgentTool',
    copies.map(({ id }, position) => ({ agentId: id, toolId, position })),
  );
  const calls = copies.map((each) => ({
    ...{ id: newId(), agentId: id, direction: 'OUTBOUND', medium: 'WEBRTC' },
    ...{ status: 'COMPLETED', placement: 'ACCEPTED', endReason: 'HANGUP', ultravoxId: each.id },
    ...{ claimedAt: new Date(), endedAt: new Date() },
    ...{ maxDurationSeconds: 60, joinTimeoutSeconds: 30 },
  }));
  await insert('Call', calls);
  callId = calls[0]!.id;
  const folderId = newId();
  await insert('ContactFolder', [{ id: folderId, name: 'F' }]);
  const endpointId = newId();
  await insert('WebhookEndpoint', [
    { id: endpointId, url: 'https://example.com', eventTypes: [], startCursor: 0 },
  ]);
  await app.db.$executeRaw`UPDATE agents SET system_prompt = ${LARGE}`;
  await app.db.$executeRaw`
    INSERT INTO call_turns (call_id, organization_id, position, speaker, text, stage)
    SELECT id, organization_id, n, 'AGENT', left(${LARGE}, 5000), 1 FROM calls, generate_series(1, 50) n`;
  await app.db.$executeRaw`
    INSERT INTO events (organization_id, type, call_id, sequence, data)
    SELECT organization_id, 'CALL_TRANSCRIPT_TURN', id, n, jsonb_build_object('position', n, 'turn',
      jsonb_build_object('position', n, 'speaker', 'AGENT', 'stage', 1, 'text', ${LARGE}::text))
    FROM calls, generate_series(1, 50) n WHERE id = ${callId}::uuid`;
  await app.db.$executeRaw`
    INSERT INTO contacts (id, organization_id, folder_id, phone_number, search_text, updated_at, metadata)
    SELECT gen_random_uuid(), ${organizationId}::uuid, ${folderId}::uuid, '+1415' || (5550000 + n), '',
      now(), jsonb_build_object('text', ${LARGE}::text) FROM generate_series(1, 50) n`;
  await app.db.$executeRaw`
    WITH messages AS (
      INSERT INTO webhook_messages (id, organization_id, type, body, created_at)
      SELECT gen_random_uuid(), ${organizationId}::uuid, 'call.ended',
        json_build_object('text', ${LARGE}::text)::text, now() FROM generate_series(1, 50) RETURNING id)
    INSERT INTO webhook_deliveries (id, organization_id, endpoint_id, message_id, status, created_at)
    SELECT gen_random_uuid(), ${organizationId}::uuid, ${endpointId}::uuid, id, 'DELIVERED', now()
    FROM messages`;
});
afterAll(() => server?.close());

const prompts = (first: number) => `agents(first: ${first}) { nodes { systemPrompt } }`;
const LISTS: [string, string, (first: number) => string][] = [
  ['texts', 'agents.nodes', prompts],
  [
    'texts found by a search',
    'agents.nodes',
    (first) => `agents(first: ${first}, filter: { name: "MARIA" }) { nodes { systemPrompt } }`,
  ],
  ['JSON', 'contacts.nodes', (first) => `contacts(first: ${first}) { nodes { metadata } }`],
  [
    'one text that all rows share',
    'calls.nodes',
    (first) => `calls(first: ${first}) { nodes { agent { systemPrompt } } }`,
  ],
  [
    'lists of texts',
    'calls.nodes',
    (first) => `calls(first: ${first}) { nodes { transcript { nodes { text } } } }`,
  ],
  ['texts behind another table', 'tools', (first) => `tools { nodes { ${prompts(first)} } }`],
  [
    'bodies of webhooks',
    'webhookEndpoints',
    (first) => `webhookEndpoints { nodes { deliveries(first: ${first}) { nodes { body } } } }`,
  ],
  [
    'events',
    'calls.nodes',
    (first) =>
      `calls(first: 100) { nodes { events(first: ${first}) { nodes { turn { text } } } } }`,
  ],
];

describe('a list of large rows', () => {
  it.each(
    LISTS,
  )('with %s is refused with what to do, and a smaller page is answered', async (_name, path, list) => {
    const { data, errors } = await server.client.send(`{ ${list(50)} }`);
    expect(data).toBeNull();
    const [error] = errors ?? [];
    expect(error).toMatchObject(REFUSED);
    expect(error?.path?.join('.')).toMatch(path);
    const page = await server.client.send(`{ ${list(5)} }`);
    expect(page.errors).toBeUndefined();
    expect(JSON.stringify(page.data)).toContain(LARGE.slice(0, 5_000));
  });

  it('disturbs no request that is read at the same time', async () => {
    const other = await server.newOrganization();
    const refused = Array.from({ length: 20 }, () => server.client.send(`{ ${prompts(50)} }`));
    const answered = Array.from({ length: 40 }, () =>
      other.client.send(`{ ${prompts(100)} voices { totalCount } }`),
    );
    for (const { data, errors } of await Promise.all(answered)) {
      expect([data?.agents, errors]).toEqual([{ nodes: [] }, undefined]);
    }
    for (const { errors } of await Promise.all(refused)) expect(errors).toMatchObject([REFUSED]);
  });

  it.each([
    ['a list', `{ ${prompts(100)} }`, 6, 100],
    ['lists that are too large together', `{ ${manyPrompts(24)} }`, 1, 350],
  ])('is refused before it takes memory: %s', async (_name, query, times, maxMb) => {
    const before = await liveBytes();
    let most = before;
    const timer = setInterval(() => {
      const { heapUsed, external } = process.memoryUsage();
      most = Math.max(most, heapUsed + external);
    }, 1);
    const read = () => server.client.send(query);
    const answers = await Promise.all(Array.from({ length: times }, read)).finally(() =>
      clearInterval(timer),
    );
    for (const { errors } of answers) expect(errors?.[0]?.extensions.code).toBe('QUERY_TOO_COSTLY');
    // The texts have 360 MB, and would take more.
    expect((most - before) / MB).toBeLessThan(maxMb);
  });
});

describe('a lookup', () => {
  it('is answered after others of the operation were refused, if there is room for it', async () => {
    const { app, client, organizationId } = server;
    const uuid = await insertAgent(app, { organizationId });
    await app.db.$executeRaw`
      UPDATE agents SET system_prompt = repeat('x', 10000000) WHERE id = ${uuid}::uuid`;
    const agent = `agent(id: "${publicId('Agent', uuid)}")`;
    const large = ['a', 'b', 'c', 'd'].map((name) => `${name}: ${agent} { systemPrompt }`);
    const { data, errors } = await client.send(`{ ${large.join(' ')} last: ${agent} { status } }`);
    expect(errors).toMatchObject([
      { message: expect.stringMatching(/^The operation reads more than 32 MiB/) },
    ]);
    expect(data?.last).toEqual({ status: 'ACTIVE' });
  });
});

describe('the events of a subscription that arrive together', () => {
  it('are read one by one if their calls are too large together', async () => {
    const results = await resultsOfTogether('call { agent { systemPrompt } }');
    expect(results).toHaveLength(TOGETHER);
    for (const { data, errors } of results) {
      expect(errors).toBeUndefined();
      expect(data).toEqual({ callEvents: { call: { agent: { systemPrompt: LARGE } } } });
    }
  });

  it('are delivered without the one that is too large by itself', async () => {
    const list = 'events(first: 50, types: [TRANSCRIPT_TURN]) { nodes { turn { text } } }';
    const results = await resultsOfTogether(`callId call { ${list} }`);
    const failed = results.filter(({ errors }) => errors);
    expect(failed).toMatchObject([{ errors: [REFUSED] }]);
    const own = publicId('Call', callId);
    const others = results.filter(({ data }) => data?.callEvents.callId !== own && data);
    expect(others).toHaveLength(TOGETHER - 1);
  });
});

interface Result {
  data?: { callEvents: { callId?: string; call: unknown } } | null;
  errors?: readonly unknown[];
}

/** Number of events whose calls have more than 16 MiB. */
const TOGETHER = 30;
let sequence = 100;

/** Appends an event of each of so many calls, the first of which is `callId`. */
async function ring(calls: number): Promise<void> {
  const { app, organizationId } = server;
  sequence += 1;
  await app.db.$executeRaw`
    INSERT INTO events (organization_id, type, call_id, sequence, data)
    SELECT organization_id, 'CALL_RINGING', id, ${sequence}::int, '{}' FROM calls
    ORDER BY id <> ${callId}::uuid LIMIT ${calls}::int`;
  announceEvents(app, organizationId);
}

/** The results of events that a live subscriber gets at once. */
async function resultsOfTogether(selection: string): Promise<Result[]> {
  const { url, key, client } = server;
  const { eventCursor } = (await client.send('{ eventCursor }')).data;
  const subscriber = openSocket(url, key);
  const query = `subscription { callEvents(after: "${eventCursor}", types: [RINGING]) { ${selection} } }`;
  const results: Result[] = [];
  const finished = (async () => {
    for await (const result of subscriber.iterate({ query })) {
      results.push(result as unknown as Result);
      if (results.length === 1 + TOGETHER) break;
    }
  })();
  await ring(1);
  await until('the subscriber to be live', () => results.length === 1);
  await ring(TOGETHER);
  await finished;
  await subscriber.dispose();
  return results.slice(1);
}

function manyPrompts(lists: number): string {
  return Array.from({ length: lists }, (_, n) => `list${n}: ${prompts(25)}`).join(' ');
}
