/** A single attempt of a request to Ultravox, with a deadline, a report, and one error type for all failures. */
import type { AccountPause } from './account-pause.ts';
import {
  boundTo4kB,
  isOutcomeUnknown,
  isRefusal,
  kindOfStatus,
  parseRetryAfter,
  readErrorBody,
  redact,
  redactNamed,
  UltravoxError,
  type UltravoxErrorKind,
} from './error.ts';

const MAX_ERROR_BODY_BYTES = 64 * 1024;

/** Report of one attempt, made when its response has been read or has failed. */
export interface RequestReport {
  method: string;
  /** Without the query. */
  path: string;
  /** Number of the attempt, starting at 1. */
  attempt: number;
  durationMs: number;
  status: number | null;
  error: UltravoxError | null;
}

export interface UltravoxClientSettings {
  /** Such as `https://api.ultravox.ai`, without `/api`. */
  baseUrl: string;
  apiKey: string;
  /** Time limit per attempt, until the body has been read (for audio: until it starts). Default: 30 s. */
  timeoutMs?: number;
  fetch?: typeof globalThis.fetch;
  /** Aborts every request; see `RequestOptions`. */
  signal?: AbortSignal;
  /** For logs and measurements. Must not throw. */
  onRequest?: (report: RequestReport) => void;
  /** Called for each invalid item that is left out of a list. Must not throw. */
  onSkippedItem?: (error: UltravoxError) => void;
  /** Shared pause of the account. Default: none; each request is refused by Ultravox itself. */
  pause?: AccountPause;
  /** First pause between attempts, doubled for the second. Default: 100 ms. */
  backoffMs?: number;
}

export interface RequestOptions {
  /**
   * Aborts the request. It then fails as `unreachable`, with `outcomeUnknown` telling whether
   * it had been sent, and with the signal's reason as `cause`.
   */
  signal?: AbortSignal | undefined;
}

/**
 * How a request handles pauses that Ultravox requests. `shared`: observes them, and its own refusal starts one for
 * all. `own`: observes them, but its 429 is for limits that affect no other kind of request. `urgent`: is sent
 * despite them. `none`: does not go to Ultravox.
 */
export type PauseRule = 'shared' | 'own' | 'urgent' | 'none';

/** The request of one attempt. `path` identifies it in errors and reports. */
export interface Attempt {
  method: string;
  path: string;
  url: URL;
  headers: Record<string, string>;
  body: RequestInit['body'] | null;
  kinds: Readonly<Record<number, UltravoxErrorKind>>;
  secrets: readonly string[];
  signal: AbortSignal | undefined;
  pauseRule: PauseRule;
  /** Of a read. Default: as in `withRetries`. */
  maxAttempts?: number | undefined;
}

/** Settings shared by all attempts of a client. */
export interface AttemptSettings {
  timeoutMs: number;
  send: typeof globalThis.fetch;
  onRequest: ((report: RequestReport) => void) | undefined;
  pause: AccountPause | undefined;
}

/** Reads a response within the deadline of its attempt. `lift` removes the deadline. */
export type ReadResponse<Result> = (
  response: Response,
  deadline: { lift(): void },
) => Promise<Result>;

/**
 * Sends one attempt and passes a success or a redirect to `read`. `number` starts at 1.
 *
 * @throws UltravoxError for every failure; `cause` is set if the connection failed.
 */
export async function sendAttempt<Result>(
  settings: AttemptSettings,
  attempt: Attempt,
  number: number,
  read: ReadResponse<Result>,
): Promise<Result> {
  const { method, path } = attempt;
  if (attempt.signal?.aborted) {
    throw new UltravoxError({
      kind: 'unreachable',
      method,
      path,
      detail: 'The request was abandoned before it was sent.',
      outcomeUnknown: false,
      cause: attempt.signal.reason,
    });
  }
  throwIfPaused(settings, attempt);
  const started = performance.now();
  const deadline = new AbortController();
  let status: number | null = null;
  const report = (error: UltravoxError | null) =>
    settings.onRequest?.({
      method,
      path,
      attempt: number,
      durationMs: performance.now() - started,
      status,
      error,
    });
  const timer = setTimeout(() => deadline.abort(), settings.timeoutMs);
  const lift = () => clearTimeout(timer);
  try {
    const response = await settings.send(attempt.url, {
      method,
      headers: attempt.headers,
      body: attempt.body ?? null,
      redirect: 'manual',
      signal: attempt.signal ? AbortSignal.any([deadline.signal, attempt.signal]) : deadline.signal,
    });
    status = response.status;
    if (!isSuccess(response) && !isRedirect(response)) {
      throw await refusal(settings, attempt, response);
    }
    const result = await read(response, { lift });
    report(null);
    return result;
  } catch (thrown) {
    const error =
      thrown instanceof UltravoxError
        ? thrown
        : deadline.signal.aborted
          ? interruption(attempt, status, `No response within ${settings.timeoutMs} ms.`)
          : failure(attempt, status, thrown);
    report(error);
    throw error;
  } finally {
    lift();
  }
}

/** The error for a passed deadline or an abort by the caller. Without `cause`, so that it is not retried. */
function interruption(attempt: Attempt, status: number | null, detail: string, cause?: unknown) {
  return new UltravoxError({
    kind: 'unreachable',
    status,
    method: attempt.method,
    path: attempt.path,
    detail,
    outcomeUnknown: true,
    cause,
  });
}

function failure(attempt: Attempt, status: number | null, thrown: unknown): UltravoxError {
  if (attempt.signal?.aborted) {
    return interruption(attempt, status, 'The request was abandoned.', attempt.signal.reason);
  }
  if (thrown instanceof TooLarge) {
    return protocolError(attempt, status ?? 200, 'The response is too large.');
  }
  const code = causesOf(thrown).find((cause) => cause.code !== undefined)?.code;
  const reason = code === undefined ? '' : ` (${code})`;
  return new UltravoxError({
    status,
    method: attempt.method,
    path: attempt.path,
    kind: status === null ? 'unreachable' : 'protocol',
    detail:
      status === null
        ? `The connection failed${reason}.`
        : `The connection was lost in the middle of the response${reason}.`,
    outcomeUnknown: status !== null || !failedToConnect(thrown),
    cause: thrown,
  });
}

/** @throws UltravoxError `capacity` during a pause, as if from Ultravox */
function throwIfPaused({ pause }: AttemptSettings, { method, path, pauseRule }: Attempt): void {
  if (pauseRule === 'urgent' || pauseRule === 'none') return;
  const seconds = pause?.remainingSeconds() ?? 0;
  if (seconds === 0) return;
  throw new UltravoxError({
    kind: 'capacity',
    status: 429,
    method,
    path,
    retryAfterSeconds: Math.ceil(seconds),
    detail: 'Ultravox requested a delay before the next request.',
    outcomeUnknown: false,
    isRefusal: true,
  });
}

async function refusal(
  { pause }: AttemptSettings,
  attempt: Attempt,
  response: Response,
): Promise<UltravoxError> {
  const { status } = response;
  const text = await readText(response, MAX_ERROR_BODY_BYTES, true);
  const clean = redact(text, attempt.secrets);
  const retryAfter = response.headers.get('retry-after');
  const retryAfterSeconds = parseRetryAfter(retryAfter, Date.now());
  const refused = isRefusal(status, { retryAfter, text });
  const concernsAll = attempt.pauseRule === 'own' ? status === 503 : attempt.pauseRule !== 'none';
  if (refused && concernsAll && retryAfterSeconds !== null) pause?.start(retryAfterSeconds);
  return new UltravoxError({
    kind: attempt.kinds[status] ?? kindOfStatus(status),
    status,
    method: attempt.method,
    path: attempt.path,
    retryAfterSeconds,
    rawBody: boundTo4kB(clean),
    outcomeUnknown: isOutcomeUnknown(status),
    isRefusal: refused,
    ...readErrorBody(status, clean),
  });
}

/** The error for a response that violates the protocol. It contains `text`, without secrets. */
export function protocolError(attempt: Attempt, status: number, detail: string, text = '') {
  return new UltravoxError({
    kind: 'protocol',
    status,
    method: attempt.method,
    path: attempt.path,
    detail,
    outcomeUnknown: true,
    rawBody: boundTo4kB(redactNamed(redact(text, attempt.secrets))),
  });
}

const isSuccess = (response: Response) => response.status >= 200 && response.status < 300;
export const isRedirect = (response: Response) => response.status >= 300 && response.status < 400;

interface SystemError {
  code?: string;
  syscall?: string;
}

/** The error and all its causes. A failed connection to several addresses has many. */
function causesOf(error: unknown): SystemError[] {
  if (typeof error !== 'object' || error === null) return [];
  const several = error instanceof AggregateError ? error.errors : [];
  const cause = 'cause' in error ? [error.cause] : [];
  return [error as SystemError, ...[...cause, ...several].flatMap(causesOf)];
}

/** Whether the request was certainly never sent: no address, no connection, or an untrusted peer. */
function failedToConnect(error: unknown): boolean {
  return causesOf(error).some(
    ({ code, syscall }) =>
      syscall === 'connect' ||
      syscall === 'getaddrinfo' ||
      (code !== undefined &&
        /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*)$/.test(
          code,
        )),
  );
}

class TooLarge extends Error {}

/** Reads a body up to a limit. With `lenient`, returns what was received instead of failing. */
export async function readText(
  response: Response,
  maxBytes: number,
  lenient = false,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) throw new TooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (!lenient) throw error;
  }
  return Buffer.concat(chunks).toString('utf8');
}
