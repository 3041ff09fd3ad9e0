/**
 * Requests to Ultravox: what is retried, what is bounded, and what each failure is called. Knows
 * nothing of single endpoints.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import {
  boundTo4kB,
  isOutcomeUnknown,
  kindOfStatus,
  parseRetryAfter,
  readErrorBody,
  redact,
  redactNamed,
  secretsIn,
  UltravoxError,
  type UltravoxErrorKind,
} from './error.ts';
import { type Page, pageSchema } from './wire.ts';

const MAX_BODY_BYTES = 20 * 1024 * 1024;
const MAX_ERROR_BODY_BYTES = 64 * 1024;
const ATTEMPTS = 3;
const LONGEST_WAIT_SECONDS = 5;
const MAX_REDIRECTS = 3;

/** One attempt, reported when its answer has been read or has failed to come. */
export interface RequestReport {
  method: string;
  /** Without the query. */
  path: string;
  /** Begins at 1. */
  attempt: number;
  durationMs: number;
  status: number | null;
  error: UltravoxError | null;
}

export interface UltravoxClientSettings {
  /** Such as `https://api.ultravox.ai`, without `/api`. */
  baseUrl: string;
  apiKey: string;
  /** Per attempt, until the body has been read (for audio: until it begins). Default 30 s. */
  timeoutMs?: number;
  fetch?: typeof globalThis.fetch;
  /** For logs and measurements. Must not throw. */
  onRequest?: (report: RequestReport) => void;
  /** First pause between attempts, doubled for the second. Default 100 ms. */
  backoffMs?: number;
}

export interface RequestOptions {
  /**
   * Abandons the request. It then fails as `unreachable`, with `outcomeUnknown` telling whether
   * it had been sent, and the signal's reason as `cause`.
   */
  signal?: AbortSignal | undefined;
}

export type Query = Record<
  string,
  string | number | boolean | readonly string[] | null | undefined
>;

interface Request extends RequestOptions {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Query;
  json?: unknown;
  form?: FormData;
  /** Statuses that mean something particular at this endpoint. */
  kinds?: Readonly<Record<number, UltravoxErrorKind>>;
}

/** What one attempt needs; `path` is what errors and reports call it. */
interface Attempt {
  method: string;
  path: string;
  url: URL;
  headers: Record<string, string>;
  body: RequestInit['body'] | null;
  kinds: Readonly<Record<number, UltravoxErrorKind>>;
  secrets: readonly string[];
  signal: AbortSignal | undefined;
}

export interface Audio {
  body: ReadableStream<Uint8Array>;
  contentType: string | null;
  contentLength: number | null;
}

/** Builds a path from ids that may come from anywhere. */
export function path(strings: TemplateStringsArray, ...ids: string[]): string {
  return strings.reduce((built, part, index) => {
    const id = ids[index - 1] ?? '';
    // These would name another resource once the URL is normalised.
    if (id === '' || id === '.' || id === '..') throw new TypeError('not an Ultravox id');
    return `${built}${encodeURIComponent(id)}${part}`;
  });
}

export type Transport = ReturnType<typeof createTransport>;

export function createTransport(settings: UltravoxClientSettings) {
  const { apiKey, timeoutMs = 30_000, onRequest, backoffMs = 100 } = settings;
  const send = settings.fetch ?? globalThis.fetch;
  const base = settings.baseUrl.replace(/\/+$/, '');
  const origin = new URL(base).origin;

  function urlOf(requestPath: string, query: Query = {}): URL {
    const url = new URL(`${base}${requestPath}`);
    for (const [name, value] of Object.entries(query)) {
      // The service refuses empty filters, and an empty filter filters nothing.
      if (value === undefined || value === null || value === '') continue;
      for (const item of Array.isArray(value) ? value : [value]) {
        url.searchParams.append(name, String(item));
      }
    }
    return url;
  }

  function attemptFor(request: Request, url = urlOf(request.path, request.query)): Attempt {
    const headers: Record<string, string> = { accept: 'application/json', 'x-api-key': apiKey };
    if (request.json !== undefined) headers['content-type'] = 'application/json';
    return {
      method: request.method,
      path: request.path,
      url,
      headers,
      body: request.json === undefined ? (request.form ?? null) : JSON.stringify(request.json),
      kinds: request.kinds ?? {},
      secrets: [apiKey, ...secretsIn(request.json)],
      signal: request.signal,
    };
  }

  /** Makes one attempt and hands the successful answer to `read`, under the same deadline. */
  async function once<Result>(
    attempt: Attempt,
    number: number,
    read: (response: Response, deadline: { lift(): void }) => Promise<Result>,
  ): Promise<Result> {
    const { method, path: named } = attempt;
    const started = performance.now();
    const deadline = new AbortController();
    let status: number | null = null;

    const report = (error: UltravoxError | null) =>
      onRequest?.({
        method,
        path: named,
        attempt: number,
        durationMs: performance.now() - started,
        status,
        error,
      });

    if (attempt.signal?.aborted) {
      throw new UltravoxError({
        kind: 'unreachable',
        method,
        path: named,
        detail: 'The request was abandoned before it was sent.',
        outcomeUnknown: false,
        cause: attempt.signal.reason,
      });
    }
    const timer = setTimeout(() => deadline.abort(), timeoutMs);
    const lift = () => clearTimeout(timer);
    try {
      const response = await send(attempt.url, {
        method,
        headers: attempt.headers,
        body: attempt.body ?? null,
        redirect: 'manual',
        signal: attempt.signal
          ? AbortSignal.any([deadline.signal, attempt.signal])
          : deadline.signal,
      });
      status = response.status;
      if (!isSuccess(response) && !isRedirect(response)) throw await refusal(attempt, response);
      const result = await read(response, { lift });
      report(null);
      return result;
    } catch (thrown) {
      const error =
        thrown instanceof UltravoxError
          ? thrown
          : failure(attempt, status, thrown, deadline.signal.aborted);
      report(error);
      throw error;
    } finally {
      lift();
    }
  }

  /** `cause` is set if the connection failed, and only then does trying again make sense. */
  function failure(attempt: Attempt, status: number | null, thrown: unknown, tooSlow: boolean) {
    const abandoned = !tooSlow && attempt.signal?.aborted === true;
    const fields = { status, method: attempt.method, path: attempt.path };
    if (tooSlow || abandoned) {
      return new UltravoxError({
        ...fields,
        kind: 'unreachable',
        detail: tooSlow ? `No answer within ${timeoutMs} ms.` : 'The request was abandoned.',
        outcomeUnknown: true,
        cause: abandoned ? attempt.signal?.reason : undefined,
      });
    }
    if (thrown instanceof TooLarge) {
      return protocolError(attempt, status ?? 200, 'The answer is too large.');
    }
    const code = causesOf(thrown).find((cause) => cause.code !== undefined)?.code;
    const reason = code === undefined ? '' : ` (${code})`;
    return new UltravoxError({
      ...fields,
      kind: status === null ? 'unreachable' : 'protocol',
      detail:
        status === null
          ? `The connection failed${reason}.`
          : `The connection broke off in the middle of the answer${reason}.`,
      outcomeUnknown: status !== null || !failedToConnect(thrown),
      cause: thrown,
    });
  }

  async function refusal(attempt: Attempt, response: Response): Promise<UltravoxError> {
    const { status } = response;
    const text = await readText(response, MAX_ERROR_BODY_BYTES, true);
    const clean = redact(text, attempt.secrets);
    return new UltravoxError({
      kind: attempt.kinds[status] ?? kindOfStatus(status),
      status,
      method: attempt.method,
      path: attempt.path,
      retryAfterSeconds: parseRetryAfter(response.headers.get('retry-after'), Date.now()),
      rawBody: boundTo4kB(clean),
      outcomeUnknown: isOutcomeUnknown(status),
      ...readErrorBody(status, clean),
    });
  }

  /** Reads are repeated where that can help; writes never are. */
  async function withRetries<Result>(
    attempt: Attempt,
    run: (number: number) => Promise<Result>,
  ): Promise<Result> {
    for (let number = 1; ; number += 1) {
      try {
        return await run(number);
      } catch (error) {
        if (attempt.method !== 'GET' || number === ATTEMPTS || attempt.signal?.aborted) throw error;
        const pauseMs = pauseBefore(error, backoffMs * 2 ** (number - 1));
        if (pauseMs === null) throw error;
        try {
          await delay(pauseMs, undefined, attempt.signal ? { signal: attempt.signal } : {});
        } catch {
          throw error;
        }
      }
    }
  }

  function protocolError(attempt: Attempt, status: number, detail: string, text = '') {
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

  function jsonFrom<Result>(
    attempt: Attempt,
    schema: z.ZodType<Result>,
    number: number,
  ): Promise<Result> {
    return once(attempt, number, async (response) => {
      if (isRedirect(response)) {
        await response.body?.cancel();
        throw protocolError(
          attempt,
          response.status,
          'Ultravox redirected where it should answer.',
        );
      }
      const text = await readText(response, MAX_BODY_BYTES);
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        throw protocolError(attempt, response.status, 'The answer is not JSON.', text);
      }
      const parsed = schema.safeParse(value);
      if (parsed.success) return parsed.data;
      // Names of members and expectations only: the values stay out.
      const problems = parsed.error.issues
        .slice(0, 5)
        .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
      throw protocolError(
        attempt,
        response.status,
        `The answer has an unexpected shape (${problems.join('; ')}).`,
        text,
      );
    });
  }

  function requestJson<Result>(request: Request, schema: z.ZodType<Result>): Promise<Result> {
    const attempt = attemptFor(request);
    return withRetries(attempt, (number) => jsonFrom(attempt, schema, number));
  }

  /** For answers without content. */
  async function requestNothing(request: Request): Promise<void> {
    const attempt = attemptFor(request);
    await withRetries(attempt, (number) =>
      once(attempt, number, async (response) => {
        // The status has said it all; a body that breaks off changes nothing.
        await response.body?.cancel();
        if (isRedirect(response)) {
          throw protocolError(
            attempt,
            response.status,
            'Ultravox redirected where it should answer.',
          );
        }
      }),
    );
  }

  /**
   * Pages of a list, from the first one on. `next` is followed as given, but never away from the
   * configured origin, because the API key travels along.
   */
  async function* pages<Item>(
    request: Omit<Request, 'method'>,
    item: z.ZodType<Item>,
  ): AsyncGenerator<Page<Item>, void, undefined> {
    const schema = pageSchema(item);
    const seen = new Set<string>();
    let attempt = attemptFor({ ...request, method: 'GET' });
    while (true) {
      const current = attempt;
      seen.add(current.url.href);
      const page = await withRetries(current, (number) => jsonFrom(current, schema, number));
      yield page;
      if (page.next === null) return;
      const next = URL.canParse(page.next) ? new URL(page.next) : null;
      if (next?.origin !== origin) {
        throw protocolError(current, 200, 'The next page is not at the configured address.');
      }
      if (seen.has(next.href)) {
        throw protocolError(current, 200, 'The list of pages runs in a circle.');
      }
      attempt = attemptFor({ ...request, method: 'GET' }, next);
    }
  }

  /** Audio, wherever Ultravox keeps it. The key is not sent along to where it redirects. */
  async function requestAudio(request: Omit<Request, 'method'>): Promise<Audio> {
    let attempt: Attempt = attemptFor({ ...request, method: 'GET' });
    attempt.headers.accept = 'audio/*';
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      const current = attempt;
      const answer = await withRetries(current, (number) =>
        once(current, number, async (response, deadline): Promise<Audio | URL> => {
          if (isRedirect(response)) {
            await response.body?.cancel();
            const location = response.headers.get('location') ?? '';
            const target = URL.canParse(location, current.url.href)
              ? new URL(location, current.url)
              : null;
            if (target === null || !/^https?:$/.test(target.protocol)) {
              throw protocolError(current, response.status, 'Ultravox redirected to nowhere.');
            }
            return target;
          }
          if (response.body === null) {
            throw protocolError(current, response.status, 'The answer holds no audio.');
          }
          deadline.lift();
          const length = response.headers.get('content-length');
          return {
            body: response.body as ReadableStream<Uint8Array>,
            contentType: response.headers.get('content-type'),
            contentLength: length === null ? null : Number(length),
          };
        }),
      );
      if (!(answer instanceof URL)) return answer;
      attempt = {
        ...current,
        url: answer,
        headers: { accept: 'audio/*' },
        // The storage refuses addresses that have expired; our key has nothing to do with it.
        kinds: { ...current.kinds, 401: 'not_found', 403: 'not_found' },
      };
    }
    throw protocolError(attempt, 302, 'Ultravox redirected too often.');
  }

  /** Stores bytes at an address Ultravox has handed out, without our key. */
  async function upload(
    address: string,
    bytes: Uint8Array,
    mimeType: string,
    options: RequestOptions = {},
  ): Promise<void> {
    if (!URL.canParse(address)) {
      throw new TypeError('not an upload address');
    }
    const attempt: Attempt = {
      method: 'PUT',
      // The address itself is the permission to write there.
      path: '(presigned upload)',
      url: new URL(address),
      headers: { 'content-type': mimeType },
      body: new Blob([bytes as Uint8Array<ArrayBuffer>]),
      kinds: { 401: 'invalid', 403: 'invalid', 404: 'invalid' },
      secrets: [apiKey, address],
      signal: options.signal,
    };
    await once(attempt, 1, async (response) => {
      await response.body?.cancel();
      if (isRedirect(response)) {
        throw protocolError(attempt, response.status, 'The storage redirected the upload.');
      }
    });
  }

  return { requestJson, requestNothing, requestAudio, pages, upload };
}

const isSuccess = (response: Response) => response.status >= 200 && response.status < 300;
const isRedirect = (response: Response) => response.status >= 300 && response.status < 400;

/** How long to pause before a read is repeated, or null if that would not help. */
function pauseBefore(error: unknown, backoffMs: number): number | null {
  if (!(error instanceof UltravoxError)) return null;
  const { status, retryAfterSeconds } = error;
  const jittered = backoffMs * (0.5 + Math.random());
  if (status === 429 || status === 503) {
    if (retryAfterSeconds !== null) {
      return retryAfterSeconds <= LONGEST_WAIT_SECONDS ? retryAfterSeconds * 1000 : null;
    }
    return status === 503 ? jittered : null;
  }
  if (status !== null && status >= 500) return jittered;
  // Whoever has waited for a deadline has waited long enough; see `failure`.
  return error.cause === undefined ? null : jittered;
}

interface SystemError {
  code?: string;
  syscall?: string;
}

/** The error, what caused it, and so on; a failed connection to several addresses has many. */
function causesOf(error: unknown): SystemError[] {
  if (typeof error !== 'object' || error === null) return [];
  const several = error instanceof AggregateError ? error.errors : [];
  const cause = 'cause' in error ? [error.cause] : [];
  return [error as SystemError, ...[...cause, ...several].flatMap(causesOf)];
}

/** True when the request certainly never left: no address, no connection, no trusted peer. */
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

/** Reads a body up to a limit. `lenient` returns what there is instead of failing. */
async function readText(response: Response, maxBytes: number, lenient = false): Promise<string> {
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
