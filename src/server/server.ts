/** The HTTP server of a process: starts listening, routes requests, and shuts down in order. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { App } from '../app.ts';
import { createEventFeed, type EventFeed } from '../live/feed.ts';
import type { Services } from './authentication.ts';
import { ASSETS_PATH, type GraphiQLSettings } from './graphiql/graphiql.ts';
import { createPage, wantsPage } from './graphiql/page.ts';
import { createGraphQLEndpoint } from './http/graphql-endpoint.ts';
import { handleMalformedRequests } from './http/malformed-requests.ts';
import { type PlainEndpoint, runPlainEndpoint } from './http/plain-endpoint.ts';
import { createRouter, type Router } from './http/router.ts';
import { closeStalledConnections } from './http/stalled-connections.ts';
import { createConcurrencyLimits } from './limits/concurrency-limits.ts';
import { connectLimitStore } from './limits/limit-store.ts';
import { LIMITS } from './limits/limits.ts';
import { createRateLimits } from './limits/rate-limits.ts';
import { attachSockets, isSocketUpgrade } from './sockets/sockets.ts';

/**
 * Longer than load balancers and clients keep idle connections, so that they close them first and never
 * send a request on a connection that is being closed.
 */
const IDLE_CONNECTION_MS = 75_000;
const SHUTDOWN_GRACE_MS = 5_000;

/** An endpoint other than GraphQL. */
export interface PlainRoute {
  method: 'GET' | 'POST';
  path: string;
  endpoint: PlainEndpoint;
}

export interface ServerOptions {
  app: App;
  routes: readonly PlainRoute[];
  graphiql: GraphiQLSettings;
  /** Whether to use a free port when PORT is in use. */
  otherPort: boolean;
}

export interface RunningServer {
  /** Address of the server, such as `http://127.0.0.1:4000`. */
  url: string;
  feed: EventFeed;
  /** Stops accepting requests, ends sockets and streams, and waits for requests to finish. */
  close(): Promise<void>;
}

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { app } = options;
  /** Set once the server listens. Kept while it closes, because requests are still answered then. */
  let url = '';
  const limitStore = connectLimitStore(app);
  const services: Services = {
    app,
    feed: createEventFeed(app),
    rateLimits: createRateLimits(app, limitStore),
    concurrency: createConcurrencyLimits(app, { store: limitStore }),
    publicUrl: () => (app.config.PUBLIC_URL ?? url).replace(/\/+$/, ''),
  };
  const graphql = createGraphQLEndpoint(services);
  const page = createPage(services, options.graphiql);
  const router = createRouter()
    .on('GET', '/', (_request, response) => response.writeHead(302, { location: '/graphql' }).end())
    .on('GET', '/graphql', (request, response) => {
      void (wantsPage(request) ? page.html : graphql.handle)(request, response);
    })
    .on('GET', `${ASSETS_PATH}*`, page.asset)
    .on('POST', '/graphql', graphql.handle)
    .on('OPTIONS', '/graphql', graphql.handle);
  addPlainRoutes(router, options);

  const server = createServer({ shouldUpgradeCallback: isSocketUpgrade }, router.handle);
  server.keepAliveTimeout = IDLE_CONNECTION_MS;
  // Also the time that a new connection may be idle.
  server.headersTimeout = IDLE_CONNECTION_MS;
  server.requestTimeout = LIMITS.requestSeconds.max * 1000;
  handleMalformedRequests(server);
  const stopWatching = closeStalledConnections(server);
  const sockets = attachSockets({ services, server, operations: graphql.operations });
  const { PORT, HOST } = app.config;
  await listen(server, PORT, HOST).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE' || !options.otherPort) throw error;
    app.log.warn(`Port ${PORT} is in use; taking a free one`);
    return listen(server, 0, HOST);
  });
  url = urlOf(server);

  return {
    url,
    feed: services.feed,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      graphql.endStreams();
      await sockets.close();
      services.feed.close();
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), SHUTDOWN_GRACE_MS);
      await closed;
      clearTimeout(force);
      stopWatching();
      await graphql.dispose();
      await services.concurrency.close();
      limitStore?.close();
    },
  };
}

function addPlainRoutes(router: Router, { app, routes }: ServerOptions): void {
  for (const { method, path, endpoint } of routes) {
    router.on(method, path, (request, response) => {
      void runPlainEndpoint(app, endpoint, request, response);
    });
  }
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host);
  await once(server, 'listening');
}

function urlOf(server: Server): string {
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('The server has no address');
  const host = address.address.includes(':') ? `[${address.address}]` : address.address;
  return `http://${host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host}:${address.port}`;
}
