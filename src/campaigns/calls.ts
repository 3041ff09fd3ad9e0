/** Connects campaigns to `calls/`: the owner of their calls, its listener, and revoking claims. */
import type { App, Tx } from '../app.ts';
import type { CallListener } from '../calls/listeners.ts';
import {
  hasReleasedCallsOf,
  releasedCallsOf,
  revokeClaims,
} from '../calls/placement/owned-calls.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { requestCampaignRun } from './dispatch/wake.ts';
import { runCampaignsJob } from './jobs.ts';

/** Owner of the calls that campaigns queue. */
export const CALL_OWNER = 'campaigns';

/**
 * Requests a run when a campaign's call ends, or any call that held a slot, since a campaign may use the free slot.
 * Registered by `start.ts`.
 */
export const campaignCallListener: CallListener = {
  callEnded(app, { call, heldSlot }) {
    if (heldSlot || call.owner === CALL_OWNER) requestCampaignRun(app);
  },
  async claimsReleased(app, owners) {
    if (owners.has(CALL_OWNER))
      await app.jobs.enqueue(app.db, runCampaignsJob, {}, { group: null });
  },
  ownedCallsDue(app) {
    const now = app.now();
    // Not all pending contacts of a due campaign may be called; then the next run sets when it is due again.
    return Prisma.sql`
      SELECT organization_id, least(max_concurrent_calls - calling_count, pending_count) AS calls
      FROM campaigns
      WHERE next_dispatch_at <= ${now}::timestamptz AND status IN ('SCHEDULED', 'ACTIVE')
        AND calling_count < max_concurrent_calls
      UNION ALL
      SELECT organization_id, 1 FROM ${releasedCallsOf(CALL_OWNER)} AS released
      WHERE ${hasReleasedCallsOf(CALL_OWNER)}
        AND (place_not_before IS NULL OR place_not_before <= ${now}::timestamptz)`;
  },
};

/** Enqueues a run of all campaigns, which starts after the commit. */
export async function enqueueRun(app: App, tx: Tx): Promise<void> {
  await app.jobs.enqueue(tx, runCampaignsJob, {}, { group: null });
}

/**
 * Revokes the claims of calls that were not sent yet, so that the next cycle decides about them again. The caller
 * holds the locks of the campaigns.
 */
export async function revokeCampaignClaims(tx: Tx, campaignIds: readonly string[]): Promise<void> {
  const open = await tx.$queryRaw<{ id: string }[]>`
    SELECT call_id AS id FROM campaign_attempts
    WHERE campaign_id = ANY(${[...campaignIds]}::uuid[]) AND outcome_recorded_at IS NULL`;
  await revokeClaims(
    tx,
    open.map(({ id }) => id),
  );
}
