/** Server-sent events with ids, so that clients can continue after the last event they received. */
import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { readEventCursor } from '../../live/cursor.ts';
import type { EventFeed } from '../../live/feed.ts';
import type { RequestContext } from '../authentication.ts';

/** Sets headers of responses that yoga writes: the result of a subscription that did not start. */
export function eventStreamPlugin(): Plugin<RequestContext> {
  return {
    onResponse({ response }) {
      const contentType = response.headers.get('content-type');
      if (contentType !== 'text/event-stream') return;
      // nginx would buffer events.
      response.headers.set('x-accel-buffering', 'no');
      // The client decides whether to keep the connection.
      response.headers.delete('connection');
    },
  };
}

/**
 * Honors `Last-Event-ID`, which a client sends when it reconnects: the subscription continues after
 * that cursor, regardless of its `after` argument.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
 */
export function feedAfter(feed: EventFeed, lastEventId: string): EventFeed {
  return {
    close: () => feed.close(),
    subscribe: async (organizationId, _after, filter) =>
      feed.subscribe(organizationId, readEventCursor(lastEventId), filter),
  };
}

const CURSOR = Symbol('cursor');

/** Attaches the cursor of the event to the result, so that a stream can send it. */
export function withCursor(result: ExecutionResult, event: unknown): ExecutionResult {
  const { cursor } = (event ?? {}) as { cursor?: unknown };
  return typeof cursor === 'bigint' ? Object.assign(result, { [CURSOR]: cursor }) : result;
}

/** The cursor of the event that a result is about, or null. */
export function eventCursorOf(result: ExecutionResult): bigint | null {
  return (result as { [CURSOR]?: bigint })[CURSOR] ?? null;
}
