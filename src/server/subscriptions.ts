/** Runs subscriptions on every transport, and ends a stream when its credential ends. */
import { setTimeout as pause } from 'node:timers/promises';
import { Repeater } from '@repeaterjs/repeater';
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  executeSubscriptionEvent,
  mapSourceToResponseEvent,
  validateSubscriptionArgs,
} from 'graphql';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { type Context, freshExecution } from '../graphql/context.ts';
import { toGraphQLError } from '../graphql/errors.ts';
import { executeEvent } from '../graphql/query-executor.ts';
import { withCleanup } from '../infra/async-iterators.ts';
import { isDatabaseUnavailable } from '../infra/database-errors.ts';
import type { EventStream } from '../live/feed.ts';
import { API_KEY_REVOKED_TOPIC } from '../organizations/api-key-cache.ts';
import { isKeyUsable } from '../organizations/api-keys.ts';
import type { Viewer } from '../viewer.ts';
import type { RequestContext } from './authentication.ts';
import { withEventId } from './event-stream.ts';
import { type GroupOptions, joinGroup } from './live-delivery.ts';
import { translateErrors } from './results.ts';
import { resultKey, shareResults } from './shared-results.ts';

const RECHECK_MS = 15_000;
const RETRY_MS = 500;
const MAX_ATTEMPTS_AFTER_TIMEOUT = 3;
/** The longest delay that `setTimeout` accepts. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

type Results = AsyncIterableIterator<ExecutionResult>;

/**
 * Starts an admitted subscription. `release` is called once, when its stream ends for any reason or
 * does not start.
 */
export async function runSubscription(
  app: App,
  args: ExecutionArgs,
  release: () => void,
): Promise<Results | ExecutionResult> {
  const context = args.contextValue as RequestContext;
  try {
    const validated = validateSubscriptionArgs(args);
    if (!('schema' in validated)) {
      release();
      return translateErrors(app, context, { errors: validated });
    }
    const source = await createSourceEventStream(validated);
    if (!(Symbol.asyncIterator in source)) {
      release();
      return translateErrors(app, context, source);
    }
    const key = resultKey(validated, context.viewer);
    const shared = shareResults(key);
    const execute = (event: unknown): Promise<ExecutionResult> =>
      shared(event, async () => {
        const result = await whenAvailable(app, async () => {
          const changed = { rootValue: event, contextValue: freshExecution(context) };
          return translateErrors(
            app,
            context,
            await (executeEvent({ ...args, ...changed }, validated.variableValues) ??
              executeSubscriptionEvent({ ...validated, ...changed })),
          );
        });
        return withEventId(result, event);
      });
    const results = mapSourceToResponseEvent(validated, source, ({ rootValue }) =>
      execute(rootValue),
    ) as Results;
    const credential = watchCredential(app, context);
    deliverPastIterators({ app, context, source, key, execute, credential });
    const stream = withCleanup(untilCredentialEnds(context, results, credential), () => {
      credential.stopWatching();
      release();
      void results.return?.();
    });
    endWithRequest(context, stream);
    return stream;
  } catch (error) {
    release();
    return { errors: [toGraphQLError(error, context.requestId, app.log)] };
  }
}

/**
 * A result that is sent counts as delivered, so an event waits for a database that is away, and is read
 * a few times when a read was stopped, which a lock in the database may have held up.
 */
async function whenAvailable(
  app: App,
  execute: () => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  for (let attempt = 1; ; attempt += 1) {
    const result = await execute();
    const has = (code: string) => result.errors?.some(({ extensions }) => extensions.code === code);
    const isRepeated =
      has('UNAVAILABLE') || (has('QUERY_TIMEOUT') && attempt < MAX_ATTEMPTS_AFTER_TIMEOUT);
    if (!isRepeated || app.closing.aborted) return result;
    await pause(RETRY_MS, undefined, { signal: app.closing }).catch(() => undefined);
  }
}

/** A client that disconnects before its stream is read never returns the iterator. */
function endWithRequest(context: Context, stream: Results): void {
  const { request } = context as { request?: { signal?: AbortSignal } };
  const end = (): void => void stream.return?.();
  if (request?.signal?.aborted) end();
  else request?.signal?.addEventListener('abort', end, { once: true });
}

interface DeliveryOptions {
  app: App;
  context: RequestContext;
  source: AsyncIterable<unknown>;
  key: string;
  execute: (event: unknown) => Promise<ExecutionResult>;
  credential: Credential;
}

/** Hands live events to the transport without the stream, if both can. */
function deliverPastIterators(options: DeliveryOptions): void {
  const { app, context, source, key, execute, credential } = options;
  const { receive, viewer } = context;
  if (!receive || !viewer || !('deliverTo' in source)) return;
  const group: GroupOptions = { key, execute, isAllowed: createKeyCheck(app, viewer) };
  (source as EventStream).deliverTo((fallBehind) => {
    let isOpen = true;
    const sink = joinGroup(app, group, {
      refuse: credential.end,
      fallBehind,
      receive(messages) {
        if (!isOpen) return;
        if (credential.hasEnded()) credential.end();
        else if (!receive(messages)) fallBehind(messages.firstCursor);
      },
    });
    return {
      take: sink.take,
      end() {
        isOpen = false;
        sink.end();
      },
    };
  });
}

const brokenOff = new WeakSet<object>();

/** Whether a result is the last of a stream that a failure of this server has ended. */
export function isBrokenOff(result: object): boolean {
  return brokenOff.has(result);
}

function failure(context: RequestContext, error: unknown): ExecutionResult {
  return { errors: [toGraphQLError(error, context.requestId, context.app.log)] };
}

/**
 * Passes results on until the key or token ends: at its expiry, and as soon as this process hears
 * that the key was revoked. As that message may be lost, the credential is also read again before a
 * result is sent, at most every 15 seconds. A failure becomes the last result, since an error thrown
 * on would end a socket with everything that runs on it.
 */
function untilCredentialEnds(
  context: RequestContext,
  results: Results,
  credential: Credential,
): Repeater<ExecutionResult> {
  return new Repeater<ExecutionResult>(async (push, stop) => {
    credential.onEnd(() => {
      const message = 'The API key or access token has expired or was revoked.';
      void push(failure(context, new RequestError('UNAUTHENTICATED', message)));
      stop();
    });
    // Releases the loop below, which may wait for the next result.
    void stop.then(() => results.return?.());
    const isAllowed = createKeyCheck(context.app, context.viewer);
    try {
      for await (const result of results) {
        if (credential.hasEnded()) return credential.end();
        if (!(await isAllowed())) return credential.end();
        await push(result);
      }
    } catch (error) {
      if (credential.hasEnded()) return;
      const last = failure(context, error);
      brokenOff.add(last);
      void push(last);
    } finally {
      credential.stopWatching();
      stop();
    }
  });
}

interface Credential {
  hasEnded(): boolean;
  /** Calls the listener once, when the credential ends, or now if it has. */
  onEnd(listener: () => void): void;
  end(): void;
  stopWatching(): void;
}

/** Watches for the expiry of the credential and for its revocation. */
function watchCredential(app: App, { viewer }: RequestContext): Credential {
  let ended = false;
  let listener: (() => void) | null = null;
  const end = (): void => {
    if (ended) return;
    ended = true;
    listener?.();
  };
  let stopWatching = (): void => undefined;
  if (viewer) {
    const stopListening = app.bus.subscribe(API_KEY_REVOKED_TOPIC, (apiKeyId) => {
      if (apiKeyId === viewer.apiKeyId) end();
    });
    const lifetime =
      (viewer.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) - app.now().getTime();
    const expiry = lifetime <= MAX_TIMEOUT_MS ? setTimeout(end, Math.max(0, lifetime)) : undefined;
    expiry?.unref();
    stopWatching = () => {
      clearTimeout(expiry);
      stopListening();
    };
  }
  return {
    hasEnded: () => ended || (viewer?.expiresAt !== undefined && viewer.expiresAt <= app.now()),
    onEnd(called) {
      listener = called;
      if (ended) called();
    },
    end,
    stopWatching: () => stopWatching(),
  };
}

/**
 * Whether the API key is still accepted; the database is asked at most every 15 seconds, and again until
 * it answers. Subscribers that share a key may have tokens with different expiries, so those do not count.
 */
function createKeyCheck(app: App, viewer: Viewer | null): () => Promise<boolean> {
  let checkedAt = Date.now();
  return async () => {
    if (!viewer || Date.now() - checkedAt <= RECHECK_MS) return true;
    for (;;) {
      try {
        const isAllowed = await isKeyUsable(app, viewer.apiKeyId);
        checkedAt = Date.now();
        return isAllowed;
      } catch (error) {
        if (!isDatabaseUnavailable(error) || app.closing.aborted) throw error;
        app.failures.record('checkApiKey', error, {
          message: 'Could not check the API key of subscribers; their events wait',
        });
        await pause(RETRY_MS, undefined, { signal: app.closing }).catch(() => undefined);
      }
    }
  };
}
