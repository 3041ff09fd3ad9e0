/** Endpoints of corpora and their sources. */
import { randomUUID } from 'node:crypto';
import { page } from '../http/paging.ts';
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
import { checkBody, type Shape } from '../shapes/shape.ts';
import { type DocumentRecord, isoTime, type Request, type Route, type World } from '../world.ts';
import { resultsFor } from './corpus-query.ts';
import { documentRoutes, presentDocument, startLoading } from './documents.ts';

export { finishSource } from './documents.ts';

const MAX_SOURCES = 20;
const MAX_DOCUMENTS = 200;

const text: Shape = { kind: 'string' };
const texts: Shape = { kind: 'list', of: text };
const anything: Shape = { kind: 'any' };
const mimeTypes: Shape = { kind: 'object', fields: { mimeTypes: texts } };

const corpusShape: Shape = {
  kind: 'object',
  fields: {
    name: text,
    description: text,
    corpusId: anything,
    created: anything,
    stats: anything,
  },
};

const crawl: Shape = {
  kind: 'object',
  required: ['startUrls'],
  fields: {
    startUrls: { kind: 'list', of: { kind: 'url' }, min: 1, max: MAX_DOCUMENTS },
    maxDepth: { kind: 'number', integer: true, min: 0 },
    maxDocuments: { kind: 'number', integer: true, min: 0, max: MAX_DOCUMENTS },
    maxDocumentBytes: { kind: 'number', integer: true, min: 0 },
    relevantDocumentTypes: {
      kind: 'object',
      atMostOne: ['include', 'exclude'],
      fields: { include: mimeTypes, exclude: mimeTypes },
    },
  },
};

const sourceFields: Record<string, Shape> = {
  name: text,
  description: text,
  crawl,
  loadSpec: crawl,
  upload: {
    kind: 'object',
    required: ['documentIds'],
    fields: { documentIds: { kind: 'list', of: text, min: 1, max: MAX_DOCUMENTS } },
  },
  advanced: {
    kind: 'object',
    required: ['documents'],
    fields: {
      documents: {
        kind: 'list',
        min: 1,
        max: MAX_DOCUMENTS,
        of: {
          kind: 'object',
          required: ['documentId'],
          fields: {
            documentId: text,
            exampleQueries: { kind: 'list', max: 10, of: { kind: 'string', max: 400 } },
          },
        },
      },
    },
  },
  corpusId: anything,
  sourceId: anything,
  created: anything,
  stats: anything,
};
const SPECS = ['crawl', 'upload', 'advanced', 'loadSpec'] as const;
const newSource: Shape = { kind: 'object', fields: sourceFields, exactlyOne: SPECS };
const changedSource: Shape = { kind: 'object', fields: sourceFields, atMostOne: SPECS };

function read(shape: Shape, request: Request): JsonObject {
  const body = checkBody(shape, request.body, {
    problems: new Problems(),
    ignored: request.ignored,
  });
  for (const key of ['corpusId', 'sourceId', 'created', 'stats']) delete body[key];
  return body;
}

function findCorpus(world: World, request: Request): JsonObject {
  const corpus = world.corpora.get((request.params.corpusId ?? '').toLowerCase());
  if (corpus === undefined) throw refuse(404, 'No Corpus matches the given query.');
  return corpus;
}

function findSource(world: World, request: Request): JsonObject {
  const corpus = findCorpus(world, request);
  const source = world.sources.get((request.params.sourceId ?? '').toLowerCase());
  if (source === undefined || source.corpusId !== corpus.corpusId) {
    throw refuse(404, 'No CorpusSource matches the given query.');
  }
  return source;
}

function sourcesOf(world: World, corpusId: string): JsonObject[] {
  return world.sources.values().filter((source) => source.corpusId === corpusId);
}

function documentsOf(world: World, key: 'corpusId' | 'sourceId', id: string): DocumentRecord[] {
  return world.documents.values().filter((item) => item[key] === id && item.sourceId !== null);
}

function presentCorpus(world: World, corpus: JsonObject): JsonObject {
  const corpusId = String(corpus.corpusId);
  const sources = sourcesOf(world, corpusId);
  const documents = documentsOf(world, 'corpusId', corpusId);
  const ready = sources.filter((source) => source.everReady === true).length;
  const allReady = sources.every((source) => source.status === 'SOURCE_STATUS_READY');
  const status =
    sources.length === 0
      ? 'CORPUS_STATUS_EMPTY'
      : ready === 0
        ? 'CORPUS_STATUS_INITIALIZING'
        : allReady
          ? 'CORPUS_STATUS_READY'
          : 'CORPUS_STATUS_UPDATING';
  const chunks = documents.reduce((sum, item) => sum + Math.ceil(item.sizeBytes / 1000), 0);
  const updated = sources.map((source) => String(source.lastUpdated ?? '')).sort();
  return {
    ...corpus,
    stats: {
      status,
      lastUpdated: updated.at(-1) || (corpus.created ?? null),
      numChunks: chunks,
      numDocs: documents.length,
      numVectors: chunks,
    },
  };
}

function presentSource(world: World, source: JsonObject): JsonObject {
  const { status, lastUpdated, everReady: _ready, ...shown } = source;
  return {
    ...shown,
    stats: {
      status: status ?? 'SOURCE_STATUS_INITIALIZING',
      lastUpdated: lastUpdated ?? null,
      numDocs: documentsOf(world, 'sourceId', String(source.sourceId)).length,
    },
  };
}

/** Checks that the documents of a source exist and that their bytes have been uploaded. */
function checkUploads(world: World, corpusId: string, body: JsonObject): void {
  const ids = [
    ...stringsAt(objectAt(body, 'upload'), 'documentIds'),
    ...listAt(objectAt(body, 'advanced'), 'documents').map((item) =>
      isObject(item) ? (stringAt(item, 'documentId') ?? '') : '',
    ),
  ];
  for (const id of ids) {
    const document = world.documents.get(id.toLowerCase());
    if (document === undefined || document.corpusId !== corpusId) {
      throw new HttpError(400, { detail: `Document ${id} does not exist.` });
    }
    if (!document.uploaded) {
      throw new HttpError(400, { detail: `Document ${id} has not been uploaded.` });
    }
  }
}

function changeCorpus(world: World, request: Request, base: JsonObject) {
  const corpus = findCorpus(world, request);
  const next = { ...corpus, ...base, ...read(corpusShape, request) };
  world.corpora.put(String(corpus.corpusId), next);
  return { status: 200, body: presentCorpus(world, next) };
}

function changeSource(world: World, request: Request, shape: Shape) {
  const source = findSource(world, request);
  const body = read(shape, request);
  checkUploads(world, String(source.corpusId), body);
  const next: JsonObject = { ...source };
  if (SPECS.some((spec) => body[spec] !== undefined)) for (const spec of SPECS) delete next[spec];
  Object.assign(next, body, {
    status: 'SOURCE_STATUS_UPDATING',
    lastUpdated: isoTime(world.now()),
  });
  world.sources.put(String(source.sourceId), next);
  startLoading(world, String(source.sourceId));
  return { status: 200, body: presentSource(world, next) };
}

function removeSource(world: World, sourceId: string): void {
  world.scheduler.cancel('finishSource', sourceId);
  for (const item of documentsOf(world, 'sourceId', sourceId)) {
    world.documents.delete(item.documentId);
  }
  world.sources.delete(sourceId);
}

const corpusPath = '/api/corpora/:corpusId';
const sourcePath = `${corpusPath}/sources/:sourceId`;

export const corpusRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/corpora',
    handler: (world, request) =>
      page(
        request,
        world.corpora.values().reverse(),
        (corpus) => String(corpus.corpusId),
        (corpus) => presentCorpus(world, corpus),
      ),
  },
  {
    method: 'POST',
    path: '/api/corpora',
    handler(world, request) {
      const body = read(corpusShape, request);
      const allowed = world.settings().allowedCorpora;
      if (allowed !== null && world.corpora.size >= allowed) {
        throw new HttpError(400, { detail: `The account may have ${allowed} corpora.` });
      }
      const corpus: JsonObject = {
        corpusId: randomUUID(),
        created: isoTime(world.now()),
        name: '',
        description: '',
        ...body,
      };
      world.corpora.put(String(corpus.corpusId), corpus);
      return { status: 201, body: presentCorpus(world, corpus) };
    },
  },
  {
    method: 'GET',
    path: corpusPath,
    handler: (world, request) => ({
      status: 200,
      body: presentCorpus(world, findCorpus(world, request)),
    }),
  },
  {
    method: 'PUT',
    path: corpusPath,
    handler: (world, request) => changeCorpus(world, request, { name: '', description: '' }),
  },
  {
    method: 'PATCH',
    path: corpusPath,
    handler: (world, request) => changeCorpus(world, request, {}),
  },
  {
    method: 'DELETE',
    path: corpusPath,
    handler(world, request) {
      const corpusId = String(findCorpus(world, request).corpusId);
      for (const source of sourcesOf(world, corpusId)) removeSource(world, String(source.sourceId));
      for (const item of world.documents.values()) {
        if (item.corpusId === corpusId) world.documents.delete(item.documentId);
      }
      world.corpora.delete(corpusId);
      return { status: 204 };
    },
  },
  {
    method: 'POST',
    path: `${corpusPath}/query`,
    handler(world, request) {
      const corpus = findCorpus(world, request);
      const body = checkBody(
        {
          kind: 'object',
          required: ['query'],
          fields: { query: text, maxResults: { kind: 'number', integer: true, min: 1, max: 100 } },
        },
        request.body,
        { problems: new Problems(), ignored: request.ignored },
      );
      const documents = documentsOf(world, 'corpusId', String(corpus.corpusId));
      const limit = typeof body.maxResults === 'number' ? body.maxResults : 5;
      return { status: 200, body: resultsFor(documents, stringAt(body, 'query') ?? '', limit) };
    },
  },
  {
    method: 'GET',
    path: `${corpusPath}/sources`,
    handler: (world, request) =>
      page(
        request,
        sourcesOf(world, String(findCorpus(world, request).corpusId)).reverse(),
        (source) => String(source.sourceId),
        (source) => presentSource(world, source),
      ),
  },
  {
    method: 'POST',
    path: `${corpusPath}/sources`,
    handler(world, request) {
      const corpusId = String(findCorpus(world, request).corpusId);
      const body = read(newSource, request);
      checkUploads(world, corpusId, body);
      if (sourcesOf(world, corpusId).length >= MAX_SOURCES) {
        throw new HttpError(400, { detail: `A corpus may have ${MAX_SOURCES} sources.` });
      }
      const source: JsonObject = {
        corpusId,
        sourceId: randomUUID(),
        created: isoTime(world.now()),
        name: '',
        description: '',
        ...body,
        status: 'SOURCE_STATUS_INITIALIZING',
        lastUpdated: isoTime(world.now()),
        everReady: false,
      };
      world.sources.put(String(source.sourceId), source);
      startLoading(world, String(source.sourceId));
      return { status: 201, body: presentSource(world, source) };
    },
  },
  {
    method: 'GET',
    path: sourcePath,
    handler: (world, request) => ({
      status: 200,
      body: presentSource(world, findSource(world, request)),
    }),
  },
  {
    method: 'PUT',
    path: sourcePath,
    handler: (world, request) => changeSource(world, request, newSource),
  },
  {
    method: 'PATCH',
    path: sourcePath,
    handler: (world, request) => changeSource(world, request, changedSource),
  },
  {
    method: 'DELETE',
    path: sourcePath,
    handler(world, request) {
      removeSource(world, String(findSource(world, request).sourceId));
      return { status: 204 };
    },
  },
  {
    method: 'GET',
    path: `${sourcePath}/documents`,
    handler: (world, request) =>
      page(
        request,
        documentsOf(world, 'sourceId', String(findSource(world, request).sourceId)),
        (item) => item.documentId,
        presentDocument,
      ),
  },
  {
    method: 'GET',
    path: `${sourcePath}/documents/:documentId`,
    handler(world, request) {
      const source = findSource(world, request);
      const item = world.documents.get((request.params.documentId ?? '').toLowerCase());
      if (item === undefined || item.sourceId !== source.sourceId) {
        throw refuse(404, 'No CorpusDocument matches the given query.');
      }
      return { status: 200, body: presentDocument(item) };
    },
  },
  ...documentRoutes,
];
