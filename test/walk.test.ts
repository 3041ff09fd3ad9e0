/**
 * The main workflow of a front end with typed documents: a voice, an agent, a number, a call, and its
 * events over a WebSocket and over server-sent events.
 */
import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { graphql } from './generated/gql.ts';
import type { WalkEventsSubscription } from './generated/graphql.ts';
import { countQueries } from './support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from './support/servers/server.ts';
import { until } from './support/wait.ts';

const VOICES = graphql(`
  query WalkVoices {
    voices(first: 1, filter: { language: "en" }) { nodes { id name language } }
  }
`);
const CREATE_AGENT = graphql(`
  mutation WalkCreateAgent($input: CreateAgentInput!) {
    createAgent(input: $input) { agent { id status syncError voice { id } } userErrors { code message path } }
  }
`);
const IMPORT_NUMBER = graphql(`
  mutation WalkImportNumber($input: ImportPhoneNumberInput!) {
    importPhoneNumber(input: $input) { phoneNumber { id status } userErrors { code message path } }
  }
`);
const ASSIGN_NUMBER = graphql(`
  mutation WalkAssignNumber($input: AssignPhoneNumberInput!) {
    assignPhoneNumber(input: $input) {
      phoneNumber { outboundAgent { id outboundPhoneNumbers { phoneNumber } } }
      userErrors { code message path }
    }
  }
`);
const CREATE_CALL = graphql(`
  mutation WalkCreateCall($input: CreateCallInput!) {
    createCall(input: $input) { call { id status fromNumber toNumber } userErrors { code message path } }
  }
`);
const SNAPSHOT = graphql(`
  query WalkSnapshot($id: ID!) {
    eventCursor
    call(id: $id) {
      status
      endReason
      durationSeconds
      billedDurationSeconds
      cost { amount currency }
      events { totalCount nodes { type sequence } edges { cursor } }
    }
  }
`);
const EVENTS = graphql(`
  subscription WalkEvents($callId: ID, $after: Cursor) {
    callEvents(callId: $callId, after: $after) { cursor sequence type endReason call { id status } }
  }
`);
const OVERVIEW = graphql(`
  query WalkOverview {
    agents {
      totalCount
      nodes {
        id
        calls { totalCount nodes { id number { phoneNumber } agent { name } events { nodes { type } } } }
      }
    }
  }
`);

let server: TestServer;
let agentId: string;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type LiveEvent = WalkEventsSubscription['callEvents'];

/** Collects events until the call is billed, which is the last event. */
async function watch(stream: AsyncIterable<unknown>): Promise<LiveEvent[]> {
  const events: LiveEvent[] = [];
  for await (const result of stream) {
    const { data } = result as { data: WalkEventsSubscription };
    events.push(data.callEvents);
    if (data.callEvents.type === 'BILLED') break;
  }
  return events;
}

describe('main workflow', () => {
  it('creates an agent and assigns a number to it', async () => {
    const { voices } = await server.client.ok(VOICES);
    const voiceId = voices.nodes[0]!.id;
    const created = await server.client.ok(CREATE_AGENT, {
      input: {
        name: 'Customer support',
        voiceId,
        systemPrompt: 'You are a helpful support agent. The customer is {{first_name}}.',
      },
    });
    expect(created.createAgent).toMatchObject({
      agent: { status: 'ACTIVE', syncError: null, voice: { id: voiceId } },
      userErrors: [],
    });
    agentId = created.createAgent.agent!.id;

    const imported = await server.client.ok(IMPORT_NUMBER, {
      input: {
        phoneNumber: '+14155550123',
        provider: { sip: { server: 'sip.example.com', username: 'desk', password: 'secret' } },
      },
    });
    expect(imported.importPhoneNumber).toMatchObject({
      phoneNumber: { status: 'ACTIVE' },
      userErrors: [],
    });

    const assigned = await server.client.ok(ASSIGN_NUMBER, {
      input: { id: imported.importPhoneNumber.phoneNumber!.id, agentId, direction: 'OUTBOUND' },
    });
    expect(assigned.assignPhoneNumber.phoneNumber?.outboundAgent).toEqual({
      id: agentId,
      outboundPhoneNumbers: [{ phoneNumber: '+14155550123' }],
    });
  });

  it('makes a call and receives its events over a WebSocket and over server-sent events', async () => {
    const socket = createSocketClient({
      url: `${server.url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { Authorization: `Bearer ${server.key}` },
    });
    const sse = createSseClient({
      url: `${server.url}/graphql`,
      headers: { Authorization: `Bearer ${server.key}` },
    });
    const query = EVENTS.toString();
    const overSocket = watch(socket.iterate({ query, variables: { after: '0' } }));
    const overSse = watch(sse.iterate({ query, variables: { after: '0' } }));

    const { createCall } = await server.client.ok(CREATE_CALL, {
      input: { agentId, phoneNumber: '+14155550142', variables: { first_name: 'Ada' } },
    });
    expect(createCall).toMatchObject({
      call: { fromNumber: '+14155550123', toNumber: '+14155550142' },
      userErrors: [],
    });
    expect(createCall.call?.status).not.toBe('CREATED');
    const callId = createCall.call!.id;

    const events = await overSocket;
    expect(events.map(({ type, sequence }) => `${sequence} ${type}`)).toEqual([
      '1 CREATED',
      '2 RINGING',
      '3 IN_PROGRESS',
      '4 COMPLETED',
      '5 BILLED',
    ]);
    expect(events.every(({ call }) => call?.id === callId)).toBe(true);
    expect((await overSse).map(({ cursor }) => cursor)).toEqual(events.map(({ cursor }) => cursor));
    await Promise.all([socket.dispose(), sse.dispose()]);

    const snapshot = await server.client.ok(SNAPSHOT, { id: callId });
    expect(snapshot.call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
    expect(snapshot.call?.cost?.currency).toBe('USD');
    // Billed in steps of six seconds at 0.05 per minute, so half a cent for each.
    expect(Number(snapshot.call?.cost?.amount)).toBeCloseTo(
      (snapshot.call!.billedDurationSeconds! / 6) * 0.005,
      10,
    );
    expect(snapshot.call?.events.totalCount).toBe(5);
    expect(snapshot.call?.events.edges.map(({ cursor }) => cursor)).toEqual(
      events.map(({ cursor }) => cursor),
    );
    expect(snapshot.eventCursor).toBe(events.at(-1)?.cursor);
  });

  it('reads agents with their calls in a number of statements that does not grow', async () => {
    const api = await startApiBeside(server);
    const few = await countQueries(api.app, () => api.client.ok(OVERVIEW));
    const { createAgent } = await server.client.ok(CREATE_AGENT, {
      input: {
        name: 'Another',
        voiceId: (await server.client.ok(VOICES)).voices.nodes[0]!.id,
        systemPrompt: 'You are another.',
      },
    });
    expect(createAgent.userErrors).toEqual([]);
    for (let index = 0; index < 12; index += 1) {
      await server.client.ok(CREATE_CALL, { input: { agentId, phoneNumber: '+14155550001' } });
    }
    await until('the calls to end', async () => {
      const live = await server.app.db.call.count({ where: { billingStatus: 'PENDING' } });
      return live === 0;
    });
    const many = await countQueries(api.app, () => api.client.ok(OVERVIEW));
    await api.close();
    expect(many).toBe(few);
  });
});
