/** A call as it appears in webhooks and exports: as JSON, with public IDs and enum values. */
import type { Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';

/** Relations that a record needs besides the columns of the call. */
export const CALL_RECORD = {
  agent: { select: { id: true, name: true } },
  campaign: { select: { id: true, name: true } },
  campaignContact: { select: { id: true, clientId: true, firstName: true, lastName: true } },
  analysis: true,
} satisfies Prisma.CallInclude;

export type CallRecordRow = Prisma.CallGetPayload<{ include: typeof CALL_RECORD }>;

export function callRecord(row: CallRecordRow) {
  const { answeredAt, endedAt, agent, campaign, campaignContact } = row;
  return {
    id: publicId('Call', row.id),
    status: row.status,
    endReason: row.endReason,
    failure: row.failure,
    direction: row.direction,
    medium: row.medium,
    phoneNumber: row.phoneNumber,
    fromNumber: fromNumberOf(row),
    toNumber: toNumberOf(row),
    agent: { id: publicId('Agent', agent.id), name: agent.name },
    campaign: campaign && { id: publicId('Campaign', campaign.id), name: campaign.name },
    campaignContact: campaignContact && {
      ...campaignContact,
      id: publicId('CampaignContact', campaignContact.id),
    },
    variables: row.variables,
    metadata: row.metadata,
    recordingEnabled: row.recordingEnabled,
    createdAt: row.createdAt.toISOString(),
    ringingAt: iso(row.ringingAt),
    answeredAt: iso(answeredAt),
    endedAt: iso(endedAt),
    durationSeconds: durationOf(row),
    billingStatus: row.billingStatus,
    billedDurationSeconds: row.billedDurationSeconds,
    cost: moneyOf(row),
    answeredBy: row.answeredBy,
    summary: row.summary,
    shortSummary: row.shortSummary,
    outcome: verdictOf(row),
    extractedData: row.analysis?.extractedData ?? null,
  };
}

type Parties = Pick<CallRecordRow, 'direction' | 'phoneNumber' | 'ownNumber'>;

/** Phone number of the caller. */
export function fromNumberOf({ direction, phoneNumber, ownNumber }: Parties): string | null {
  return direction === 'OUTBOUND' ? ownNumber : phoneNumber;
}

/** Phone number of the callee. */
export function toNumberOf({ direction, phoneNumber, ownNumber }: Parties): string | null {
  return direction === 'OUTBOUND' ? phoneNumber : ownNumber;
}

/** Cost of the call; null until it is billed. */
export function moneyOf({
  costAmount,
  costCurrency,
}: Pick<CallRecordRow, 'costAmount' | 'costCurrency'>): {
  amount: string;
  currency: string;
} | null {
  return costAmount && costCurrency
    ? { amount: costAmount.toString(), currency: costCurrency }
    : null;
}

/** Seconds from the answer to the end; null unless the call was answered and has ended. */
export function durationOf({
  answeredAt,
  endedAt,
}: Pick<CallRecordRow, 'answeredAt' | 'endedAt'>): number | null {
  return answeredAt && endedAt ? (endedAt.getTime() - answeredAt.getTime()) / 1000 : null;
}

export function verdictOf({
  analysis,
}: Pick<CallRecordRow, 'analysis'>): { success: boolean; reason: string | null } | null {
  if (!analysis || analysis.success === null) return null;
  return { success: analysis.success, reason: analysis.reason };
}

/** The form of an instant in records, exports and webhooks. */
export function iso(at: Date | null): string | null {
  return at?.toISOString() ?? null;
}
