/** Decides from the earlier calls to a waiting contact whether it may be called again. */
import { type CallWithFinality, finalCallsOf, isFinal } from '../../calls/placement/final-call.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import {
  type ContactEnd,
  ENDED_CALL,
  type EndedCall,
  endIfNotRetried,
  type RetrySettings,
} from './outcome.ts';

export interface EarlierCalls {
  /** The call of its last counted attempt; null before the first. */
  lastCall: EndedCall | null;
  /** Calls that may have been final, including those of attempts that do not count. Newest first. */
  finalCalls: readonly CallWithFinality[];
}

/** SQL columns of `EarlierCalls`. `attempts`: number of attempts before the one being decided about. */
export function earlierCallsOf(contactId: Prisma.Sql, attempts: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`(
      SELECT to_jsonb(last) FROM (
        SELECT ${ENDED_CALL} FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
        WHERE a.campaign_contact_id = ${contactId} AND a.attempt = ${attempts}
          AND k.ended_at IS NOT NULL
      ) last
    ) AS "lastCall", ${finalCallsOf(contactId)} AS "finalCalls"`;
}

/**
 * How a contact that is due ends if the campaign, with its current settings, would not call it again, and the call that
 * shows this. Null if it may be called.
 *
 * @param attempts number of attempts before the one being decided about.
 */
export function endIfNotCallable(
  campaign: RetrySettings,
  attempts: number,
  { lastCall, finalCalls }: EarlierCalls,
): (ContactEnd & { callId: string }) | null {
  const end = lastCall && endIfNotRetried(campaign, attempts, lastCall);
  if (end) return { ...end, callId: lastCall.id };
  const final = finalCalls.find((call) => isFinal(call, campaign));
  return final ? { status: 'FAILED', reason: 'NOT_RETRIED', callId: final.id } : null;
}
