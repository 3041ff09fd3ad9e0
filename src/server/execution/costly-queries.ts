/** Runs a few costly queries of an organization at a time, since they keep the process busy. */
import { OperationTypeNode } from 'graphql';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { isKeyUsable } from '../../organizations/api-keys.ts';
import type { Viewer } from '../../viewer.ts';
import type { RequestContext } from '../authentication.ts';
import { LIMITS } from '../limits/limits.ts';
import type { AdmittedOperation } from './admission.ts';
import { checkAwaited } from './awaited.ts';

const COSTLY = 2_500;

const limiterOf = perInstance((_app: App) => createKeyedLimiter(LIMITS.costlyQueries.max));

/** Introspection reads nothing, and its result is kept. */
export function isCostly({ shape, cost }: AdmittedOperation): boolean {
  if (shape.operation.operation !== OperationTypeNode.QUERY || cost <= COSTLY) return false;
  return [...shape.rootFields.values()].some((name) => !name.startsWith('__'));
}

/**
 * Runs a costly query once few others of its organization run.
 *
 * @throws LimiterTimeoutError if it waited longer than a statement may take. RequestError if it need not or may not run
 *   anymore after the wait.
 */
export function runCostly<Result>(
  app: App,
  { viewer, isDisconnected }: RequestContext & { viewer: Viewer },
  execute: () => Promise<Result>,
): Promise<Result> {
  let hasWaited = false;
  const executeIfAllowed = async (): Promise<Result> => {
    if (hasWaited) {
      checkAwaited(app, isDisconnected);
      await checkCredential(app, viewer);
    }
    return execute();
  };
  const maxWaitMs = app.config.READ_TIMEOUT_SECONDS * 1000;
  // Begins synchronously if there is no wait.
  const result = limiterOf(app).run(viewer.organizationId, executeIfAllowed, maxWaitMs);
  hasWaited = true;
  return result;
}

async function checkCredential(app: App, { apiKeyId, expiresAt }: Viewer): Promise<void> {
  const hasExpired = expiresAt !== undefined && expiresAt <= app.now();
  if (!hasExpired && (await isKeyUsable(app, apiKeyId))) return;
  throw new RequestError(
    'UNAUTHENTICATED',
    'The API key or access token has expired or was revoked.',
  );
}
