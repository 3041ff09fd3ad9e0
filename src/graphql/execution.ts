/** What happens around every operation, on all transports: limits, idempotency, errors. */
import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  executeSubscriptionEvent,
  type GraphQLError,
  getOperationAST,
  mapSourceToResponseEvent,
  OperationTypeNode,
  validateSubscriptionArgs,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { API_KEY_REVOKED_TOPIC, isStillAllowed } from '../organizations/service.ts';
import { type Context, freshExecution } from './context.ts';
import { toDocumentError, toGraphQLError } from './errors.ts';
import { once } from './idempotency.ts';

/** What the context has beside, for this file only. */
export interface RequestContext extends Context {
  /** From the header or from `extensions.idempotencyKey`. */
  readonly idempotencyKey: string | null;
}

const RECHECK_MS = 15_000;
/** What `setTimeout` can take. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function executionPlugin(app: App): Plugin<RequestContext> {
  const allow = createRateLimit(app);

  function translate<R extends { errors?: readonly GraphQLError[] }>(
    result: R,
    context: Context,
  ): R {
    if (!result.errors) return result;
    const errors = result.errors.map((error) => toGraphQLError(error, context.requestId, app.log));
    return { ...result, errors };
  }

  return {
    onValidate() {
      return ({ result, setResult }) =>
        setResult([...result].map((error) => toDocumentError(error as GraphQLError)));
    },
    onExecute({ args, executeFn, setExecuteFn }) {
      setExecuteFn(async (executionArgs: ExecutionArgs) => {
        const context = executionArgs.contextValue as RequestContext;
        try {
          allow(context);
          const operation = getOperationAST(args.document as DocumentNode, args.operationName);
          const { viewer, idempotencyKey } = context;
          if (operation?.operation !== OperationTypeNode.MUTATION || !idempotencyKey || !viewer) {
            return translate((await executeFn(executionArgs)) as ExecutionResult, context);
          }
          return await once(
            app,
            viewer,
            {
              key: idempotencyKey,
              document: executionArgs.document,
              operationName: executionArgs.operationName,
              variables: executionArgs.variableValues,
            },
            async (idempotentViewer) =>
              translate(
                (await executeFn({
                  ...executionArgs,
                  contextValue: { ...context, viewer: idempotentViewer },
                })) as ExecutionResult,
                context,
              ),
          );
        } catch (error) {
          return { errors: [toGraphQLError(error, context.requestId, app.log)] };
        }
      });
    },
    onSubscribe({ setSubscribeFn }) {
      setSubscribeFn(async (subscriptionArgs: ExecutionArgs) => {
        const context = subscriptionArgs.contextValue as RequestContext;
        try {
          allow(context);
          const validated = validateSubscriptionArgs(subscriptionArgs);
          if (!('schema' in validated)) return translate({ errors: validated }, context);
          const source = await createSourceEventStream(validated);
          if ('errors' in source) return translate(source, context);
          const events = whileAllowed(app, context, source as AsyncIterable<unknown>);
          const results = mapSourceToResponseEvent(validated, events, async (eventArgs) =>
            translate(
              await executeSubscriptionEvent({
                ...eventArgs,
                contextValue: freshExecution(context),
              }),
              context,
            ),
          );
          return withLastWord(results as AsyncIterable<ExecutionResult>, (error) => ({
            errors: [toGraphQLError(error, context.requestId, app.log)],
          }));
        } catch (error) {
          return { errors: [toGraphQLError(error, context.requestId, app.log)] };
        }
      });
    },
  };
}

/**
 * Ends a stream when the key or token behind it ends: at its expiry, and as soon as this process
 * hears that the key was revoked. Should it not hear (Redis is away), the credential is also looked
 * at again before something is sent, at most every 15 seconds.
 */
function whileAllowed(
  app: App,
  context: Context,
  source: AsyncIterable<unknown>,
): AsyncIterableIterator<unknown> {
  const iterator = source[Symbol.asyncIterator]();
  const { viewer } = context;
  let ended = false;
  let checkedAt = Date.now();
  const end = (): void => {
    ended = true;
    void iterator.return?.();
  };
  const stopListening = app.bus.subscribe(API_KEY_REVOKED_TOPIC, (apiKeyId) => {
    if (apiKeyId === viewer?.apiKeyId) end();
  });
  const lifetime = (viewer?.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) - app.now().getTime();
  const expiry = lifetime <= LONGEST_TIMER_MS ? setTimeout(end, Math.max(0, lifetime)) : undefined;
  expiry?.unref();
  const release = (): void => {
    clearTimeout(expiry);
    stopListening();
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const result = await iterator.next();
      if (!result.done && viewer && !ended) {
        const expired = viewer.expiresAt !== undefined && viewer.expiresAt <= app.now();
        if (expired || Date.now() - checkedAt > RECHECK_MS) {
          checkedAt = Date.now();
          if (expired || !(await isStillAllowed(app, viewer))) end();
        }
      }
      if (result.done || ended) release();
      if (ended) {
        throw new RequestError('UNAUTHENTICATED', 'The API key or access token has ended.');
      }
      return result;
    },
    async return() {
      release();
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

/**
 * What breaks a stream is told in a last result. Thrown on, it would end a socket with all that runs
 * on it, and an event stream without a word.
 */
function withLastWord(
  results: AsyncIterable<ExecutionResult>,
  tell: (error: unknown) => ExecutionResult,
): AsyncIterableIterator<ExecutionResult> {
  const iterator = results[Symbol.asyncIterator]();
  let broken = false;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (broken) return { done: true, value: undefined };
      try {
        return await iterator.next();
      } catch (error) {
        broken = true;
        return { done: false, value: tell(error) };
      }
    },
    async return() {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** Operations per organization and minute in this process, in fixed windows. */
function createRateLimit(app: App): (context: Context) => void {
  const limit = app.config.RATE_LIMIT_PER_MINUTE;
  let window = 0;
  let counts = new Map<string, number>();
  return ({ viewer }) => {
    if (limit === 0 || !viewer) return;
    const minute = Math.floor(Date.now() / 60_000);
    if (minute !== window) {
      window = minute;
      counts = new Map();
    }
    const count = (counts.get(viewer.organizationId) ?? 0) + 1;
    counts.set(viewer.organizationId, count);
    if (count <= limit) return;
    const resetAt = new Date((minute + 1) * 60_000);
    throw new RequestError(
      'RATE_LIMITED',
      `More than ${limit} operations in a minute. Go on at ${resetAt.toISOString()}.`,
      {
        limit,
        resetAt: resetAt.toISOString(),
        retryAfterSeconds: Math.max(1, Math.ceil((resetAt.getTime() - Date.now()) / 1000)),
      },
    );
  };
}
