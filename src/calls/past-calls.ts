/** Adds calls that ended before this server knew of them, for the demo. They have no events and no transcript. */
import type { App } from '../app.ts';
import type { AnsweredBy, CallEndReason } from '../generated/prisma/enums.ts';
import { newId } from '../infra/ids.ts';
import { costOf } from './billing.ts';
import { metadataEntries } from './metadata.ts';
import { reportedCall } from './placement/placement-state.ts';

export interface PastCall {
  id: string;
  createdAt: Date;
  phoneNumber: string;
  endReason: CallEndReason;
  /** Null if the call was not answered. */
  talkSeconds: number | null;
  answeredBy: AnsweredBy | null;
}

/** Skips calls that have been added before. */
export async function addPastCalls(
  app: App,
  from: { organizationId: string; agentId: string; phoneNumberId: string; ownNumber: string },
  calls: readonly PastCall[],
): Promise<void> {
  const metadata = { list: 'history' };
  const rows = calls.map(({ createdAt, talkSeconds, ...call }) => {
    const ringingAt = new Date(createdAt.getTime() + 1_000);
    const answeredAt = talkSeconds === null ? null : new Date(ringingAt.getTime() + 6_000);
    const endedAt = new Date((answeredAt ?? ringingAt).getTime() + (talkSeconds ?? 25) * 1000);
    const billedSeconds = Math.ceil((talkSeconds ?? 0) / 6) * 6;
    return {
      ...from,
      ...call,
      direction: 'OUTBOUND' as const,
      medium: 'SIP' as const,
      status: talkSeconds === null ? ('FAILED' as const) : ('COMPLETED' as const),
      ...reportedCall(newId(), createdAt),
      metadata,
      metadataEntries: metadataEntries(metadata),
      maxDurationSeconds: 600,
      joinTimeoutSeconds: 30,
      billingStatus: talkSeconds === null ? ('FREE' as const) : ('BILLED' as const),
      billedDurationSeconds: billedSeconds,
      costAmount: costOf(billedSeconds, app.config.PRICE_PER_MINUTE),
      costCurrency: app.config.PRICE_CURRENCY,
      createdAt,
      ringingAt,
      answeredAt,
      endedAt,
    };
  });
  await app.db.call.createMany({ data: rows, skipDuplicates: true });
}
