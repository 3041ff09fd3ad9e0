/**
 * Searches for every secret in the most detailed log, in the whole database and in the whole graph,
 * after a call and all its post-call work, while Ultravox, the language model and receivers repeat in their errors
 * what they were sent.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type GraphQLObjectType, getNamedType, isLeafType } from 'graphql';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../src/server/schema.ts';
import { type Simulator, startSimulator } from '../src/simulator/simulator.ts';
import { runMutation } from './support/calling.ts';
import { createClient, type GraphQLClient } from './support/graphql.ts';
import { selectEverything } from './support/schema/everything.ts';
import { createTestDatabase, type TestDatabase } from './support/servers/database.ts';
import { type ServerProcess, startServerProcess } from './support/servers/process.ts';
import { until } from './support/wait.ts';

const letters = (): string => randomBytes(16).toString('hex');
/** By the name under which a failed test reports them. */
const secrets: Record<string, string> = {
  encryptionKey: letters(),
  ultravoxKey: `${letters().slice(0, 8)}.${letters()}`,
  analysisKey: letters(),
  crmSecret: letters(),
  sipPassword: letters(),
  twilioToken: letters(),
  newTwilioToken: letters(),
  telnyxKey: letters(),
  telnyxPublicKey: letters(),
  toolHeaderKey: letters(),
  toolQueryKey: letters(),
  toolToken: letters(),
  unknownApiKey: `truedy_${letters()}`,
};

const TWILIO_SID = `AC${'1'.repeat(32)}`;

let database: TestDatabase;
let simulator: Simulator;
let ultravox: Server;
let model: Server;
let receiver: Server;
let server: ServerProcess;
let client: GraphQLClient;
let log = '';
/** Who refuses what is sent to it, and repeats it. */
const refuses = { ultravox: false, model: false };
let refused = 0;

interface Sent {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

interface Reply {
  status: number;
  headers?: Record<string, string>;
  body: string | Buffer;
}

async function serve(answer: (sent: Sent) => Promise<Reply> | Reply): Promise<Server> {
  const listening = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = 'GET', url = '/', headers } = request;
    const body = Buffer.concat(chunks).toString('utf8');
    const reply = await answer({ method, url, headers, body });
    response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return listening;
}

const urlOf = (listening: Server): string =>
  `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;

/** An error that repeats the request: in turn as a fault of the service and as one of the request. */
function refusal(sent: Sent, status: number): Reply {
  refused += 1;
  const body = JSON.stringify({ detail: `Refused: ${JSON.stringify(sent)}`, error: sent });
  return { status: refused % 2 === 0 ? 500 : status, body };
}

async function forward(sent: Sent): Promise<Reply> {
  // The secret with which our webhook is registered.
  for (const [, secret] of sent.body.matchAll(/"secrets":\["([^"]+)"/g)) {
    secrets.ultravoxWebhookSecret = secret!;
  }
  if (refuses.ultravox && sent.method !== 'GET') return refusal(sent, 400);
  const { 'content-length': _length, connection: _connection, ...headers } = sent.headers;
  const response = await fetch(`${simulator.url}${sent.url}`, {
    method: sent.method,
    headers: headers as Record<string, string>,
    ...(sent.body ? { body: sent.body } : {}),
    redirect: 'manual',
  });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: Object.fromEntries(response.headers), body };
}

function judge(sent: Sent): Reply {
  if (refuses.model) return refusal(sent, 401);
  const content = JSON.stringify({ success: true, reason: 'They agreed.', extractedData: {} });
  return { status: 200, body: JSON.stringify({ choices: [{ message: { content } }] }) };
}

beforeAll(async () => {
  database = await createTestDatabase();
  secrets.databasePassword = new URL(database.url).password;
  simulator = await startSimulator({
    apiKey: secrets.ultravoxKey!,
    speed: 50,
    settings: { talkSeconds: 10 },
  });
  ultravox = await serve(forward);
  model = await serve(judge);
  receiver = await serve((sent) => ({ status: 500, body: JSON.stringify(sent) }));
  server = await startServerProcess({
    databaseUrl: database.url,
    simulator: { url: urlOf(ultravox), apiKey: secrets.ultravoxKey! },
    settings: {
      ENCRYPTION_KEY: secrets.encryptionKey!,
      ANALYSIS_BASE_URL: urlOf(model),
      ANALYSIS_API_KEY: secrets.analysisKey!,
      ANALYSIS_MODEL: 'judge',
      WEBHOOK_ALLOWED_URLS: urlOf(receiver),
      MAX_QUERY_COST: '10000000',
      LOG_LEVEL: 'debug',
      LOG_FORMAT: 'json',
    },
    onOutput: (text) => {
      // The banner, by which the first key is shown once.
      log += text.replace(/API key\s+truedy_\w+/, '');
    },
  });
  secrets.firstKey = server.firstKey!;
  client = createClient(server.url, server.firstKey);
});

afterAll(async () => {
  await server?.stop();
  for (const each of [ultravox, model, receiver]) each?.close();
  await simulator?.close();
  await database?.drop();
});

let attempt = 0;

/** Runs a mutation that may fail, and keeps its result under an idempotency key. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the mutation returns
async function send(name: string, input: Record<string, unknown>, fields: string): Promise<any> {
  attempt += 1;
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} userErrors { message } } }`,
    { input },
    { headers: { 'x-idempotency-key': `secret-${attempt}` } },
  );
  return answer.data?.[name];
}

/** Gives every secret that a user can give, and takes every one that is shown once. */
async function useSecrets(suffix: string) {
  const tool = await send(
    'createTool',
    {
      name: `Lookup ${suffix}`,
      description: 'Looks something up.',
      http: { url: 'https://example.com/lookup' },
      authentication: [
        { headerApiKey: { name: 'X-Key', value: secrets.toolHeaderKey } },
        { queryApiKey: { name: 'key', value: secrets.toolQueryKey } },
        { httpAuth: { scheme: 'Bearer', token: secrets.toolToken } },
      ],
    },
    'tool { id }',
  );
  const { data } = await client.send('{ voices(first: 1) { nodes { id } } }');
  const agent = await send(
    'createAgent',
    {
      name: `Ada ${suffix}`,
      systemPrompt: 'You are Ada.',
      voiceId: data.voices.nodes[0].id,
      recordingEnabled: true,
      successCriteria: 'They agree.',
      extractionSchema: { type: 'object' },
      crmWebhookUrl: `${urlOf(receiver)}/crm`,
      crmWebhookSecret: secrets.crmSecret,
      ...(tool?.tool ? { toolIds: [tool.tool.id] } : {}),
    },
    'agent { id }',
  );
  const numbers = [
    { sip: { server: 'sip.example.com', username: 'desk', password: secrets.sipPassword } },
    { twilio: { accountSid: TWILIO_SID, authToken: secrets.twilioToken } },
    {
      telnyx: {
        accountSid: 'telnyx-1',
        apiKey: secrets.telnyxKey,
        publicKey: secrets.telnyxPublicKey,
        applicationSid: '1234567',
      },
    },
  ];
  const made = [];
  for (const provider of numbers) {
    const number = `+1415666${1000 + attempt}`;
    made.push(
      await send('importPhoneNumber', { phoneNumber: number, provider }, 'phoneNumber { id }'),
    );
  }
  const endpoint = await send(
    'createWebhookEndpoint',
    { url: `${urlOf(receiver)}/hook/${suffix}` },
    'webhookEndpoint { id } secret',
  );
  const rotated = await send(
    'rotateWebhookSecret',
    { id: endpoint.webhookEndpoint.id },
    'webhookEndpoint { id } secret',
  );
  const key = await send('createApiKey', { name: suffix, scopes: ['READ'] }, 'key apiKey { id }');
  const token = await send('createAccessToken', {}, 'accessToken');
  secrets[`webhookSecret ${suffix}`] = endpoint.secret.replace('whsec_', '');
  secrets[`rotatedSecret ${suffix}`] = rotated.secret.replace('whsec_', '');
  secrets[`apiKey ${suffix}`] = key.key;
  secrets[`accessToken ${suffix}`] = token.accessToken;
  const [numberId, twilioId] = made.map((one) => one?.phoneNumber?.id);
  return { agentId: agent?.agent?.id, numberId, twilioId };
}

/** Base64 of a text wherever it stands in what was encoded, without the characters that depend on that. */
function base64Forms(text: string): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const encoded = Buffer.from('\0'.repeat(offset) + text).toString('base64');
    const inner = encoded.replace(/=+$/, '').slice(offset === 0 ? 0 : offset + 1, -1);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

function formsOf(secret: string): string[] {
  const hex = Buffer.from(secret).toString('hex');
  const json = JSON.stringify(secret).slice(1, -1);
  return [...new Set([secret, json, encodeURIComponent(secret), hex, ...base64Forms(secret)])];
}

/** The names of the secrets that a text contains in any form. */
function foundIn(text: string): string[] {
  const lower = text.toLowerCase();
  return Object.entries(secrets)
    .filter(([, secret]) => formsOf(secret).some((form) => lower.includes(form.toLowerCase())))
    .map(([name]) => name);
}

async function databaseDump(): Promise<Map<string, string>> {
  const sql = new Client({ connectionString: database.url });
  await sql.connect();
  try {
    const { rows: tables } = await sql.query<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
       WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'`,
    );
    const dump = new Map<string, string>();
    for (const { name } of tables) {
      const { rows } = await sql.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
      dump.set(name, rows.map(({ row }) => row).join('\n'));
    }
    return dump;
  } finally {
    await sql.end();
  }
}

/** Every field of the graph that can be reached, to a depth. */
async function graphDump(): Promise<string> {
  const answers: string[] = [];
  const fields = Object.values(schema.getQueryType()!.getFields());
  for (const { name, type, args } of fields) {
    if (args.some((arg) => String(arg.type).endsWith('!'))) continue;
    const named = getNamedType(type) as GraphQLObjectType;
    const page = args.some((arg) => arg.name === 'first') ? '(first: 100)' : '';
    const selection = isLeafType(named) ? '' : selectEverything(named, 3);
    const answer = await client.send(`{ ${name}${page} ${selection} }`);
    expect(answer.errors, name).toBeUndefined();
    answers.push(JSON.stringify(answer.data));
  }
  return answers.join('\n');
}

describe('secrets', () => {
  it('are in no log, table or field, whatever others do with them', async () => {
    await until('the registration at Ultravox', () => secrets.ultravoxWebhookSecret !== undefined);
    await until('the voices', async () => {
      const { data } = await client.send('{ voices(first: 1) { totalCount } }');
      return data?.voices.totalCount > 0;
    });
    refuses.ultravox = true;
    await useSecrets('refused');
    refuses.ultravox = false;
    const { agentId, numberId, twilioId } = await useSecrets('accepted');
    await runMutation(
      client,
      'assignPhoneNumber',
      { id: numberId, agentId, direction: 'OUTBOUND' },
      'phoneNumber { id }',
    );
    const read = (id: string, fields: string) =>
      client.send(`query ($id: ID!) { node(id: $id) { ${fields} } }`, { id });
    await until('the agent', async () => {
      const { data } = await read(agentId, '... on Agent { status }');
      return data.node.status === 'ACTIVE';
    });
    const input = { agentId, phoneNumber: '+14155550142' };
    refuses.ultravox = true;
    await send('createCall', input, 'call { id }');
    const twilio = { accountSid: TWILIO_SID, authToken: secrets.newTwilioToken };
    await send('updatePhoneNumber', { id: twilioId, provider: { twilio } }, 'phoneNumber { id }');
    refuses.ultravox = false;
    const test = await send('startTestCall', { agentId }, 'call { id } joinUrl');
    // Its last part alone is the ID of the call at Ultravox, which is no secret.
    secrets.joinUrl = test.joinUrl.replace(/^wss?:\/\//, '');
    expect(secrets.joinUrl).toContain('/calls/');
    refuses.model = true;
    const { call } = await runMutation(client, 'createCall', input, 'call { id }');
    const analysis =
      '... on Call { analysis { status } postCallSteps { status } recording { status url } }';
    await until('the failed analysis', async () => {
      const { data } = await read(call.id, analysis);
      return data.node.analysis.status === 'FAILED';
    });
    refuses.model = false;
    await runMutation(client, 'analyzeCall', { id: call.id }, 'call { id }');
    const { data } = await until('the analysis', async () => {
      const answer = await read(call.id, analysis);
      const { node } = answer.data;
      const ended = node.postCallSteps.every(
        ({ status }: { status: string }) => status !== 'PENDING',
      );
      return ended && node.analysis.status === 'DONE' && answer;
    });
    const { url } = data.node.recording;
    expect((await fetch(url)).status).toBe(200);
    await fetch(`${url.slice(0, -3)}xyz`);
    secrets.recordingLink = new URL(url).searchParams.get('token')!;
    await createClient(server.url, secrets.unknownApiKey!).send('{ organization { id } }');
    await until('failed deliveries', async () => {
      const answer = await client.send(
        '{ webhookEndpoints { nodes { deliveries { totalCount nodes { attemptCount } } } } }',
      );
      const counts = answer.data.webhookEndpoints.nodes.map(
        ({ deliveries }: { deliveries: { nodes: { attemptCount: number }[] } }) =>
          deliveries.nodes.filter(({ attemptCount }) => attemptCount > 0).length,
      );
      // Those of the two hooks and of the CRM.
      return counts.filter((count: number) => count > 0).length >= 3;
    });

    expect(refused).toBeGreaterThan(5);
    // What is searched in contains what was said about the secrets, and the search finds what is there.
    expect(log).toContain('"level":"warn"');
    expect(foundIn(`x${Buffer.from(`a:${secrets.sipPassword}`).toString('base64')}`)).toEqual([
      'sipPassword',
    ]);
    expect(foundIn(log)).toEqual([]);
    const found: string[] = [];
    const dump = await databaseDump();
    for (const [table, text] of dump) {
      found.push(...foundIn(text).map((name) => `${name} in ${table}`));
    }
    expect(found).toEqual([]);
    expect(dump.get('public.calls')).toContain(call.id.slice(4));
    const { recordingLink: _shown, ...hidden } = secrets;
    const graph = await graphDump();
    expect(graph).toContain(call.id);
    expect(foundIn(graph).filter((name) => name in hidden)).toEqual([]);
  });
});
