/** graphql-ws on the same path, with the same context, limits and errors as HTTP. */
import type { IncomingMessage, Server } from 'node:http';
import type { ExecutionArgs } from 'graphql';
import { CloseCode } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import type { YogaServerInstance } from 'graphql-yoga';
import { WebSocketServer } from 'ws';
import { newId } from '../infra/ids.ts';
import { API_KEY_REVOKED_TOPIC } from '../organizations/service.ts';
import { toGraphQLError, withoutHttp } from './errors.ts';
import type { RequestContext } from './execution.ts';
import { MAX_SUBSCRIPTIONS_PER_SOCKET, tooManySubscriptions } from './rates.ts';
import {
  addressOf,
  buildContext,
  idempotencyKeyIn,
  MAX_UNAUTHENTICATED_BODY,
  type Services,
} from './server.ts';

interface Options {
  services: Services;
  server: Server;
  // biome-ignore lint/suspicious/noExplicitAny: the server context type does not matter here
  yoga: YogaServerInstance<any, RequestContext>;
}

type ContextArgs = ExecutionArgs & { contextValue: RequestContext };

/** The credential comes in `connectionParams` as `{ "Authorization": "Bearer …" }`. */
export function attachWebSocket({ services, server, yoga }: Options): { close(): Promise<void> } {
  const { app } = services;
  const sockets = new WebSocketServer({
    server,
    path: '/graphql',
    // Whoever it comes from: a socket is open before a credential is known. Uploads go over HTTP.
    maxPayload: MAX_UNAUTHENTICATED_BODY,
  });
  const keyOf = new WeakMap<object, string>();

  const stop = useServer(
    {
      execute: (args) => (args as { rootValue: Enveloped }).rootValue.execute(args),
      subscribe: (args) => (args as { rootValue: Enveloped }).rootValue.subscribe(args),
      onConnect: async (socket) => {
        // Refused at the door, so that a wrong key is heard of before the first operation.
        try {
          const { viewer } = await contextOf(socket.connectionParams, socket.extra.request, null);
          if (viewer) keyOf.set(socket.extra.socket, viewer.apiKeyId);
          return true;
        } catch (error) {
          const message = error instanceof Error ? error.message : 'Forbidden';
          socket.extra.socket.close(CloseCode.Forbidden, message.slice(0, 120));
          return false;
        }
      },
      onSubscribe: async (socket, _id, params) => {
        // Thrown from here, anything would end the socket, and with it every other operation on it.
        try {
          if (Object.keys(socket.subscriptions).length > MAX_SUBSCRIPTIONS_PER_SOCKET) {
            throw tooManySubscriptions('A socket', MAX_SUBSCRIPTIONS_PER_SOCKET);
          }
          const { schema, execute, subscribe, parse, validate } = yoga.getEnveloped({
            req: socket.extra.request,
            params,
          } as never);
          const contextValue = await contextOf(
            socket.connectionParams,
            socket.extra.request,
            idempotencyKeyIn(params.extensions),
          );
          const document = parse(params.query);
          const errors = validate(schema, document);
          if (errors.length > 0) return errors;
          return {
            schema,
            document,
            operationName: params.operationName,
            variableValues: params.variables,
            contextValue,
            rootValue: { execute, subscribe },
          } as ContextArgs;
        } catch (error) {
          return [toGraphQLError(error, newId(), app.log)];
        }
      },
      onNext: (_socket, _id, _params, _args, { data, errors, extensions }) => {
        if (!errors) return;
        return {
          ...(data === undefined ? {} : { data }),
          errors: errors.map((error) => withoutHttp(error).toJSON()),
          ...(extensions ? { extensions } : {}),
        };
      },
      onError: (_socket, _id, _params, errors) =>
        errors.map((error) => withoutHttp(error).toJSON()),
    },
    sockets,
    30_000,
  );

  function contextOf(
    params: Readonly<Record<string, unknown>> | undefined,
    request: IncomingMessage,
    idempotencyKey: string | null,
  ): Promise<RequestContext> {
    const authorization = params?.Authorization ?? params?.authorization;
    return buildContext(services, {
      authorization: typeof authorization === 'string' ? authorization : null,
      address: addressOf(app, request),
      idempotencyKey,
    });
  }

  const stopListening = app.bus.subscribe(API_KEY_REVOKED_TOPIC, (apiKeyId) => {
    for (const socket of sockets.clients) {
      if (keyOf.get(socket) === apiKeyId)
        socket.close(CloseCode.Forbidden, 'The API key was revoked');
    }
  });

  return {
    async close() {
      stopListening();
      await stop.dispose();
    },
  };
}

interface Enveloped {
  // biome-ignore lint/suspicious/noExplicitAny: whatever envelop returns is what graphql-ws sends
  execute: (args: unknown) => any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  subscribe: (args: unknown) => any;
}
