/** Documents of corpora: uploads, crawled pages and their indexing. */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import {
  HttpError,
  isObject,
  type JsonObject,
  listAt,
  objectAt,
  Problems,
  refuse,
  stringAt,
  stringsAt,
} from '../json.ts';
import { checkBody } from '../shapes/shape.ts';
import { type DocumentRecord, isoTime, type Route, type World } from '../world.ts';

const MAX_UPLOAD = 10 * 1024 * 1024;
const MAX_STORED_TEXT = 200_000;
const OFFICE = 'application/vnd.openxmlformats-officedocument';

const MIME_TYPES = [
  'application/msword',
  `${OFFICE}.wordprocessingml.document`,
  'text/plain',
  'text/markdown',
  'text/html',
  'application/vnd.ms-powerpoint',
  `${OFFICE}.presentationml.presentation`,
  'application/pdf',
  'application/epub+zip',
];

export function presentDocument(item: DocumentRecord): JsonObject {
  const metadata: JsonObject = { title: item.fileName };
  if (item.publicUrl !== null) metadata.publicUrl = item.publicUrl;
  if (item.exampleQueries.length > 0) metadata.exampleQueries = item.exampleQueries;
  return {
    corpusId: item.corpusId,
    sourceId: item.sourceId,
    documentId: item.documentId,
    created: item.created,
    mimeType: item.mimeType,
    metadata,
    sizeBytes: String(item.sizeBytes),
  };
}

export function startLoading(world: World, sourceId: string): void {
  const { sourceReadySeconds, speed } = world.settings();
  world.scheduler.plan('finishSource', sourceId, world.now() + (sourceReadySeconds * 1000) / speed);
}

/** Makes a loaded source and its documents ready for queries. */
export function finishSource(world: World, sourceId: string): void {
  const source = world.sources.get(sourceId);
  if (source === undefined) return;
  const examples = new Map(
    listAt(objectAt(source, 'advanced'), 'documents')
      .filter((item) => isObject(item))
      .map((item) => [stringAt(item, 'documentId') ?? '', stringsAt(item, 'exampleQueries')]),
  );
  const taken = new Set([
    ...stringsAt(objectAt(source, 'upload'), 'documentIds'),
    ...examples.keys(),
  ]);
  for (const item of world.documents.values()) {
    if (item.sourceId === sourceId && !taken.has(item.documentId)) {
      world.documents.delete(item.documentId);
    }
  }
  for (const id of taken) {
    const item = world.documents.get(id);
    if (item === undefined) continue;
    world.documents.put(id, { ...item, sourceId, exampleQueries: examples.get(id) ?? [] });
  }
  const crawl = objectAt(source, 'crawl') ?? objectAt(source, 'loadSpec');
  if (crawl !== undefined) {
    for (const url of crawled(crawl)) {
      const document = webPage(world, String(source.corpusId), sourceId, url);
      world.documents.put(document.documentId, document);
    }
  }
  world.sources.put(sourceId, {
    ...source,
    status: 'SOURCE_STATUS_READY',
    everReady: true,
    lastUpdated: isoTime(world.now()),
  });
}

/** Pages that a crawl finds: the start pages and, with enough depth, a few below each. */
function crawled(crawl: JsonObject): string[] {
  const starts = stringsAt(crawl, 'startUrls');
  const depth = typeof crawl.maxDepth === 'number' ? crawl.maxDepth : 1;
  const limit = typeof crawl.maxDocuments === 'number' ? crawl.maxDocuments : 20;
  const below = depth > 1 ? ['about', 'contact', 'faq'] : [];
  const urls = [
    ...starts,
    ...starts.flatMap((start) => below.map((name) => `${start.replace(/\/$/, '')}/${name}`)),
  ];
  return urls.slice(0, limit === 0 ? 20 : limit);
}

function webPage(world: World, corpusId: string, sourceId: string, url: string): DocumentRecord {
  const topic = url.replace(/\/$/, '').split('/').at(-1) ?? url;
  const text = `Page ${url}\n\nThis made-up page is about ${topic}. Opening hours are nine to five, Monday to Friday.`;
  return {
    documentId: randomUUID(),
    corpusId,
    sourceId,
    created: isoTime(world.now()),
    mimeType: 'text/html',
    fileName: topic,
    text,
    sizeBytes: Buffer.byteLength(text),
    uploaded: true,
    publicUrl: url,
    exampleQueries: [],
  };
}

function signature(world: World, documentId: string, expires: string): string {
  return createHmac('sha256', world.signingKey)
    .update(`upload:${documentId}:${expires}`)
    .digest('hex');
}

function plainType(type: string): string {
  return (type.split(';')[0] ?? '').trim().toLowerCase();
}

export const documentRoutes: Route[] = [
  {
    method: 'POST',
    path: '/api/corpora/:corpusId/uploads',
    handler(world, request) {
      const corpusId = (request.params.corpusId ?? '').toLowerCase();
      if (world.corpora.get(corpusId) === undefined) {
        throw refuse(404, 'No Corpus matches the given query.');
      }
      const body = checkBody(
        {
          kind: 'object',
          required: ['mimeType'],
          fields: { mimeType: { kind: 'string', min: 1 }, fileName: { kind: 'string' } },
        },
        request.body,
        { problems: new Problems(), ignored: request.ignored },
      );
      const mimeType = stringAt(body, 'mimeType') ?? '';
      if (!MIME_TYPES.includes(plainType(mimeType))) {
        throw new HttpError(400, { mimeType: [`"${mimeType}" is not a supported type.`] });
      }
      const documentId = randomUUID();
      const expires = String(world.now() + world.settings().uploadExpirySeconds * 1000);
      world.documents.put(documentId, {
        documentId,
        corpusId,
        sourceId: null,
        created: isoTime(world.now()),
        mimeType,
        fileName: stringAt(body, 'fileName') ?? '',
        text: '',
        sizeBytes: 0,
        uploaded: false,
        publicUrl: null,
        exampleQueries: [],
      });
      const sig = signature(world, documentId, expires);
      const presignedUrl = `${request.origin}/uploads/${documentId}?expires=${expires}&signature=${sig}`;
      return { status: 201, body: { documentId, presignedUrl } };
    },
  },
  {
    method: 'PUT',
    path: '/uploads/:documentId',
    open: true,
    handler(world, request) {
      const documentId = request.params.documentId ?? '';
      const expires = request.query.get('expires') ?? '';
      const expected = Buffer.from(signature(world, documentId, expires));
      const given = Buffer.from(request.query.get('signature') ?? '');
      const valid = given.length === expected.length && timingSafeEqual(given, expected);
      if (!valid || Number(expires) < world.now()) throw refuse(403, 'Request has expired.');
      const item = world.documents.get(documentId);
      if (item === undefined) throw refuse(404, 'Not found.');
      const type = String(request.headers['content-type'] ?? '');
      if (plainType(type) !== plainType(item.mimeType)) {
        throw refuse(403, 'The content type is not the one asked for.');
      }
      if (request.raw.length > MAX_UPLOAD) throw refuse(400, 'The file is larger than 10 MB.');
      const readable = plainType(item.mimeType).startsWith('text/');
      world.documents.put(documentId, {
        ...item,
        uploaded: true,
        sizeBytes: request.raw.length,
        text: readable
          ? request.raw.toString('utf8').slice(0, MAX_STORED_TEXT)
          : `Text of ${item.fileName || 'the document'}.`,
      });
      return { status: 200 };
    },
  },
];
