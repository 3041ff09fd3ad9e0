/** Records decisions: the reasons why contacts were or were not called. */
import type { Tx } from '../../app.ts';
import type { CampaignDecision } from '../../generated/prisma/client.ts';
import { newId } from '../../infra/ids.ts';

export type NewDecision = Omit<
  CampaignDecision,
  'id' | 'campaignContactId' | 'callId' | 'until' | 'at'
> &
  Partial<Pick<CampaignDecision, 'campaignContactId' | 'callId' | 'until'>>;

/** Writes decisions, all with the same time. */
export async function recordDecisions(
  tx: Tx,
  at: Date,
  decisions: readonly NewDecision[],
): Promise<void> {
  if (decisions.length === 0) return;
  await tx.campaignDecision.createMany({
    data: decisions.map((decision) => ({ ...decision, id: newId(), at })),
  });
}
