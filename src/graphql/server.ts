/** HTTP: GraphQL with GraphiQL and server-sent events, Ultravox's webhooks, health. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GraphQLError } from 'graphql';
import { createYoga } from 'graphql-yoga';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { newId } from '../infra/ids.ts';
import { createEventFeed, type EventFeed } from '../live/feed.ts';
import { authenticate } from '../organizations/service.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { toGraphQLError } from './errors.ts';
import { executionPlugin, type RequestContext } from './execution.ts';
import { createGraphiQL, type GraphiQLSettings } from './graphiql.ts';
import { documentCache } from './limits.ts';
import { isMultipart, readUpload } from './multipart.ts';
import { createRates, type Rates } from './rates.ts';
import { schema } from './schema.ts';
import { attachWebSocket } from './websocket.ts';

/** With a good credential: documents are uploaded within a mutation. */
const MAX_BODY = 32 * 1024 * 1024;
export const MAX_UNAUTHENTICATED_BODY = 1024 * 1024;
const MAX_PLAIN_BODY = 2 * 1024 * 1024;

const API_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'retry-after',
  'x-content-type-options': 'nosniff',
};
const PREFLIGHT_HEADERS = {
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  'access-control-allow-headers': 'authorization, content-type, x-idempotency-key',
  'access-control-max-age': '7200',
};

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

/**
 * @throws GraphQLError when a credential was given and is not good, or when there are too many
 *   requests without a good one from its address.
 */
export async function buildContext(
  { app, feed, rates, publicUrl }: Services,
  caller: Caller,
): Promise<RequestContext> {
  const requestId = newId();
  try {
    const viewer = await identify(app, rates, caller);
    const { idempotencyKey } = caller;
    return { app, feed, viewer, requestId, publicUrl: publicUrl(), execution: {}, idempotencyKey };
  } catch (error) {
    throw toGraphQLError(error, requestId, app.log);
  }
}

/** What every request shares. */
export interface Services {
  app: App;
  feed: EventFeed;
  rates: Rates;
  /** Where clients reach this server, without a slash at the end. */
  publicUrl: () => string;
}

async function identify(app: App, rates: Rates, caller: Caller): Promise<Viewer | null> {
  const credential = caller.authorization?.replace(/^Bearer\s+/i, '').trim();
  if (!credential) {
    rates.countUnauthenticated(caller.address);
    return null;
  }
  try {
    return await authenticate(app, credential, caller.address);
  } catch (error) {
    if (error instanceof RequestError) rates.countUnauthenticated(caller.address);
    throw error;
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
  /** Known once it listens; kept, as requests are still answered while it closes. */
  let url = '';
  const services: Services = {
    app,
    feed: createEventFeed(app),
    rates: createRates(app),
    publicUrl: () => (app.config.PUBLIC_URL ?? url).replace(/\/+$/, ''),
  };
  const { feed } = services;
  /** Who sent a request, or why that is refused: found out before its body is read. */
  const contexts = new WeakMap<IncomingMessage, RequestContext | GraphQLError>();
  const yoga = createYoga<{ req: IncomingMessage; res: ServerResponse }, RequestContext>({
    schema,
    graphqlEndpoint: '/graphql',
    landingPage: false,
    maskedErrors: false,
    batching: false,
    cors: false,
    logging: false,
    graphiql: false,
    multipart: false,
    maxRequestBodySize: MAX_BODY,
    parserAndValidationCache: { documentCache: documentCache(), errorCache: documentCache() },
    plugins: [executionPlugin(app, services.rates)],
    context: ({ req, request, params }) => {
      const found = contexts.get(req);
      if (!found) throw new Error('The request was not looked at');
      if (found instanceof GraphQLError) throw found;
      const idempotencyKey =
        request.headers.get('x-idempotency-key') ?? idempotencyKeyIn(params.extensions);
      return { ...found, idempotencyKey };
    },
  });
  const graphiql = createGraphiQL(options.graphiql);
  const open = new Set<ServerResponse>();

  async function answerGraphQL(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (wantsPage(request)) {
      services.rates.countUnauthenticated(addressOf(app, request));
      const withKey = options.graphiql.demoKey !== null && maySeeKey(app, request);
      const gzip = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
      const page = await graphiql.page({ withKey, gzip });
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        vary: 'accept, accept-encoding, host',
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        ...(page.gzip ? { 'content-encoding': 'gzip' } : {}),
      });
      response.end(page.body);
      return;
    }
    for (const [name, value] of Object.entries(API_HEADERS)) response.setHeader(name, value);
    if (request.method === 'OPTIONS') {
      response.writeHead(204, PREFLIGHT_HEADERS).end();
      return;
    }
    const context = await buildContext(services, {
      authorization: request.headers.authorization ?? null,
      address: addressOf(app, request),
      idempotencyKey: null,
    }).catch((error: GraphQLError) => error);
    if (context instanceof GraphQLError && context.extensions.code === 'RATE_LIMITED')
      throw context;
    if (context instanceof GraphQLError || !context.viewer) {
      if (isMultipart(request)) throw refusedFile(request, context);
      checkSize(request);
    } else if (isMultipart(request)) await readUpload(request, response);
    contexts.set(request, context);
    open.add(response);
    response.once('close', () => open.delete(response));
    await yoga(request, response);
  }

  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    const endpoint = options.endpoints[`${request.method} ${path}`];
    if (endpoint) return void answerPlain(app, endpoint, request, response);
    if (path === '/' && request.method === 'GET') {
      response.writeHead(302, { location: '/graphql' }).end();
      return;
    }
    if (path !== '/graphql' && path !== '/graphql/') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Not found');
      return;
    }
    answerGraphQL(request, response).catch((error: unknown) => refuse(app, response, error));
  });
  const sockets = attachWebSocket({ services, server, yoga });
  await listen(server, app.config.PORT, app.config.HOST);
  url = addressOfServer(server);

  return {
    url,
    feed,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Cut off, not completed: clients then connect again, to whoever is up.
      for (const response of open) if (isEventStream(response)) response.destroy();
      await sockets.close();
      feed.close();
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), 5_000);
      await closed;
      clearTimeout(force);
      await yoga.dispose();
    },
  };
}

function isEventStream(response: ServerResponse): boolean {
  return String(response.getHeader('content-type') ?? '').startsWith('text/event-stream');
}

function wantsPage(request: IncomingMessage): boolean {
  return request.method === 'GET' && (request.headers.accept ?? '').includes('text/html');
}

/**
 * Whether the page may hold the demo's key: for the public address, or for a browser on this
 * machine that asked for it by a name of this machine. Any other name could be one that a stranger
 * has pointed here, whose page would then read the key.
 */
function maySeeKey(app: App, request: IncomingMessage): boolean {
  const host = request.headers.host?.toLowerCase();
  if (!host) return false;
  const publicUrl = app.config.PUBLIC_URL;
  if (publicUrl && new URL(publicUrl).host === host) return true;
  const { headers, socket } = request;
  if (headers.forwarded || headers['x-forwarded-for'] || headers.via) return false;
  const from = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  if (from !== '::1' && !from.startsWith('127.')) return false;
  const port = socket.localPort === 80 ? '(:80)?' : `:${socket.localPort}`;
  return new RegExp(`^(localhost|127\\.0\\.0\\.1|\\[::1\\])${port}$`).test(host);
}

/** Who has no key sends no files: what is left of them is not read. */
function refusedFile(request: IncomingMessage, context: RequestContext | GraphQLError): Error {
  const refusal =
    context instanceof GraphQLError
      ? context
      : new GraphQLError(
          'An API key is needed to send files: the header "Authorization: Bearer truedy_…".',
          { extensions: { code: 'UNAUTHENTICATED', http: { status: 401 } } },
        );
  if (lengthOf(request) <= MAX_UNAUTHENTICATED_BODY) return refusal;
  const http = { ...(refusal.extensions.http as object), headers: { connection: 'close' } };
  return new GraphQLError(refusal.message, { extensions: { ...refusal.extensions, http } });
}

/** Not a number when the request does not say it. */
function lengthOf({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? Number.NaN);
}

/** What comes without a good credential is short, and says how long it is. */
function checkSize(request: IncomingMessage): void {
  if (request.method !== 'POST') return;
  const length = lengthOf(request);
  if (length <= MAX_UNAUTHENTICATED_BODY) return;
  const [status, code] = Number.isNaN(length)
    ? [411, 'BAD_REQUEST']
    : [413, 'REQUEST_ENTITY_TOO_LARGE'];
  throw new GraphQLError(
    `Without a valid API key a request has at most ${MAX_UNAUTHENTICATED_BODY} bytes, and says how many in Content-Length.`,
    { extensions: { code, http: { status, headers: { connection: 'close' } } } },
  );
}

/** For what never reaches GraphQL. */
function refuse(app: App, response: ServerResponse, error: unknown): void {
  // Who goes away in the middle of an upload is no failure.
  if (response.req.errored || response.destroyed) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const refusal = toGraphQLError(error, newId(), app.log);
  const { http, ...extensions } = refusal.extensions as Record<string, unknown> & {
    http?: { status: number; headers?: Record<string, string> };
  };
  response.writeHead(http?.status ?? (extensions.code === 'INTERNAL' ? 500 : 400), {
    ...API_HEADERS,
    'content-type': 'application/json; charset=utf-8',
    ...http?.headers,
  });
  response.end(JSON.stringify({ errors: [{ message: refusal.message, extensions }] }));
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
    const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
    const answer: PlainResponse = body
      ? await endpoint({ headers: request.headers, query, body })
      : { status: 413, body: 'The body is too large' };
    response.writeHead(answer.status, {
      ...answer.headers,
      'content-type': answer.contentType ?? 'text/plain',
      ...(body ? {} : { connection: 'close' }),
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

/** Null when it is larger than we take; what is left is then not read. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_PLAIN_BODY) return null;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length;
    if (size > MAX_PLAIN_BODY) return null;
    chunks.push(chunk as Buffer);
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
