/** The error of the client, and how responses become one. */
export type UltravoxErrorKind =
  /** The key is missing, wrong, revoked or not allowed to do this. */
  | 'credentials'
  /** The account has no subscription or free time left. */
  | 'billing'
  | 'not_found'
  /** The call has not been joined yet, or has ended. */
  | 'not_live'
  | 'invalid'
  /** Too many requests or calls; see `retryAfterSeconds`. */
  | 'capacity'
  /** No response, or one that reports a failure of the service. */
  | 'unreachable'
  /** A response that cannot be understood. */
  | 'protocol'
  | 'conflict';

export interface UltravoxErrorFields {
  kind: UltravoxErrorKind;
  method: string;
  path: string;
  detail: string;
  outcomeUnknown: boolean;
  isRefusal?: boolean;
  status?: number | null;
  retryAfterSeconds?: number | null;
  fieldErrors?: Record<string, string[]>;
  rawBody?: string;
  cause?: unknown;
}

/**
 * The only error that the client throws for a request that was made or attempted. Its message and members
 * never contain the API key or a secret from the request.
 */
export class UltravoxError extends Error {
  override readonly name = 'UltravoxError';
  readonly kind: UltravoxErrorKind;
  /** Null without a response. */
  readonly status: number | null;
  readonly retryAfterSeconds: number | null;
  /** Human-readable description, from Ultravox if it gave one. */
  readonly detail: string;
  /** Problems by dotted path of a member, if Ultravox named members. */
  readonly fieldErrors: Record<string, string[]>;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /**
   * Whether Ultravox may have executed the request although no usable response arrived. The caller
   * must then look for the effect of a write before repeating it. False if it was certainly not executed.
   */
  readonly outcomeUnknown: boolean;
  /**
   * Whether the response says that the service has no capacity, so that the request was most likely not executed.
   * With `outcomeUnknown`, the response may come from a gateway that had passed the request on.
   */
  readonly isRefusal: boolean;
  /** Body of the response, at most 4 kB. Not enumerable, to keep conversations out of logs. */
  declare readonly rawBody: string;

  constructor(fields: UltravoxErrorFields) {
    const status = fields.status ?? null;
    const answer = status === null ? 'no answer' : `status ${status}`;
    super(
      `Ultravox ${fields.method} ${fields.path}: ${answer}: ${fields.detail}`,
      fields.cause === undefined ? undefined : { cause: fields.cause },
    );
    this.kind = fields.kind;
    this.status = status;
    this.retryAfterSeconds = fields.retryAfterSeconds ?? null;
    this.detail = fields.detail;
    this.fieldErrors = fields.fieldErrors ?? {};
    this.method = fields.method;
    this.path = fields.path;
    this.outcomeUnknown = fields.outcomeUnknown;
    this.isRefusal = fields.isRefusal ?? false;
    Object.defineProperty(this, 'rawBody', { value: fields.rawBody ?? '', enumerable: false });
  }
}

/** The error for a list with calls that its filter should have excluded. */
export function unfilteredCalls(): UltravoxError {
  return new UltravoxError({
    kind: 'protocol',
    method: 'GET',
    path: '/api/calls',
    detail: 'The filter was ignored.',
    outcomeUnknown: false,
  });
}

/** The kind of error for a status, unless the endpoint defines another. */
export function kindOfStatus(status: number): UltravoxErrorKind {
  if (status === 401 || status === 403) return 'credentials';
  if (status === 402) return 'billing';
  if (status === 404 || status === 410) return 'not_found';
  if (status === 408) return 'unreachable';
  if (status === 409) return 'conflict';
  if (status === 429 || status === 503) return 'capacity';
  if (status >= 500) return 'unreachable';
  if (status >= 400) return 'invalid';
  return 'protocol';
}

/** Whether the request may have been executed despite this status, also 503, which gateways send: see `isRefusal`. */
export function isOutcomeUnknown(status: number): boolean {
  return status === 408 || status < 400 || status >= 500;
}

/**
 * Whether a status means that the service has no capacity. The service's own 503 has `Retry-After` or JSON, unlike that
 * of most proxies that lost a connection. Some gateways send the same, even after they passed the request on.
 */
export function isRefusal(
  status: number,
  { retryAfter, text }: { retryAfter: string | null; text: string },
): boolean {
  return status === 429 || (status === 503 && (retryAfter !== null || isJson(text)));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Maximum pause. A longer one is a mistake of the sender; the next refusal would request the rest. */
const MAX_RETRY_AFTER_SECONDS = 3_600;

/** Parses `Retry-After`, which is in seconds or an HTTP date, to seconds from `now`: at most an hour. */
export function parseRetryAfter(header: string | null, now: number): number | null {
  const value = header?.trim() ?? '';
  if (/^\d+$/.test(value)) return Math.min(Number(value), MAX_RETRY_AFTER_SECONDS);
  // Date.parse accepts nearly anything with a digit; an HTTP date starts with a weekday.
  if (!/^[A-Za-z]{3,9},? /.test(value)) return null;
  const seconds = Math.ceil((Date.parse(value) - now) / 1000);
  return Number.isNaN(seconds) ? null : Math.min(Math.max(0, seconds), MAX_RETRY_AFTER_SECONDS);
}

const MAX_DETAIL = 500;

/**
 * Reads an error body, whose shape the vendor does not specify: `{"detail": …}`, problems per
 * member (possibly nested), a list of strings, or text that is not JSON.
 */
export function readErrorBody(
  status: number,
  text: string,
): { detail: string; fieldErrors: Record<string, string[]> } {
  const fallback = `HTTP ${status}`;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { detail: fallback, fieldErrors: {} };
  }
  const complaints = new Map<string, string[]>();
  collectFieldErrors(body, [], complaints);
  const [first] = complaints.values();
  const detail = complaints.get('detail')?.[0] ?? first?.[0] ?? fallback;
  complaints.delete('');
  complaints.delete('detail');
  return {
    // PostgreSQL stores neither null characters nor half surrogate pairs.
    detail: detail.replaceAll('\u0000', '').slice(0, MAX_DETAIL).toWellFormed(),
    fieldErrors: Object.fromEntries(complaints),
  };
}

function collectFieldErrors(value: unknown, path: string[], into: Map<string, string[]>): void {
  if (path.length > 10 || into.size > 100) return;
  if (typeof value === 'string') {
    const key = path.join('.');
    into.set(key, [...(into.get(key) ?? []), value]);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      collectFieldErrors(item, typeof item === 'string' ? path : [...path, String(index)], into);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) collectFieldErrors(item, [...path, key], into);
  }
}

const SECRET_MEMBER = /token|secret|password|api_?key|publickey|authorization|headers/i;
const SECRET_IN_TEXT =
  /("[^"]{0,64}?(?:token|secret|password|api_?key|publickey|authorization|headers|joinurl|presignedurl)[^"]{0,64}"\s*:\s*)("(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|\{[^}]*\}?)/gi;

/** Strings of a request body that must not appear in an error. */
export function secretsIn(body: unknown, underSecret = false): string[] {
  if (typeof body === 'string') return underSecret && body.length >= 6 ? [body] : [];
  if (Array.isArray(body)) return body.flatMap((item) => secretsIn(item, underSecret));
  if (typeof body !== 'object' || body === null) return [];
  return Object.entries(body).flatMap(([key, item]) =>
    secretsIn(item, underSecret || SECRET_MEMBER.test(key)),
  );
}

/** Removes the given secrets from a response of Ultravox. Its responses often quote their input. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) if (secret !== '') clean = clean.replaceAll(secret, '[redacted]');
  return clean;
}

/** Removes all values that a resource has under the name of a secret. */
export const redactNamed = (text: string): string =>
  text.slice(0, 65_536).replace(SECRET_IN_TEXT, '$1"[redacted]"');

export const boundTo4kB = (text: string): string =>
  Buffer.from(text.slice(0, 4096))
    .subarray(0, 4096)
    .toString()
    .replace(/\uFFFD+$/, '');
