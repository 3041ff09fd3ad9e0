/** Transactions that change many contacts. */
import { type App, shareConnections, type Tx } from '../app.ts';
import { LONG_TRANSACTION } from '../infra/database/long-transaction.ts';
import { createKeyedLimiter } from '../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../infra/per-instance.ts';
import type { Viewer } from '../viewer.ts';

const limiterOf = perInstance(({ config }: App) => {
  const { writing } = shareConnections(config.DATABASE_CONNECTIONS);
  return createKeyedLimiter(Math.max(1, Math.floor(writing / 4)));
});

/**
 * Runs a transaction that may take minutes. Only few of an organization run at a time, so that the others, and the
 * jobs that place and end calls, have connections.
 */
export function inBulkTransaction<Result>(
  app: App,
  { organizationId }: Pick<Viewer, 'organizationId'>,
  work: (tx: Tx) => Promise<Result>,
): Promise<Result> {
  return limiterOf(app).run(organizationId, () => app.db.$transaction(work, LONG_TRANSACTION));
}
