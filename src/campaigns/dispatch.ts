/**
 * Decides who is called now. One transaction looks at what is due, asks every question again (state,
 * window, the day's cap, the limits of the campaign, of the organization and of Ultravox, the
 * do-not-call list, agent and numbers), and writes down what it decided: calls that are claimed
 * already, contacts, counters, decisions and events. Dialling comes after the commit.
 *
 * All processes take turns at it by the lock of the limits. Each statement is about all campaigns
 * and contacts at once, so their number does not grow with either. Whatever dies in between leaves
 * claims, which are given back to this dispatcher, or calls that are looked up at Ultravox.
 */
import type { App, Tx } from '../app.ts';
import { holdLimits } from '../calls/limits.ts';
import { claimOf, recallClaims } from '../calls/placement.ts';
import { createdEvent, withdrawCalls } from '../calls/progress.ts';
import { metadataEntries } from '../calls/service.ts';
import { boundsOf } from '../calls/settings.ts';
import { type CampaignContact, Prisma } from '../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../generated/prisma/enums.ts';
import { newId, publicId } from '../infra/ids.ts';
import { appendEventsOf } from '../live/log.ts';
import type { CallerId } from '../phone-numbers/service.ts';
import {
  calledBefore,
  campaignEvent,
  completeFinished,
  EventList,
  type NewDecision,
  recordDecisions,
} from './progress.ts';
import { anyNumber, numberOfBlock, takeTurns as takeNumbers } from './rotation.ts';
import { windowOfCampaign } from './schedule.ts';
import { campaignAfter, isCampaignTerminal } from './status.ts';
import {
  busyLines,
  type DueContact,
  dueContacts,
  MAX_CAMPAIGNS,
  type Turn,
  takeTurns,
  type WaitingCall,
  waitingCalls,
} from './turns.ts';
import { endOfCurrent, isInside, nextInside, windowsFor } from './window.ts';
import { dayAt, intervalsOfDay } from './zone.ts';

/** Contacts that one statement puts off or leaves out. */
const MAX_PUT_OFF = 5_000;

export interface Dispatched {
  /** Claimed calls, to be placed. */
  callIds: string[];
  campaignIds: string[];
  organizationIds: string[];
  /** Whether another pass may find more to do at once. */
  again: boolean;
  /** When the limits may have room again, if it was they that stopped it. */
  roomAt: Date | null;
}

/** What a pass gathers, to be written at its end. */
interface Pass {
  app: App;
  tx: Tx;
  now: Date;
  turns: Map<string, Turn>;
  decisions: NewDecision[];
  events: EventList;
}

interface Dial {
  call: Prisma.CallCreateManyInput & { id: string };
  day: string;
}

interface PutOff {
  turn: Turn;
  timezone: string;
  /** Null when no time ever suits both zones. */
  until: Date | null;
}

/** One pass. The caller announces it and places the calls. */
export async function dispatchCalls(app: App): Promise<Dispatched> {
  return app.db.$transaction(async (tx) => {
    const room = await holdLimits(app, tx);
    // Once it is our turn, for which we may have waited.
    const now = app.now();
    const events = new EventList();
    // Calls that somebody asked for one by one go first.
    const free = Math.max(0, room.free - room.ahead);
    const waiting = await waitingCalls(tx);
    const turns = await takeTurns(app, tx, now, waiting, free, events);
    const pass: Pass = { app, tx, now, turns, decisions: [], events };
    if (turns.size === 0) {
      const stopped = free === 0 || waiting.length > 0;
      return { ...nothing, roomAt: stopped ? room.againAt(0) : null };
    }

    const busy = await busyLines(tx, turns);
    const most = app.config.ORGANIZATION_MAX_CONCURRENT_CALLS;
    const left = (organizationId: string) => most - (busy.get(organizationId) ?? 0);
    const { claimable, withdrawn } = sortWaiting(pass, waiting);
    const reclaimed = await reclaim(pass, claimable, free, busy, left);
    await takeBack(pass, withdrawn);

    const stillFree = free - reclaimed.length;
    const due = stillFree > 0 ? await dueContacts(tx, turns, { busy, most }, stillFree, now) : [];
    const { dials, listed, putOffs } = decide(pass, due);
    await writeDials(pass, dials);
    await skipListed(pass, listed);
    await writePutOffs(pass, putOffs);
    await writeTurns(pass);
    await recordDecisions(tx, now, pass.decisions);
    await completeFinished(tx, [...turns.keys()], now, events);
    await appendEventsOf(tx, events.byOrganization);

    const claimed = reclaimed.length + dials.length;
    const done = claimed + listed.size + putOffs.length + withdrawn.length;
    // As many as fit into a pass: others may be due behind them. They are not due any more, but for
    // those whose organization has no room, which its next end wakes.
    const passedOn = [...turns.values()].filter(
      ({ campaign: { nextDispatchAt, organizationId } }) =>
        nextDispatchAt !== null && nextDispatchAt <= now && left(organizationId) > 0,
    );
    return {
      callIds: [...reclaimed, ...dials.map(({ call }) => call.id)],
      campaignIds: [...turns.keys()],
      organizationIds: [...events.byOrganization.keys()],
      again: claimed < free && (done > 0 || passedOn.length >= MAX_CAMPAIGNS),
      roomAt: claimed >= free ? room.againAt(claimed) : null,
    };
  });
}

const nothing = { callIds: [], campaignIds: [], organizationIds: [], again: false };

/**
 * Which of the calls that were given back may be dialled now, and why the others may not. Their own
 * attempts are among those that slots and the day's cap count.
 */
function sortWaiting(
  { turns, now }: Pass,
  waiting: readonly WaitingCall[],
): {
  claimable: { call: WaitingCall; placeBefore: Date | null }[];
  withdrawn: { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[];
} {
  const claimable: { call: WaitingCall; placeBefore: Date | null }[] = [];
  const withdrawn: { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[] = [];
  for (const call of waiting) {
    const turn = turns.get(call.campaignId);
    if (!turn) continue;
    const reason = whyNotAgain(turn, call, now);
    if (reason) {
      turn.attemptsToday--;
      if (isCampaignTerminal(turn.campaign.status)) turn.dropped++;
      else turn.withdrawn++;
      withdrawn.push({ call, turn, reason });
    } else claimable.push({ call, placeBefore: closes(turn, call.timezone, now) });
  }
  return { claimable, withdrawn };
}

function whyNotAgain(turn: Turn, call: WaitingCall, now: Date): CampaignDecisionReason | null {
  const { gate, campaign } = turn;
  if (!gate) return campaign.status === 'PAUSED' ? 'CAMPAIGN_PAUSED' : 'CAMPAIGN_OVER';
  if (!gate.open) {
    if ('pause' in gate) return 'NO_PHONE_NUMBER';
    if ('fail' in gate) return 'CAMPAIGN_OVER';
    if (gate.hold === 'WINDOW_CLOSED' || gate.hold === 'AGENT_NOT_READY') return gate.hold;
  }
  if (!turn.numbers.some(({ id }) => id === call.phoneNumberId)) return 'NO_PHONE_NUMBER';
  if (campaign.maxCallsPerDay !== null) {
    const today = call.attemptDay?.toISOString().slice(0, 10) === turn.day;
    if (!today || turn.attemptsToday > campaign.maxCallsPerDay) return 'DAILY_CAP_REACHED';
  }
  // Fewer lines than when they were claimed.
  const lines = campaign.callingCount - turn.withdrawn - turn.dropped;
  if (lines > campaign.maxConcurrentCalls) return 'CONCURRENCY_REACHED';
  return isInside(windowsOf(turn, call.timezone), instant(now)) ? null : 'CONTACT_WINDOW_CLOSED';
}

/** Claims again what was given back, oldest first. */
async function reclaim(
  { app, tx }: Pass,
  claimable: readonly { call: WaitingCall; placeBefore: Date | null }[],
  free: number,
  busy: Map<string, number>,
  left: (organizationId: string) => number,
): Promise<string[]> {
  const chosen: { id: string; place_before: Date | null }[] = [];
  for (const { call, placeBefore } of claimable) {
    if (chosen.length === free) break;
    if (left(call.organizationId) <= 0) continue;
    busy.set(call.organizationId, (busy.get(call.organizationId) ?? 0) + 1);
    chosen.push({ id: call.id, place_before: placeBefore });
  }
  if (chosen.length === 0) return [];
  const claimed = await tx.$queryRaw<{ id: string }[]>`
    UPDATE calls SET place_before = r.place_before, ${claimOf(app)}
    FROM jsonb_to_recordset(${JSON.stringify(chosen)}::jsonb) AS r(id uuid, place_before timestamptz)
    WHERE calls.id = r.id AND status = 'CREATED' AND placing_at IS NULL
      AND end_requested_at IS NULL
    RETURNING calls.id`;
  return claimed.map(({ id }) => id);
}

/** Ends calls that were never dialled and may not be now. Their attempts never were. */
async function takeBack(
  { app, tx, now, decisions, events }: Pass,
  withdrawn: readonly { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[],
): Promise<void> {
  if (withdrawn.length === 0) return;
  const taken = await withdrawCalls(
    app,
    tx,
    withdrawn.map(({ call }) => call.id),
  );
  events.addAll(taken.events);
  const rows: { id: string; status: string; next: Date | null; finished: Date | null }[] = [];
  for (const { call, turn, reason } of withdrawn) {
    if (!taken.ids.has(call.id)) {
      // Ended by somebody else meanwhile, who has it settled.
      turn.attemptsToday++;
      if (isCampaignTerminal(turn.campaign.status)) turn.dropped--;
      else turn.withdrawn--;
      continue;
    }
    const { status, organizationId, id: campaignId } = turn.campaign;
    const over = isCampaignTerminal(status);
    rows.push({
      id: call.campaignContactId,
      status: over ? 'CANCELLED' : 'SCHEDULED',
      next: over ? null : now,
      finished: over ? now : null,
    });
    decisions.push({
      organizationId,
      campaignId,
      campaignContactId: call.campaignContactId,
      callId: call.id,
      outcome: over ? 'CANCELLED' : 'WAITS',
      reason,
    });
  }
  await tx.$executeRaw`
    WITH taken AS (
      UPDATE campaign_contacts cc SET status = r.status::"CampaignContactStatus",
        attempts = cc.attempts - 1, attempt_day = NULL, next_eligible_at = r.next,
        called_at = ${calledBefore}, finished_at = r.finished, updated_at = ${now}::timestamptz
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS r(id uuid, status text, next timestamptz, finished timestamptz)
      JOIN campaign_contacts old ON old.id = r.id
      WHERE cc.id = r.id
      RETURNING cc.campaign_id, old.attempt_day AS day
    )
    UPDATE campaign_days d SET attempts = d.attempts - t.count
    FROM (SELECT campaign_id, day, count(*) FROM taken GROUP BY 1, 2) t
    WHERE d.campaign_id = t.campaign_id AND d.day = t.day`;
}

/** What becomes of each contact that is due. */
function decide(
  { app, now, turns, decisions }: Pass,
  due: readonly DueContact[],
): { dials: Dial[]; listed: Set<string>; putOffs: PutOff[] } {
  const dials: Dial[] = [];
  const listed = new Set<string>();
  const putOffs = new Map<string, PutOff>();
  for (const contact of due) {
    const turn = turns.get(contact.campaignId);
    if (!turn) continue;
    const about = {
      organizationId: contact.organizationId,
      campaignId: contact.campaignId,
      campaignContactId: contact.id,
    };
    if (contact.listed) {
      listed.add(contact.campaignId);
      continue;
    }
    const windows = windowsOf(turn, contact.timezone);
    if (contact.timezone && !isInside(windows, instant(now))) {
      const next = nextInside(windows, instant(now));
      const until = next ? new Date(next.epochMilliseconds) : null;
      const { timezone } = contact;
      putOffs.set(`${contact.campaignId} ${timezone}`, { turn, timezone, until });
      continue;
    }
    const callId = newId();
    const number = numberFor(turn, contact, callId);
    turn.dialled++;
    dials.push({ call: newCall(app, turn, contact, callId, number, now), day: turn.day });
    decisions.push({ ...about, callId, outcome: 'DIALLED', reason: 'DUE' });
  }
  return { dials, listed, putOffs: [...putOffs.values()] };
}

function numberFor(turn: Turn, contact: DueContact, callId: string): CallerId {
  const { numbers, campaign } = turn;
  const index = (() => {
    switch (campaign.phoneRotationStrategy) {
      case 'ROUND_ROBIN': {
        // A turn that led to no call is still its own.
        const kept = numbers.findIndex(({ id }) => id === contact.keptNumberId);
        if (kept >= 0) return kept;
        const { indexes, next } = takeNumbers({
          numbers: numbers.length,
          next: turn.rotationIndex,
          calls: 1,
        });
        turn.rotationIndex = next;
        return indexes[0];
      }
      case 'SEQUENTIAL':
        return numberOfBlock({
          numbers: numbers.length,
          position: contact.position,
          contacts: campaign.totalCount,
        });
      case 'RANDOM':
        return anyNumber({ numbers: numbers.length, seed: callId });
    }
  })();
  const number = numbers[index ?? 0];
  if (!number) throw new Error(`Campaign ${campaign.id} has no number at ${index}`);
  return number;
}

function newCall(
  app: App,
  turn: Turn,
  contact: CampaignContact,
  id: string,
  number: CallerId,
  now: Date,
): Dial['call'] {
  const { agent, campaign } = turn;
  const metadata = {
    campaignId: publicId('cmp', campaign.id),
    campaignContactId: publicId('cct', contact.id),
    ...(contact.clientId ? { clientId: contact.clientId } : {}),
  };
  return {
    id,
    organizationId: campaign.organizationId,
    agentId: agent.id,
    phoneNumberId: number.id,
    campaignId: campaign.id,
    campaignContactId: contact.id,
    attempt: contact.attempts + 1,
    direction: 'OUTBOUND',
    medium: number.provider,
    status: 'CREATED',
    phoneNumber: contact.phoneNumber,
    ownNumber: number.phoneNumber,
    variables: variablesOf(contact),
    metadata,
    metadataEntries: metadataEntries(metadata),
    settings: {},
    recordingEnabled: agent.recordingEnabled,
    ...boundsOf(agent, {}),
    placeBefore: closes(turn, contact.timezone, now),
    eventCount: 1,
    createdAt: app.now(),
  };
}

/**
 * What fills the placeholders of the prompt: what is known of the contact, as `{{first_name}}`, and
 * its own metadata. What is not known is empty, since Ultravox refuses a call that lacks a variable.
 */
function variablesOf(contact: CampaignContact): Record<string, string> {
  return {
    phone_number: contact.phoneNumber,
    first_name: contact.firstName ?? '',
    last_name: contact.lastName ?? '',
    email: contact.email ?? '',
    company_name: contact.companyName ?? '',
    industry: contact.industry ?? '',
    location: contact.location ?? '',
    pin_code: contact.pinCode ?? '',
    keywords: contact.keywords ?? '',
    ...(contact.metadata as Record<string, string>),
  };
}

async function writeDials(
  { app, tx, now, events, turns }: Pass,
  dials: readonly Dial[],
): Promise<void> {
  if (dials.length === 0) return;
  const calls = dials.map(({ call }) => call);
  await tx.call.createMany({ data: calls });
  await tx.$executeRaw`
    UPDATE calls SET ${claimOf(app)} WHERE id = ANY(${calls.map(({ id }) => id)}::uuid[])`;
  const contacts = dials.map(({ call, day }) => ({ id: call.campaignContactId, day }));
  await tx.$executeRaw`
    UPDATE campaign_contacts cc SET status = 'CALLING', attempts = cc.attempts + 1,
      attempt_day = r.day, next_eligible_at = NULL, called_at = ${now}::timestamptz,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(contacts)}::jsonb) AS r(id uuid, day date)
    WHERE cc.id = r.id`;
  const days = [...turns.values()].flatMap(({ campaign, day, dialled }) =>
    dialled > 0
      ? { organization_id: campaign.organizationId, campaign_id: campaign.id, day, dialled }
      : [],
  );
  await tx.$executeRaw`
    INSERT INTO campaign_days (organization_id, campaign_id, day, attempts)
    SELECT r.organization_id, r.campaign_id, r.day, r.dialled
    FROM jsonb_to_recordset(${JSON.stringify(days)}::jsonb)
      AS r(organization_id uuid, campaign_id uuid, day date, dialled int)
    ON CONFLICT (campaign_id, day)
      DO UPDATE SET attempts = campaign_days.attempts + EXCLUDED.attempts`;
  for (const { call } of dials) {
    events.add(
      call.organizationId,
      createdEvent({
        id: call.id,
        agentId: call.agentId,
        campaignId: call.campaignId ?? null,
        status: call.status,
        createdAt: now,
      }),
    );
  }
}

/** All who are due in these campaigns and whose number is on the do-not-call list. */
async function skipListed({ tx, now, turns }: Pass, listed: ReadonlySet<string>): Promise<void> {
  if (listed.size === 0) return;
  await leaveOut(
    { tx, now, turns },
    Prisma.sql`
    SELECT due.id, 'DO_NOT_CALL' AS reason
    FROM unnest(${[...listed]}::uuid[]) AS campaign(id)
    CROSS JOIN LATERAL (
      SELECT cc.id FROM campaign_contacts cc JOIN do_not_call_entries e
        ON e.organization_id = cc.organization_id AND e.phone_number = cc.phone_number
      WHERE cc.campaign_id = campaign.id AND cc.next_eligible_at <= ${now}::timestamptz
      LIMIT ${MAX_PUT_OFF}
    ) due`,
  );
}

/** All who are due in a zone where it is not the hour: until it is, or for good if it never is. */
async function writePutOffs(pass: Pass, putOffs: readonly PutOff[]): Promise<void> {
  const { tx, now } = pass;
  const rows = (some: readonly PutOff[]) =>
    JSON.stringify(
      some.map(({ turn, timezone, until }) => ({ campaign_id: turn.campaign.id, timezone, until })),
    );
  const dueOf = Prisma.sql`CROSS JOIN LATERAL (
    SELECT id FROM campaign_contacts
    WHERE campaign_id = r.campaign_id AND timezone = r.timezone
      AND next_eligible_at <= ${now}::timestamptz
    LIMIT ${MAX_PUT_OFF}
  ) due`;
  const never = putOffs.filter(({ until }) => until === null);
  if (never.length > 0) {
    await leaveOut(
      pass,
      Prisma.sql`
      SELECT due.id, 'NEVER_OPEN' AS reason
      FROM jsonb_to_recordset(${rows(never)}::jsonb) AS r(campaign_id uuid, timezone text)
      ${dueOf}`,
    );
  }
  const later = putOffs.filter(({ until }) => until !== null);
  if (later.length === 0) return;
  await tx.$executeRaw`
    WITH moved AS (
      UPDATE campaign_contacts cc SET next_eligible_at = o.until, updated_at = ${now}::timestamptz
      FROM (
        SELECT due.id, r.until
        FROM jsonb_to_recordset(${rows(later)}::jsonb)
          AS r(campaign_id uuid, timezone text, until timestamptz)
        ${dueOf}
      ) o
      WHERE cc.id = o.id
      RETURNING cc.id, cc.organization_id, cc.campaign_id, o.until
    )
    INSERT INTO campaign_decisions
      (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, until, at)
    SELECT new_id(), organization_id, campaign_id, id, 'WAITS', 'CONTACT_WINDOW_CLOSED', until,
      ${now}::timestamptz
    FROM moved`;
}

/** Skips waiting contacts, given by `id` with a `reason`, for good. */
async function leaveOut(
  { tx, now, turns }: Pick<Pass, 'tx' | 'now' | 'turns'>,
  contacts: Prisma.Sql,
): Promise<void> {
  const skipped = await tx.$queryRaw<{ campaign_id: string; count: bigint }[]>`
    WITH skipped AS (
      UPDATE campaign_contacts cc SET status = 'SKIPPED',
        skip_reason = o.reason::"CampaignSkipReason", next_eligible_at = NULL,
        finished_at = ${now}::timestamptz, updated_at = ${now}::timestamptz
      FROM (${contacts}) o WHERE cc.id = o.id
      RETURNING cc.id, cc.organization_id, cc.campaign_id, o.reason
    ), told AS (
      INSERT INTO campaign_decisions
        (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, at)
      SELECT new_id(), organization_id, campaign_id, id, 'SKIPPED',
        reason::"CampaignDecisionReason", ${now}::timestamptz
      FROM skipped
    )
    SELECT campaign_id, count(*) FROM skipped GROUP BY 1`;
  for (const { campaign_id, count } of skipped) {
    const turn = turns.get(campaign_id);
    if (turn) turn.skipped += Number(count);
  }
}

/** What the pass makes of the campaigns themselves, all in one statement. */
async function writeTurns(pass: Pass): Promise<void> {
  const { tx, now, turns } = pass;
  const rows: Record<string, unknown>[] = [];
  for (const turn of turns.values()) {
    const { campaign } = turn;
    const row: Record<string, unknown> = {
      id: campaign.id,
      rotation_index: turn.rotationIndex,
      dialled: turn.dialled,
      skipped: turn.skipped,
      withdrawn: turn.withdrawn,
      dropped: turn.dropped,
      ...stateAfter(pass, turn),
    };
    rows.push(row);
  }
  await tx.$executeRaw`
    UPDATE campaigns c SET
      status = r.status::"CampaignStatus", status_reason = r.status_reason,
      ended_at = coalesce(c.ended_at, r.ended_at), rotation_index = r.rotation_index,
      hold_reason = r.hold::"CampaignDecisionReason",
      pending_count = c.pending_count - r.dialled - r.skipped + r.withdrawn,
      calling_count = c.calling_count + r.dialled - r.withdrawn - r.dropped,
      skipped_count = c.skipped_count + r.skipped,
      cancelled_count = c.cancelled_count + r.dropped,
      next_dispatch_at = CASE
        WHEN r.next IS NOT NULL THEN r.next
        WHEN NOT r.goes_on THEN NULL
        WHEN c.calling_count + r.dialled - r.withdrawn >= c.max_concurrent_calls THEN NULL
        ELSE (SELECT CASE
            WHEN min(next_eligible_at) > ${now}::timestamptz THEN min(next_eligible_at)
            -- Whoever was served goes behind those who were not.
            WHEN count(*) > 0 AND r.dialled > 0 THEN ${now}::timestamptz
            WHEN count(*) > 0 THEN least(c.next_dispatch_at, ${now}::timestamptz) END
          FROM (SELECT next_eligible_at FROM campaign_contacts
            WHERE campaign_id = c.id AND next_eligible_at IS NOT NULL
            ORDER BY next_eligible_at, position LIMIT 1) first)
        END,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, status text, status_reason text, ended_at timestamptz, rotation_index int, hold text,
      next timestamptz, goes_on boolean, dialled int, skipped int, withdrawn int, dropped int)
    WHERE c.id = r.id`;
  const stopped = [...turns.values()].filter(
    ({ gate }) => gate && !gate.open && ('fail' in gate || 'pause' in gate),
  );
  if (stopped.length === 0) return;
  await recallClaims(
    tx,
    stopped.map(({ campaign }) => campaign.id),
  );
}

/** The columns of a campaign that its gate decides. */
function stateAfter(
  { now, decisions, events }: Pass,
  { campaign, gate }: Turn,
): Record<string, unknown> {
  const about = { organizationId: campaign.organizationId, campaignId: campaign.id };
  const same = { status: campaign.status, status_reason: campaign.statusReason };
  if (!gate) {
    return { ...same, next: campaign.nextDispatchAt, goes_on: false, hold: campaign.holdReason };
  }
  if (gate.open) return { ...same, next: null, goes_on: true, hold: null };
  if ('pause' in gate || 'fail' in gate) {
    const [action, reason] =
      'pause' in gate ? (['PAUSE', gate.pause] as const) : (['FAIL', gate.fail] as const);
    const step = campaignAfter(campaign.status, action);
    if (!step.allowed) throw new Error(step.message);
    const after = { ...campaign, status: step.status, statusReason: reason };
    const type = action === 'PAUSE' ? 'CAMPAIGN_PAUSED' : 'CAMPAIGN_FAILED';
    events.add(campaign.organizationId, campaignEvent(type, after, now));
    decisions.push(
      action === 'PAUSE'
        ? { ...about, outcome: 'WAITS', reason: 'NO_PHONE_NUMBER' }
        : { ...about, outcome: 'CANCELLED', reason: 'CAMPAIGN_OVER' },
    );
    return {
      status: step.status,
      status_reason: reason,
      ended_at: action === 'FAIL' ? now : null,
      next: null,
      goes_on: false,
      hold: null,
    };
  }
  if (gate.hold && gate.hold !== campaign.holdReason) {
    decisions.push({ ...about, outcome: 'WAITS', reason: gate.hold, until: gate.until });
  }
  return { ...same, next: gate.until, goes_on: false, hold: gate.hold };
}

const windowCache = new WeakMap<Turn, Map<string | null, ReturnType<typeof windowsFor>>>();

/** The windows that have to be open at once for a contact of this zone. */
function windowsOf(turn: Turn, timezone: string | null): ReturnType<typeof windowsFor> {
  const known = windowCache.get(turn) ?? new Map<string | null, ReturnType<typeof windowsFor>>();
  windowCache.set(turn, known);
  const windows = known.get(timezone) ?? windowsFor(windowOfCampaign(turn.campaign), timezone);
  known.set(timezone, windows);
  return windows;
}

const closingCache = new WeakMap<Turn, Map<string | null, Date | null>>();

/**
 * When a call for a contact of this zone may not be sent any more, if it is claimed now: the window
 * closes, or the day ends whose cap counts it. Null if never.
 */
function closes(turn: Turn, timezone: string | null, now: Date): Date | null {
  const known = closingCache.get(turn) ?? new Map<string | null, Date | null>();
  closingCache.set(turn, known);
  const earlier = known.get(timezone);
  if (earlier !== undefined) return earlier;
  const { campaign } = turn;
  const end = endOfCurrent(windowsOf(turn, timezone), instant(now))?.epochMilliseconds;
  // Beyond midnight it would count for another day.
  const day = dayAt(campaign.timezone, now.getTime());
  const midnight =
    campaign.maxCallsPerDay === null
      ? undefined
      : intervalsOfDay(campaign.timezone, day).at(-1)?.to;
  const first = Math.min(end ?? Number.POSITIVE_INFINITY, midnight ?? Number.POSITIVE_INFINITY);
  const at = Number.isFinite(first) ? new Date(first) : null;
  known.set(timezone, at);
  return at;
}

function instant(at: Date): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(at.getTime());
}
