/** Requests to Ultravox for JSON, pages, audio and uploads, with retries of reads. */
import type { z } from 'zod';
import {
  type Attempt,
  type AttemptSettings,
  isRedirect,
  type PauseRule,
  protocolError,
  type ReadResponse,
  type RequestOptions,
  readText,
  sendAttempt,
  type UltravoxClientSettings,
} from './attempt.ts';
import { secretsIn, type UltravoxError, type UltravoxErrorKind } from './error.ts';
import { withRetries } from './retry.ts';
import { type Page, pageSchema } from './wire.ts';

const MAX_BODY_BYTES = 20 * 1024 * 1024;
const MAX_REDIRECTS = 3;

export type Query = Record<
  string,
  string | number | boolean | readonly string[] | null | undefined
>;

/** Options of reads whose handling of failures differs from the usual. */
export interface ReadOptions extends RequestOptions {
  /** Default: as in `withRetries`. */
  maxAttempts?: number;
  /** Default: `shared`. */
  pauseRule?: PauseRule;
}

interface Request extends ReadOptions {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Query;
  json?: unknown;
  /** Error kinds of statuses that have a special meaning at this endpoint. */
  kinds?: Readonly<Record<number, UltravoxErrorKind>>;
}

export interface Audio {
  /** 206 when only the requested range follows, otherwise 200. */
  status: number;
  body: ReadableStream<Uint8Array>;
  contentType: string | null;
  contentLength: number | null;
  /** For a 206: the bytes that follow, such as `bytes 0-99/1000`. */
  contentRange: string | null;
  /** Total size in bytes. Null if the server does not report it. */
  totalBytes: number | null;
}

export interface AudioOptions extends RequestOptions {
  /** Requests a part, as in the `Range` header. The response may still be the whole file. */
  range?: string | undefined;
}

/** Builds a path from untrusted ids. */
export function path(strings: TemplateStringsArray, ...ids: string[]): string {
  return strings.reduce((built, part, index) => {
    const id = ids[index - 1] ?? '';
    // These would lead to another resource once the URL is normalized.
    if (id === '' || id === '.' || id === '..') throw new TypeError('not an Ultravox id');
    return `${built}${encodeURIComponent(id)}${part}`;
  });
}

/** An upload to an address that Ultravox has issued. */
export interface Upload extends RequestOptions {
  address: string;
  bytes: Uint8Array;
  mimeType: string;
}

type ListRequest = Omit<Request, 'method'> & {
  /** `next` of an earlier page, to start with the page after it. */
  from?: string | null | undefined;
  /** Whether to leave out invalid items instead of failing. Default: false. */
  skipInvalid?: boolean;
};

interface Settings {
  apiKey: string;
  /** Without a slash at the end. */
  base: string;
  /** Milliseconds before the second attempt of a read. */
  backoffMs: number;
  /** Aborts every request. */
  signal: AbortSignal | undefined;
  attempts: AttemptSettings;
  onSkippedItem: ((error: UltravoxError) => void) | undefined;
}

export type Transport = ReturnType<typeof createTransport>;

/** Every method throws an UltravoxError when its request fails. */
export function createTransport(options: UltravoxClientSettings) {
  const { timeoutMs = 30_000, backoffMs = 100, onRequest, pause } = options;
  const settings: Settings = {
    apiKey: options.apiKey,
    base: options.baseUrl.replace(/\/+$/, ''),
    backoffMs,
    signal: options.signal,
    attempts: { timeoutMs, send: options.fetch ?? globalThis.fetch, onRequest, pause },
    onSkippedItem: options.onSkippedItem,
  };
  return {
    requestJson: <Result>(request: Request, schema: z.ZodType<Result>): Promise<Result> =>
      readJson(settings, attemptFor(settings, request), schema),
    /** For responses without content. */
    requestNoContent: async (request: Request): Promise<void> => {
      const attempt = attemptFor(settings, request);
      await send(settings, attempt, async (response) => {
        // An incomplete body does not matter: only the status counts.
        await response.body?.cancel();
        if (isRedirect(response)) throw unexpectedRedirect(attempt, response);
      });
    },
    requestAudio: (request: Omit<Request, 'method'> & AudioOptions) => readAudio(settings, request),
    pages: <Item>(request: ListRequest, item: z.ZodType<Item>) =>
      readPages(settings, request, item),
    upload: (upload: Upload) => storeUpload(settings, upload),
  };
}

/** A signal that aborts with the client's signal or the request's, whichever comes first. */
function signalOf(settings: Settings, { signal }: RequestOptions): AbortSignal | undefined {
  if (!signal || !settings.signal) return signal ?? settings.signal;
  return AbortSignal.any([signal, settings.signal]);
}

function urlOf(base: string, path: string, query: Query = {}): URL {
  const url = new URL(`${base}${path}`);
  for (const [name, value] of Object.entries(query)) {
    // Ultravox rejects empty filters.
    if (value === undefined || value === null || value === '') continue;
    for (const item of Array.isArray(value) ? value : [value]) {
      url.searchParams.append(name, String(item));
    }
  }
  return url;
}

function attemptFor(settings: Settings, request: Request, url?: URL): Attempt {
  const headers: Record<string, string> = {
    accept: 'application/json',
    'x-api-key': settings.apiKey,
  };
  if (request.json !== undefined) headers['content-type'] = 'application/json';
  return {
    method: request.method,
    path: request.path,
    url: url ?? urlOf(settings.base, request.path, request.query),
    headers,
    body: request.json === undefined ? null : JSON.stringify(request.json),
    kinds: request.kinds ?? {},
    secrets: [settings.apiKey, ...secretsIn(request.json)],
    signal: signalOf(settings, request),
    pauseRule: request.pauseRule ?? 'shared',
    maxAttempts: request.maxAttempts,
  };
}

function send<Result>(
  { attempts, backoffMs }: Settings,
  attempt: Attempt,
  read: ReadResponse<Result>,
): Promise<Result> {
  return withRetries(attempt, backoffMs, (number) => sendAttempt(attempts, attempt, number, read));
}

function unexpectedRedirect(attempt: Attempt, { status }: Response): Error {
  return protocolError(attempt, status, 'Ultravox responded with an unexpected redirect.');
}

function readJson<Result>(
  settings: Settings,
  attempt: Attempt,
  schema: z.ZodType<Result>,
): Promise<Result> {
  return send(settings, attempt, async (response) => {
    if (isRedirect(response)) {
      await response.body?.cancel();
      throw unexpectedRedirect(attempt, response);
    }
    const { status } = response;
    const text = await readText(response, MAX_BODY_BYTES);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw protocolError(attempt, status, 'The answer is not JSON.', text);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const detail = `The answer has an unexpected shape (${problemsOf(parsed.error)}).`;
    throw protocolError(attempt, status, detail, text);
  });
}

/** Only member names and expected types, because values may be secret. */
function problemsOf({ issues }: z.ZodError): string {
  return issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
    .join('; ');
}

/**
 * The pages of a list, starting with the first or with `from`. The API key is sent along, so `next` is always read at
 * the configured address.
 */
async function* readPages<Item>(
  settings: Settings,
  { from, skipInvalid = false, ...request }: ListRequest,
  item: z.ZodType<Item>,
): AsyncGenerator<Page<Item>, void, undefined> {
  const seen = new Set<string>();
  const first = from ? new URL(from) : undefined;
  let attempt = attemptFor(settings, { ...request, method: 'GET' }, first);
  while (true) {
    const current = attempt;
    seen.add(current.url.href);
    const page = await readJson(settings, current, pageSchema);
    const results = page.results.flatMap((result) => {
      const parsed = item.safeParse(result);
      if (parsed.success) return [parsed.data];
      const detail = `An item of the list has an unexpected shape (${problemsOf(parsed.error)}).`;
      const error = protocolError(current, 200, detail);
      if (!skipInvalid) throw error;
      settings.onSkippedItem?.(error);
      return [];
    });
    const next = page.next === null ? null : atConfiguredAddress(settings.base, page.next);
    yield { ...page, next: next?.href ?? page.next, results };
    if (page.next === null) return;
    if (next === null) throw protocolError(current, 200, 'The next page is not in the API.');
    if (seen.has(next.href)) {
      throw protocolError(current, 200, 'The pages of the list form a cycle.');
    }
    attempt = attemptFor(settings, { ...request, method: 'GET' }, next);
  }
}

/**
 * The address of a page at the configured address, which may be that of a proxy: `next` may name the origin, and lack
 * the prefix, of the server behind it. Null if it is not an address in the API.
 */
function atConfiguredAddress(base: string, next: string): URL | null {
  const url = URL.parse(next, base);
  if (!url) return null;
  const prefix = urlOf(base, '').pathname.replace(/\/$/, '');
  const { pathname } = url;
  const ownPath = pathname.startsWith(`${prefix}/api/`) ? pathname.slice(prefix.length) : pathname;
  return ownPath.startsWith('/api/') ? new URL(`${base}${ownPath}${url.search}`) : null;
}

/** Reads audio, wherever Ultravox stores it. The API key is not sent to the target of a redirect. */
async function readAudio(
  settings: Settings,
  { range, ...request }: Omit<Request, 'method'> & AudioOptions,
): Promise<Audio> {
  const wanted = { accept: 'audio/*', ...(range ? { range } : {}) };
  let attempt = attemptFor(settings, { ...request, method: 'GET' });
  Object.assign(attempt.headers, wanted);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const answer = await requestAudioOnce(settings, attempt);
    if (!(answer instanceof URL)) return answer;
    attempt = {
      ...attempt,
      url: answer,
      headers: wanted,
      // The storage rejects expired addresses with these statuses, which have nothing to do with the API key.
      kinds: { ...attempt.kinds, 401: 'not_found', 403: 'not_found' },
      pauseRule: 'none',
    };
  }
  throw protocolError(attempt, 302, 'Ultravox responded with too many redirects.');
}

/** The audio, or the target of a redirect. */
function requestAudioOnce(settings: Settings, attempt: Attempt): Promise<Audio | URL> {
  return send(settings, attempt, async (response, deadline): Promise<Audio | URL> => {
    if (isRedirect(response)) {
      await response.body?.cancel();
      const location = response.headers.get('location') ?? '';
      const target = URL.canParse(location, attempt.url.href)
        ? new URL(location, attempt.url)
        : null;
      if (target === null || !/^https?:$/.test(target.protocol)) {
        throw protocolError(
          attempt,
          response.status,
          'Ultravox responded with a redirect that has no location.',
        );
      }
      return target;
    }
    if (response.body === null) {
      throw protocolError(attempt, response.status, 'The response contains no audio.');
    }
    deadline.lift();
    const length = numberOrNull(response.headers.get('content-length'));
    const contentRange = response.headers.get('content-range');
    const isPart = response.status === 206;
    return {
      status: response.status,
      body: response.body as ReadableStream<Uint8Array>,
      contentType: response.headers.get('content-type'),
      contentLength: length,
      contentRange: isPart ? contentRange : null,
      totalBytes: isPart ? numberOrNull(/\/(\d+)$/.exec(contentRange ?? '')?.[1]) : length,
    };
  });
}

function numberOrNull(text: string | null | undefined): number | null {
  return text ? Number(text) : null;
}

/** Uploads bytes, without sending the API key. */
async function storeUpload(settings: Settings, upload: Upload): Promise<void> {
  const { address, bytes, mimeType } = upload;
  if (!URL.canParse(address)) throw new TypeError('not an upload address');
  const attempt: Attempt = {
    method: 'PUT',
    // The address is not shown, because it grants write access.
    path: '(presigned upload)',
    url: new URL(address),
    headers: { 'content-type': mimeType },
    body: new Blob([bytes as Uint8Array<ArrayBuffer>]),
    kinds: { 401: 'invalid', 403: 'invalid', 404: 'invalid' },
    secrets: [settings.apiKey, address],
    signal: signalOf(settings, upload),
    pauseRule: 'none',
  };
  await sendAttempt(settings.attempts, attempt, 1, async (response) => {
    await response.body?.cancel();
    if (isRedirect(response)) {
      throw protocolError(attempt, response.status, 'The storage redirected the upload.');
    }
  });
}
