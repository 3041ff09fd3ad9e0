/** Voices: those of the account, and those of other providers. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { VoiceFilter } from '../filters.ts';
import { type AudioOptions, path } from '../transport.ts';
import { type RegisterVoiceRequest, voiceSchema } from '../wire.ts';
import type { Api } from './lists.ts';

export function voicesApi({ listOf, requestAudio, requestJson, requestNoContent }: Api) {
  return {
    ...listOf<z.output<typeof voiceSchema>, VoiceFilter>('/api/voices', voiceSchema),
    get: (voiceId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/voices/${voiceId}`, ...options }, voiceSchema),
    /** An audio sample as a stream, which the caller must read or cancel. */
    preview: (voiceId: string, options: AudioOptions = {}) =>
      requestAudio({ path: path`/api/voices/${voiceId}/preview`, ...options }),
    /** Registers a voice that another provider serves. */
    create: (body: RegisterVoiceRequest, options: RequestOptions = {}) =>
      requestJson(
        {
          method: 'POST',
          path: '/api/voices',
          json: body,
          ...options,
        },
        voiceSchema,
      ),
    delete: (voiceId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/voices/${voiceId}`, ...options }),
  };
}
