/**
 * Calls owned by another feature: the owner alone decides when each is claimed, claimed again or withdrawn, and this
 * module writes the rows. Placement and everything after it are the same for all calls.
 */
import type { App, Tx } from '../../app.ts';
import { type Agent, Prisma } from '../../generated/prisma/client.ts';
import type { NewEvent } from '../../live/log.ts';
import type { CallerId } from '../../phone-numbers/service.ts';
import { lockCalls } from '../lock.ts';
import { metadataEntries } from '../metadata.ts';
import { durationLimitsOf } from '../settings.ts';
import { createdEvent } from '../updates/append-events.ts';
import { CANCELLATION } from '../updates/end.ts';
import { buildLocalEnd, whetherCalled } from '../updates/local-end.ts';
import { writeUpdates } from '../updates/write-updates.ts';
import { hasQueuedCall } from './limits.ts';
import { claimedColumns, moveCalls } from './placement-state.ts';

/** An outbound call to be placed on behalf of a feature. */
export interface OwnedCall {
  id: string;
  organizationId: string;
  agent: Pick<Agent, 'id' | 'recordingEnabled' | 'maxDuration' | 'joinTimeout'>;
  /** Caller ID. */
  number: CallerId;
  /** Number to dial, E.164. */
  phoneNumber: string;
  campaignId: string;
  campaignContactId: string;
  variables: Record<string, string>;
  metadata: Record<string, string>;
  /**
   * The request is not sent at or after this instant, and is abandoned once the calling window margin has also passed.
   * Null: no deadline.
   */
  placeBefore: Date | null;
}

/**
 * Builds the INSERT of calls with their claims, for a statement of the caller, and the events to append, by
 * organization. The caller holds the limits (`lockLimits`), inserts no more calls than they allow, and passes the
 * calls to `placeClaimedCalls` after the commit.
 */
export function claimedCallsToInsert(
  app: App,
  owner: string,
  calls: readonly OwnedCall[],
): { insert: Prisma.Sql; events: Map<string, NewEvent[]> } {
  const createdAt = app.now();
  const rows = calls.map((call) => {
    const { maxDurationSeconds, joinTimeoutSeconds } = durationLimitsOf(call.agent, {});
    return {
      id: call.id,
      organization_id: call.organizationId,
      agent_id: call.agent.id,
      phone_number_id: call.number.id,
      campaign_id: call.campaignId,
      campaign_contact_id: call.campaignContactId,
      medium: call.number.provider,
      phone_number: call.phoneNumber,
      own_number: call.number.phoneNumber,
      variables: call.variables,
      metadata: call.metadata,
      metadata_entries: metadataEntries(call.metadata),
      recording_enabled: call.agent.recordingEnabled,
      max_duration_seconds: maxDurationSeconds,
      join_timeout_seconds: joinTimeoutSeconds,
      place_before: call.placeBefore,
    };
  });
  const claim = claimedColumns(Prisma.sql`place_before`);
  const insert = Prisma.sql`
    INSERT INTO calls (id, organization_id, agent_id, phone_number_id, owner, campaign_id,
      campaign_contact_id, direction, medium, status, phone_number, own_number, variables, metadata,
      metadata_entries, recording_enabled, max_duration_seconds, join_timeout_seconds,
      ${claim.columns}, event_count, created_at, updated_at)
    SELECT id, organization_id, agent_id, phone_number_id, ${owner}, campaign_id,
      campaign_contact_id, 'OUTBOUND', medium::"CallMedium", 'CREATED', phone_number, own_number,
      variables, metadata, metadata_entries, recording_enabled, max_duration_seconds,
      join_timeout_seconds, ${claim.values}, 1, ${createdAt}::timestamptz, ${createdAt}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, organization_id uuid, agent_id uuid, phone_number_id uuid, campaign_id uuid,
      campaign_contact_id uuid, medium text, phone_number text, own_number text, variables jsonb,
      metadata jsonb, metadata_entries text[], recording_enabled boolean, max_duration_seconds int,
      join_timeout_seconds int, place_before timestamptz)`;
  const events = new Map<string, NewEvent[]>();
  for (const { id, organizationId, agent, campaignId } of calls) {
    const event = createdEvent({
      id,
      agentId: agent.id,
      campaignId,
      status: 'CREATED',
      createdAt,
    });
    append(events, organizationId, event);
  }
  return { insert, events };
}

/**
 * SQL relation: calls of an owner whose claim was released because Ultravox was full, asked for a pause or could not
 * be reached, the deadline had passed, the claim was revoked, or its process died. Nobody was called. Columns are
 * those of `calls`.
 */
export function releasedCallsOf(owner: string): Prisma.Sql {
  return Prisma.sql`(SELECT * FROM calls WHERE placement = 'QUEUED' AND owner = ${owner})`;
}

/** SQL condition: whether an owner has released calls to decide about. */
export function hasReleasedCallsOf(owner: string): Prisma.Sql {
  return hasQueuedCall(Prisma.sql`placement = 'QUEUED' AND owner = ${owner}`);
}

/** Whether an owner has released calls to decide about. */
export async function hasReleasedCalls({ db }: App, owner: string): Promise<boolean> {
  const [row] = await db.$queryRaw<{ found: boolean }[]>`
    SELECT ${hasReleasedCallsOf(owner)} AS found`;
  return row?.found ?? false;
}

/**
 * Claims released calls again, each with a new deadline. The caller holds the limits.
 *
 * @returns the IDs of the claimed calls; the others have ended in the meantime.
 */
export async function claimReleasedCalls(
  tx: Tx,
  calls: readonly { id: string; placeBefore: Date | null }[],
): Promise<string[]> {
  if (calls.length === 0) return [];
  const rows = calls.map(({ id, placeBefore }) => ({ id, place_before: placeBefore }));
  const claimed = await moveCalls(
    tx,
    { transition: 'CLAIM', placeBefore: Prisma.sql`r.place_before` },
    {
      from: Prisma.sql`jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS r(id uuid, place_before timestamptz)`,
      where: Prisma.sql`calls.id = r.id`,
    },
  );
  return claimed.map(({ id }) => id);
}

/**
 * Revokes the claims of calls that were not sent yet: their requests are not sent, and the claims are released to the
 * owner. Calls that were already sent are left alone.
 */
export async function revokeClaims(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const where = Prisma.sql`id IN (
    SELECT id FROM calls WHERE id = ANY(${[...ids]}::uuid[]) AND placement = 'CLAIMED'
    ORDER BY id FOR NO KEY UPDATE)`;
  await moveCalls(tx, { transition: 'RELEASE', notBefore: null }, { where });
}

/**
 * Cancels released calls for good. Calls that were claimed again or have ended in the meantime are left alone.
 *
 * @returns the IDs of the withdrawn calls, and the events to append, by organization.
 */
export async function withdrawCalls(
  app: App,
  tx: Tx,
  ids: readonly string[],
): Promise<{ ids: Set<string>; events: Map<string, NewEvent[]> }> {
  const calls = await lockCalls(
    tx,
    Prisma.sql`id = ANY(${[...ids]}::uuid[]) AND placement = 'QUEUED'`,
  );
  const updates = calls.map((call) => {
    const failure = `The call was withdrawn before it was dialed. ${whetherCalled(app, call)}`;
    return buildLocalEnd(app, call, { ...CANCELLATION, failure });
  });
  await writeUpdates(
    app,
    tx,
    updates.map((update) => ({ ...update, events: [] })),
  );
  const events = new Map<string, NewEvent[]>();
  for (const { after, events: own } of updates) {
    for (const event of own) append(events, after.organizationId, event);
  }
  return { ids: new Set(calls.map(({ id }) => id)), events };
}

function append(events: Map<string, NewEvent[]>, organizationId: string, event: NewEvent): void {
  const list = events.get(organizationId);
  if (list) list.push(event);
  else events.set(organizationId, [event]);
}
