/** Ultravox corpora: sources, documents and uploads. */
import { z } from 'zod';
import type { CorpusStatus, MessageOf, SourceStatus } from './payloads.ts';
import {
  extensible,
  id,
  messageOf,
  number,
  openEnum,
  orElse,
  orNull,
  timestamp,
} from './wire-schemas.ts';

export const corpusSchema = extensible({
  corpusId: id,
  created: orNull(timestamp),
  name: orNull(z.string()),
  description: orNull(z.string()),
  stats: orNull(
    extensible({
      status: orElse(openEnum<CorpusStatus>(), 'CORPUS_STATUS_UNSPECIFIED'),
      lastUpdated: orNull(timestamp),
      numChunks: orElse(number, 0),
      numDocs: orElse(number, 0),
      numVectors: orElse(number, 0),
    }),
  ),
});
export type Corpus = z.output<typeof corpusSchema>;

export type WriteCorpusRequest = MessageOf<{ name: string; description: string }>;

export type MimeTypeSet = MessageOf<{ mimeTypes: string[] }>;

export type CrawlSpec = MessageOf<{
  startUrls: string[];
  /** 1 reads only the start pages. */
  maxDepth: number;
  maxDocuments: number;
  maxDocumentBytes: number;
  relevantDocumentTypes: MessageOf<{ include: MimeTypeSet; exclude: MimeTypeSet }>;
}>;
export type UploadSpec = MessageOf<{ documentIds: string[] }>;
export type AdvancedSpec = MessageOf<{
  documents: MessageOf<{ documentId: string; exampleQueries: string[] }>[];
}>;

export const corpusSourceSchema = extensible({
  corpusId: orNull(z.string()),
  sourceId: id,
  created: orNull(timestamp),
  name: orNull(z.string()),
  description: orNull(z.string()),
  stats: orNull(
    extensible({
      status: orElse(openEnum<SourceStatus>(), 'SOURCE_STATUS_UNSPECIFIED'),
      lastUpdated: orNull(timestamp),
      numDocs: orElse(number, 0),
    }),
  ),
  crawl: orNull(messageOf<CrawlSpec>()),
  upload: orNull(messageOf<UploadSpec>()),
  advanced: orNull(messageOf<AdvancedSpec>()),
});
export type CorpusSource = z.output<typeof corpusSourceSchema>;

/** Exactly one of `crawl`, `upload`, `advanced`. */
export type CreateCorpusSourceRequest = MessageOf<{
  name: string;
  description: string;
  crawl: CrawlSpec;
  upload: UploadSpec;
  advanced: AdvancedSpec;
}>;

export interface CorpusUploadRequest {
  mimeType: string;
  fileName?: string | undefined;
}

export const corpusUploadSchema = extensible({ documentId: id, presignedUrl: z.string().min(1) });
export type CorpusUpload = z.output<typeof corpusUploadSchema>;
