/**
 * Serves recordings over plain HTTP, for the audio element of a browser. A link carries its own signed permission and
 * expires. The bytes are streamed from Ultravox's storage as fast as the client reads; neither Ultravox's API key nor
 * its links are exposed.
 */
import { z } from 'zod';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { publicId } from '../../ids.ts';
import { byteRangeOf, isOneRange, sliceOf } from '../../infra/files/byte-range.ts';
import { announceEvents } from '../../live/log.ts';
import { isKeyUsable } from '../../organizations/api-keys.ts';
import {
  type DownloadLink,
  LINK_MINUTES,
  linkOwner,
  PRIVATE_HEADERS,
  readLink,
  signLink,
} from '../../organizations/download-links.ts';
import type { Audio } from '../../ultravox/client.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { Viewer } from '../../viewer.ts';
import { lockCall } from '../lock.ts';
import { appendCallEvents } from '../updates/append-events.ts';

export const RECORDING_PATH = '/recordings';
/** Time after which a stream without data from Ultravox is aborted. */
const IDLE_MS = 30_000;
/** Interval at which a download checks that its key is still valid. */
const CHECK_MS = 2_000;

const RECORDING_LINK = { path: RECORDING_PATH, purpose: 'recording' };
const permission = linkOwner.pick({ apiKeyId: true }).extend({ callId: z.uuid() });

/** A link to the recording of a call, relative to the public URL. Valid no longer than the viewer's credential. */
export function recordingLink(app: App, viewer: Viewer, callId: string): DownloadLink {
  return signLink(app, viewer, RECORDING_LINK, { callId });
}

interface RecordingRequest {
  method: string;
  headers: Record<string, string | string[] | undefined>;
  query: URLSearchParams;
}

interface RecordingResponse {
  status: number;
  body?: string | AsyncIterable<Uint8Array>;
  contentType?: string;
  headers?: Record<string, string>;
  concurrencyKey?: string;
  downloadKind?: 'RECORDING';
  closed?: () => void;
}

/**
 * Serves a link: 200, or 206 for a range; 416 for a range beyond the end; 403 if the link has expired or its key is no
 * longer usable; 404 if there is no recording, or it no longer exists; 502 or 503 if Ultravox cannot be reached. The
 * stream is aborted when the key expires or is revoked.
 */
export async function serveRecording(
  app: App,
  { method, headers, query }: RecordingRequest,
): Promise<RecordingResponse> {
  const allowed = await readLink(app, query, { ...RECORDING_LINK, permission });
  if (!allowed) {
    return {
      status: 403,
      body: `The link is invalid or has expired. Links expire after ${LINK_MINUTES} minutes, or with the API key that created them. Read \`Call.recording\` again.`,
    };
  }
  const { apiKeyId, callId: id } = allowed;
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.ultravoxId || call.deletedAt || call.recordingStatus !== 'AVAILABLE') return NOT_FOUND;
  const range = typeof headers.range === 'string' ? headers.range : undefined;
  const connection = new AbortController();
  try {
    const audio = await app.ultravox.calls.recording(call.ultravoxId, {
      signal: connection.signal,
      ...(isOneRange(range) ? { range } : {}),
    });
    const answer = answerWith(call, audio, range);
    if (method === 'HEAD' || answer.status === 416) {
      connection.abort();
      return { ...answer, body: '' };
    }
    const body = whileKeyIsUsable(app, apiKeyId, answer.body);
    const closed = (): void => connection.abort();
    return { ...answer, body, concurrencyKey: apiKeyId, downloadKind: 'RECORDING', closed };
  } catch (error) {
    connection.abort();
    if (!(error instanceof UltravoxError)) throw error;
    return refusal(app, call, error);
  }
}

const NOT_FOUND: RecordingResponse = { status: 404, body: 'There is no recording of the call.' };

async function refusal(app: App, call: Call, error: UltravoxError): Promise<RecordingResponse> {
  if (error.kind === 'not_found') {
    await expireRecording(app, call.id);
    return { status: 404, body: 'Ultravox no longer has the recording.' };
  }
  if (error.status === 416) return await unsatisfiable(app, call);
  app.failures.record('recording', error);
  const wait = error.retryAfterSeconds;
  return {
    status: error.kind === 'capacity' ? 503 : 502,
    body: 'Ultravox cannot be reached. Try again.',
    ...(wait === null ? {} : { headers: { 'retry-after': String(wait) } }),
  };
}

async function expireRecording(app: App, id: string): Promise<void> {
  const expired = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    if (call?.recordingStatus !== 'AVAILABLE' || call.deletedAt) return null;
    const data = { recordingStatus: 'EXPIRED' } as const;
    await tx.call.update({ where: { id }, data, select: { id: true } });
    return appendCallEvents(tx, call, [{ type: 'CALL_RECORDING_EXPIRED', data: {} }]);
  });
  if (expired) announceEvents(app, expired.organizationId);
}

/** Responds with 416 and the size, which costs a request: the storage does not report it when it refuses a range. */
async function unsatisfiable(app: App, call: Call): Promise<RecordingResponse> {
  const audio = await app.ultravox.calls
    .recording(call.ultravoxId ?? '', { range: 'bytes=0-0' })
    .catch(() => null);
  await audio?.body.cancel();
  const size = audio?.totalBytes ?? null;
  return { status: 416, headers: size === null ? {} : { 'content-range': `bytes */${size}` } };
}

function answerWith(
  call: Call,
  audio: Audio,
  range: string | undefined,
): RecordingResponse & { body: AsyncIterable<Uint8Array> } {
  const type = audio.contentType ?? '';
  const common = {
    'accept-ranges': 'bytes',
    'content-disposition': `inline; filename="${publicId('Call', call.id)}.wav"`,
    ...PRIVATE_HEADERS,
  };
  const answer = (status: number, headers: object, body: AsyncIterable<Uint8Array>) => ({
    status,
    body,
    contentType: type.startsWith('audio/') ? type : 'audio/wav',
    headers: { ...common, ...headers },
  });
  const length = (bytes: number | null) =>
    bytes === null ? {} : { 'content-length': String(bytes) };
  const { totalBytes } = audio;
  if (audio.status === 206 && audio.contentRange) {
    const headers = { ...length(audio.contentLength), 'content-range': audio.contentRange };
    return answer(206, headers, audio.body);
  }
  // The storage sent the whole file although a range was requested.
  const wanted = totalBytes === null ? null : byteRangeOf(range, totalBytes);
  if (wanted === null) return answer(200, length(totalBytes), audio.body);
  if (wanted === 'unsatisfiable') {
    return answer(416, { 'content-range': `bytes */${totalBytes}` }, audio.body);
  }
  const { first, last } = wanted;
  const headers = {
    ...length(last - first + 1),
    'content-range': `bytes ${first}-${last}/${totalBytes}`,
  };
  return answer(206, headers, sliceOf(audio.body, wanted));
}

/** Passes chunks on as long as the key is usable and chunks keep arriving. */
async function* whileKeyIsUsable(
  app: App,
  apiKeyId: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let checkedAt = Date.now();
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await within(IDLE_MS, iterator.next());
      if (next.done) return;
      if (Date.now() - checkedAt > CHECK_MS) {
        checkedAt = Date.now();
        if (!(await isKeyUsable(app, apiKeyId))) {
          throw new RequestError('UNAUTHENTICATED', 'The API key has expired or was revoked.');
        }
      }
      yield next.value;
    }
  } finally {
    void iterator.return?.()?.catch(() => undefined);
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new RequestError('UNAVAILABLE', 'The recording stopped arriving')),
      ms,
    );
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
