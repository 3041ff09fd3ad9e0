/** Distinguishes an unreachable database from a failed statement. */

/** https://www.prisma.io/docs/orm/reference/error-reference */
const PRISMA_CODES = new Set(['P1001', 'P1002', 'P1008', 'P1011', 'P1017', 'P2024', 'P2037']);
/** https://www.postgresql.org/docs/current/errcodes-appendix.html: connections, shutdown, start-up. */
const POSTGRES_CODES = /^(08\w{3}|57P0[1-3]|53300)$/;
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
/** Kinds of the driver adapter's errors. */
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
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && isObject(current); depth += 1) {
    const { code, errorCode, originalCode, kind, message, meta, cause } = current;
    const codes = [code, errorCode, originalCode].filter((each) => typeof each === 'string');
    if (codes.some(isUnavailableCode)) return true;
    if (typeof kind === 'string' && ADAPTER_KINDS.has(kind)) return true;
    if (typeof message === 'string' && MESSAGES.test(message)) return true;
    current = isObject(meta) && meta.driverAdapterError ? meta.driverAdapterError : cause;
  }
  return false;
}

function isUnavailableCode(code: string): boolean {
  return PRISMA_CODES.has(code) || SOCKET_CODES.has(code) || POSTGRES_CODES.test(code);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
