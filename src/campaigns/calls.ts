/** Connects campaigns to `calls/`: the owner of their calls, its listener, and revoking claims. */
import type { App, Tx } from '../app.ts';
import type { CallListener } from '../calls/listeners.ts';
import { revokeClaims } from '../calls/placement/owned-calls.ts';
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
