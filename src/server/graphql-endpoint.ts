/** GraphQL over HTTP at `/graphql`. Identifies the caller before reading the body. */
import { randomUUIDv7 } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import { notAllowed, scopesOf } from '../graphql/scopes.ts';
import {
  type Caller,
  clientAddress,
  createContext,
  type RequestContext,
  readIdempotencyKey,
  type Services,
} from './authentication.ts';
import { createDocumentCache } from './document-limits.ts';
import { eventStreamPlugin } from './event-stream.ts';
import { createExecute, type Execute, executionPlugin } from './execution.ts';
import { isGone, sendRefusal, setApiHeaders, setPreflightHeaders } from './http-responses.ts';
import { createJsonAnswers, knownResultPlugin } from './json-answers.ts';
import { type LiveReceiver, MAX_BUFFERED_LIVE_BYTES } from './live-delivery.ts';
import { type GraphQLParams, mediaTypeOf, paramsOfBody, paramsOfQuery } from './request-params.ts';
import { schema } from './schema.ts';
import type { UploadFiles } from './upload-files.ts';
import { readUpload } from './uploads.ts';

interface NodeContext {
  req: IncomingMessage;
  res: ServerResponse;
}

export type Yoga = YogaServerInstance<NodeContext, RequestContext>;

export interface GraphQLEndpoint {
  yoga: Yoga;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Breaks off event streams without completing them, so that clients reconnect. */
  endStreams(): void;
  dispose(): Promise<void>;
}

/** The context of each request, or the error for a rejected caller. */
type Contexts = WeakMap<IncomingMessage, RequestContext | GraphQLError>;

export function createGraphQLEndpoint(services: Services): GraphQLEndpoint {
  const contexts: Contexts = new WeakMap();
  const open = new Set<ServerResponse>();
  const execute = createExecute(services);
  const yoga = createYogaOf(services, contexts, execute);
  const answerJson = createJsonAnswers({ yoga, execute });

  async function answer(
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
    if (isGone(response)) return;
    const { params, files } = await readParams(services, request, context);
    if (files) response.once('close', () => files.release());
    if (isGone(response)) {
      files?.release();
      return;
    }
    const complete = withRequest(context, response, params, files);
    const isJson = request.method === 'POST' && mediaTypeOf(request) === 'json';
    if (isJson && !(complete instanceof GraphQLError)) {
      if (await answerJson(response, params, complete)) return;
    }
    setApiHeaders(response, requestId);
    contexts.set(request, complete);
    prepareForYoga(request, params);
    await yoga(request, response);
  }

  return {
    yoga,
    async handle(request, response) {
      const requestId = randomUUIDv7();
      // Before the first await, since a response that closes until then emits no event later.
      open.add(response);
      response.once('close', () => open.delete(response));
      try {
        await answer(request, response, requestId);
      } catch (error) {
        sendRefusal(services.app, response, error, requestId);
      }
    },
    endStreams() {
      for (const response of open) if (isEventStream(response)) response.destroy();
    },
    dispose: async () => yoga.dispose(),
  };
}

function createYogaOf(services: Services, contexts: Contexts, execute: Execute): Yoga {
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
      documentCache: createDocumentCache(),
      // A remembered error is thrown past our translation.
      errorCache: { get: () => undefined, set: () => undefined },
    },
    plugins: [knownResultPlugin(), eventStreamPlugin(), executionPlugin(services, execute)],
    context: ({ req }) => {
      const found = contexts.get(req);
      if (!found) throw new Error('The request has no context');
      if (found instanceof GraphQLError) throw found;
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
  // Files are arguments of mutations only, all of which require WRITE.
  if (!viewer || !scopesOf(viewer).write) throw notAllowed(viewer, 'uploads');
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
  const idempotencyKey = readIdempotencyKey(response.req.headers, params.extensions);
  const receive = eventWriter(response);
  return { ...context, idempotencyKey, receive, ...(files ? { files } : {}) };
}

/**
 * Writes live events to an event stream past yoga, which has written everything before it and writes
 * nothing but comments while the subscriber is live. False when the client reads too slowly.
 */
function eventWriter(response: ServerResponse): LiveReceiver {
  let isStream = false;
  return (messages) => {
    if (isGone(response)) return true;
    isStream ||= isEventStream(response);
    if (!isStream || response.writableLength > MAX_BUFFERED_LIVE_BYTES) return false;
    response.write(messages.blocks);
    return true;
  };
}

/** Gives yoga the parameters as if it had parsed the body itself. */
function prepareForYoga(request: IncomingMessage, params: GraphQLParams): void {
  // Node already omits the body of the response.
  if (request.method === 'HEAD') request.method = 'GET';
  if (request.method !== 'POST') return;
  Object.assign(request, { body: params });
  request.headers['content-type'] = 'application/json';
  delete request.headers['content-length'];
  delete request.headers['transfer-encoding'];
}

function isEventStream(response: ServerResponse): boolean {
  return String(response.getHeader('content-type') ?? '').startsWith('text/event-stream');
}
