/** Real clients of the live transports: graphql-ws, graphql-sse, and plain `fetch`, like `curl -N`. */
import { setTimeout as pause } from 'node:timers/promises';
import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';
import WebSocket from 'ws';
import { until } from './wait.ts';

export interface CallEvent {
  cursor: string;
  sequence: number;
  type: string;
  status: string;
  callId: string;
  call: { id: string; status: string } | null;
}

export const CALL_EVENTS = `
  subscription ($callId: ID, $agentId: ID, $types: [CallEventType!], $after: Cursor) {
    callEvents(callId: $callId, agentId: $agentId, types: $types, after: $after) {
      cursor sequence type status callId call { id status }
    }
  }`;

export interface LiveError {
  message: string;
  extensions: Record<string, unknown>;
}

export interface LiveStream {
  /** Events in order of arrival. */
  events: CallEvent[];
  errors: LiveError[];
  /** Resolves when the stream has ended. */
  finished: Promise<void>;
  /** Waits until at least `count` events have arrived. */
  atLeast(count: number, timeoutMs?: number): Promise<CallEvent[]>;
  close(): Promise<void>;
}

export type Transport = 'socket' | 'sse';

interface Result {
  data?: { callEvents: CallEvent } | null;
  errors?: readonly unknown[];
}

/**
 * Subscribes to `callEvents`. Returns immediately; events and errors are collected in the stream.
 */
export function subscribe(
  transport: Transport,
  { url, key }: { url: string; key: string },
  variables: Record<string, unknown> = {},
  events: CallEvent[] = [],
): LiveStream {
  const client =
    transport === 'socket'
      ? openSocket(url, key)
      : createSseClient({
          url: `${url}/graphql`,
          headers: { authorization: `Bearer ${key}` },
          retryAttempts: 0,
        });
  const results = client.iterate({ query: CALL_EVENTS, variables });
  return collect(results as AsyncIterableIterator<Result>, events, () => client.dispose());
}

/** A graphql-ws client that does not reconnect, so that failures are visible. */
export function openSocket(url: string, key: string | null, options: { lazy?: boolean } = {}) {
  return createSocketClient({
    ...options,
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    onNonLazyError: () => undefined,
    ...(key ? { connectionParams: { Authorization: `Bearer ${key}` } } : {}),
  });
}

function collect(
  results: AsyncIterableIterator<Result>,
  events: CallEvent[],
  dispose: () => void | Promise<void>,
): LiveStream {
  const errors: LiveError[] = [];
  const finished = (async () => {
    try {
      for await (const result of results) {
        if (result.data?.callEvents) events.push(result.data.callEvents);
        if (result.errors) errors.push(...(result.errors as LiveError[]));
      }
    } catch (error) {
      errors.push(...(Array.isArray(error) ? error : [toLiveError(error)]));
    }
  })();
  return {
    events,
    errors,
    finished,
    async atLeast(count, timeoutMs) {
      await until(`${count} events`, () => events.length >= count, timeoutMs).catch((error) => {
        const seen = JSON.stringify({ errors, events: events.slice(-20) });
        throw new Error(`${error.message}; there are ${events.length}: ${seen}`);
      });
      return events;
    },
    async close() {
      await results.return?.();
      await dispose();
      await finished;
    },
  };
}

/** Converts the close of a socket, or another failure, to an error of the stream. */
function toLiveError(error: unknown): LiveError {
  const { code, reason, message } = error as { code?: number; reason?: string; message?: string };
  return { message: reason ?? message ?? String(error), extensions: { closeCode: code ?? null } };
}

export interface Subscriber {
  /** Events of all connections in order of arrival. */
  events: CallEvent[];
  connections: number;
  stop(): Promise<void>;
}

/** Subscribes like a front end: reconnects, and continues after the last cursor. */
export function followCalls(
  transport: Transport,
  to: { url: string; key: string },
  from = '0',
): Subscriber {
  const events: CallEvent[] = [];
  let stopped = false;
  let current: LiveStream | null = null;
  const run = async (): Promise<void> => {
    while (!stopped) {
      const after = events.at(-1)?.cursor ?? from;
      current = subscribe(transport, to, { after }, events);
      subscriber.connections += 1;
      await current.finished;
      // A client also pauses before it reconnects.
      await pause(50);
    }
  };
  const subscriber: Subscriber = {
    events,
    connections: 0,
    async stop() {
      stopped = true;
      await current?.close();
      await running;
    },
  };
  const running = run();
  return subscriber;
}

/** Problems in a sequence of events: wrong order, gaps or repetitions. */
export function orderProblems(events: readonly CallEvent[]): string[] {
  const problems: string[] = [];
  const last = new Map<string, number>();
  events.forEach((event, index) => {
    const before = events[index - 1];
    if (before && BigInt(event.cursor) <= BigInt(before.cursor)) {
      problems.push(`cursor ${event.cursor} after ${before.cursor}`);
    }
    const expected = (last.get(event.callId) ?? 0) + 1;
    if (event.sequence !== expected) {
      problems.push(`${event.callId}: ${event.sequence} instead of ${expected}`);
    }
    last.set(event.callId, event.sequence);
  });
  return problems;
}
