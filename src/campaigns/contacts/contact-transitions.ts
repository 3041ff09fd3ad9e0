/**
 * The only writer of campaign contacts' statuses. Applies the transitions of `contact-status.ts` in one statement,
 * which also updates the counters, attempts and days of the campaigns, and records decisions.
 *
 * Callers hold the row locks of the campaigns.
 */
import type { Tx } from '../../app.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import type { CallEndReason, CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import {
  CONTACT_COUNTERS,
  CONTACT_TRANSITIONS,
  type ContactTransition,
  FINISHED_STATUSES,
  type TargetOf,
} from './contact-status.ts';

/** Move of one contact in a transition that is decided contact by contact. */
export interface ContactMove<T extends ContactTransition> {
  id: string;
  status: TargetOf<T>;
  /** Required for SCHEDULED, except on RELEASE, where it only delays the contact, which keeps its place. */
  nextEligibleAt?: Date;
  /** Required for SKIPPED. */
  skipReason?: 'DO_NOT_CALL' | 'NEVER_OPEN';
  /** Reason of the decision, if the transition does not imply it. */
  reason?: CampaignDecisionReason;
  /** The call that the decision is about. */
  callId?: string;
  endReason?: CallEndReason | null;
  /** Calendar day to which the attempt counts, such as `2026-11-20`. */
  attemptDay?: string;
}

/** Columns that a transition sets besides those that follow from the status. `r` is the move. */
function columnsOf(transition: ContactTransition, now: Date): Prisma.Sql {
  switch (transition) {
    case 'PLAN':
    case 'RESCHEDULE':
      return Prisma.sql`, scheduled_at = r.next_eligible_at`;
    case 'DIAL':
      return Prisma.sql`, attempts = cc.attempts + 1, attempt_day = r.attempt_day,
        called_at = ${now}::timestamptz`;
    case 'RELEASE':
      return Prisma.sql`, attempts = cc.attempts - 1, called_at = ${CALLED_BEFORE}`;
    case 'END':
      return Prisma.sql`, end_reason = r.end_reason::"CallEndReason",
        scheduled_at = coalesce(r.next_eligible_at, cc.scheduled_at)`;
    default:
      return Prisma.empty;
  }
}

/** Time of contact `cc`'s last call before its current attempt. */
const CALLED_BEFORE = Prisma.sql`(
  SELECT max(k.created_at) FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
  WHERE a.campaign_contact_id = cc.id AND a.attempt < cc.attempts)`;

/** Reason of the decision about a moved contact. */
const REASONS: Record<ContactTransition, Prisma.Sql> = {
  PLAN: Prisma.sql`skip_reason::text`,
  REOPEN: Prisma.sql`NULL`,
  RESCHEDULE: Prisma.sql`NULL`,
  DIAL: Prisma.sql`'DUE'`,
  DEFER: Prisma.sql`'CONTACT_WINDOW_CLOSED'`,
  SKIP: Prisma.sql`skip_reason::text`,
  DROP_RETRY: Prisma.sql`reason`,
  RELEASE: Prisma.sql`coalesce(skip_reason::text, reason)`,
  END: Prisma.sql`reason`,
  CANCEL: Prisma.sql`NULL`,
};

/** Transitions whose moves have a reason and a call. */
const WITH_CALL: readonly ContactTransition[] = ['DIAL', 'DROP_RETRY', 'RELEASE', 'END'];

const FINISHED = Prisma.raw(FINISHED_STATUSES.map((status) => `'${status}'`).join(', '));

/**
 * Moves contacts. Columns that follow from the status (skip reason, times) are set too.
 *
 * @throws Error if a contact is in a status from which the transition is not allowed, so that the transaction is
 * rolled back.
 */
export async function moveContacts<T extends ContactTransition>(
  tx: Tx,
  transition: T,
  moves: readonly ContactMove<T>[],
  now: Date,
): Promise<void> {
  await moveEach(tx, transition, moves, { now });
}

/** Moves contacts that are dialed. `calls` is the INSERT of their calls, run in the same statement. */
export async function dialContacts(
  tx: Tx,
  moves: readonly ContactMove<'DIAL'>[],
  calls: Prisma.Sql,
  now: Date,
): Promise<void> {
  await moveEach(tx, 'DIAL', moves, { now, also: Prisma.sql`, calls_inserted AS (${calls})` });
}

/** `also`: additional parts of the WITH clause. */
interface TransitionOptions {
  now: Date;
  also?: Prisma.Sql;
}

async function moveEach<T extends ContactTransition>(
  tx: Tx,
  transition: T,
  moves: readonly ContactMove<T>[],
  options: TransitionOptions,
): Promise<void> {
  if (moves.length === 0) return;
  const rows = moves.map((move) => ({
    id: move.id,
    status: move.status,
    next_eligible_at: move.nextEligibleAt,
    skip_reason: move.skipReason,
    reason: move.reason,
    call_id: move.callId,
    end_reason: move.endReason,
    attempt_day: move.attemptDay,
  }));
  const query = Prisma.sql`
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS move(
      id uuid, status text, next_eligible_at timestamptz, skip_reason text, reason text,
      call_id uuid, end_reason text, attempt_day date)`;
  const moved = await transitionContacts(tx, transition, query, options);
  if (moved === moves.length) return;
  throw new Error(`${transition}: ${moves.length - moved} of ${moves.length} contacts cannot move`);
}

/**
 * Moves the contacts returned by a query with the columns `id`, `status` (text) and, if the transition leads to
 * SCHEDULED or SKIPPED, `next_eligible_at` and `skip_reason` (text). Contacts in a status from which the transition is
 * not allowed are left alone. Returns the number of moved contacts.
 */
export async function moveContactsOf(
  tx: Tx,
  transition: ContactTransition,
  query: Prisma.Sql,
  now: Date,
): Promise<number> {
  return transitionContacts(tx, transition, query, { now });
}

function transitionContacts(
  tx: Tx,
  transition: ContactTransition,
  query: Prisma.Sql,
  options: TransitionOptions,
): Promise<number> {
  const update = Prisma.sql`
    UPDATE campaign_contacts cc SET ${assignments(transition, options.now)}
    FROM (${query}) r
    WHERE cc.id = r.id AND cc.status = ANY(${fromStatuses(transition)})`;
  return applyTransition(tx, transition, update, options);
}

/**
 * Cancels up to `limit` waiting contacts of an ended campaign. Default: all. Returns the number of canceled contacts.
 */
export async function cancelWaitingContacts(
  tx: Tx,
  campaignId: string,
  now: Date,
  limit: number | null = null,
): Promise<number> {
  const waiting = Prisma.sql`
    campaign_id = ${campaignId}::uuid AND status = ANY(${fromStatuses('CANCEL')})`;
  // Without a limit, avoids joining a query, since there may be 100,000 contacts.
  const which =
    limit === null
      ? waiting
      : Prisma.sql`id IN (SELECT id FROM campaign_contacts WHERE ${waiting} LIMIT ${limit})`;
  const update = Prisma.sql`
    UPDATE campaign_contacts cc SET status = 'CANCELLED', next_eligible_at = NULL,
      finished_at = ${now}::timestamptz, updated_at = ${now}::timestamptz
    WHERE ${which}`;
  return applyTransition(tx, 'CANCEL', update, { now });
}

/**
 * Inserts new contacts of a campaign from a query with the columns of `campaign_contacts` named in `columns`, then
 * `status` (text: PENDING, SCHEDULED or SKIPPED), `skip_reason` (text) and `scheduled_at`. Returns the number of
 * contacts.
 */
export async function insertContacts(
  tx: Tx,
  campaign: Pick<Campaign, 'id' | 'organizationId'>,
  { columns, query }: { columns: Prisma.Sql; query: Prisma.Sql },
  now: Date,
): Promise<number> {
  const at = Prisma.sql`${now}::timestamptz`;
  const [{ count }] = await tx.$queryRaw<[{ count: number }]>`
    WITH inserted AS (
      INSERT INTO campaign_contacts (id, organization_id, campaign_id, ${columns},
        status, skip_reason, scheduled_at, next_eligible_at, finished_at, created_at, updated_at)
      SELECT new_id(), ${campaign.organizationId}::uuid, ${campaign.id}::uuid, ${columns},
        status::"CampaignContactStatus", skip_reason::"CampaignSkipReason", scheduled_at,
        CASE WHEN status = 'SCHEDULED' THEN scheduled_at END,
        CASE WHEN status IN (${FINISHED}) THEN ${at} END, ${at}, ${at}
      FROM (${query}) r
      RETURNING id, status, skip_reason
    ), counted AS (
      UPDATE campaigns c SET total_count = c.total_count + n.total,
        pending_count = c.pending_count + n.total - n.skipped,
        skipped_count = c.skipped_count + n.skipped, updated_at = ${at}
      FROM (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'SKIPPED') AS skipped
        FROM inserted) n
      WHERE c.id = ${campaign.id}::uuid
    ), decided AS (
      INSERT INTO campaign_decisions
        (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, at)
      SELECT new_id(), ${campaign.organizationId}::uuid, ${campaign.id}::uuid, id, 'SKIPPED',
        skip_reason::text::"CampaignDecisionReason", ${at}
      FROM inserted WHERE status = 'SKIPPED'
    )
    SELECT count(*)::int AS count FROM inserted`;
  return count;
}

function fromStatuses(transition: ContactTransition): Prisma.Sql {
  return Prisma.sql`${[...CONTACT_TRANSITIONS[transition].from]}::"CampaignContactStatus"[]`;
}

/** Assigns the columns that follow from the new status, and those of the transition. */
function assignments(transition: ContactTransition, now: Date): Prisma.Sql {
  const { to } = CONTACT_TRANSITIONS[transition];
  const next =
    transition === 'RELEASE'
      ? // Due at once unless it is delayed, before contacts that have waited less.
        Prisma.sql`CASE WHEN r.next_eligible_at > ${now}::timestamptz THEN r.next_eligible_at
          ELSE least(${now}::timestamptz, cc.scheduled_at) END`
      : Prisma.sql`r.next_eligible_at`;
  return Prisma.sql`status = r.status::"CampaignContactStatus",
    skip_reason = ${
      'SKIPPED' in to
        ? Prisma.sql`CASE WHEN r.status = 'SKIPPED' THEN r.skip_reason::"CampaignSkipReason" END`
        : Prisma.sql`NULL`
    },
    next_eligible_at = ${
      'SCHEDULED' in to
        ? Prisma.sql`CASE WHEN r.status = 'SCHEDULED' THEN ${next} END`
        : Prisma.sql`NULL`
    },
    finished_at = CASE WHEN r.status IN (${FINISHED}) THEN ${now}::timestamptz END,
    updated_at = ${now}::timestamptz ${columnsOf(transition, now)}`;
}

/** Runs the update of a transition and its consequences. Returns the number of moved contacts. */
async function applyTransition(
  tx: Tx,
  transition: ContactTransition,
  update: Prisma.Sql,
  { now, also = Prisma.empty }: TransitionOptions,
): Promise<number> {
  const call = WITH_CALL.includes(transition)
    ? Prisma.sql`, r.reason, r.call_id, cc.attempt_day, cc.attempts, cc.end_reason`
    : Prisma.empty;
  const [{ count }] = await tx.$queryRaw<[{ count: number }]>`
    WITH moved AS (
      ${update}
      RETURNING cc.id, cc.organization_id, cc.campaign_id, cc.status, cc.skip_reason,
        cc.next_eligible_at ${call}
    )
    ${countersOf(transition, now)} ${decisionsOf(transition, now)} ${attemptsOf(transition, now)}
    ${transition === 'END' ? END_REASONS : Prisma.empty} ${also}
    SELECT count(*)::int AS count FROM moved`;
  return count;
}

/** Updates the counters of the campaigns, unless the transition stays within one counter. */
function countersOf(transition: ContactTransition, now: Date): Prisma.Sql {
  const { from, to } = CONTACT_TRANSITIONS[transition];
  const deltas = new Map<string, Prisma.Sql[]>();
  const add = (counter: string, delta: Prisma.Sql): void => {
    deltas.set(counter, [...(deltas.get(counter) ?? []), delta]);
  };
  for (const status of Object.keys(to) as (keyof typeof CONTACT_COUNTERS)[]) {
    add(
      CONTACT_COUNTERS[status],
      Prisma.sql`+ count(*) FILTER (WHERE status = ${status}::"CampaignContactStatus")`,
    );
  }
  // All statuses from which a transition leads share one counter.
  add(CONTACT_COUNTERS[from[0]!], Prisma.sql`- count(*)`);
  if (deltas.size === 1) return Prisma.empty;
  const counters = [...deltas.keys()];
  const set = counters.map((name) => Prisma.raw(`${name} = c.${name} + n.${name}`));
  const sums = [...deltas].map(
    ([name, parts]) => Prisma.sql`0 ${Prisma.join(parts, ' ')} AS ${Prisma.raw(name)}`,
  );
  return Prisma.sql`, counted AS (
      UPDATE campaigns c SET ${Prisma.join(set)}, updated_at = ${now}::timestamptz
      FROM (SELECT campaign_id, ${Prisma.join(sums)} FROM moved GROUP BY 1) n
      WHERE c.id = n.campaign_id
    )`;
}

/** Counts the contacts by end reason. Within this statement, the table still has the old reasons. */
const END_REASONS = Prisma.sql`, reasons AS (
      INSERT INTO campaign_end_reasons (organization_id, campaign_id, end_reason, contacts)
      SELECT organization_id, campaign_id, end_reason, sum(delta)
      FROM (
        SELECT organization_id, campaign_id, end_reason, 1 AS delta FROM moved
        UNION ALL
        SELECT b.organization_id, b.campaign_id, b.end_reason, -1
        FROM moved JOIN campaign_contacts b ON b.id = moved.id
      ) AS changes
      WHERE end_reason IS NOT NULL
      GROUP BY 1, 2, 3 HAVING sum(delta) <> 0
      ON CONFLICT (campaign_id, end_reason)
        DO UPDATE SET contacts = campaign_end_reasons.contacts + EXCLUDED.contacts
    )`;

function decisionsOf(transition: ContactTransition, now: Date): Prisma.Sql {
  const outcomes = Object.entries(CONTACT_TRANSITIONS[transition].to).filter(
    ([, outcome]) => outcome !== null,
  );
  if (outcomes.length === 0) return Prisma.empty;
  const cases = outcomes.map(([status, outcome]) =>
    Prisma.raw(`WHEN '${status}' THEN '${outcome}'`),
  );
  const until =
    transition === 'DEFER' || transition === 'END'
      ? Prisma.sql`next_eligible_at`
      : Prisma.sql`NULL::timestamptz`;
  return Prisma.sql`, decided AS (
      INSERT INTO campaign_decisions (id, organization_id, campaign_id, campaign_contact_id, call_id,
        outcome, reason, until, at)
      SELECT new_id(), organization_id, campaign_id, id,
        ${WITH_CALL.includes(transition) ? Prisma.sql`call_id` : Prisma.sql`NULL::uuid`},
        (CASE status ${Prisma.join(cases, ' ')} END)::"CampaignDecisionOutcome",
        (${REASONS[transition]})::"CampaignDecisionReason", ${until}, ${now}::timestamptz
      FROM moved
      WHERE status::text IN (${Prisma.join(outcomes.map(([status]) => Prisma.raw(`'${status}'`)))})
    )`;
}

/** Writes the attempts themselves, and their number by calendar day, which the daily cap limits. */
function attemptsOf(transition: ContactTransition, now: Date): Prisma.Sql {
  if (transition === 'DIAL') {
    return Prisma.sql`, attempts AS (
      INSERT INTO campaign_attempts
        (call_id, organization_id, campaign_id, campaign_contact_id, attempt)
      SELECT call_id, organization_id, campaign_id, id, attempts FROM moved
    ), days AS (
      INSERT INTO campaign_days (organization_id, campaign_id, day, attempts)
      SELECT organization_id, campaign_id, attempt_day, count(*) FROM moved GROUP BY 1, 2, 3
      ON CONFLICT (campaign_id, day)
        DO UPDATE SET attempts = campaign_days.attempts + EXCLUDED.attempts
    )`;
  }
  if (transition === 'END') {
    return Prisma.sql`, attempts AS (
      UPDATE campaign_attempts a SET outcome_recorded_at = ${now}::timestamptz,
        -- A call that never rang adds nothing to the statistics of its contact.
        stats_recorded_at = CASE WHEN k.ringing_at IS NULL THEN ${now}::timestamptz END
      FROM moved JOIN calls k ON k.id = moved.call_id WHERE a.call_id = moved.call_id
    )`;
  }
  if (transition === 'RELEASE') {
    return Prisma.sql`, attempts AS (
      UPDATE campaign_attempts a SET attempt = NULL, outcome_recorded_at = ${now}::timestamptz,
        stats_recorded_at = ${now}::timestamptz
      FROM moved WHERE a.call_id = moved.call_id
    ), days AS (
      UPDATE campaign_days d SET attempts = d.attempts - n.count
      FROM (SELECT campaign_id, attempt_day, count(*) FROM moved GROUP BY 1, 2) n
      WHERE d.campaign_id = n.campaign_id AND d.day = n.attempt_day
    )`;
  }
  return Prisma.empty;
}
