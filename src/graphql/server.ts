/** HTTP: GraphQL with GraphiQL and server-sent events, Ultravox's webhooks, health. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createYoga } from 'graphql-yoga';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { newId } from '../infra/ids.ts';
import { createEventFeed, type EventFeed } from '../live/feed.ts';
import { authenticate } from '../organizations/service.ts';
import { toGraphQLError } from './errors.ts';
import { executionPlugin, type RequestContext } from './execution.ts';
import { type GraphiQLSettings, graphiqlOptions, renderGraphiQL } from './graphiql.ts';
import { isMultipart, readUpload } from './multipart.ts';
import { schema } from './schema.ts';
import { attachWebSocket } from './websocket.ts';

const MAX_BODY = 32 * 1024 * 1024;

/** An answer of a plain HTTP endpoint. */
export interface PlainResponse {
  status: number;
  /** Pieces are sent as fast as the client takes them. */
  body?: string | AsyncIterable<string>;
  contentType?: string;
  headers?: Record<string, string>;
}

/** An endpoint beside GraphQL, by method and path. It gets the raw body. */
export type PlainEndpoint = (request: {
  headers: IncomingMessage['headers'];
  query: URLSearchParams;
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
  publicUrl: string,
): Promise<RequestContext> {
  const requestId = newId();
  try {
    const credential = caller.authorization?.replace(/^Bearer\s+/i, '').trim();
    const viewer = credential ? await authenticate(app, credential, caller.address) : null;
    const { idempotencyKey } = caller;
    return { app, feed, viewer, requestId, publicUrl, execution: {}, idempotencyKey };
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
      buildContext(
        app,
        feed,
        {
          authorization: request.headers.get('authorization'),
          address: req ? addressOf(app, req) : null,
          idempotencyKey:
            request.headers.get('x-idempotency-key') ?? idempotencyKeyIn(params.extensions),
        },
        publicUrl(),
      ),
  });

  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    const endpoint = options.endpoints[`${request.method} ${path}`];
    if (endpoint) return void answerPlain(app, endpoint, request, response);
    if (path === '/' && request.method === 'GET') {
      response.writeHead(302, { location: '/graphql' }).end();
      return;
    }
    if (path === '/graphql' && isMultipart(request)) {
      return void takeUpload(app, request, response, () => yoga(request, response));
    }
    yoga(request, response);
  });
  const publicUrl = (): string =>
    (app.config.PUBLIC_URL ?? addressOfServer(server)).replace(/\/+$/, '');
  const sockets = attachWebSocket({ app, feed, server, yoga, publicUrl });
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

/**
 * Reads a multipart request before GraphQL sees it. Who has no key sends no files: that is looked at
 * before the body is.
 */
async function takeUpload(
  app: App,
  request: IncomingMessage,
  response: ServerResponse,
  proceed: () => void,
): Promise<void> {
  try {
    const credential = request.headers.authorization?.replace(/^Bearer\s+/i, '').trim();
    if (!credential) {
      throw new RequestError(
        'UNAUTHENTICATED',
        'An API key is needed to send files: the header "Authorization: Bearer truedy_…".',
      );
    }
    await authenticate(app, credential, addressOf(app, request));
    await readUpload(request, response);
  } catch (error) {
    if (request.errored || response.destroyed) return;
    const shown = toGraphQLError(error, newId(), app.log);
    const { http, ...extensions } = shown.extensions as { http?: { status: number } };
    const ours = (extensions as { code?: string }).code === 'INTERNAL';
    response.writeHead(http?.status ?? (ours ? 500 : 400), {
      'content-type': 'application/json',
      'access-control-allow-origin': '*',
    });
    response.end(JSON.stringify({ errors: [{ message: shown.message, extensions }] }));
    return;
  }
  proceed();
}

async function answerPlain(
  app: App,
  endpoint: PlainEndpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await readBody(request);
    const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
    const answer: PlainResponse = body
      ? await endpoint({ headers: request.headers, query, body })
      : { status: 413, body: 'The body is too large' };
    response.writeHead(answer.status, {
      ...answer.headers,
      'content-type': answer.contentType ?? 'text/plain',
    });
    if (answer.body && typeof answer.body !== 'string') {
      await pipeline(Readable.from(answer.body), response);
    } else response.end(answer.body ?? '');
  } catch (error) {
    // Who goes away in the middle of a download is no failure.
    if ((error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') return;
    app.log.error({ err: error, path: request.url }, 'An endpoint failed');
    // A body that is cut off must not look like a whole one.
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end();
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
