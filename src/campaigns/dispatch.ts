/**
 * Decides which contacts of running campaigns are called now, and reserves their attempts.
 *
 * One transaction, under the lock that also holds single calls to Ultravox's limits, checks
 * everything once more (state, window, the day's cap, concurrency of the campaign and of the
 * organization, do-not-call, agent, number), and writes the decisions, the calls and the counters
 * with one statement for each table, however many campaigns and contacts there are. The calls are
 * dialled after it has committed. Any process may run this at any time.
 */
import type { App, Tx } from '../app.ts';
import { holdLimits } from '../calls/limits.ts';
import { placeClaimed, wakePlacementAt } from '../calls/placement.ts';
import { boundsOf } from '../calls/settings.ts';
import { type Agent, type PhoneNumber, Prisma } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import { announceEvents, appendEvents, type NewEvent } from '../live/log.ts';
import { type CampaignWindow, windowOf } from './campaign-window.ts';
import { type NewDecision, recordDecisions } from './decisions.ts';
import { anyNumber, numberOfBlock, takeTurns } from './rotation.ts';
import { nextInside, windowsFor } from './window.ts';
import { insideWindow } from './window-sql.ts';
import { dateOf, dayAt } from './zone.ts';

/** Campaigns looked at in one transaction; the rest has its turn in the next. */
const MAX_CAMPAIGNS = 500;
/** Contacts taken in one transaction. */
const MAX_CONTACTS = 100;
/** When nothing tells how long a hindrance lasts. */
const LOOK_AGAIN_SECONDS = 60;

interface DueCampaign extends CampaignWindow {
  id: string;
  organization_id: string;
  agent_id: string;
  phone_rotation_strategy: 'RANDOM' | 'SEQUENTIAL' | 'ROUND_ROBIN';
  rotation_index: number;
  total_contacts: number;
  inside: boolean;
  local_day: string;
  /** How many more may be called: by its concurrency, and by the day's cap. */
  slots: number;
  left_today: number | null;
}

interface DueContact {
  id: string;
  campaign_id: string;
  phone_number: string;
  first_name: string | null;
  last_name: string | null;
  email: string | null;
  timezone: string | null;
  metadata: Record<string, string>;
  position: number;
  attempts: number;
  do_not_call: boolean;
  zone_open: boolean;
}

/** Dispatches as long as there is something to dispatch and room for it. */
export async function dispatchCampaigns(app: App): Promise<void> {
  for (let pass = 0; pass < 100 && !app.closing.aborted; pass += 1) {
    const result = await dispatchOnce(app);
    for (const organizationId of result.organizations) announceEvents(app, organizationId);
    placeClaimed(app, result.callIds);
    if (result.retryAt) wakePlacementAt(app, result.retryAt);
    if (!result.again) return;
  }
}

interface Pass {
  callIds: string[];
  organizations: string[];
  /** Whether another pass may find more to do at once. */
  again: boolean;
  retryAt: Date | null;
}

async function dispatchOnce(app: App): Promise<Pass> {
  return app.db.$transaction(async (tx) => {
    const limits = await holdLimits(app, tx);
    const nothing = { callIds: [], organizations: [], again: false };
    if (limits.free <= 0) {
      const waiting = await anyDue(app, tx);
      return { ...nothing, retryAt: waiting ? limits.freeAt : null };
    }
    const campaigns = await dueCampaigns(app, tx);
    if (campaigns.length === 0) return { ...nothing, retryAt: null };

    const hindered = await hinder(app, tx, campaigns);
    const open = campaigns.filter(({ id }) => !hindered.has(id));
    const contacts = await dueContacts(app, tx, open, Math.min(limits.free, MAX_CONTACTS));
    const byCampaign = new Map(open.map((campaign) => [campaign.id, campaign]));

    await skipDoNotCall(
      app,
      tx,
      contacts.filter((contact) => contact.do_not_call),
    );
    const closed = contacts.filter((contact) => !contact.do_not_call && !contact.zone_open);
    await waitForZones(app, tx, closed, byCampaign);
    const callable = contacts.filter((contact) => !contact.do_not_call && contact.zone_open);
    const allowed = await withinOrganizations(app, tx, callable, byCampaign);
    const { callIds, organizations } = await reserve(app, tx, allowed, byCampaign);
    await setNextDispatch(app, tx, open);
    const again = hindered.size > 0 || contacts.length > 0;
    return { callIds, organizations, again, retryAt: null };
  });
}

async function anyDue(app: App, tx: Tx): Promise<boolean> {
  const [row] = await tx.$queryRaw<{ due: boolean }[]>`
    SELECT EXISTS (SELECT 1 FROM campaigns WHERE status = 'ACTIVE' AND next_dispatch_at <= ${app.now()}) AS due`;
  return row?.due ?? false;
}

/** Locks the campaigns that have somebody due, those that have waited longest first. */
async function dueCampaigns(app: App, tx: Tx): Promise<DueCampaign[]> {
  const now = app.now();
  return tx.$queryRaw<DueCampaign[]>`
    WITH due AS (
      SELECT * FROM campaigns
      WHERE status = 'ACTIVE' AND next_dispatch_at <= ${now}
      ORDER BY next_dispatch_at, id LIMIT ${MAX_CAMPAIGNS} FOR UPDATE SKIP LOCKED
    )
    SELECT c.id, c.organization_id, c.agent_id, c.phone_rotation_strategy::text,
      c.rotation_index, c.total_contacts, c.timezone, c.working_days, c.start_minute, c.end_minute,
      ${insideWindow({
        at: Prisma.sql`${now}::timestamptz`,
        timezone: Prisma.sql`c.timezone`,
        workingDays: Prisma.sql`c.working_days`,
        startMinute: Prisma.sql`c.start_minute`,
        endMinute: Prisma.sql`c.end_minute`,
      })} AS inside,
      to_char(${now}::timestamptz AT TIME ZONE c.timezone, 'YYYY-MM-DD') AS local_day,
      greatest(c.max_concurrent_calls - c.calling_contacts, 0) AS slots,
      CASE WHEN c.max_calls_per_day IS NULL THEN NULL
        ELSE greatest(c.max_calls_per_day - coalesce(d.attempts, 0), 0) END AS left_today
    FROM due c
    LEFT JOIN campaign_days d ON d.campaign_id = c.id
      AND d.day = (${now}::timestamptz AT TIME ZONE c.timezone)::date
    ORDER BY c.next_dispatch_at, c.id`;
}

/**
 * Puts off the campaigns that may call nobody now, each until it may again. A campaign without room
 * of its own is put off until one of its calls ends, which calls it up.
 */
async function hinder(
  app: App,
  tx: Tx,
  campaigns: readonly DueCampaign[],
): Promise<Set<string>> {
  const now = Temporal.Instant.fromEpochMilliseconds(app.now().getTime());
  const agents = await tx.agent.findMany({
    where: { id: { in: campaigns.map(({ agent_id }) => agent_id) } },
    select: { id: true, status: true, ultravoxId: true, deletedAt: true },
  });
  const ready = new Set(
    agents
      .filter((agent) => agent.status === 'ACTIVE' && agent.ultravoxId && !agent.deletedAt)
      .map(({ id }) => id),
  );
  const putOff: { id: string; until: string | null }[] = [];
  for (const campaign of campaigns) {
    const window = windowOf(campaign);
    if (!campaign.inside) {
      putOff.push({ id: campaign.id, until: nextInside(window, now)?.toString() ?? null });
    } else if (campaign.left_today === 0) {
      const tomorrow = Temporal.PlainDate.from(campaign.local_day)
        .add({ days: 1 })
        .toZonedDateTime(campaign.timezone)
        .toInstant();
      putOff.push({ id: campaign.id, until: nextInside(window, tomorrow)?.toString() ?? null });
    } else if (campaign.slots === 0) {
      putOff.push({ id: campaign.id, until: null });
    } else if (!ready.has(campaign.agent_id)) {
      putOff.push({ id: campaign.id, until: now.add({ seconds: LOOK_AGAIN_SECONDS }).toString() });
    }
  }
  if (putOff.length > 0) {
    await tx.$executeRaw`
      UPDATE campaigns c SET next_dispatch_at = p.until
      FROM jsonb_to_recordset(${JSON.stringify(putOff)}::jsonb) AS p(id uuid, until timestamptz)
      WHERE c.id = p.id`;
  }
  return new Set(putOff.map(({ id }) => id));
}

/** Locks the contacts that are due, as many as each campaign may call, each campaign in turn. */
async function dueContacts(
  app: App,
  tx: Tx,
  campaigns: readonly DueCampaign[],
  limit: number,
): Promise<DueContact[]> {
  if (campaigns.length === 0) return [];
  const now = app.now();
  const allowances = campaigns.map(({ id, slots, left_today }) => ({
    id,
    n: Math.min(slots, left_today ?? slots, limit),
  }));
  return tx.$queryRaw<DueContact[]>`
    WITH chosen AS (
      SELECT t.id, t.turn FROM jsonb_to_recordset(${JSON.stringify(allowances)}::jsonb) AS a(id uuid, n int)
      CROSS JOIN LATERAL (
        SELECT cc.id, row_number() OVER (ORDER BY cc.next_eligible_at, cc.position) AS turn
        FROM campaign_contacts cc
        WHERE cc.campaign_id = a.id AND cc.next_eligible_at <= ${now}
        ORDER BY cc.next_eligible_at, cc.position LIMIT a.n
      ) t
      ORDER BY t.turn LIMIT ${limit}
    )
    SELECT cc.id, cc.campaign_id, cc.phone_number, cc.first_name, cc.last_name, cc.email,
      cc.timezone, cc.metadata, cc.position, cc.attempts,
      EXISTS (SELECT 1 FROM do_not_call_entries n
        WHERE n.organization_id = cc.organization_id AND n.phone_number = cc.phone_number) AS do_not_call,
      (cc.timezone IS NULL OR ${insideWindow({
        at: Prisma.sql`${now}::timestamptz`,
        timezone: Prisma.sql`coalesce(cc.timezone, c.timezone)`,
        workingDays: Prisma.sql`c.working_days`,
        startMinute: Prisma.sql`c.start_minute`,
        endMinute: Prisma.sql`c.end_minute`,
      })}) AS zone_open
    FROM chosen ch
    JOIN campaign_contacts cc ON cc.id = ch.id
    JOIN campaigns c ON c.id = cc.campaign_id
    WHERE cc.next_eligible_at <= ${now}
    ORDER BY ch.turn, cc.next_eligible_at
    FOR UPDATE OF cc SKIP LOCKED`;
}

async function skipDoNotCall(app: App, tx: Tx, contacts: readonly DueContact[]): Promise<void> {
  if (contacts.length === 0) return;
  const reason = 'The number is on the do-not-call list.';
  await tx.$executeRaw`
    WITH skipped AS (
      UPDATE campaign_contacts SET status = 'SKIPPED', skip_reason = ${reason},
        next_eligible_at = NULL, updated_at = now()
      WHERE id = ANY(${contacts.map(({ id }) => id)}::uuid[]) RETURNING campaign_id
    )
    UPDATE campaigns c SET pending_contacts = c.pending_contacts - s.n,
      skipped_contacts = c.skipped_contacts + s.n, updated_at = now()
    FROM (SELECT campaign_id, count(*)::int AS n FROM skipped GROUP BY 1) s WHERE c.id = s.campaign_id`;
  await decide(app, tx, contacts, 'SKIPPED', () => reason);
}

/** A contact with a zone of its own waits until both zones allow a call. */
async function waitForZones(
  app: App,
  tx: Tx,
  contacts: readonly DueContact[],
  campaigns: ReadonlyMap<string, DueCampaign>,
): Promise<void> {
  if (contacts.length === 0) return;
  const now = Temporal.Instant.fromEpochMilliseconds(app.now().getTime());
  const until = new Map<string, string | null>();
  for (const contact of contacts) {
    const window = windowOf(campaigns.get(contact.campaign_id)!);
    const next = nextInside(windowsFor(window, contact.timezone), now);
    until.set(contact.id, next?.toString() ?? null);
  }
  const waits = contacts.filter(({ id }) => until.get(id));
  const never = contacts.filter(({ id }) => !until.get(id));
  await tx.$executeRaw`
    UPDATE campaign_contacts cc SET next_eligible_at = w.until, updated_at = now()
    FROM jsonb_to_recordset(${JSON.stringify(waits.map(({ id }) => ({ id, until: until.get(id) })))}::jsonb)
      AS w(id uuid, until timestamptz)
    WHERE cc.id = w.id`;
  await decide(app, tx, waits, 'WAITS', ({ timezone }) => `It is not a time to call in ${timezone}.`);
  if (never.length === 0) return;
  const reason = 'There is no time at which both the campaign’s zone and the contact’s allow a call.';
  await tx.$executeRaw`
    WITH skipped AS (
      UPDATE campaign_contacts SET status = 'SKIPPED', skip_reason = ${reason},
        next_eligible_at = NULL, updated_at = now()
      WHERE id = ANY(${never.map(({ id }) => id)}::uuid[]) RETURNING campaign_id
    )
    UPDATE campaigns c SET pending_contacts = c.pending_contacts - s.n,
      skipped_contacts = c.skipped_contacts + s.n, updated_at = now()
    FROM (SELECT campaign_id, count(*)::int AS n FROM skipped GROUP BY 1) s WHERE c.id = s.campaign_id`;
  await decide(app, tx, never, 'SKIPPED', () => reason);
}

/** As many of each organization as its own concurrency has room for. */
async function withinOrganizations(
  app: App,
  tx: Tx,
  contacts: readonly DueContact[],
  campaigns: ReadonlyMap<string, DueCampaign>,
): Promise<DueContact[]> {
  if (contacts.length === 0) return [];
  const active = await tx.$queryRaw<{ organization_id: string; n: number }[]>`
    SELECT organization_id, count(*)::int AS n FROM calls
    WHERE placing_at IS NOT NULL AND ended_at IS NULL GROUP BY organization_id`;
  const left = new Map(
    active.map(({ organization_id, n }) => [
      organization_id,
      app.config.ORGANIZATION_MAX_CONCURRENT_CALLS - n,
    ]),
  );
  return contacts.filter(({ campaign_id }) => {
    const organizationId = campaigns.get(campaign_id)!.organization_id;
    const room = left.get(organizationId) ?? app.config.ORGANIZATION_MAX_CONCURRENT_CALLS;
    left.set(organizationId, room - 1);
    return room > 0;
  });
}

interface Reservation {
  contact: DueContact;
  campaign: DueCampaign;
  number: PhoneNumber;
  callId: string;
}

/** Writes the calls, each already claimed, and what they change in contacts, campaigns and days. */
async function reserve(
  app: App,
  tx: Tx,
  contacts: readonly DueContact[],
  campaigns: ReadonlyMap<string, DueCampaign>,
): Promise<{ callIds: string[]; organizations: string[] }> {
  if (contacts.length === 0) return { callIds: [], organizations: [] };
  const now = app.now();
  const reservations = await chooseNumbers(app, tx, contacts, campaigns);
  if (reservations.length === 0) return { callIds: [], organizations: [] };
  const agents = await tx.agent.findMany({
    where: { id: { in: [...new Set(reservations.map(({ campaign }) => campaign.agent_id))] } },
  });
  const agentById = new Map(agents.map((agent) => [agent.id, agent]));

  await tx.call.createMany({
    data: reservations.map((reservation) => callRow(app, reservation, agentById, now)),
  });
  await tx.$executeRaw`
    UPDATE campaign_contacts SET status = 'CALLING', attempts = attempts + 1, called_at = ${now},
      next_eligible_at = NULL, updated_at = now()
    WHERE id = ANY(${reservations.map(({ contact }) => contact.id)}::uuid[])`;
  await tx.$executeRaw`
    WITH taken AS (
      SELECT campaign_id, count(*)::int AS n FROM campaign_contacts
      WHERE id = ANY(${reservations.map(({ contact }) => contact.id)}::uuid[]) GROUP BY 1
    ), counted AS (
      UPDATE campaigns c SET pending_contacts = c.pending_contacts - t.n,
        calling_contacts = c.calling_contacts + t.n, rotation_index = c.rotation_index + t.n,
        updated_at = now()
      FROM taken t WHERE c.id = t.campaign_id
      RETURNING c.organization_id, c.id, c.timezone, t.n
    )
    INSERT INTO campaign_days (organization_id, campaign_id, day, attempts)
    SELECT organization_id, id, (${now}::timestamptz AT TIME ZONE timezone)::date, n FROM counted
    ON CONFLICT (campaign_id, day) DO UPDATE SET attempts = campaign_days.attempts + EXCLUDED.attempts`;
  await recordDecisions(
    tx,
    reservations.map(({ contact, campaign, number, callId }) => ({
      organizationId: campaign.organization_id,
      campaignContactId: contact.id,
      at: now,
      outcome: 'DIALLED' as const,
      reason: `Attempt ${contact.attempts + 1}, from ${number.phoneNumber}.`,
      callId,
    })),
  );
  const organizations = [...new Set(reservations.map(({ campaign }) => campaign.organization_id))];
  // In the same order in every process: each of them holds a counter until the end.
  for (const organizationId of organizations.sort()) {
    const own = reservations.filter(({ campaign }) => campaign.organization_id === organizationId);
    await appendEvents(tx, organizationId, own.map((reservation) => createdEvent(reservation, now)));
  }
  return { callIds: reservations.map(({ callId }) => callId), organizations };
}

function createdEvent({ callId, campaign }: Reservation, at: Date): NewEvent {
  return {
    type: 'CALL_CREATED',
    callId,
    agentId: campaign.agent_id,
    campaignId: campaign.id,
    sequence: 1,
    data: { status: 'CREATED', endReason: null },
    at,
  };
}

function callRow(
  app: App,
  { contact, campaign, number, callId }: Reservation,
  agents: ReadonlyMap<string, Agent>,
  now: Date,
): Prisma.CallCreateManyInput {
  const agent = agents.get(campaign.agent_id);
  if (!agent) throw new Error(`Campaign ${campaign.id} has no agent`);
  const { maxDurationSeconds, joinTimeoutSeconds } = boundsOf(agent, {});
  const names = {
    ...(contact.first_name ? { first_name: contact.first_name } : {}),
    ...(contact.last_name ? { last_name: contact.last_name } : {}),
    ...(contact.email ? { email: contact.email } : {}),
  };
  return {
    id: callId,
    organizationId: campaign.organization_id,
    agentId: campaign.agent_id,
    campaignId: campaign.id,
    campaignContactId: contact.id,
    phoneNumberId: number.id,
    direction: 'OUTBOUND',
    medium: number.provider,
    status: 'CREATED',
    phoneNumber: contact.phone_number,
    ownNumber: number.phoneNumber,
    variables: { phone_number: contact.phone_number, ...contact.metadata, ...names },
    recordingEnabled: agent.recordingEnabled,
    maxDurationSeconds,
    joinTimeoutSeconds,
    eventCount: 1,
    ...claimColumns(app, joinTimeoutSeconds),
    createdAt: now,
  };
}

/**
 * The caller ID of each contact: one of the campaign's numbers, or without any one of the agent's.
 * A campaign that has none left is paused and says so; its contacts wait.
 */
async function chooseNumbers(
  app: App,
  tx: Tx,
  contacts: readonly DueContact[],
  campaigns: ReadonlyMap<string, DueCampaign>,
): Promise<Reservation[]> {
  const ids = [...new Set(contacts.map(({ campaign_id }) => campaign_id))];
  const own = await tx.campaignPhoneNumber.findMany({
    where: { campaignId: { in: ids } },
    include: { phoneNumber: true },
    orderBy: { position: 'asc' },
  });
  const outbound = await tx.phoneNumber.findMany({
    where: {
      outboundAgentId: { in: ids.map((id) => campaigns.get(id)!.agent_id) },
      releasedAt: null,
    },
    orderBy: { id: 'asc' },
  });
  const reservations: Reservation[] = [];
  const without: string[] = [];
  for (const id of ids) {
    const campaign = campaigns.get(id)!;
    const listed = own.filter(({ campaignId }) => campaignId === id);
    const pool =
      listed.length > 0
        ? listed.map(({ phoneNumber }) => phoneNumber).filter(({ releasedAt }) => !releasedAt)
        : outbound.filter((number) => number.outboundAgentId === campaign.agent_id);
    const mine = contacts.filter(({ campaign_id }) => campaign_id === id);
    if (pool.length === 0) without.push(id);
    else reservations.push(...withNumbers(campaign, mine, pool));
  }
  if (without.length > 0) {
    await pauseCampaigns(app, tx, without, 'It has no number left to call from.');
  }
  return reservations;
}

function withNumbers(
  campaign: DueCampaign,
  contacts: readonly DueContact[],
  pool: readonly PhoneNumber[],
): Reservation[] {
  const numbers = pool.length;
  const turns = takeTurns({ numbers, next: campaign.rotation_index, calls: contacts.length });
  return contacts.map((contact, index) => {
    const callId = newId();
    const place = {
      RANDOM: () => anyNumber({ numbers, seed: callId }),
      ROUND_ROBIN: () => turns.indexes[index]!,
      SEQUENTIAL: () =>
        numberOfBlock({ numbers, position: contact.position, contacts: campaign.total_contacts }),
    }[campaign.phone_rotation_strategy]();
    return { contact, campaign, number: pool[place]!, callId };
  });
}

/** When each campaign has to be looked at again: as soon as somebody of it is due. */
async function setNextDispatch(
  app: App,
  tx: Tx,
  campaigns: readonly DueCampaign[],
): Promise<void> {
  await tx.$executeRaw`
    UPDATE campaigns c SET next_dispatch_at = (
      SELECT min(cc.next_eligible_at) FROM campaign_contacts cc WHERE cc.campaign_id = c.id
        AND cc.next_eligible_at IS NOT NULL)
    WHERE c.id = ANY(${campaigns.map(({ id }) => id)}::uuid[]) AND c.status = 'ACTIVE'`;
}

async function decide(
  app: App,
  tx: Tx,
  contacts: readonly DueContact[],
  outcome: NewDecision['outcome'],
  reason: (contact: DueContact) => string,
): Promise<void> {
  const at = app.now();
  await recordDecisions(
    tx,
    contacts.map((contact) => ({
      campaignContactId: contact.id,
      at,
      outcome,
      reason: reason(contact),
    })),
  );
}
