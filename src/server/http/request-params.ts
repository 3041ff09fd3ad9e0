/** Reads the GraphQL parameters of an HTTP request: query string, JSON body, or multipart body. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { LIMITS } from '../limits/limits.ts';
import { checkJsonSize } from '../limits/request-json.ts';

/** Maximum JSON body with a valid credential: enough for a file of 10 MB in base64. */
const MAX_BODY_BYTES = LIMITS.bodyBytes.max;
/** Maximum body without a credential, and maximum total received on a WebSocket before authentication. */
const MAX_UNAUTHENTICATED_BODY_BYTES = LIMITS.unauthenticatedBodyBytes.max;

/** https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters */
export interface GraphQLParams {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
  extensions?: Record<string, unknown> | null;
}

export type MediaType = 'json' | 'multipart' | 'other';

/** Media types are case-insensitive, and parameters such as `charset` follow a semicolon. */
export function mediaTypeOf({ headers }: Pick<IncomingMessage, 'headers'>): MediaType {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'application/json' || type === 'application/graphql+json') return 'json';
  return type === 'multipart/form-data' ? 'multipart' : 'other';
}

/**
 * The parameters in the query string of a GET request.
 *
 * @throws RequestError BAD_REQUEST
 */
export function paramsOfQuery(request: IncomingMessage): GraphQLParams {
  const { searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const params: Record<string, unknown> = {};
  for (const name of ['query', 'operationName', 'variables', 'extensions']) {
    const value = searchParams.get(name);
    if (!value) continue;
    const isJson = name === 'variables' || name === 'extensions';
    params[name] = isJson ? parseJson(Buffer.from(value), `The parameter "${name}"`) : value;
  }
  return checkParams(params);
}

/**
 * The parameters in a JSON body. The size is checked before reading, and the number of values
 * before parsing.
 *
 * @throws RequestError BAD_REQUEST, UNSUPPORTED_MEDIA_TYPE, REQUEST_ENTITY_TOO_LARGE or
 *   QUERY_TOO_COSTLY
 */
export async function paramsOfBody(
  request: IncomingMessage,
  isAuthenticated: boolean,
): Promise<GraphQLParams> {
  checkMediaType(request);
  const max = isAuthenticated ? MAX_BODY_BYTES : MAX_UNAUTHENTICATED_BODY_BYTES;
  return checkParams(parseJson(await readBody(request, max), 'The body'));
}

function checkMediaType({ headers }: IncomingMessage): void {
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity';
  const [, charset = 'utf-8'] =
    /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(headers['content-type'] ?? '') ?? [];
  const isJson = mediaTypeOf({ headers }) === 'json';
  if (isJson && encoding === 'identity' && /^(utf-?8|us-ascii)$/i.test(charset)) return;
  throw new RequestError(
    'UNSUPPORTED_MEDIA_TYPE',
    'Send the operation as application/json in UTF-8, uncompressed, or with files as multipart/form-data.',
  );
}

/** Reads at most `max` bytes. Further bytes are left unread. */
function readBody(request: IncomingMessage, max: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > max) return Promise.reject(tooLarge(max));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (end: () => void): void => {
      request.off('data', take).off('end', finish).off('error', fail).off('close', fail);
      end();
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size <= max) chunks.push(chunk);
      else {
        request.pause();
        stop(() => reject(tooLarge(max)));
      }
    };
    const finish = (): void => stop(() => resolve(Buffer.concat(chunks)));
    const fail = (error?: Error): void =>
      stop(() => reject(error ?? malformed('The body ended too early.')));
    request.on('data', take).on('end', finish).on('error', fail).on('close', fail);
    // A request that is already closed emits no more events.
    if (request.destroyed) fail(request.errored ?? undefined);
  });
}

function tooLarge(max: number): RequestError {
  return new RequestError(
    'REQUEST_ENTITY_TOO_LARGE',
    max === MAX_BODY_BYTES
      ? `A JSON body may have at most ${formatNumber(max)} bytes. Send large values as files, as multipart/form-data.`
      : `Without a valid API key a body may have at most ${formatNumber(max)} bytes.`,
    { limit: max },
  );
}

/**
 * Parses JSON. `what` is the subject of the error message, which never quotes the text, as it may contain a secret.
 *
 * @throws RequestError BAD_REQUEST or QUERY_TOO_COSTLY
 */
export function parseJson(json: Buffer, what: string): unknown {
  // Otherwise invalid bytes would become replacement characters, and be stored as such.
  if (!isUtf8(json)) throw malformed(`${what} is not encoded in UTF-8.`);
  checkJsonSize(json);
  try {
    return JSON.parse(json.toString('utf8').replace(/^\uFEFF/, ''));
  } catch {
    throw malformed(`${what} is not valid JSON.`);
  }
}

/** @throws RequestError BAD_REQUEST for anything other than GraphQL parameters. */
export function checkParams(params: unknown): GraphQLParams {
  if (!isObject(params)) throw malformed('The request must be a JSON object with a "query".');
  const { query, operationName, variables, extensions } = params;
  if (typeof query !== 'string' || query === '') {
    throw malformed('The request must have a "query": the GraphQL document as a string.');
  }
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') {
    throw malformed('"operationName" must be a string.');
  }
  for (const [name, value] of Object.entries({ variables, extensions })) {
    if (value !== undefined && value !== null && !isObject(value)) {
      throw malformed(`"${name}" must be an object.`);
    }
  }
  return params as unknown as GraphQLParams;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(message: string): RequestError {
  return new RequestError('BAD_REQUEST', message);
}
