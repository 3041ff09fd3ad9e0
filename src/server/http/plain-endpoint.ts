/** HTTP endpoints other than GraphQL: webhooks in, downloads, health. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { LIMITS } from '../limits/limits.ts';
import { isGone } from './http-responses.ts';

const MAX_BODY_BYTES = LIMITS.endpointBodyBytes.max;
const PIECE_BYTES = 65_536;

export interface PlainRequest {
  /** `GET` endpoints are also asked with `HEAD`; the body of their answer is then not sent. */
  method: string;
  headers: IncomingMessage['headers'];
  query: URLSearchParams;
  /** The received bytes of a POST, at most 2 MiB; else empty. */
  body: Buffer;
}

export interface PlainResponse {
  status: number;
  /** Chunks of an iterable are sent as fast as the client reads them. */
  body?: string | AsyncIterable<string | Uint8Array>;
  /** Default: `text/plain`. */
  contentType?: string;
  headers?: Record<string, string>;
  /** Called when the body has been sent, or when the rest of it will not be read. */
  closed?: () => void;
  /** An API key, of which few bodies are sent at once. Its body is broken off when the client stalls. */
  countedFor?: string;
  /** What such a body is. Default: `DOWNLOAD`. */
  countedAs?: CountedAs;
  /** By how much the client may fall behind with such a body. Default: the limit for what it is. */
  stallMs?: number;
}

/** A file, a file that holds a database connection while it is sent, or a recording. */
type CountedAs = 'DOWNLOAD' | 'EXPORT' | 'RECORDING';

/**
 * Answers one request. An error it throws becomes a 500; one that the body throws breaks the answer off,
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
  let answer: PlainResponse | undefined;
  try {
    // What comes with another method means nothing, and Node discards it.
    const body = request.method === 'POST' ? await readBody(request) : Buffer.alloc(0);
    const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
    answer = body
      ? await endpoint({ method: request.method ?? 'GET', headers: request.headers, query, body })
      : { status: 413, body: 'The body is too large', headers: { connection: 'close' } };
    if (request.method === 'HEAD') sendHead(response, answer);
    else if (answer.countedFor === undefined) await send(response, answer);
    else await sendCounted(response, answer, { key: answer.countedFor, counts: downloads(app) });
  } catch (error) {
    if (isGone(response)) return;
    const wasStopped = response.headersSent && error instanceof RequestError;
    if (!wasStopped) {
      app.log.error({ err: error, path: request.url?.split('?')[0] }, 'An HTTP endpoint failed');
    }
    // A truncated body must not look complete.
    if (response.headersSent) response.destroy();
    else await send(response, { status: 500, body: 'An internal error occurred' });
  } finally {
    answer?.closed?.();
  }
}

function writeHead(response: ServerResponse, answer: PlainResponse): void {
  response.writeHead(answer.status, {
    // Links carry their own permission, so any page may read what they lead to.
    ...(response.req.method === 'POST' ? {} : { 'access-control-allow-origin': '*' }),
    ...answer.headers,
    'content-type': answer.contentType ?? 'text/plain',
  });
}

/** Sends the headers alone, and leaves the body without reading any of it. */
function sendHead(response: ServerResponse, answer: PlainResponse): void {
  writeHead(response, answer);
  response.end();
}

async function send(response: ServerResponse, answer: PlainResponse): Promise<void> {
  writeHead(response, answer);
  const { body, countedFor, countedAs = 'DOWNLOAD', stallMs = STALL_MS[countedAs] } = answer;
  if (body && typeof body !== 'string') {
    const chunks =
      countedFor === undefined
        ? body
        : piecesOf(body, {
            stallMs,
            bytesPerSecond: BYTES_PER_SECOND[countedAs],
            stalled: () => response.destroy(),
          });
    await pipeline(Readable.from(chunks), response);
  } else response.end(body ?? '');
}

/**
 * The same bytes in small pieces. Calls `stalled` when the client has fallen too far behind; the time that the
 * source takes does not count. So a client that reads a little now and then keeps no export open.
 */
export async function* piecesOf(
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

/** Whoever plays a recording may pause, and is only timed for each piece. */
const BYTES_PER_SECOND: Record<CountedAs, number> = {
  DOWNLOAD: 65_536,
  EXPORT: 65_536,
  RECORDING: 0,
};

const STALL_MS: Record<CountedAs, number> = {
  DOWNLOAD: LIMITS.downloadStallSeconds.max * 1000,
  EXPORT: LIMITS.downloadStallSeconds.max * 1000,
  RECORDING: LIMITS.recordingStallSeconds.max * 1000,
};

/** Open bodies of each API key and kind, and of all keys. */
const downloads = perInstance((_app: App) => new Map<string, number>());

/** 429 when the key has as many bodies open as it may, 503 when all keys together have. */
async function sendCounted(
  response: ServerResponse,
  answer: PlainResponse,
  { key, counts }: { key: string; counts: Map<string, number> },
): Promise<void> {
  const isRecording = answer.countedAs === 'RECORDING';
  const own = isRecording
    ? { name: `recordings ${key}`, max: LIMITS.recordingsPerKey.max, status: 429 }
    : { name: `downloads ${key}`, max: LIMITS.downloadsPerKey.max, status: 429 };
  const limits: { name: string; max: number; status: number }[] = [own];
  if (answer.countedAs === 'EXPORT') {
    limits.push({ name: 'exports', max: LIMITS.exports.max, status: 503 });
  }
  const full = limits.find(({ name, max }) => (counts.get(name) ?? 0) >= max);
  if (full) {
    const whose = full.status === 429 ? ' with links of this API key' : '';
    const body = `Too many ${isRecording ? 'recordings' : 'downloads'} at once${whose}. Try again in a moment.`;
    await send(response, { status: full.status, body, headers: { 'retry-after': '10' } });
    return;
  }
  for (const { name } of limits) counts.set(name, (counts.get(name) ?? 0) + 1);
  try {
    await send(response, answer);
  } finally {
    for (const { name } of limits) {
      const left = (counts.get(name) ?? 1) - 1;
      if (left > 0) counts.set(name, left);
      else counts.delete(name);
    }
  }
}

/** Null if the body exceeds the limit; the rest of it is not read. */
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
