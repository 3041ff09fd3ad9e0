/** The HTTP server: authentication, faults, routes and the request log. */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Fault, fitsRequest } from '../faults.ts';
import { HttpError, type Json, refuse } from '../json.ts';
import type { Reply, Request, RequestLogEntry, Route, World } from '../world.ts';

const MAX_BODY = 12 * 1024 * 1024;
const MAX_STORED_REQUESTS = 2000;

interface CompiledRoute extends Route {
  pattern: RegExp;
  names: string[];
}

export function createHttpServer(world: World, routes: Route[]): Server {
  const compiled = routes.map(compile);
  const server = createServer((incoming, outgoing) => {
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    serve(world, compiled, incoming, outgoing).catch((error: unknown) => {
      world.log('error', 'request failed', { error: String(error) });
      if (!outgoing.headersSent) send(outgoing, { status: 500, body: { detail: 'Server error.' } });
      else outgoing.destroy();
    });
  });
  server.keepAliveTimeout = 30_000;
  return server;
}

function compile(route: Route): CompiledRoute {
  const names: string[] = [];
  const source = route.path.replaceAll(/:(\w+)/g, (_match, name: string) => {
    names.push(name);
    return '([^/]+)';
  });
  return { ...route, names, pattern: new RegExp(`^${source.replaceAll('.', '\\.')}$`) };
}

async function serve(
  world: World,
  routes: CompiledRoute[],
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const startedAt = world.now();
  const method = incoming.method ?? 'GET';
  const origin = originOf(world, incoming);
  const target = incoming.url ?? '/';
  const url = URL.canParse(target, origin) ? new URL(target, origin) : new URL(origin);
  const entry: RequestLogEntry = {
    at: new Date(startedAt).toISOString(),
    method,
    path: url.pathname,
    status: null,
    ignoredMembers: [],
    fault: null,
    durationMs: 0,
  };
  const control = url.pathname.startsWith('/simulator/');
  const faults = control
    ? []
    : world.faults.select((fault) => fitsRequest(fault, method, url.pathname));
  if (faults.length > 0) entry.fault = faults.map((fault) => fault.kind).join(',');
  if (!control) {
    world.requests.push(entry);
    if (world.requests.length > MAX_STORED_REQUESTS * 1.1) {
      world.requests.splice(0, world.requests.length - MAX_STORED_REQUESTS);
    }
  }
  outgoing.on('close', () => {
    entry.durationMs = world.now() - startedAt;
  });

  const early = await applyBefore(faults, incoming, outgoing);
  if (early === 'gone') return;
  let reply: Reply;
  if (early !== undefined) {
    incoming.resume();
    reply = early;
  } else {
    reply = await answer(world, routes, incoming, { method, url, origin, entry });
    if (faults.some((fault) => fault.kind === 'dropAfter')) {
      incoming.socket.destroy();
      return;
    }
    const instead = faults.find((fault) => fault.kind === 'statusAfter');
    if (instead) reply = faultyReply(instead);
  }
  entry.status = reply.status;
  send(
    outgoing,
    reply,
    faults.some((fault) => fault.kind === 'truncate'),
  );
}

/** Applies faults before a request is handled: another response, a lost connection or a delay. */
async function applyBefore(
  faults: Fault[],
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<Reply | 'gone' | undefined> {
  for (const fault of faults) {
    if (fault.kind === 'dropBefore') {
      incoming.socket.destroy();
      return 'gone';
    }
    if (fault.kind === 'timeout') {
      // Never answered. Ends when the client gives up or the server closes.
      incoming.resume();
      return 'gone';
    }
    if (fault.kind === 'slow') {
      await new Promise((resolve) => setTimeout(resolve, fault.ms));
      if (outgoing.destroyed) return 'gone';
    }
    if (fault.kind === 'status') {
      return faultyReply(fault);
    }
  }
  return undefined;
}

function faultyReply({ id, status, retryAfterSeconds }: Fault): Reply {
  const wait = retryAfterSeconds ?? ([429, 503].includes(status) ? 1 : null);
  return {
    status,
    body: { detail: `Simulated fault ${id}.` },
    headers: wait === null ? {} : { 'retry-after': String(wait) },
  };
}

async function answer(
  world: World,
  routes: CompiledRoute[],
  incoming: IncomingMessage,
  asked: { method: string; url: URL; origin: string; entry: RequestLogEntry },
): Promise<Reply> {
  try {
    const raw = await readBody(incoming);
    const path = asked.url.pathname;
    const matching = routes.filter((route) => route.pattern.test(path));
    const route = matching.find((candidate) => candidate.method === asked.method);
    if (route?.open !== true) authorize(world, incoming, path);
    if (matching.length === 0) throw refuse(404, 'Not found.');
    if (route === undefined) throw refuse(405, `Method "${asked.method}" not allowed.`);
    const request: Request = {
      method: asked.method,
      path,
      params: paramsOf(route, path),
      query: asked.url.searchParams,
      headers: incoming.headers,
      origin: asked.origin,
      raw,
      ignored: asked.entry.ignoredMembers,
      ...(await parseBody(incoming, route, raw)),
    };
    if (asked.method === 'GET') return await route.handler(world, request);
    return await world.store.transaction(() => route.handler(world, request));
  } catch (error) {
    if (error instanceof HttpError) {
      return { status: error.status, body: error.body, headers: error.headers };
    }
    world.log('error', 'handler failed', {
      path: asked.url.pathname,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    return { status: 500, body: { detail: 'Server error.' } };
  }
}

function authorize(world: World, incoming: IncomingMessage, path: string): void {
  const given = incoming.headers['x-api-key'] ?? incoming.headers['x-unsafe-api-key'];
  if (typeof given !== 'string' || given === '') {
    throw refuse(401, 'Authentication credentials were not provided.');
  }
  const expected = Buffer.from(world.apiKey);
  const actual = Buffer.from(given);
  if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) {
    throw refuse(401, 'Invalid API key.');
  }
  if (world.settings().keyRevoked && !path.startsWith('/simulator/')) {
    throw refuse(403, 'You do not have permission to perform this action.');
  }
}

function paramsOf(route: CompiledRoute, path: string): Record<string, string> {
  const values = route.pattern.exec(path)?.slice(1) ?? [];
  try {
    return Object.fromEntries(
      route.names.map((name, index) => [name, decodeURIComponent(values[index] ?? '')]),
    );
  } catch {
    throw refuse(404, 'Not found.');
  }
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming) {
    if (!Buffer.isBuffer(part)) continue;
    size += part.length;
    // The body is read to the end, so that the response can be delivered.
    if (size <= MAX_BODY) parts.push(part);
  }
  if (size > MAX_BODY) throw refuse(413, 'Request body is too large.');
  return Buffer.concat(parts);
}

async function parseBody(
  incoming: IncomingMessage,
  route: Route,
  raw: Buffer,
): Promise<{ body: Json; form: FormData | undefined }> {
  const type = incoming.headers['content-type'] ?? '';
  if (route.path.startsWith('/uploads/')) return { body: null, form: undefined };
  if (type.startsWith('multipart/form-data')) {
    try {
      const form = await new Response(new Uint8Array(raw), {
        headers: { 'content-type': type },
      }).formData();
      return { body: null, form };
    } catch {
      throw refuse(400, 'Multipart form parse error.');
    }
  }
  if (raw.length === 0) return { body: {}, form: undefined };
  if (type !== '' && !type.includes('json')) {
    throw refuse(415, `Unsupported media type "${type.slice(0, 100)}" in request.`);
  }
  try {
    const body: Json = JSON.parse(raw.toString('utf8'));
    return { body, form: undefined };
  } catch (error) {
    const why = error instanceof Error ? error.message : 'invalid';
    throw refuse(400, `JSON parse error - ${why}`);
  }
}

function originOf(world: World, incoming: IncomingMessage): string {
  const host = incoming.headers.host;
  return host !== undefined && /^[\w.-]+(:\d+)?$|^\[[0-9a-f:]+\](:\d+)?$/i.test(host)
    ? `http://${host}`
    : world.url;
}

function send(outgoing: ServerResponse, reply: Reply, truncated = false): void {
  if (outgoing.destroyed) return;
  const body =
    reply.raw !== undefined
      ? Buffer.from(reply.raw)
      : reply.body === undefined
        ? Buffer.alloc(0)
        : Buffer.from(JSON.stringify(reply.body));
  const headers: Record<string, string> = { ...reply.headers };
  if (reply.body !== undefined) headers['content-type'] = 'application/json';
  if (reply.status !== 204) headers['content-length'] = String(body.length);
  outgoing.writeHead(reply.status, headers);
  if (truncated && body.length > 1) {
    outgoing.write(body.subarray(0, Math.floor(body.length / 2)), () => outgoing.destroy());
  } else outgoing.end(body);
}
