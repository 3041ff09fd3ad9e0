/** What was decided about a campaign contact, kept for whoever asks why it was or was not called. */
import type { Tx } from '../app.ts';
import type { CampaignDecisionOutcome } from '../generated/prisma/enums.ts';

export interface NewDecision {
  campaignContactId: string;
  at: Date;
  outcome: CampaignDecisionOutcome;
  /** One sentence for people. */
  reason: string;
  callId?: string;
}

/** Any number of decisions in one statement, within the transaction that carries them out. */
export async function recordDecisions(tx: Tx, decisions: readonly NewDecision[]): Promise<void> {
  if (decisions.length === 0) return;
  await tx.$executeRaw`
    INSERT INTO campaign_decisions (organization_id, campaign_contact_id, at, outcome, reason, call_id)
    SELECT cc.organization_id, cc.id, d.at, d.outcome::"CampaignDecisionOutcome", d.reason, d."callId"
    FROM jsonb_to_recordset(${JSON.stringify(decisions)}::jsonb)
      AS d("campaignContactId" uuid, at timestamptz, outcome text, reason text, "callId" uuid)
    JOIN campaign_contacts cc ON cc.id = d."campaignContactId"`;
}
