/**
 * Subscriptions over server-sent events, written without the web streams of graphql-yoga, which take more memory
 * per subscriber than everything else. Yoga answers subscriptions that do not start.
 */
import type { ServerResponse } from 'node:http';
import type { ExecutionResult } from 'graphql';
import type { RequestContext } from '../authentication.ts';
import { isSubscriptionOperation } from '../execution/documents.ts';
import type { Subscribe } from '../execution/execution.ts';
import { schema } from '../schema.ts';
import {
  MAX_BUFFERED_LIVE_BYTES,
  type SharedMessages,
  toPayload,
} from '../subscriptions/live-delivery.ts';
import type { Results } from '../subscriptions/subscriptions.ts';
import { acceptsEvents } from './accept.ts';
import { eventCursorOf, feedAfter } from './event-stream.ts';
import { apiHeaders, isDisconnected } from './http-responses.ts';
import { setExistingResult, type ValidRequest } from './json-responder.ts';

/** Shorter than proxies usually wait for the next byte. */
const PING_MS = 12_000;

export interface EventStreamResponder {
  /**
   * Starts the subscription and writes its results until it ends or the client disconnects. False if
   * yoga has to answer; nothing has been written then.
   */
  respond(
    response: ServerResponse,
    request: ValidRequest,
    context: RequestContext,
  ): Promise<boolean>;
  /** Closes all streams without completing them, so that clients reconnect. */
  close(): void;
}

export function createEventStreamResponder(subscribe: Subscribe): EventStreamResponder {
  const open = new Set<ServerResponse>();
  let isClosed = false;
  return {
    async respond(response, { document, operationName, variables }, context) {
      const { req: request } = response;
      if (!acceptsEvents(request.headers.accept)) return false;
      if (!isSubscriptionOperation(document, operationName)) return false;
      if (request.method === 'HEAD') {
        response.writeHead(405, { ...apiHeaders(context.requestId), allow: 'GET, POST' }).end();
        return true;
      }
      const stream = new EventStream(response);
      const lastEventId = request.headers['last-event-id'];
      const result = await subscribe({
        schema,
        document,
        contextValue: {
          ...context,
          feed: lastEventId ? feedAfter(context.feed, String(lastEventId)) : context.feed,
          receive: (messages: SharedMessages) => stream.receive(messages),
        } satisfies RequestContext,
        variableValues: variables,
        operationName,
      });
      if (!(Symbol.asyncIterator in result)) {
        setExistingResult(request, result);
        return false;
      }
      if (isClosed || isDisconnected(response)) {
        void result.return?.();
        response.destroy();
        return true;
      }
      open.add(response);
      stream.start(result, context.requestId, () => open.delete(response));
      return true;
    },
    close() {
      isClosed = true;
      for (const response of open) response.destroy();
    },
  };
}

class EventStream {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  start(results: Results, requestId: string, onClose: () => void): void {
    const response = this.#response;
    response.writeHead(200, {
      ...apiHeaders(requestId),
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'content-encoding': 'none',
      // nginx would buffer events.
      'x-accel-buffering': 'no',
    });
    // Some browsers wait for the first bytes of the body.
    response.write(':\n\n');
    const ping = setInterval(() => {
      if (!response.writableNeedDrain && !isDisconnected(response)) response.write(':\n\n');
    }, PING_MS);
    response.once('close', () => {
      clearInterval(ping);
      onClose();
      void results.return?.();
    });
    void this.#writeAll(results);
  }

  /** Writes live events without waiting. False if the client reads too slowly. */
  receive(messages: SharedMessages): boolean {
    const response = this.#response;
    if (isDisconnected(response)) return true;
    if (response.writableLength > MAX_BUFFERED_LIVE_BYTES) return false;
    const { socket } = response;
    // Bypasses the response, which writes each part of a chunk separately, unless the order with its unwritten bytes
    // must be kept: it is corked from its first write in a tick on, and has no socket while it waits for
    // the previous response on its connection. HTTP/1.0 bodies have no chunks.
    const isDirect = response.chunkedEncoding && response.writableCorked === 0;
    if (socket && isDirect) socket.write(messages.chunk);
    else response.write(messages.blocks);
    return true;
  }

  /** Writes results while the subscriber is not live. Never throws. */
  async #writeAll(results: Results): Promise<void> {
    for await (const result of results) {
      if (isDisconnected(this.#response)) return;
      if (!this.#response.write(blockOf(result))) await this.#drained();
    }
    if (!isDisconnected(this.#response)) this.#response.end('event: complete\ndata:\n\n');
  }

  /** Resolves when the response accepts more data, or is closed. */
  async #drained(): Promise<void> {
    const response = this.#response;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        response.off('drain', done).off('close', done);
        resolve();
      };
      response.on('drain', done).on('close', done);
    });
  }
}

function blockOf(result: ExecutionResult): string {
  const cursor = eventCursorOf(result);
  const id = cursor === null ? '' : `id: ${cursor}\n`;
  return `event: next\ndata: ${toPayload(result)}\n${id}\n`;
}
