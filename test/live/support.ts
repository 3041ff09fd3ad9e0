/** A server, a caller and calls with their events, for the tests of subscriptions. */
import { afterAll, beforeAll } from 'vitest';
import { parsePublicId, publicId } from '../../src/ids.ts';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { type Caller, prepareCaller } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

export const WHOLE_LIFE = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

/** What a subscriber to everything asks of the log. */
export const ALL_EVENTS = { where: {}, matches: () => true, isRare: false };

export let server: TestServer;
export let caller: Caller;
export let me: { url: string; key: string };

/** Starts the server of a test file before its tests and closes it after them. */
export function useLiveServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ simulator: { talkSeconds: 5 } });
    caller = await prepareCaller(server.client);
    me = { url: server.url, key: server.key };
  });
  afterAll(() => server?.close());
}

export async function eventCursor(client: GraphQLClient = server.client): Promise<string> {
  return (await client.send('{ eventCursor }')).data.eventCursor;
}

/** Makes a call and waits for the last event that it will ever have. */
export async function wholeCall(client = server.client, from = caller): Promise<string> {
  const { id } = await from.call();
  await until('the bill', async () => (await eventsOf(client, id)).length === WHOLE_LIFE.length);
  return id;
}

export async function eventsOf(
  client: GraphQLClient,
  id: string,
): Promise<{ cursor: string; type: string }[]> {
  const query = 'query ($id: ID!) { call(id: $id) { events { nodes { cursor type sequence } } } }';
  return (await client.send(query, { id })).data.call.events.nodes;
}

/** All events of the organization after a cursor, from the table of the log. */
export async function eventsAfter(after: string): Promise<{ cursor: string; callId: string }[]> {
  const { organizationId } = server;
  const rows = await server.app.db.event.findMany({
    where: { organizationId, cursor: { gt: BigInt(after) } },
    orderBy: { cursor: 'asc' },
  });
  return rows.map(({ cursor, callId }) => ({
    cursor: String(cursor),
    callId: publicId('Call', callId!),
  }));
}

let flooded = 0;

/** Puts so many more events of a call into the log, a page at a time. */
export async function flood(
  callId: string,
  count: number,
  {
    announced = true,
    among,
  }: {
    announced?: boolean;
    /** One of each `every` events is of this call instead. */
    among?: { callId: string; every: number };
  } = {},
): Promise<void> {
  const first = flooded;
  flooded += count;
  const id = parsePublicId(callId)!.uuid;
  const otherId = among ? parsePublicId(among.callId)!.uuid : id;
  const idAt = (index: number): string => (among && index % among.every === 0 ? otherId : id);
  const { organizationId, agentId } = await server.app.db.call.findUniqueOrThrow({ where: { id } });
  for (let done = 0; done < count; done += 500) {
    const events = Array.from({ length: 500 }, (_, index) => ({
      type: 'CALL_RINGING' as const,
      callId: idAt(done + index),
      agentId,
      sequence: 1_000_000 + first + done + index,
      data: { status: 'RINGING', endReason: null },
    }));
    await server.app.db.$transaction((tx) => appendEvents(tx, organizationId, events));
    if (announced) announceEvents(server.app, organizationId);
  }
}
