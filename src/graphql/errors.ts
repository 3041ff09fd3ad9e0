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
    return new GraphQLError(cause.message, { ...place, extensions: { code: 'BAD_USER_INPUT' } });
  }
  // An error of the document itself: syntax, validation, a value of the wrong type.
  if (located && (!located.originalError || located.originalError instanceof GraphQLError)) {
    return new GraphQLError(withoutObjects(located.message), {
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

/** An error of validation, which no execution follows. */
export function toDocumentError(error: GraphQLError): GraphQLError {
  return new GraphQLError(withoutObjects(error.message), {
    nodes: error.nodes ?? null,
    extensions: error.extensions,
  });
}

/** GraphQL quotes whole input objects that it cannot take, and there may be secrets in them. */
function withoutObjects(message: string): string {
  return message
    .replace(/^(Variable "\$\w+" got invalid value) [{[].*[}\]](?=(?: at "[^"]*")?; )/s, '$1')
    .replace(/(, found:?|[.?] Found:) [{[].*$/s, '$1 another object.');
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
