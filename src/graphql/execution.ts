/** What happens around every operation, on all transports: limits, idempotency, errors. */
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  executeSubscriptionEvent,
  GraphQLError,
  mapSourceToResponseEvent,
  OperationTypeNode,
  type ParseOptions,
  validateSubscriptionArgs,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { newId } from '../infra/ids.ts';
import { currentCursor } from '../live/log.ts';
import { API_KEY_REVOKED_TOPIC, isStillAllowed } from '../organizations/service.ts';
import { type Context, freshExecution } from './context.ts';
import { asAnswered, toDocumentError, toGraphQLError, toSyntaxError } from './errors.ts';
import { once } from './idempotency.ts';
import { checkCost, parseWithinLimits, shapeOf } from './limits.ts';
import type { Rates } from './rates.ts';

/** What the context has beside, for this file only. */
export interface RequestContext extends Context {
  /** From the header or from `extensions.idempotencyKey`. */
  readonly idempotencyKey: string | null;
}

const RECHECK_MS = 15_000;
/** What `setTimeout` can take. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function executionPlugin(app: App, rates: Rates): Plugin<RequestContext> {
  /** Counts it, and refuses what is too much before anything of it runs. */
  function admit(args: ExecutionArgs): ReturnType<typeof shapeOf> {
    const { viewer } = args.contextValue as RequestContext;
    const shape = shapeOf(args);
    const isMutation = shape?.operation.operation === OperationTypeNode.MUTATION;
    if (viewer) rates.countOperations(viewer, isMutation ? shape.rootFields.size : 1);
    if (shape) checkCost(shape, args);
    return shape;
  }

  function translate<R extends { errors?: readonly GraphQLError[] }>(
    result: R,
    context: Context,
  ): R {
    if (!result.errors) return result;
    const errors = result.errors.map((error) => toGraphQLError(error, context.requestId, app.log));
    return { ...result, errors };
  }

  return {
    onParse({ setParseFn }) {
      setParseFn((text: string, options?: ParseOptions) => {
        try {
          return parseWithinLimits(text, options);
        } catch (error) {
          if (error instanceof GraphQLError) throw toSyntaxError(error);
          throw toGraphQLError(error, newId(), app.log);
        }
      });
    },
    // What the server says of a body that is not JSON quotes the body.
    onResultProcess({ result, setResult }) {
      if (Array.isArray(result) || !('errors' in result) || !result.errors) return;
      setResult({ ...result, errors: result.errors.map(asAnswered) });
    },
    onValidate() {
      return ({ result, setResult }) =>
        setResult([...result].map((error) => toDocumentError(error as GraphQLError)));
    },
    onExecute({ executeFn, setExecuteFn }) {
      setExecuteFn(async (executionArgs: ExecutionArgs) => {
        const context = executionArgs.contextValue as RequestContext;
        try {
          const shape = admit(executionArgs);
          const { viewer, idempotencyKey } = context;
          const isMutation = shape?.operation.operation === OperationTypeNode.MUTATION;
          if (!isMutation || !idempotencyKey || !viewer) {
            // Before everything else that is read, so that no change falls between the two.
            const contextValue =
              viewer && [...(shape?.rootFields.values() ?? [])].includes('eventCursor')
                ? { ...context, snapshotCursor: await currentCursor(app, viewer.organizationId) }
                : context;
            return translate(
              (await executeFn({ ...executionArgs, contextValue })) as ExecutionResult,
              context,
            );
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
        let release = (): void => undefined;
        try {
          admit(subscriptionArgs);
          if (context.viewer) release = rates.openSubscription(context.viewer);
          // A client that leaves before its stream was taken up never ends it.
          const { request } = context as { request?: { signal?: AbortSignal } };
          request?.signal?.addEventListener('abort', () => release(), { once: true });
          const validated = validateSubscriptionArgs(subscriptionArgs);
          if (!('schema' in validated)) {
            release();
            return translate({ errors: validated }, context);
          }
          const source = await createSourceEventStream(validated);
          if ('errors' in source) {
            release();
            return translate(source, context);
          }
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
          const tell = (error: unknown): ExecutionResult => ({
            errors: [toGraphQLError(error, context.requestId, app.log)],
          });
          return withLastWord(results as AsyncIterable<ExecutionResult>, tell, release);
        } catch (error) {
          release();
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
  ended: () => void,
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
        const result = await iterator.next();
        if (result.done) ended();
        return result;
      } catch (error) {
        broken = true;
        ended();
        return { done: false, value: tell(error) };
      }
    },
    async return() {
      ended();
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}
