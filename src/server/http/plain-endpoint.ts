/** HTTP endpoints other than GraphQL: incoming webhooks, downloads, health. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { LIMITS, MIN_BYTES_PER_SECOND } from '../limits/limits.ts';
import { isDisconnected } from './http-responses.ts';

const MAX_BODY_BYTES = LIMITS.endpointBodyBytes.max;
const PIECE_BYTES = 65_536;

export interface PlainRequest {
  /** `GET` endpoints also receive `HEAD` requests; the body of the answer is then not sent. */
  method: string;
  headers: IncomingMessage['headers'];
  query: URLSearchParams;
  /** The received bytes of a POST, at most 2 MiB. Empty for other methods. */
  body: Buffer;
}

export interface PlainResponse {
  status: number;
  /** Chunks of an iterable are sent as fast as the client reads them. */
  body?: string | AsyncIterable<string | Uint8Array>;
  /** Default: `text/plain`. */
  contentType?: string;
  headers?: Record<string, string>;
  /** Called when the body has been sent, or when no more of it will be read. */
  closed?: () => void;
  /**
   * Organization whose concurrent exports are limited, or API key whose recordings and samples of voices are. The body
   * is aborted if the client stalls.
   */
  concurrencyKey?: string;
  /** Kind of such a body. Default: `DOWNLOAD`. */
  downloadKind?: DownloadKind;
  /** Time by which the client may fall behind with such a body. Default: the limit for its kind. */
  stallMs?: number;
}

/** A file, a file that holds a database connection while it is sent, or a recording or a sample of a voice. */
type DownloadKind = 'DOWNLOAD' | 'EXPORT' | 'RECORDING';

/**
 * Answers one request. An error that it throws becomes a 500. An error that the body throws aborts the response,
 * and is logged unless it is a RequestError.
 */
export type PlainEndpoint = (request: PlainRequest) => Promise<PlainResponse>;

/** Runs an endpoint. Responds with 413 to a body over the limit, without reading it. */
export async function runPlainEndpoint(
  app: App,
  endpoint: PlainEndpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let plainResponse: PlainResponse | undefined;
  try {
    // A body of another method has no meaning; Node discards it.
    const body = request.method === 'POST' ? await readBody(request) : Buffer.alloc(0);
    const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
    plainResponse = body
      ? await endpoint({ method: request.method ?? 'GET', headers: request.headers, query, body })
      : { status: 413, body: 'The body is too large', headers: { connection: 'close' } };
    if (request.method === 'HEAD') sendHead(response, plainResponse);
    else if (plainResponse.concurrencyKey === undefined) await send(response, plainResponse);
    else
      await sendWithinLimits(response, plainResponse, {
        key: plainResponse.concurrencyKey,
        counts: downloads(app),
      });
  } catch (error) {
    if (isDisconnected(response)) return;
    const wasStopped = response.headersSent && error instanceof RequestError;
    if (!wasStopped) {
      app.log.error({ err: error, path: request.url?.split('?')[0] }, 'An HTTP endpoint failed');
    }
    // A truncated body must not look complete.
    if (response.headersSent) response.destroy();
    else await send(response, { status: 500, body: 'An internal error occurred' });
  } finally {
    plainResponse?.closed?.();
  }
}

function writeHead(response: ServerResponse, plainResponse: PlainResponse): void {
  response.writeHead(plainResponse.status, {
    // Links carry their own authorization, so any page may read their content.
    ...(response.req.method === 'POST' ? {} : { 'access-control-allow-origin': '*' }),
    ...plainResponse.headers,
    'content-type': plainResponse.contentType ?? 'text/plain',
  });
}

/** Sends only the headers. Does not read the body. */
function sendHead(response: ServerResponse, plainResponse: PlainResponse): void {
  writeHead(response, plainResponse);
  response.end();
}

async function send(response: ServerResponse, plainResponse: PlainResponse): Promise<void> {
  writeHead(response, plainResponse);
  const {
    body,
    concurrencyKey,
    downloadKind = 'DOWNLOAD',
    stallMs = STALL_MS[downloadKind],
  } = plainResponse;
  if (body && typeof body !== 'string') {
    const chunks =
      concurrencyKey === undefined
        ? body
        : detectStalls(body, {
            stallMs,
            bytesPerSecond: BYTES_PER_SECOND[downloadKind],
            stalled: () => response.destroy(),
          });
    await pipeline(Readable.from(chunks), response);
  } else response.end(body ?? '');
}

/**
 * Splits chunks into small pieces. Calls `stalled` when the client has fallen too far behind, not counting the time
 * that the source takes. So a client cannot keep an export open by reading a little now and then.
 */
export async function* detectStalls(
  chunks: AsyncIterable<string | Uint8Array>,
  {
    stallMs,
    bytesPerSecond,
    stalled,
  }: { stallMs: number; bytesPerSecond: number; stalled: () => void },
): AsyncGenerator<Uint8Array> {
  let allowedMs = stallMs;
  for await (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    let at = 0;
    do {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      const startedAt = performance.now();
      const timer = setTimeout(stalled, allowedMs);
      try {
        yield piece;
      } finally {
        clearTimeout(timer);
      }
      const takenMs = performance.now() - startedAt;
      const earnedMs = bytesPerSecond > 0 ? (piece.byteLength / bytesPerSecond) * 1000 : stallMs;
      allowedMs = Math.min(stallMs, allowedMs + earnedMs - takenMs);
      at += PIECE_BYTES;
    } while (at < bytes.byteLength);
  }
}

/** Minimum speed. 0 for recordings: a player may pause, so only the time for each piece is limited. */
const BYTES_PER_SECOND: Record<DownloadKind, number> = {
  DOWNLOAD: MIN_BYTES_PER_SECOND,
  EXPORT: MIN_BYTES_PER_SECOND,
  RECORDING: 0,
};

const STALL_MS: Record<DownloadKind, number> = {
  DOWNLOAD: LIMITS.downloadStallSeconds.max * 1000,
  EXPORT: LIMITS.downloadStallSeconds.max * 1000,
  RECORDING: LIMITS.recordingStallSeconds.max * 1000,
};

/** Number of open bodies by organization or API key, and of all exports together. */
const downloads = perInstance((_app: App) => new Map<string, number>());

/** Answers 429 when the key has reached its limit of open bodies, 503 when all exports together have. */
async function sendWithinLimits(
  response: ServerResponse,
  plainResponse: PlainResponse,
  { key, counts }: { key: string; counts: Map<string, number> },
): Promise<void> {
  const isRecording = plainResponse.downloadKind === 'RECORDING';
  const keyLimit = isRecording
    ? { name: `recordings ${key}`, max: LIMITS.recordingsPerKey.max, status: 429 }
    : { name: `exports ${key}`, max: LIMITS.exportsPerOrganization.max, status: 429 };
  const limits: { name: string; max: number; status: number }[] = [keyLimit];
  if (plainResponse.downloadKind === 'EXPORT') {
    limits.push({ name: 'exports', max: LIMITS.exports.max, status: 503 });
  }
  const full = limits.find(({ name, max }) => (counts.get(name) ?? 0) >= max);
  if (full) {
    const own = isRecording ? 'recordings of this API key' : 'downloads of this organization';
    const body = `Too many ${full.status === 429 ? own : 'downloads'} at once. Try again in a moment.`;
    await send(response, { status: full.status, body, headers: { 'retry-after': '10' } });
    return;
  }
  for (const { name } of limits) counts.set(name, (counts.get(name) ?? 0) + 1);
  try {
    await send(response, plainResponse);
  } finally {
    for (const { name } of limits) {
      const left = (counts.get(name) ?? 1) - 1;
      if (left > 0) counts.set(name, left);
      else counts.delete(name);
    }
  }
}

/** Reads the body. Null if it exceeds the limit; the rest of it is not read. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return null;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}
