/** Server-sent events with ids, so that clients continue after the last event they received. */
import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { readCursor } from '../live/cursor.ts';
import type { EventFeed } from '../live/feed.ts';
import type { RequestContext } from './authentication.ts';

/**
 * Honors `Last-Event-ID`, which a client sends when it reconnects: the subscription continues after
 * that cursor, regardless of its argument `after`.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
 */
export function eventStreamPlugin(): Plugin<RequestContext> {
  return {
    onSubscribe({ args, extendContext }) {
      const { feed, request } = args.contextValue as RequestContext & { request?: Request };
      const lastEventId = request?.headers.get('last-event-id');
      if (lastEventId) extendContext({ feed: feedAfter(feed, lastEventId) });
    },
    onResponse({ response }) {
      const contentType = response.headers.get('content-type');
      // nginx would buffer events.
      if (contentType === 'text/event-stream') response.headers.set('x-accel-buffering', 'no');
    },
  };
}

function feedAfter(feed: EventFeed, lastEventId: string): EventFeed {
  return {
    ...feed,
    subscribe: async (organizationId, _after, filter) =>
      feed.subscribe(organizationId, readCursor(lastEventId), filter),
  };
}

const CURSOR = Symbol('cursor');

/**
 * Gives the result of an event that has a cursor an `id:` line in an event stream, and keeps the
 * cursor with the result.
 */
export function withEventId(result: ExecutionResult, event: unknown): ExecutionResult {
  const { cursor } = (event ?? {}) as { cursor?: unknown };
  if (typeof cursor !== 'bigint') return result;
  let text: string | undefined;
  // graphql-yoga writes "data: " before the returned text and an empty line after it. Cached, since many
  // subscribers share a result.
  const stringify = (sent: ExecutionResult): string => {
    text ??= `${JSON.stringify(sent)}\nid: ${cursor}`;
    return text;
  };
  return { ...result, stringify, [CURSOR]: cursor } as ExecutionResult;
}

/** The cursor of the event that a result is about, or null. */
export function cursorOf(result: ExecutionResult): bigint | null {
  return (result as { [CURSOR]?: bigint })[CURSOR] ?? null;
}
