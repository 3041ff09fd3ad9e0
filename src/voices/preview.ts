/**
 * Serves audio samples of voices over plain HTTP. Ultravox returns them only with its API key, and some of them with a
 * content type that browsers do not play.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { App } from '../app.ts';
import { byteRangeOf } from '../infra/files/byte-range.ts';
import { createKeyedLimiter, LimiterTimeoutError } from '../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../infra/per-instance.ts';
import {
  LINK_REFUSED,
  linkOwner,
  PRIVATE_HEADERS,
  readLink,
  signLink,
} from '../organizations/download-links.ts';
import { UltravoxError } from '../ultravox/error.ts';
import type { Viewer } from '../viewer.ts';

export const VOICE_PREVIEW_PATH = '/voice-previews';
const PREVIEW_LINK = { path: VOICE_PREVIEW_PATH, purpose: 'voice-preview' };
const permission = linkOwner.extend({ voiceId: z.uuid() });
const MAX_BYTES = 10 * 1024 * 1024;
/** Samples that are kept, since a player reads one in several ranges. */
const MAX_KEPT_BYTES = 4 * MAX_BYTES;
const KEPT_MS = 10 * 60_000;
/** Samples that are read from Ultravox at the same time for an organization. */
const MAX_CONCURRENT_READS = 2;
const RETRY_SECONDS = 10;

/** Path of a link to the sample, relative to the public URL. Valid no longer than the viewer's credential. */
export function previewLink(app: App, viewer: Viewer, voiceId: string): string {
  return signLink(app, viewer, PREVIEW_LINK, { voiceId }).path;
}

interface PreviewRequest {
  headers: Record<string, string | string[] | undefined>;
  query: URLSearchParams;
}

interface PreviewResponse {
  status: number;
  body?: string | AsyncIterable<Uint8Array | string>;
  contentType?: string;
  headers?: Record<string, string>;
  concurrencyKey?: string;
  downloadKind?: 'RECORDING';
}

/** Serves a link: 200, or 206 and 416 for ranges; 403 if it has expired; 404 without a sample; otherwise 502 or 503. */
export async function servePreview(
  app: App,
  { headers, query }: PreviewRequest,
): Promise<PreviewResponse> {
  const allowed = await readLink(app, query, { ...PREVIEW_LINK, permission });
  if (!allowed) return LINK_REFUSED;
  const { apiKeyId, organizationId, voiceId: id } = allowed;
  const voice = await app.db.voice.findFirst({ where: { id, organizationId, deletedAt: null } });
  if (!voice?.remoteId) return NOT_FOUND;
  try {
    const sample = await samplesOf(app).fetch(`${organizationId} ${voice.remoteId}`, {
      context: { organizationId, remoteId: voice.remoteId },
    });
    if (!sample?.byteLength) return NOT_FOUND;
    const range = typeof headers.range === 'string' ? headers.range : undefined;
    return {
      ...answerWith(sample, range),
      concurrencyKey: apiKeyId,
      downloadKind: 'RECORDING',
    };
  } catch (error) {
    return refusal(app, error);
  }
}

function refusal(app: App, error: unknown): PreviewResponse {
  const kind = error instanceof UltravoxError ? error.kind : null;
  if (kind === 'not_found' || kind === 'invalid') return NOT_FOUND;
  if (error instanceof LimiterTimeoutError) return tryAgain(RETRY_SECONDS);
  app.failures.record('voicePreview', error);
  if (!(error instanceof UltravoxError) || kind !== 'capacity') {
    return { status: 502, body: 'Ultravox cannot be reached. Try again.' };
  }
  return tryAgain(error.retryAfterSeconds ?? RETRY_SECONDS);
}

function tryAgain(seconds: number): PreviewResponse {
  return {
    status: 503,
    body: 'Ultravox is busy. Try again in a moment.',
    headers: { 'retry-after': String(seconds) },
  };
}

const NOT_FOUND: PreviewResponse = { status: 404, body: 'There is no sample of the voice.' };

interface Voice {
  organizationId: string;
  remoteId: string;
}

/** Samples by organization and voice, so that no organization waits for the reads of another. */
const samplesOf = perInstance((app: App) => {
  const reads = createKeyedLimiter(MAX_CONCURRENT_READS);
  const maxWaitMs = app.config.ULTRAVOX_TIMEOUT_SECONDS * 1_000;
  return new LRUCache<string, Buffer, Voice>({
    maxSize: MAX_KEPT_BYTES,
    sizeCalculation: ({ byteLength }) => Math.max(1, byteLength),
    ttl: KEPT_MS,
    // A sample that is no longer kept when it has been read is still sent.
    ignoreFetchAbort: true,
    fetchMethod: (_key, _stale, { context: { organizationId, remoteId } }) =>
      reads.run(organizationId, () => readSample(app, remoteId), maxWaitMs),
  });
});

/** The whole sample: it is short, and its type shows in its first bytes. */
async function readSample(app: App, remoteId: string): Promise<Buffer> {
  const signal = AbortSignal.timeout(app.config.ULTRAVOX_TIMEOUT_SECONDS * 1_000);
  const audio = await app.ultravox.voices.preview(remoteId, { signal });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of audio.body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw new Error(`The sample of voice ${remoteId} is too large`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answerWith(sample: Buffer, range: string | undefined): PreviewResponse {
  const size = sample.byteLength;
  const wanted = byteRangeOf(range, size);
  const common = { 'accept-ranges': 'bytes', ...PRIVATE_HEADERS };
  if (wanted === 'unsatisfiable') {
    return { status: 416, headers: { ...common, 'content-range': `bytes */${size}` } };
  }
  const { first, last } = wanted ?? { first: 0, last: size - 1 };
  const part = wanted ? { 'content-range': `bytes ${first}-${last}/${size}` } : {};
  return {
    status: wanted ? 206 : 200,
    body: only(sample.subarray(first, last + 1)),
    contentType: audioTypeOf(sample),
    headers: { ...common, ...part, 'content-length': String(last - first + 1) },
  };
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Recognizes the formats in which providers store samples. */
function audioTypeOf(sample: Buffer): string {
  const start = sample.toString('latin1', 0, 4);
  if (start === 'RIFF') return 'audio/wav';
  if (start === 'OggS') return 'audio/ogg';
  if (start === 'fLaC') return 'audio/flac';
  return 'audio/mpeg';
}
