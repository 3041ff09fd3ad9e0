/** The only translator between errors and what clients see. */
import { GraphQLError } from 'graphql';
import {
  type Problem,
  RequestError,
  type RequestErrorCode,
  USER_ERROR_CODES,
  UserInputError,
} from '../errors.ts';
import type { Logger } from '../infra/logger.ts';
import { builder } from './builder.ts';

const HTTP_STATUS: Partial<Record<RequestErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  RATE_LIMITED: 429,
  IDEMPOTENCY_KEY_REUSED: 422,
  QUERY_TOO_COSTLY: 400,
};

/** What a client sees of an error thrown while an operation ran. */
export function toGraphQLError(error: unknown, requestId: string, log: Logger): GraphQLError {
  const located = error instanceof GraphQLError ? error : null;
  const cause = located?.originalError ?? error;
  const place = located
    ? {
        ...(located.nodes ? { nodes: located.nodes } : {}),
        ...(located.source ? { source: located.source } : {}),
        ...(located.positions ? { positions: located.positions } : {}),
        ...(located.path ? { path: located.path } : {}),
      }
    : {};
  if (cause instanceof RequestError) {
    const status = HTTP_STATUS[cause.code];
    return new GraphQLError(cause.message, {
      ...place,
      extensions: {
        code: cause.code,
        ...cause.extensions,
        ...(status ? { http: { status, ...retryHeader(cause) } } : {}),
      },
    });
  }
  if (cause instanceof UserInputError) {
    const problems = cause.problems.map((problem) => ({
      ...problem,
      path: problem.path.map(String),
    }));
    return new GraphQLError(cause.message, {
      ...place,
      extensions: { code: 'BAD_USER_INPUT', problems },
    });
  }
  // An error of the document itself: syntax, validation, a value of the wrong type.
  if (located && (!located.originalError || located.originalError instanceof GraphQLError)) {
    return new GraphQLError(withoutValues(located.message), {
      ...place,
      extensions: { code: 'BAD_USER_INPUT', ...located.extensions },
    });
  }
  log.error({ err: cause, requestId, path: located?.path }, 'An operation failed');
  return new GraphQLError(
    `Something went wrong on our side. Quote the request id ${requestId} when you report it.`,
    { ...place, extensions: { code: 'INTERNAL', requestId } },
  );
}

/** A syntax error as it is told: where it is, and what kind of thing is there. */
export function toSyntaxError(error: GraphQLError): GraphQLError {
  return copyOf(error, error.extensions, withoutValues(error.message));
}

/** An error of validation, which no execution follows. */
export function toDocumentError(error: GraphQLError): GraphQLError {
  return new GraphQLError(withoutValues(error.message), {
    nodes: error.nodes ?? null,
    extensions: error.extensions,
  });
}

/** GraphQL quotes values that it cannot take, and any of them may be a secret. */
function withoutValues(message: string): string {
  if (message.startsWith('Syntax Error: ')) {
    return message.replace(/\b(String|BlockString|Int|Float) ".*$/s, '$1.');
  }
  return message
    .replace(/^(Variable "\$\w+" (?:got|has) invalid value)(?!:) .*?(?=(?: at "[^"]*")?; )/s, '$1')
    .replace(/(cannot represent (?:an? )?(?:[\w -]+ )?value): .*$/s, '$1.')
    .replace(/(, found:?|; found:|[.?] Found:) (?!null\b|undefined\b).*$/s, '$1 something else.')
    .replace(/\bValue .*? does not exist in ("\w+" enum)/s, 'The value does not exist in $1')
    .replace(/(cannot represent an invalid [\w-]+) .*$/s, '$1.');
}

/** The same without what only HTTP has a use for: its status and headers. */
export function withoutHttp(error: GraphQLError): GraphQLError {
  const { http: _, ...extensions } = error.extensions ?? {};
  return copyOf(error, extensions);
}

/** As HTTP answers with it: without a quotation of what was thrown, and with its status. */
export function asAnswered(error: GraphQLError): GraphQLError {
  if (!(error instanceof GraphQLError)) return error;
  const { originalError, http, ...extensions } = error.extensions;
  if (originalError === undefined && extensions.code !== 'QUERY_TOO_COSTLY') return error;
  // `spec` would make the answer a 200 for those who accept application/json.
  const { spec: _, ...rest } = (http ?? {}) as Record<string, unknown>;
  return copyOf(error, { ...extensions, ...(http ? { http: rest } : {}) });
}

function copyOf(
  error: GraphQLError,
  extensions: Record<string, unknown>,
  message = error.message,
): GraphQLError {
  return new GraphQLError(message, {
    ...(error.nodes ? { nodes: error.nodes } : {}),
    ...(error.source ? { source: error.source } : {}),
    ...(error.positions ? { positions: error.positions } : {}),
    ...(error.path ? { path: error.path } : {}),
    extensions,
  });
}

function retryHeader(error: RequestError): { headers?: Record<string, string> } {
  const seconds = error.extensions.retryAfterSeconds;
  return typeof seconds === 'number' ? { headers: { 'retry-after': String(seconds) } } : {};
}

export const UserErrorCodeEnum = builder.enumType('UserErrorCode', {
  description: 'What kind of thing has to be mended. A code never changes its meaning.',
  values: Object.fromEntries(
    Object.entries(USER_ERROR_CODES).map(([code, description]) => [code, { description }]),
  ) as { [C in keyof typeof USER_ERROR_CODES]: { description: string } },
});

export const UserErrorType = builder.objectRef<Problem>('UserError').implement({
  description: 'Something in the input, or in the state of things, that the caller can mend.',
  fields: (t) => ({
    code: t.field({
      type: UserErrorCodeEnum,
      description: 'For programs to act on.',
      resolve: (problem) => problem.code,
    }),
    message: t.exposeString('message', {
      description: 'For people: what is wrong and what to do. May be reworded at any time.',
    }),
    path: t.stringList({
      description:
        'Member names and list positions from the input object down, such as `["inactivityMessages", "0", "duration"]`.',
      resolve: (problem) => problem.path.map(String),
    }),
    retryAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the same request may succeed; null when waiting does not help.',
      resolve: (problem) => problem.retryAt ?? null,
    }),
    details: t.field({
      type: 'JSONObject',
      nullable: true,
      description:
        'More for programs, depending on the code; for example which objects are in the way.',
      resolve: (problem) => problem.details ?? null,
    }),
  }),
});
