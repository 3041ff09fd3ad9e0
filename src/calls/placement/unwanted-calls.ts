/** Ends calls to people who were added to the do-not-call list when their phone was about to ring. */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { FailedItems } from '../../infra/jobs/failed-items.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { hangUp, requestEnd } from '../updates/end.ts';
import { ON_DO_NOT_CALL_LIST } from './dial-block-reasons.ts';

const BATCH = 200;
const UNDER_WAY = Prisma.sql`ended_at IS NULL AND end_requested_at IS NULL
  AND direction = 'OUTBOUND' AND placement IN ('CLAIMED', 'SENDING', 'UNKNOWN', 'ACCEPTED')`;

/** Calls whose end could not be requested; held back so that they do not block the others. */
const failedCallsOf = perInstance((_app: App) => new FailedItems());

/** SQL condition: whether there is a call that may have to be ended. */
export function hasActiveOutboundCalls(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM calls WHERE ${UNDER_WAY})`;
}

/**
 * Ends calls whose number was added to the do-not-call list before they were answered. Later requests are not sent,
 * since the statement that uses their claim checks the list. Claims used before the entry was committed are visible
 * here, since this runs after the commit.
 */
export async function endUnwantedCalls(app: App): Promise<void> {
  const unwanted = await app.rows.$queryRaw<{ id: string }[]>`
    SELECT id FROM calls c
    WHERE ${UNDER_WAY}
      AND (answered_at IS NULL OR answered_at > now() - interval '10 minutes')
      AND EXISTS (SELECT 1 FROM do_not_call_entries e
        WHERE e.organization_id = c.organization_id
          AND e.phone_number = ANY(phone_number_forms(c.phone_number))
          AND (c.answered_at IS NULL OR e.created_at < c.answered_at))
      AND id <> ALL(${failedCallsOf(app).ids()}::uuid[])
    ORDER BY id LIMIT ${BATCH}`;
  for (const { id } of unwanted) {
    try {
      const after = await requestEnd(app, id, ON_DO_NOT_CALL_LIST);
      // In the background, so that the other calls do not wait for the hang-up.
      if (after.status === 'IN_PROGRESS') app.background('hangUp', () => hangUp(app, after));
    } catch (error) {
      failedCallsOf(app).add(id);
      app.failures.record('endUnwantedCall', error, {
        level: 'error',
        message: 'Could not end a call to a number on the do-not-call list; will retry',
        callId: id,
      });
    }
  }
}
