/**
 * Domain errors. Services throw them, `graphql/errors.ts` is the only place that translates them.
 *
 * A code is a promise to clients: it never changes its meaning, and message texts may.
 */

/** Everything a caller can mend. Each becomes a `UserError` in a mutation's payload. */
export const USER_ERROR_CODES = {
  INVALID_INPUT: 'A value breaks a limit or a format. The message says which and what is allowed.',
  REQUIRED: 'A value that is needed was not given, was empty, or was null.',
  INVALID_ID: 'The id is malformed, or is the id of another type than the one asked for here.',
  NOT_FOUND: 'No such object in your organization.',
  ALREADY_EXISTS: 'Something with the same identity is already there.',
  IN_USE: 'It cannot go while something else uses it. `details` lists what does.',
  INVALID_STATE: 'The object is in a state that does not allow this.',
  AGENT_NOT_READY: 'The agent is not active, so it cannot take or place calls yet.',
  NO_PHONE_NUMBER_CONFIGURED:
    'The agent has no outbound phone number. Import one and assign it to the agent first.',
  EMPTY_CONTACT_SOURCE: 'There is nobody to call: the source of the contacts has none.',
  WINDOW_TOO_SMALL:
    'The schedule leaves no time for the contacts. The message and `details` say how long it would take.',
  DO_NOT_CALL: 'The number is on the do-not-call list of your organization.',
  PHONE_NUMBER_NOT_ASSIGNED: 'The caller ID is not one of the outbound numbers of this agent.',
  CARRIER_ACCOUNT_CONFLICT:
    'Ultravox already holds another carrier account for this provider; it keeps one for each.',
  LIMIT_EXCEEDED: 'A limit of the plan or the product is reached; waiting does not help.',
  CAPACITY_EXCEEDED: 'Ultravox is full at the moment. Try again at `retryAt`.',
  PAYMENT_REQUIRED: 'Ultravox refuses for lack of credit or a subscription.',
  ULTRAVOX_REFUSED: 'Ultravox refused what was sent. The message is its own.',
  ULTRAVOX_UNAVAILABLE: 'Ultravox could not be reached. Try again at `retryAt`.',
} as const;

export type UserErrorCode = keyof typeof USER_ERROR_CODES;

/** Where in the input: member names and list indexes, from the input object down. */
export type ProblemPath = readonly (string | number)[];

export interface Problem {
  code: UserErrorCode;
  /** One sentence that says what is wrong and what to do. */
  message: string;
  path: ProblemPath;
  /** When trying again makes sense. */
  retryAt?: Date;
  details?: Record<string, unknown>;
}

/** The input cannot be carried out as it is. Holds every problem found, never just the first. */
export class UserInputError extends Error {
  override name = 'UserInputError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map((problem) => problem.message).join(' '));
    this.problems = problems;
  }
}

/** Shorthand for a single problem. */
export function userError(
  code: UserErrorCode,
  message: string,
  path: ProblemPath = [],
  more: Pick<Problem, 'retryAt' | 'details'> = {},
): UserInputError {
  return new UserInputError([{ code, message, path, ...more }]);
}

/** What a request as a whole may be refused with: a top-level GraphQL error. */
export type RequestErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'RATE_LIMITED'
  | 'QUERY_TOO_COSTLY'
  | 'BAD_USER_INPUT'
  | 'CURSOR_EXPIRED'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'INTERNAL';

/** The request is refused as a whole; nothing was done. */
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

/** One or more settings are missing or wrong; the server does not start. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The settings are wrong:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}
