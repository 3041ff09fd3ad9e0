import type { Tx } from '../app.ts';
import type { Call } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';
import { appendEvents, type NewEvent } from '../live/log.ts';

/**
 * Appends events that change nothing about a call's status, with the next numbers of the call. The
 * caller has locked the call, passes it as it is now, and calls `announceEvents` after the commit.
 */
export async function appendCallEvents(
  tx: Tx,
  call: Call,
  events: readonly { type: NewEvent['type']; data: Record<string, Json>; at?: Date }[],
): Promise<void> {
  if (events.length === 0) return;
  const { eventCount } = await tx.call.update({
    where: { id: call.id },
    data: { eventCount: { increment: events.length } },
    select: { eventCount: true },
  });
  await appendEvents(
    tx,
    call.organizationId,
    events.map(({ type, data, at }, index) => ({
      type,
      callId: call.id,
      agentId: call.agentId,
      ...(call.campaignId ? { campaignId: call.campaignId } : {}),
      sequence: eventCount - events.length + index + 1,
      data: { status: call.status, endReason: call.endReason, ...data },
      ...(at ? { at } : {}),
    })),
  );
}
