/**
 * Domain errors. Services throw them, and only `graphql/errors/errors.ts` translates them. The meaning of a
 * code never changes; messages may.
 */

/** Codes of problems that the caller can fix, with their descriptions in the graph. */
export const USER_ERROR_CODES = {
  INVALID_INPUT:
    'A value exceeds a limit or has the wrong format. The message states what is allowed.',
  REQUIRED: 'A required value was omitted, empty or null.',
  INVALID_ID: 'The ID is malformed, or belongs to an object of another type.',
  NOT_FOUND: 'The organization has no such object.',
  ALREADY_EXISTS: 'An object with the same identity already exists.',
  IN_USE: 'The object cannot be deleted while other objects use it. `details` lists them.',
  INVALID_STATE:
    'The status of the object does not allow the operation, or other requests are changing it; then try again at `retryAt`.',
  AGENT_NOT_READY:
    'The agent cannot take or place calls, because it is not ACTIVE or Ultravox does not have it.',
  NO_PHONE_NUMBER_CONFIGURED:
    'The agent has no outbound phone number. Import one and assign it to the agent first.',
  EMPTY_CONTACT_SOURCE: 'The source of contacts has no contacts.',
  WINDOW_TOO_SMALL:
    'The schedule leaves too little time for the contacts. The message and `details` state how long the calls would take.',
  DO_NOT_CALL: 'The phone number is on the do-not-call list of the organization.',
  PREMIUM_NUMBER:
    'The number is a premium-rate, shared-cost, personal or satellite number, which the organization does not allow.',
  PHONE_NUMBER_NOT_ASSIGNED: 'The caller ID is not one of the outbound numbers of this agent.',
  CARRIER_ACCOUNT_CONFLICT:
    'Ultravox already has another account of this provider. It keeps one account per provider.',
  LIMIT_EXCEEDED: 'A limit of the plan or the product is reached. Waiting does not help.',
  CAPACITY_EXCEEDED:
    'Ultravox has no capacity at the moment, or too many calls of the organization are waiting. Try again at `retryAt`.',
  PAYMENT_REQUIRED: 'Ultravox rejected the request for lack of credit or a subscription.',
  ULTRAVOX_REFUSED: 'Ultravox rejected the request. The message is from Ultravox.',
  ULTRAVOX_UNAVAILABLE:
    'Ultravox could not be reached, or did not respond. Try again at `retryAt`; if it is null, later and with a new idempotency key.',
} as const;

export type UserErrorCode = keyof typeof USER_ERROR_CODES;

/** Location in the input object: field names and list indexes. */
export type ProblemPath = readonly (string | number)[];

export interface Problem {
  code: UserErrorCode;
  /** One sentence that states the problem and how to fix it. */
  message: string;
  path: ProblemPath;
  /** Earliest time at which a retry can succeed. */
  retryAt?: Date;
  details?: Record<string, unknown>;
}

/** All problems that were found and that the caller can fix, not only the first. */
export class UserInputError extends Error {
  override name = 'UserInputError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map((problem) => problem.message).join(' '));
    this.problems = problems;
  }
}

/** A UserInputError with a single problem. */
export function userError(
  code: UserErrorCode,
  message: string,
  path: ProblemPath = [],
  more: Pick<Problem, 'retryAt' | 'details'> = {},
): UserInputError {
  return new UserInputError([{ code, message, path, ...more }]);
}

/** Codes of top-level GraphQL errors, which reject a request as a whole. */
export type RequestErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'RATE_LIMITED'
  | 'QUERY_TOO_COSTLY'
  | 'QUERY_TIMEOUT'
  | 'BAD_USER_INPUT'
  | 'BAD_REQUEST'
  | 'NOT_ACCEPTABLE'
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'REQUEST_ENTITY_TOO_LARGE'
  | 'CURSOR_EXPIRED'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'UNAVAILABLE'
  | 'INTERNAL';

/** The request is rejected as a whole and has no effect. */
export class RequestError extends Error {
  override name = 'RequestError';
  readonly code: RequestErrorCode;
  readonly extensions: Record<string, unknown>;

  constructor(code: RequestErrorCode, message: string, extensions: Record<string, unknown> = {}) {
    super(message);
    this.code = code;
    this.extensions = extensions;
  }
}

/** Settings are missing or invalid, so the server does not start. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`Invalid settings:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}
