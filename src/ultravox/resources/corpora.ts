/** Corpora, their sources, and uploads of documents. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { PageFilter } from '../filters.ts';
import { path } from '../transport.ts';
import {
  type CorpusUploadRequest,
  type CreateCorpusSourceRequest,
  corpusSchema,
  corpusSourceSchema,
  corpusUploadSchema,
  type WriteCorpusRequest,
} from '../wire.ts';
import type { Api } from './lists.ts';

export function corporaApi({ everyItem, listOf, requestJson, requestNoContent, upload }: Api) {
  return {
    ...listOf<z.output<typeof corpusSchema>, PageFilter>('/api/corpora', corpusSchema),
    create: (body: WriteCorpusRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/corpora', json: body, ...options }, corpusSchema),
    get: (corpusId: string, options: RequestOptions = {}) =>
      requestJson(
        { method: 'GET', path: path`/api/corpora/${corpusId}`, ...options },
        corpusSchema,
      ),
    update: (corpusId: string, body: WriteCorpusRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/corpora/${corpusId}`, json: body, ...options },
        corpusSchema,
      ),
    /** Also deletes sources and documents. */
    delete: (corpusId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/corpora/${corpusId}`, ...options }),
    /** Requests an upload address, which expires after five minutes and accepts only this MIME type. */
    requestUpload: (corpusId: string, body: CorpusUploadRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'POST', path: path`/api/corpora/${corpusId}/uploads`, json: body, ...options },
        corpusUploadSchema,
      ),
    /** May be repeated while the address is valid. */
    uploadDocument: (
      presignedUrl: string,
      bytes: Uint8Array,
      mimeType: string,
      options: RequestOptions = {},
    ) => upload({ address: presignedUrl, bytes, mimeType, ...options }),
    listAllSources: (corpusId: string, filter: PageFilter = {}, options: RequestOptions = {}) =>
      everyItem(path`/api/corpora/${corpusId}/sources`, corpusSourceSchema, filter, options),
    createSource: (
      corpusId: string,
      body: CreateCorpusSourceRequest,
      options: RequestOptions = {},
    ) =>
      requestJson(
        { method: 'POST', path: path`/api/corpora/${corpusId}/sources`, json: body, ...options },
        corpusSourceSchema,
      ),
    getSource: (corpusId: string, sourceId: string, options: RequestOptions = {}) =>
      requestJson(
        { method: 'GET', path: path`/api/corpora/${corpusId}/sources/${sourceId}`, ...options },
        corpusSourceSchema,
      ),
    deleteSource: (corpusId: string, sourceId: string, options: RequestOptions = {}) =>
      requestNoContent({
        method: 'DELETE',
        path: path`/api/corpora/${corpusId}/sources/${sourceId}`,
        ...options,
      }),
  };
}
