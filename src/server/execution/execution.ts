/** Admission, idempotency and error translation for operations on all transports. */
import { randomUUIDv7 } from 'node:crypto';
import {
  type ExecutionArgs,
  type ExecutionResult,
  execute as executeOperation,
  GraphQLError,
  type ParseOptions,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { App } from '../../app.ts';
import {
  toDocumentError,
  toGraphQLError,
  toResponseError,
  toSyntaxError,
} from '../../graphql/errors/errors.ts';
import { executeQuery } from '../../graphql/executor/query-executor.ts';
import { currentCursor } from '../../live/log.ts';
import type { RequestContext, Services } from '../authentication.ts';
import { parseWithinLimits } from '../limits/document-limits.ts';
import { VariableErrors } from '../limits/variable-errors.ts';
import { type Results, runSubscription } from '../subscriptions/subscriptions.ts';
import { type AdmittedOperation, admit } from './admission.ts';
import { isCostly, runCostly } from './costly-queries.ts';
import { runIdempotent } from './idempotency.ts';
import { isMutation } from './operation.ts';
import { translateErrors } from './results.ts';

/** Executes a query or mutation if it is admitted. Never rejects. */
export type Execute = (args: ExecutionArgs) => Promise<ExecutionResult>;

export function createExecute({ app, rateLimits }: Services): Execute {
  return async (args) => {
    const { files } = args.contextValue as RequestContext;
    files?.hold();
    try {
      const admitted = await admit(args, rateLimits);
      return await run(app, args, admitted);
    } catch (error) {
      return refusal(app, args, error);
    } finally {
      files?.release();
    }
  };
}

/** Starts a subscription if it is admitted. Never rejects. */
export type Subscribe = (args: ExecutionArgs) => Promise<Results | ExecutionResult>;

export function createSubscribe({ app, rateLimits, concurrency }: Services): Subscribe {
  return async (args) => {
    try {
      await admit(args, rateLimits);
      const { viewer } = args.contextValue as RequestContext;
      const release = viewer ? await concurrency.openSubscription(viewer) : () => undefined;
      return await runSubscription(app, args, release);
    } catch (error) {
      return refusal(app, args, error);
    }
  };
}

function refusal(app: App, args: ExecutionArgs, error: unknown): ExecutionResult {
  const { requestId } = args.contextValue as RequestContext;
  const errors = error instanceof VariableErrors ? error.errors : [error];
  return { errors: errors.map((each) => toGraphQLError(each, requestId, app.log)) };
}

/** For queries and mutations; subscriptions do not reach yoga. */
export function executionPlugin({ app }: Services, execute: Execute): Plugin<RequestContext> {
  return {
    onParse({ setParseFn }) {
      setParseFn((text: string, options?: ParseOptions) => {
        try {
          return parseWithinLimits(text, options);
        } catch (error) {
          if (error instanceof GraphQLError) throw toSyntaxError(error);
          throw toGraphQLError(error, randomUUIDv7(), app.log);
        }
      });
    },
    onResultProcess({ result, setResult }) {
      if (Array.isArray(result) || !('errors' in result) || !result.errors) return;
      setResult({ ...result, errors: result.errors.map(toResponseError) });
    },
    onValidate() {
      return ({ result, setResult }) =>
        setResult([...result].map((error) => toDocumentError(error as GraphQLError)));
    },
    onExecute({ setExecuteFn }) {
      setExecuteFn(execute);
    },
  };
}

async function run(
  app: App,
  args: ExecutionArgs,
  admitted: AdmittedOperation | null,
): Promise<ExecutionResult> {
  const shape = admitted?.shape ?? null;
  const context = args.contextValue as RequestContext;
  const { viewer, idempotencyKey, isDisconnected } = context;
  const executeAs = async (changes: Partial<RequestContext>): Promise<ExecutionResult> => {
    const executed = { ...args, contextValue: { ...context, ...changes } };
    // Not yoga's executor, which treats an object with a field `then` as a promise.
    const result = await (executeQuery(executed) ?? executeOperation(executed));
    return translateErrors(app, context, result);
  };

  if (isMutation(shape) && idempotencyKey && viewer) {
    const { document, operationName, variableValues: variables } = args;
    const operation = { key: idempotencyKey, document, operationName, variables, isDisconnected };
    return runIdempotent(app, viewer, operation, (idempotent) => executeAs({ viewer: idempotent }));
  }
  const executeQueryOrMutation = async (): Promise<ExecutionResult> => {
    if (viewer && shape && [...shape.rootFields.values()].includes('eventCursor')) {
      // Read first, so that no change is lost between the cursor and the snapshot.
      return executeAs({ snapshotCursor: await currentCursor(app, viewer.organizationId) });
    }
    return executeAs({});
  };
  if (!viewer || !admitted || !isCostly(admitted)) return executeQueryOrMutation();
  return runCostly(app, { ...context, viewer }, executeQueryOrMutation);
}
