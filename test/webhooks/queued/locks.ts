/** Sessions that wait for a lock on the tables of webhooks. */
import type { Tx } from '../../../src/app.ts';
import { blockedSessions, sessionOf, untilBlocked } from '../../support/locks.ts';
import { server } from '../support.ts';

/**
 * @returns the session that waits to insert messages while `tx` locks their table. A sweep of expired
 *   messages may wait for the same lock.
 */
export async function waitingWriter(tx: Tx): Promise<number> {
  const [writer] = await untilBlocked(server.app.db, {
    holder: await sessionOf(tx),
    statement: 'INSERT INTO%webhook_messages%',
  });
  return writer!;
}

/** Whether a statement waits for a lock that this session holds. */
export async function isWaitedFor(holder: number, statement: string): Promise<boolean> {
  return (await blockedSessions(server.app.db, { holder, statement })).length > 0;
}
