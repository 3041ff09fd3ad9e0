/** The graphql-ws protocol at `/graphql`, with the same context, limits and errors as HTTP. */
import { randomUUIDv7 } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import {
  handleProtocols,
  makeServer,
  type Context as ProtocolContext,
  type ServerOptions,
  type SubscribePayload,
} from 'graphql-ws';
import { WebSocketServer } from 'ws';
import { toGraphQLError, withoutHttp } from '../../graphql/errors/errors.ts';
import {
  clientAddress,
  createContext,
  type RequestContext,
  readIdempotencyKey,
  type Services,
} from '../authentication.ts';
import { eventCursorOf } from '../http/event-stream.ts';
import type { Operations } from '../http/graphql-endpoint.ts';
import { type Release, tooManySubscriptions } from '../limits/concurrency-limits.ts';
import { LIMITS } from '../limits/limits.ts';
import { schema } from '../schema.ts';
import { hasCursors, wasInterrupted } from '../subscriptions/subscriptions.ts';
import { openConnection, type SocketConnection } from './socket-connection.ts';

const PATH = '/graphql';
const SHUTDOWN_GRACE_MS = 3_000;

interface Options {
  services: Services;
  server: Server;
  operations: Operations;
}

type Context = ProtocolContext<Record<string, unknown> | undefined, SocketConnection>;
type Handlers = ServerOptions<Record<string, unknown> | undefined, SocketConnection>;

/** The credential is expected in `connectionParams` as `{ "Authorization": "Bearer …" }`. */
export function attachSockets(options: Options): { close(): Promise<void> } {
  const { services, server } = options;
  const { app, concurrency } = services;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: LIMITS.messageBytes.max,
    handleProtocols,
  });
  const protocol = makeServer<Record<string, unknown> | undefined, SocketConnection>(
    createHandlers(options),
  );

  const upgrade = (request: IncomingMessage, stream: Duplex, head: Buffer): void => {
    stream.on('error', destroy);
    if ((request.url ?? '').split('?')[0] !== PATH) {
      refuseUpgrade(stream, '404 Not Found', `WebSockets are at ${PATH}.`);
      return;
    }
    const address = clientAddress(app, request);
    let release: Release;
    try {
      release = concurrency.openSocket(address);
    } catch (error) {
      refuseUpgrade(stream, '429 Too Many Requests', (error as Error).message);
      return;
    }
    stream.once('close', release);
    sockets.handleUpgrade(request, stream, head, (socket) => {
      stream.off('close', release);
      openConnection(socket, { app, protocol, stream, address, release });
    });
  };
  server.on('upgrade', upgrade);

  return {
    async close() {
      server.off('upgrade', upgrade);
      for (const socket of sockets.clients) socket.close(1001, 'Going away');
      const force = setTimeout(() => {
        for (const socket of sockets.clients) socket.terminate();
      }, SHUTDOWN_GRACE_MS);
      await new Promise<void>((resolve) => sockets.close(() => resolve()));
      clearTimeout(force);
    },
  };
}

/** Ignores upgrades to other protocols, such as the `h2c` that Java HTTP clients request (RFC 9110, section 7.8). */
export function isSocketUpgrade({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*websocket\s*(?:,|$)/i.test(headers.upgrade ?? '');
}

function destroy(this: Duplex): void {
  this.destroy();
}

/** Answers and closes the connection, which no timeout of HTTP and no shutdown of the server would end. */
function refuseUpgrade(stream: Duplex, status: string, message: string): void {
  stream.once('finish', destroy);
  stream.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${message.length}\r\n\r\n${message}`,
  );
}

function createHandlers({ services, operations }: Options): Handlers {
  const { app } = services;
  return {
    execute: (args) => operations.execute(args as unknown as ExecutionArgs),
    subscribe(args) {
      const started = { ...args };
      // The protocol server keeps its arguments as long as the subscription runs, but does not need this.
      args.contextValue = undefined;
      return operations.subscribe(started as unknown as ExecutionArgs);
    },
    onConnect: async (context) => {
      // Rejects here, so that a client learns of an invalid key before its first operation.
      try {
        const { viewer } = await contextOf(services, context);
        if (viewer)
          context.extra.authenticate(viewer, services.concurrency.openAuthenticatedSocket(viewer));
        return true;
      } catch (error) {
        closeFor(context.extra, toGraphQLError(error, randomUUIDv7(), app.log));
        return false;
      }
    },
    onSubscribe: async (context, id, params) => {
      // An error thrown here would close the socket, and so end all other operations on it.
      try {
        return await prepare({ services, operations }, context, id, params);
      } catch (error) {
        const refusal = toGraphQLError(error, randomUUIDv7(), app.log);
        if (refusal.extensions.code === 'UNAUTHENTICATED') closeFor(context.extra, refusal);
        return [refusal];
      }
    },
    onOperation: ({ extra }, id, ...[, args, result]) => {
      if (hasCursors(result)) extra.openSubscription(id);
      if (!('errors' in result) || !result.errors) return;
      const { errors } = result;
      const operation = getOperationAST(args.document, args.operationName);
      if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) return;
      const errorOf = (...codes: string[]) =>
        errors.find(({ extensions }) => codes.includes(String(extensions.code)));
      // A standard client subscribes again after a close, but never after an error.
      const retried = errorOf('RATE_LIMITED', 'UNAVAILABLE');
      if (retried) extra.closeForRetry(retried.message);
      const refused = errorOf('UNAUTHENTICATED');
      if (refused) extra.closeForbidden(refused.message);
      return failedStream(errors);
    },
    onNext: ({ extra }, id, ...[, , result]) => {
      const cursor = eventCursorOf(result as ExecutionResult);
      if (cursor !== null) extra.prepareEvent(id, cursor);
      const { data, errors, extensions } = result;
      if (!errors) return;
      const ended = errors.find((error) => error.extensions.code === 'UNAUTHENTICATED');
      if (ended && extra.viewer) extra.closeForbidden(ended.message);
      // A standard client subscribes again after a close, but never after an error.
      if (wasInterrupted(result))
        extra.closeForResume(errors[0]?.message ?? 'Internal server error');
      return {
        ...(data === undefined ? {} : { data }),
        errors: errors.map((error) => withoutHttp(error).toJSON()),
        ...(extensions ? { extensions } : {}),
      };
    },
    onError: (_context, _id, _params, errors) =>
      errors.flatMap(causesOf).map((error) => withoutHttp(error).toJSON()),
    onComplete: ({ extra }, id) => extra.closeSubscription(id),
  };
}

/** The errors of a subscription that has no stream. */
class SubscribeError extends Error {
  readonly errors: readonly GraphQLError[];

  constructor(errors: readonly GraphQLError[]) {
    super('The subscription failed');
    this.errors = errors;
  }
}

/**
 * A stream in place of a result with these errors. The protocol server sends such a result as `next` and `complete`,
 * but what a stream throws as `error`, which is how clients learn that nothing was subscribed to.
 */
function failedStream(errors: readonly GraphQLError[]): AsyncIterableIterator<ExecutionResult> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => Promise.reject(new SubscribeError(errors)),
  };
}

/** The protocol server wraps what a stream throws. */
function causesOf(error: Pick<GraphQLError, 'cause'>): readonly GraphQLError[] {
  return error.cause instanceof SubscribeError ? error.cause.errors : [error as GraphQLError];
}

/** The arguments of the execution, or the errors of the document. */
async function prepare(
  { services, operations }: Pick<Options, 'services' | 'operations'>,
  context: Context,
  id: string,
  params: SubscribePayload,
): Promise<ExecutionArgs | readonly GraphQLError[]> {
  if (Object.keys(context.subscriptions).length > LIMITS.subscriptionsPerSocket.max) {
    throw tooManySubscriptions('A socket', LIMITS.subscriptionsPerSocket.max);
  }
  const idempotencyKey = readIdempotencyKey({}, params.extensions);
  const caller = await contextOf(services, context);
  const found = await operations.documents.read(params.query, caller.viewer);
  if (!('document' in found)) return found;
  // The protocol server keeps the message as long as the operation runs.
  Object.assign(params, { query: found.text });
  const contextValue: RequestContext = {
    ...caller,
    idempotencyKey,
    isDisconnected: () => !context.extra.isOpen(),
    receive: (messages) => context.extra.sendNext(id, messages),
  };
  return {
    schema,
    document: found.document,
    operationName: params.operationName,
    variableValues: params.variables,
    contextValue,
    rootValue: undefined,
  };
}

function contextOf(
  services: Services,
  { connectionParams: params, extra }: Context,
): Promise<RequestContext> {
  const authorization = params?.Authorization ?? params?.authorization;
  return createContext(
    services,
    {
      authorization: typeof authorization === 'string' ? authorization : null,
      address: extra.address,
    },
    randomUUIDv7(),
  );
}

/** Closes the socket with a code that tells standard clients whether and how to reconnect. */
function closeFor(connection: SocketConnection, error: GraphQLError): void {
  const code = error.extensions.code;
  if (code === 'RATE_LIMITED' || code === 'UNAVAILABLE') connection.closeForRetry(error.message);
  else if (code === 'INTERNAL') connection.closeForRetry('Internal server error');
  else connection.closeForbidden(error.message);
}
