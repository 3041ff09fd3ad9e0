/** HTTP: GraphQL with GraphiQL and server-sent events, Ultravox's webhooks, health. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createYoga } from 'graphql-yoga';
import type { App } from '../app.ts';
import { newId } from '../infra/ids.ts';
import { createEventFeed, type EventFeed } from '../live/feed.ts';
import { authenticate } from '../organizations/service.ts';
import { toGraphQLError } from './errors.ts';
import { executionPlugin, type RequestContext } from './execution.ts';
import { type GraphiQLSettings, graphiqlOptions, renderGraphiQL } from './graphiql.ts';
import { schema } from './schema.ts';
import { attachWebSocket } from './websocket.ts';

const MAX_BODY = 32 * 1024 * 1024;

/** An answer of a plain HTTP endpoint. */
export interface PlainResponse {
  status: number;
  body?: string;
  contentType?: string;
}

/** An endpoint beside GraphQL, by method and path. It gets the raw body. */
export type PlainEndpoint = (request: {
  headers: IncomingMessage['headers'];
  body: Buffer;
}) => Promise<PlainResponse>;

export interface ServerOptions {
  app: App;
  /** `"POST /webhooks/ultravox"` → handler. */
  endpoints: Record<string, PlainEndpoint>;
  graphiql: GraphiQLSettings;
}

export interface RunningServer {
  /** Where it listens, such as `http://127.0.0.1:4000`. */
  url: string;
  feed: EventFeed;
  /** Stops taking requests, ends sockets and streams in order, lets requests finish. */
  close(): Promise<void>;
}

/** Who is calling, from headers or `connectionParams`, and from which address. */
export interface Caller {
  authorization: string | null;
  address: string | null;
  idempotencyKey: string | null;
}

/** @throws GraphQLError when a credential was given and is not good. */
export async function buildContext(
  app: App,
  feed: EventFeed,
  caller: Caller,
): Promise<RequestContext> {
  const requestId = newId();
  try {
    const credential = caller.authorization?.replace(/^Bearer\s+/i, '').trim();
    const viewer = credential ? await authenticate(app, credential, caller.address) : null;
    return { app, feed, viewer, requestId, execution: {}, idempotencyKey: caller.idempotencyKey };
  } catch (error) {
    throw toGraphQLError(error, requestId, app.log);
  }
}

/** The caller's address: the connection's, or with TRUST_PROXY the last hop the proxy reports. */
export function addressOf(app: App, request: IncomingMessage): string | null {
  const forwarded = app.config.TRUST_PROXY ? request.headers['x-forwarded-for'] : undefined;
  const hop = String(forwarded ?? '')
    .split(',')
    .at(-1)
    ?.trim();
  return hop || request.socket.remoteAddress || null;
}

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { app } = options;
  const feed = createEventFeed(app);
  const yoga = createYoga<{ req: IncomingMessage; res: ServerResponse }, RequestContext>({
    schema,
    graphqlEndpoint: '/graphql',
    landingPage: false,
    maskedErrors: false,
    batching: false,
    cors: { origin: '*', allowedHeaders: ['authorization', 'content-type', 'x-idempotency-key'] },
    logging: false,
    graphiql: () => graphiqlOptions(options.graphiql),
    renderGraphiQL,
    plugins: [executionPlugin(app)],
    context: ({ req, request, params }) =>
      buildContext(app, feed, {
        authorization: request.headers.get('authorization'),
        address: req ? addressOf(app, req) : null,
        idempotencyKey:
          request.headers.get('x-idempotency-key') ?? idempotencyKeyIn(params.extensions),
      }),
  });

  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    const endpoint = options.endpoints[`${request.method} ${path}`];
    if (endpoint) return void answerPlain(app, endpoint, request, response);
    if (path === '/' && request.method === 'GET') {
      response.writeHead(302, { location: '/graphql' }).end();
      return;
    }
    yoga(request, response);
  });
  const sockets = attachWebSocket({ app, feed, server, yoga });
  await listen(server, app.config.PORT, app.config.HOST);

  return {
    url: addressOfServer(server),
    feed,
    async close() {
      feed.close();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await sockets.close();
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), 5_000);
      await closed;
      clearTimeout(force);
      await yoga.dispose();
    },
  };
}

export function idempotencyKeyIn(extensions: unknown): string | null {
  const key = (extensions as { idempotencyKey?: unknown } | undefined)?.idempotencyKey;
  return typeof key === 'string' ? key : null;
}

async function answerPlain(
  app: App,
  endpoint: PlainEndpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await readBody(request);
    const answer = body
      ? await endpoint({ headers: request.headers, body })
      : { status: 413, body: 'The body is too large' };
    response.writeHead(answer.status, { 'content-type': answer.contentType ?? 'text/plain' });
    response.end(answer.body ?? '');
  } catch (error) {
    app.log.error({ err: error, path: request.url }, 'An endpoint failed');
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
}

/** Null when it is larger than we take. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function addressOfServer(server: Server): string {
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('The server has no address');
  const host = address.address.includes(':') ? `[${address.address}]` : address.address;
  return `http://${host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host}:${address.port}`;
}
