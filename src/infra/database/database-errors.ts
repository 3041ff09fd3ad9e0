/** Distinguishes an unreachable database from a failed statement. */

/** https://www.prisma.io/docs/orm/reference/error-reference */
const PRISMA_CODES = new Set(['P1001', 'P1002', 'P1008', 'P1011', 'P1017', 'P2024', 'P2037']);
/** https://www.postgresql.org/docs/current/errcodes-appendix.html: connections, shutdown, start-up. */
const POSTGRES_CODES = /^(08\w{3}|57P0[1-3]|53300)$/;
const QUERY_CANCELED = '57014';
const LOCK_NOT_AVAILABLE = '55P03';
/** Codes of Prisma and of PostgreSQL. */
const UNIQUE_VIOLATIONS = ['P2002', '23505'];
const SOCKET_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** Error kinds of the driver adapter. */
const ADAPTER_KINDS = new Set([
  'DatabaseNotReachable',
  'ConnectionClosed',
  'SocketTimeout',
  'TlsConnectionError',
  'TooManyConnections',
]);
/** Messages of `pg` and Prisma about lost connections that have no code. */
const MESSAGES =
  /Connection terminated|connection timeout|timeout expired|Client has encountered a connection error|Unable to start a transaction in the given time|Transaction already closed: A .* cannot be executed on an expired|Can't reach database server/i;
const MAX_CAUSES = 6;

/** Whether the error or one of its causes means that the database is unreachable. */
export function isDatabaseUnavailable(error: unknown): boolean {
  return causesOf(error).some((cause) => {
    if (codesOf(cause).some(isUnavailableCode)) return true;
    const { kind, message } = cause;
    if (typeof kind === 'string' && ADAPTER_KINDS.has(kind)) return true;
    return typeof message === 'string' && MESSAGES.test(message);
  });
}

const TRANSACTION_EXPIRED = /Transaction already closed: A .* cannot be executed on an expired/i;

/**
 * Like `isDatabaseUnavailable`, except for transactions that took too long: a batch may be too slow because of its own
 * work, which must not be mistaken for an outage that ends by itself.
 */
export function isDatabaseOutage(error: unknown): boolean {
  const isExpired = causesOf(error).some(
    ({ message }) => typeof message === 'string' && TRANSACTION_EXPIRED.test(message),
  );
  return !isExpired && isDatabaseUnavailable(error);
}

/** Whether the error or one of its causes is a canceled statement, for example because of its time limit. */
export function isStatementStopped(error: unknown): boolean {
  return causesOf(error).some((cause) => codesOf(cause).includes(QUERY_CANCELED));
}

/** Whether the error or one of its causes is a lock that another transaction held for longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return causesOf(error).some((cause) => codesOf(cause).includes(LOCK_NOT_AVAILABLE));
}

/** Whether the error or one of its causes is a unique violation. */
export function isUniqueViolation(error: unknown): boolean {
  return causesOf(error)
    .flatMap(codesOf)
    .some((code) => UNIQUE_VIOLATIONS.includes(code));
}

/** Data exceptions and violated constraints. */
const POSTGRES_DATA_CODES = /^2[23]\w{3}$/;

/** Whether the error or one of its causes means that the data cannot be stored, however often that is tried. */
export function isDataRefused(error: unknown): boolean {
  return causesOf(error)
    .flatMap(codesOf)
    .some((code) => POSTGRES_DATA_CODES.test(code));
}

/** The error and its causes, outermost first. */
function causesOf(error: unknown): Record<string, unknown>[] {
  const causes: Record<string, unknown>[] = [];
  let current: unknown = error;
  while (causes.length < MAX_CAUSES && isObject(current)) {
    causes.push(current);
    const { meta, cause } = current;
    current = isObject(meta) && meta.driverAdapterError ? meta.driverAdapterError : cause;
  }
  return causes;
}

function codesOf({ code, errorCode, originalCode }: Record<string, unknown>): string[] {
  return [code, errorCode, originalCode].filter((each) => typeof each === 'string');
}

function isUnavailableCode(code: string): boolean {
  return PRISMA_CODES.has(code) || SOCKET_CODES.has(code) || POSTGRES_CODES.test(code);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
