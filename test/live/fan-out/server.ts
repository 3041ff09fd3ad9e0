/** The server that the suites in this folder share, and its subscribers. */
import { afterAll, beforeAll } from 'vitest';
import { parsePublicId } from '../../../src/ids.ts';
import { announceEvents, appendEvents } from '../../../src/live/log.ts';
import { type Caller, prepareCaller, runMutation } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';

export const QUERY = `subscription ($after: Cursor, $withAgent: Boolean!) {
  callEvents(types: [RINGING], after: $after) {
    cursor call { id agent @include(if: $withAgent) { name } }
  }
}`;

export interface Received {
  cursor: string;
  call: {
    id: string;
    agent?: { name: string };
    recording?: { url: string; expiresAt: string };
  };
}

export let server: TestServer;
export let caller: Caller;
export let callId: string;
let sequence = 1_000;
let aheadMs = 0;

/** Puts more events of the call into the log, together. */
export async function emit(count = 1): Promise<void> {
  const events = Array.from({ length: count }, () => {
    sequence += 1;
    return {
      type: 'CALL_RINGING' as const,
      callId: parsePublicId(callId)!.uuid,
      sequence,
      data: { status: 'RINGING', endReason: null },
    };
  });
  await server.app.db.$transaction((tx) => appendEvents(tx, server.organizationId, events));
  announceEvents(server.app, server.organizationId);
}

/** A subscriber on a socket of its own, and what it has received. */
export function listen(key: string, variables: Record<string, unknown>, query = QUERY) {
  const client = openSocket(server.url, key);
  const received: Received[] = [];
  const results = client.iterate<{ callEvents: Received }>({ query, variables });
  const finished = (async () => {
    for await (const { data } of results) if (data) received.push(data.callEvents);
  })();
  // Thrown by `close`.
  finished.catch(() => undefined);
  return {
    received,
    async close() {
      await results.return?.();
      await client.dispose();
      await finished;
    },
  };
}

export type Listener = ReturnType<typeof listen>;

/** Sets how far the clock of the server is ahead. */
export function setClockAhead(ms: number): void {
  aheadMs = ms;
}

export function lastCursors(listeners: readonly Listener[]): (string | undefined)[] {
  return listeners.map(({ received }) => received.at(-1)?.cursor);
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useFanOutServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ now: () => new Date(Date.now() + aheadMs) });
    caller = await prepareCaller(server.client);
    const recorded = {
      agentId: caller.agentId,
      phoneNumber: '+14155550142',
      settings: { recordingEnabled: true },
    };
    callId = (await runMutation(server.client, 'createCall', recorded, 'call { id }')).call.id;
    await until('the recording of the call', async () => {
      const { data } = await server.client.send(`{ call(id: "${callId}") { recording { url } } }`);
      return data.call.recording.url !== null;
    });
  });
  afterAll(() => server?.close());
}
