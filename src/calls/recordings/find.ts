/** The step RECORDING: finds out whether there is a recording, and how long it is. */
import { toStorableText, truncateText } from '../../infra/database/storable-text.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { SaveStep, StepHandler } from '../post-call/steps.ts';
import { wavSeconds } from './wav.ts';

/** Enough for the header of a WAV file. */
const HEADER_BYTES = 4096;

export const findRecording: StepHandler = async (app, call, { signal }) => {
  if (!call.recordingEnabled) return { status: 'SKIPPED', detail: 'The call was not recorded.' };
  if (!call.ultravoxId) return { status: 'SKIPPED', detail: 'Ultravox does not know the call.' };
  try {
    const range = `bytes=0-${HEADER_BYTES - 1}`;
    const audio = await app.ultravox.calls.recording(call.ultravoxId, { signal, range });
    const header = await firstBytes(audio.body, HEADER_BYTES);
    const columns = {
      recordingStatus: 'AVAILABLE',
      recordingContentType: truncateText(toStorableText(audio.contentType ?? 'audio/wav'), 100),
      recordingSeconds: wavSeconds(header, audio.totalBytes),
    } as const;
    return {
      status: 'DONE',
      save: async () => ({
        change: columns,
        events: [{ type: 'CALL_RECORDING_READY', data: {} }],
      }),
    };
  } catch (error) {
    if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
    return {
      status: 'NOT_YET',
      detail: 'Ultravox has no recording of the call.',
      otherwise: 'FAILED',
      save: saveFailedRecording,
    };
  }
};

/** Records that there will be no recording. */
export const saveFailedRecording: SaveStep = async () => ({
  change: { recordingStatus: 'FAILED' },
  events: [{ type: 'CALL_RECORDING_FAILED', data: {} }],
});

async function firstBytes(body: ReadableStream<Uint8Array>, count: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size >= count) break;
  }
  return Buffer.concat(chunks).subarray(0, count);
}
