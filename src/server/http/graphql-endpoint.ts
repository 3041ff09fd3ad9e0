/** GraphQL over HTTP at `/graphql`. Identifies the caller before reading the body. */
import { randomUUIDv7 } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import { forbiddenError, scopesOf } from '../../graphql/scopes.ts';
import {
  type Caller,
  clientAddress,
  createContext,
  type RequestContext,
  readIdempotencyKey,
  type Services,
} from '../authentication.ts';
import {
  createDocuments,
  type Documents,
  isSubscriptionOperation,
  type KnownDocument,
} from '../execution/documents.ts';
import {
  createExecute,
  createSubscribe,
  type Execute,
  executionPlugin,
  type Subscribe,
} from '../execution/execution.ts';
import { createDocumentCache, type DocumentCache } from '../limits/document-limits.ts';
import { schema } from '../schema.ts';
import { checkAccept } from './accept.ts';
import { eventStreamPlugin } from './event-stream.ts';
import { createEventStreamResponder } from './event-stream-responder.ts';
import { isDisconnected, sendError, setApiHeaders, setPreflightHeaders } from './http-responses.ts';
import { createJsonResponder, existingResultPlugin, setExistingResult } from './json-responder.ts';
import { type GraphQLParams, mediaTypeOf, paramsOfBody, paramsOfQuery } from './request-params.ts';
import type { UploadFiles } from './upload-files.ts';
import { readUpload } from './uploads.ts';

interface NodeContext {
  req: IncomingMessage;
  res: ServerResponse;
}

type Yoga = YogaServerInstance<NodeContext, RequestContext>;

/** Functions that run operations, for all transports. */
export interface Operations {
  documents: Documents;
  execute: Execute;
  subscribe: Subscribe;
}

export interface GraphQLEndpoint {
  operations: Operations;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Closes event streams without completing them, so that clients reconnect. */
  endStreams(): void;
  dispose(): Promise<void>;
}

/** Contexts of the requests that yoga executes. */
type Contexts = WeakMap<IncomingMessage, RequestContext>;

export function createGraphQLEndpoint(services: Services): GraphQLEndpoint {
  const contexts: Contexts = new WeakMap();
  const execute = createExecute(services);
  const subscribe = createSubscribe(services);
  const known = createDocumentCache<KnownDocument>();
  const yoga = createYogaOf(services, contexts, known, execute);
  const documents = createDocuments(yoga, known, services.rateLimits);
  const respondWithJson = createJsonResponder(execute);
  const streams = createEventStreamResponder(subscribe);

  async function respond(
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
  ): Promise<void> {
    if (request.method === 'OPTIONS') {
      setApiHeaders(response, requestId);
      setPreflightHeaders(request, response);
      response.writeHead(204).end();
      return;
    }
    const context = await identify(services, request, requestId);
    if (isDisconnected(response)) return;
    const { params, files } = await readParams(services, request, context);
    if (files) response.once('close', () => files.release());
    if (isDisconnected(response)) {
      files?.release();
      return;
    }
    const complete = withRequest(context, response, params, files);
    const viewer = complete instanceof GraphQLError ? null : complete.viewer;
    const found = await documents.read(params.query, viewer);
    if (isDisconnected(response)) return;
    let isStream = false;
    if (!('document' in found)) setExistingResult(request, { errors: found });
    else if (complete instanceof GraphQLError) setExistingResult(request, { errors: [complete] });
    else {
      const known = { ...params, document: found.document };
      const isJson = request.method === 'POST' && mediaTypeOf(request) === 'json';
      if (isJson && (await respondWithJson(response, known, complete))) return;
      if (await streams.respond(response, known, complete)) return;
      isStream = isSubscriptionOperation(found.document, params.operationName) === true;
      contexts.set(request, complete);
    }
    checkAccept(request.headers.accept, isStream);
    setApiHeaders(response, requestId);
    prepareForYoga(request, params);
    await yoga(request, response);
  }

  return {
    operations: { documents, execute, subscribe },
    async handle(request, response) {
      const requestId = randomUUIDv7();
      try {
        await respond(request, response, requestId);
      } catch (error) {
        sendError(services.app, response, error, requestId);
      }
    },
    endStreams: () => streams.close(),
    dispose: async () => yoga.dispose(),
  };
}

function createYogaOf(
  services: Services,
  contexts: Contexts,
  known: DocumentCache<KnownDocument>,
  execute: Execute,
): Yoga {
  return createYoga<NodeContext, RequestContext>({
    schema,
    graphqlEndpoint: '/graphql',
    landingPage: false,
    maskedErrors: false,
    batching: false,
    cors: false,
    logging: false,
    graphiql: false,
    multipart: false,
    parserAndValidationCache: {
      // It would keep invalid documents too.
      documentCache: { get: (text) => known.get(text)?.document, set: () => undefined },
      // A cached error would bypass our translation.
      errorCache: { get: () => undefined, set: () => undefined },
    },
    plugins: [existingResultPlugin(), eventStreamPlugin(), executionPlugin(services, execute)],
    context: ({ req }) => {
      const found = contexts.get(req);
      if (!found) throw new Error('The request has no context');
      return found;
    },
  });
}

/** The context without an idempotency key. Rejected callers still get syntax errors. */
async function identify(
  services: Services,
  request: IncomingMessage,
  requestId: string,
): Promise<RequestContext | GraphQLError> {
  const caller: Caller = {
    authorization: request.headers.authorization ?? null,
    address: clientAddress(services.app, request),
  };
  try {
    return await createContext(services, caller, requestId);
  } catch (error) {
    const isFinal = ['RATE_LIMITED', 'UNAVAILABLE', 'INTERNAL'];
    if (!(error instanceof GraphQLError)) throw error;
    if (isFinal.includes(String(error.extensions.code))) throw error;
    return error;
  }
}

async function readParams(
  { concurrency }: Services,
  request: IncomingMessage,
  context: RequestContext | GraphQLError,
): Promise<{ params: GraphQLParams; files?: UploadFiles }> {
  if (request.method !== 'POST') return { params: paramsOfQuery(request) };
  const viewer = context instanceof GraphQLError ? null : context.viewer;
  if (mediaTypeOf(request) !== 'multipart') {
    return { params: await paramsOfBody(request, viewer !== null) };
  }
  if (context instanceof GraphQLError) throw context;
  // Only mutations have file arguments, and all of those require WRITE.
  if (!viewer || !scopesOf(viewer).write) throw forbiddenError(viewer, 'uploads');
  const release = concurrency.beginUpload(viewer);
  try {
    const upload = await readUpload(request);
    upload.files.onClose(release);
    return upload;
  } catch (error) {
    release();
    throw error;
  }
}

function withRequest(
  context: RequestContext | GraphQLError,
  response: ServerResponse,
  params: GraphQLParams,
  files: UploadFiles | undefined,
): RequestContext | GraphQLError {
  if (context instanceof GraphQLError) return context;
  return {
    ...context,
    idempotencyKey: readIdempotencyKey(response.req.headers, params.extensions),
    isDisconnected: () => isDisconnected(response),
    ...(files ? { files } : {}),
  };
}

/** Passes the parameters to yoga as if it had parsed the body itself. */
function prepareForYoga(request: IncomingMessage, params: GraphQLParams): void {
  // Node already omits the body of the response.
  if (request.method === 'HEAD') request.method = 'GET';
  if (request.method !== 'POST') return;
  Object.assign(request, { body: params });
  request.headers['content-type'] = 'application/json';
  delete request.headers['content-length'];
  delete request.headers['transfer-encoding'];
}
