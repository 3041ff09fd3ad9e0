/** Executes each event once for all subscribers that get the same result. */
import { setTimeout as pause } from 'node:timers/promises';
import {
  type ExecutionArgs,
  type ExecutionResult,
  executeSubscriptionEvent,
  type ValidatedSubscriptionArgs,
} from 'graphql';
import type { App } from '../../app.ts';
import type { RequestErrorCode } from '../../errors.ts';
import { freshExecution } from '../../graphql/context.ts';
import { executeEvent, showsOnlyEvent } from '../../graphql/executor/query-executor.ts';
import { isDatabaseUnavailable } from '../../infra/database/database-errors.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { isKeyUsable } from '../../organizations/api-keys.ts';
import type { Viewer } from '../../viewer.ts';
import type { RequestContext } from '../authentication.ts';
import { translateErrors } from '../execution/results.ts';
import { withCursor } from '../http/event-stream.ts';
import { ExecutionTurn } from './execution-turn.ts';
import type { GroupOptions } from './live-delivery.ts';

const RECHECK_MS = 15_000;
const RETRY_MS = 500;
const MAX_ATTEMPTS_AFTER_TIMEOUT = 3;

type MaybePromise<T> = T | Promise<T>;

/**
 * Executes events for all subscribers whose results have the same key. Keeps the arguments of
 * the first subscriber, so that they need not be kept for each.
 */
export function createEventExecution(
  app: App,
  { contextValue, ...args }: ExecutionArgs,
  { contextValue: _, ...validated }: ValidatedSubscriptionArgs,
): GroupOptions {
  const context = commonContext(contextValue as RequestContext);
  const results = new WeakMap<object, MaybePromise<ExecutionResult>>();
  /** Events that read too much together are executed one by one, so that they do not take the memory together either. */
  const alone = createKeyedLimiter(1);
  /** Whether events are expected to read from the database: if the latest did, and at first by the selection. */
  let isReading = !showsOnlyEvent(args, validated.variableValues);

  function executeOnce(
    event: unknown,
    contextValue: RequestContext,
  ): MaybePromise<ExecutionResult> {
    const changed = { rootValue: event, contextValue };
    const result =
      executeEvent({ ...args, ...changed }, validated.variableValues) ??
      executeSubscriptionEvent({ ...validated, ...changed });
    const translate = (each: ExecutionResult) => translateErrors(app, context, each);
    return result instanceof Promise
      ? result.then(translate)
      : translate(result as ExecutionResult);
  }

  /** Executes an event again while the database is unavailable. `first` is the result of its execution. */
  async function executeWhenAvailable(
    event: object,
    first: Promise<ExecutionResult>,
    turn: ExecutionTurn,
  ): Promise<ExecutionResult> {
    const result = await repeatUntilAvailable(app, first, () =>
      turn.run(async () => executeOnce(event, freshExecution(context))),
    );
    // The next subscriber executes the event again.
    if (result.errors) results.delete(event);
    return withCursor(result, event);
  }

  /** Starts the execution of all events, so that they share reads. `running` are their first attempts. */
  function start(events: readonly object[], turn: ExecutionTurn) {
    const together = freshExecution(context);
    const running: Promise<ExecutionResult>[] = [];
    let count = 0;
    const executeAgain = async (event: object, first: MaybePromise<ExecutionResult>) => {
      const result = await first;
      // Which events are executed together is not for the subscriber to choose.
      if (count === 1 || !hasError(result, 'QUERY_TOO_COSTLY')) return result;
      return alone.run('', async () => executeOnce(event, freshExecution(context)));
    };
    const executeNew = (event: object): MaybePromise<ExecutionResult> => {
      count += 1;
      const first = executeOnce(event, together);
      if (!(first instanceof Promise) && !first.errors) return withCursor(first, event);
      const attempt = executeAgain(event, first);
      running.push(attempt);
      return executeWhenAvailable(event, attempt, turn);
    };
    const started = events.map((event) => {
      const known = results.get(event);
      if (known) return known;
      try {
        const result = executeNew(event);
        results.set(event, result);
        // Whoever awaits the results, in order, reports the error then.
        if (result instanceof Promise) result.catch(() => results.delete(event));
        return result;
      } catch (error) {
        return rejected(error);
      }
    });
    if (count > 0) isReading = running.length > 0;
    return { started, running };
  }

  return {
    isAllowed: createKeyCheck(app, context.viewer),
    execute(events) {
      const turn = new ExecutionTurn(app, context.viewer);
      if (!isReading) return start(events, turn).started;
      return new Promise((resolve, reject) => {
        const startInTurn = async (): Promise<void> => {
          const { started, running } = start(events, turn);
          resolve(started);
          await Promise.allSettled(running);
        };
        turn.run(startInTurn).catch(reject);
      });
    },
  };
}

/** Awaited later. */
function rejected(error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(() => undefined);
  return promise;
}

/** The context without what belongs only to the first subscriber, except for the request ID in the log. */
function commonContext({ files: _, receive: __, ...context }: RequestContext): RequestContext {
  return { ...context, address: null, idempotencyKey: null };
}

function hasError({ errors }: ExecutionResult, code: RequestErrorCode): boolean {
  return errors?.some(({ extensions }) => extensions.code === code) ?? false;
}

/**
 * Repeats the execution while the database is unavailable, because an event whose result was sent counts as delivered.
 * After a read timeout, which a lock in the database may have caused, it is repeated only a few times.
 */
async function repeatUntilAvailable(
  app: App,
  first: Promise<ExecutionResult>,
  execute: () => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  let result = await first;
  for (let attempt = 1; ; attempt += 1) {
    const isRepeated =
      hasError(result, 'UNAVAILABLE') ||
      (hasError(result, 'QUERY_TIMEOUT') && attempt < MAX_ATTEMPTS_AFTER_TIMEOUT);
    if (!isRepeated || app.closing.aborted) return result;
    await pause(RETRY_MS, undefined, { signal: app.closing }).catch(() => undefined);
    result = await execute();
  }
}

/**
 * Whether the API key is still accepted. Queries the database at most every 15 seconds, and repeats the query until
 * it succeeds. Ignores the expiry of tokens, which may differ between subscribers that share a key.
 */
function createKeyCheck(app: App, viewer: Viewer | null): () => MaybePromise<boolean> {
  let checkedAt = Date.now();
  let checking: Promise<boolean> | null = null;

  async function check({ apiKeyId }: Viewer): Promise<boolean> {
    for (;;) {
      try {
        const isAllowed = await isKeyUsable(app, apiKeyId);
        if (isAllowed) checkedAt = Date.now();
        return isAllowed;
      } catch (error) {
        if (!isDatabaseUnavailable(error) || app.closing.aborted) throw error;
        app.failures.record('checkApiKey', error, {
          message: 'Could not check the API key of subscribers; their events wait',
        });
        await pause(RETRY_MS, undefined, { signal: app.closing }).catch(() => undefined);
      }
    }
  }

  return () => {
    if (!viewer || Date.now() - checkedAt <= RECHECK_MS) return true;
    checking ??= check(viewer).finally(() => {
      checking = null;
    });
    return checking;
  };
}
