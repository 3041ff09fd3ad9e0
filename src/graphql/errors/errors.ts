/** Translates errors into what clients see. No other file does. */
import { GraphQLError } from 'graphql';
import { RequestError, type RequestErrorCode, UserInputError } from '../../errors.ts';
import { isDatabaseUnavailable, isStatementStopped } from '../../infra/database/database-errors.ts';
import { LimiterTimeoutError } from '../../infra/jobs/keyed-limiter.ts';
import type { Logger } from '../../infra/logger.ts';
import { ResultTooLargeError } from '../../infra/rows/row-reader.ts';
import { safeMessage } from './error-messages.ts';

const HTTP_STATUS: Partial<Record<RequestErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  RATE_LIMITED: 429,
  BAD_REQUEST: 400,
  NOT_ACCEPTABLE: 406,
  UNSUPPORTED_MEDIA_TYPE: 415,
  REQUEST_ENTITY_TOO_LARGE: 413,
  IDEMPOTENCY_KEY_REUSED: 422,
  QUERY_TOO_COSTLY: 400,
  QUERY_TIMEOUT: 504,
  UNAVAILABLE: 503,
  INTERNAL: 500,
};
const UNAVAILABLE_RETRY_SECONDS = 5;

/** What a client sees of an error that was thrown while an operation ran. Logs an error that is not the client's. */
export function toGraphQLError(
  error: unknown,
  requestId: string,
  log: Pick<Logger, 'warn' | 'error'>,
): GraphQLError {
  const located = error instanceof GraphQLError ? error : null;
  // Already translated.
  if (located && 'http' in located.extensions) return located;
  const cause = located?.originalError ?? error;
  if (cause instanceof RequestError) return toRequestError(cause, located);
  if (cause instanceof UserInputError) {
    const problems = cause.problems.map((problem) => ({
      ...problem,
      path: problem.path.map(String),
    }));
    return new GraphQLError(cause.message, {
      ...locationOf(located),
      extensions: { code: 'BAD_USER_INPUT', problems },
    });
  }
  // An error of the document itself: syntax, validation, a value of the wrong type.
  if (located && (!located.originalError || located.originalError instanceof GraphQLError)) {
    return new GraphQLError(safeMessage(located.message), {
      ...locationOf(located),
      extensions: { code: 'BAD_USER_INPUT', ...located.extensions },
    });
  }
  if (cause instanceof ResultTooLargeError) {
    return toRequestError(readTooLargeError(cause, located), located);
  }
  if (isDatabaseUnavailable(cause)) {
    log.warn({ err: cause, requestId, path: located?.path }, 'The database is unavailable');
    const unavailable = new RequestError(
      'UNAVAILABLE',
      `The service is temporarily unavailable. Try again in ${UNAVAILABLE_RETRY_SECONDS} seconds.`,
      { retryAfterSeconds: UNAVAILABLE_RETRY_SECONDS },
    );
    return toRequestError(unavailable, located);
  }
  if (isStatementStopped(cause)) {
    log.warn({ err: cause, requestId, path: located?.path }, 'A read took too long');
    return toRequestError(readTimeoutError(located), located);
  }
  if (cause instanceof LimiterTimeoutError) {
    log.warn({ err: cause, requestId, path: located?.path }, 'A read waited too long for others');
    return toRequestError(waitTimeoutError(located), located);
  }
  log.error({ err: cause, requestId, path: located?.path }, 'An operation failed');
  const internal = new RequestError(
    'INTERNAL',
    `An internal error occurred. Quote the request ID ${requestId} when you report it.`,
    { requestId },
  );
  return toRequestError(internal, located);
}

function readTooLargeError(
  { maxBytes }: ResultTooLargeError,
  located: GraphQLError | null,
): RequestError {
  return new RequestError(
    'QUERY_TOO_COSTLY',
    `Reading ${placeOf(located)} would return more than ${maxBytes / 2 ** 20} MiB. Request fewer objects, or omit fields with large values.`,
    { limit: maxBytes },
  );
}

function readTimeoutError(located: GraphQLError | null): RequestError {
  return new RequestError(
    'QUERY_TIMEOUT',
    `Reading ${placeOf(located)} took too long and was stopped. Narrow its \`filter\` or range, for example to a shorter period, use the default sort order, or omit \`totalCount\`.`,
  );
}

function waitTimeoutError(located: GraphQLError | null): RequestError {
  return new RequestError(
    'QUERY_TIMEOUT',
    `Reading ${placeOf(located)} was not begun, since it waited too long for similar reads of the organization. Send fewer such operations at a time.`,
  );
}

function placeOf(located: GraphQLError | null): string {
  const path = located?.path?.filter((key) => typeof key === 'string').join('.');
  return path ? `\`${path}\`` : 'this';
}

function toRequestError(error: RequestError, located: GraphQLError | null): GraphQLError {
  const status = HTTP_STATUS[error.code];
  return new GraphQLError(error.message, {
    ...locationOf(located),
    extensions: {
      code: error.code,
      ...error.extensions,
      ...(status ? { http: { status, ...retryHeader(error) } } : {}),
    },
  });
}

/** A syntax error with its location, but without the text found there. */
export function toSyntaxError(error: GraphQLError): GraphQLError {
  // With `spec`, only clients that accept application/graphql-response+json get the status.
  const http = { spec: true, status: 400 };
  const extensions = { ...error.extensions, code: 'GRAPHQL_PARSE_FAILED', http };
  return copyOf(error, extensions, safeMessage(error.message));
}

/** A validation error, after which nothing is executed. */
export function toDocumentError(error: GraphQLError): GraphQLError {
  return new GraphQLError(safeMessage(error.message), {
    nodes: error.nodes ?? null,
    extensions: error.extensions,
  });
}

/** The error without its HTTP status and headers, for WebSockets. */
export function withoutHttp(error: GraphQLError): GraphQLError {
  const { http: _, ...extensions } = error.extensions ?? {};
  return copyOf(error, extensions);
}

/** The error as sent in an HTTP response: without the original error, which quotes the request body. */
export function toResponseError(error: GraphQLError): GraphQLError {
  if (!(error instanceof GraphQLError)) return error;
  const { originalError, http, ...extensions } = error.extensions;
  if (originalError === undefined && extensions.code !== 'QUERY_TOO_COSTLY') return error;
  // With `spec`, clients that accept application/json would get a 200.
  const { spec: _, ...rest } = (http ?? {}) as Record<string, unknown>;
  return copyOf(error, { ...extensions, ...(http ? { http: rest } : {}) });
}

function copyOf(
  error: GraphQLError,
  extensions: Record<string, unknown>,
  message = error.message,
): GraphQLError {
  return new GraphQLError(message, { ...locationOf(error), extensions });
}

function locationOf(error: GraphQLError | null): Partial<GraphQLError> {
  if (!error) return {};
  return {
    ...(error.nodes ? { nodes: error.nodes } : {}),
    ...(error.source ? { source: error.source } : {}),
    ...(error.positions ? { positions: error.positions } : {}),
    ...(error.path ? { path: error.path } : {}),
  };
}

function retryHeader(error: RequestError): { headers?: Record<string, string> } {
  const seconds = error.extensions.retryAfterSeconds;
  return typeof seconds === 'number' ? { headers: { 'retry-after': String(seconds) } } : {};
}
