/** Voices: cloned ones, and those of other providers. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { VoiceFilter } from '../filters.ts';
import { path } from '../transport.ts';
import { type CloneVoiceRequest, type RegisterVoiceRequest, voiceSchema } from '../wire.ts';
import type { Api } from './lists.ts';

export function voicesApi({ listOf, requestAudio, requestJson, requestNothing }: Api) {
  return {
    ...listOf<z.output<typeof voiceSchema>, VoiceFilter>('/api/voices', voiceSchema),
    get: (voiceId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/voices/${voiceId}`, ...options }, voiceSchema),
    /** Clones a voice from a recording, or registers one that another provider serves. */
    create: (body: CloneVoiceRequest | RegisterVoiceRequest, options: RequestOptions = {}) =>
      requestJson(
        {
          method: 'POST',
          path: '/api/voices',
          ...('file' in body ? { form: cloneForm(body) } : { json: body }),
          ...options,
        },
        voiceSchema,
      ),
    delete: (voiceId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/voices/${voiceId}`, ...options }),
    /** A sample as a stream. Its content type is not always correct. */
    preview: (voiceId: string, options: RequestOptions = {}) =>
      requestAudio({ path: path`/api/voices/${voiceId}/preview`, ...options }),
  };
}

function cloneForm(body: CloneVoiceRequest): FormData {
  const form = new FormData();
  const file = new Blob([body.file as Uint8Array<ArrayBuffer>], { type: body.mimeType });
  form.set('file', file, body.fileName);
  form.set('name', body.name);
  if (body.description !== undefined) form.set('description', body.description);
  if (body.language !== undefined) form.set('language', body.language);
  return form;
}
