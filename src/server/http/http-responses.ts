/** Headers of responses, and responses to requests that are rejected before execution. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream';
import type { App } from '../../app.ts';
import { toGraphQLError } from '../../graphql/errors/errors.ts';

/** Time during which the rest of a rejected body is discarded before the connection is closed. */
const LINGER_MS = 2_000;
const DEFAULT_REQUEST_HEADERS =
  'authorization, content-type, idempotency-key, last-event-id, x-idempotency-key, x-request-id';
const MAX_REQUESTED_HEADERS = 2_000;

/** Headers of every response of the API. */
export function apiHeaders(requestId: string): Record<string, string> {
  return {
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'retry-after, x-request-id',
    'x-content-type-options': 'nosniff',
    'x-request-id': requestId,
  };
}

export function setApiHeaders(response: ServerResponse, requestId: string): void {
  for (const [name, value] of Object.entries(apiHeaders(requestId)))
    response.setHeader(name, value);
}

/** Allows all requested headers, which is safe because the API reads no cookies. */
export function setPreflightHeaders(request: IncomingMessage, response: ServerResponse): void {
  const requested = String(request.headers['access-control-request-headers'] ?? '').trim();
  const isList = /^[\w!#$%&'*+.^`|~-]+(\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/.test(requested);
  const isShort = requested.length <= MAX_REQUESTED_HEADERS;
  response.setHeader('access-control-allow-methods', 'GET, HEAD, POST, OPTIONS');
  response.setHeader(
    'access-control-allow-headers',
    isList && isShort ? requested : DEFAULT_REQUEST_HEADERS,
  );
  response.setHeader('access-control-max-age', '7200');
  response.setHeader('vary', 'access-control-request-headers');
}

/** Whether the client has closed the connection, or has been told that its request came too slowly. */
export function isDisconnected(response: ServerResponse): boolean {
  const { socket, errored } = response.req;
  return response.destroyed || response.closed || errored !== null || socket.writableEnded;
}

/** Sends an error as a GraphQL response, with its status and headers. */
export function sendError(
  app: App,
  response: ServerResponse,
  error: unknown,
  requestId: string,
): void {
  if (isDisconnected(response)) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const graphqlError = toGraphQLError(error, requestId, app.log);
  const { http, ...extensions } = graphqlError.extensions as Record<string, unknown> & {
    http?: { status: number; headers?: Record<string, string> };
  };
  setApiHeaders(response, requestId);
  const accept = response.req.headers.accept ?? '';
  const type = accept.includes('application/graphql-response+json')
    ? 'application/graphql-response+json'
    : 'application/json';
  response.writeHead(http?.status ?? 400, {
    'content-type': `${type}; charset=utf-8`,
    ...http?.headers,
  });
  response.end(JSON.stringify({ errors: [{ message: graphqlError.message, extensions }] }));
  linger(response.req);
}

/**
 * Discards the rest of a body for a moment before closing the connection. If it were closed while the client
 * is sending, the response would be lost.
 */
function linger(request: IncomingMessage): void {
  if (request.complete) return;
  const { socket } = request;
  request.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  // Does not listen on the socket, which may carry many more requests.
  finished(request, () => clearTimeout(timer));
}
