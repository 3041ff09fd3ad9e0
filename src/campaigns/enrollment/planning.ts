/** Plans when the contacts of a campaign are called, from its settings and its other contacts. */
import type { App, Tx } from '../../app.ts';
import type { Config } from '../../config.ts';
import { userError } from '../../errors.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { dateOf, dayAt } from '../../infra/time-zone.ts';
import { moveContactsOf } from '../contacts/contact-transitions.ts';
import { runCooperatively } from '../schedule/cooperative-loop.ts';
import { type CallsPerDay, type ContactRun, type Plan, planLoop } from '../schedule/planner.ts';
import { retryDelaySql } from '../schedule/retry.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { type Simulation, type SimulationProblem, simulationLoop } from '../schedule/simulation.ts';
import { joinPlan, PLANNED_STATUS, withoutNestedLoops } from './plan-sql.ts';
import { runsOf } from './staging-table.ts';

/** Expected duration of a call in seconds, including ringing. */
export const CALL_SECONDS = 120;

/**
 * Number of waiting contacts for each new one up to which they are simulated together. Simulating 100,000 contacts takes
 * about a second of processor time, too much for adding a single one.
 */
export const MAX_WAITING_PER_NEW = 100;

/** All current UTC offsets are multiples of this, so a bin lies within one day of every time zone. */
const BIN_WIDTH = '15 minutes';

/**
 * Plans all contacts of a locked draft that is being scheduled.
 *
 * @throws UserInputError WINDOW_TOO_SMALL. The caller rolls back.
 */
export async function planDraft(
  app: App,
  tx: Tx,
  campaign: Campaign,
): Promise<{ warnings: readonly SimulationProblem[] }> {
  const { plan, warnings } = await planWaiting(app, tx, campaign);
  const waiting = waitingContacts(campaign.id, { neverCalled: true });
  if (plan) await withoutNestedLoops(tx, () => updateWaiting(tx, waiting, plan, app.now()));
  return { warnings };
}

/**
 * Returns a new plan for all waiting contacts that were never called, in list order; null if there are none. Contacts
 * waiting for a retry become due after its delay; the dispatcher checks the window then.
 *
 * @throws UserInputError WINDOW_TOO_SMALL. The caller rolls back.
 */
export async function planWaiting(
  app: App,
  tx: Tx,
  campaign: Campaign,
): Promise<{ plan: Plan | null; warnings: readonly SimulationProblem[] }> {
  const now = app.now();
  await reopenNeverOpen(tx, campaign, now);
  await rescheduleRetries(tx, campaign, now);
  const waiting = waitingContacts(campaign.id, { neverCalled: true });
  const contacts = await runsOf(tx, waiting, Prisma.sql`position`);
  const count = totalCount(contacts);
  if (count === 0) return { plan: null, warnings: [] };

  const input = {
    ...planInput(app, campaign, now),
    contacts,
    alreadyPerDay: await callsPerDay(tx, campaign, now, { planned: false }),
  };
  const plan = await runCooperatively(planLoop(input));
  const simulation = await runCooperatively(
    simulationLoop({ ...input, ...paceOf(app, campaign), plan }),
  );
  const never = countUnplanned(plan, 'NEVER_OPEN');
  rejectTooSmall(simulation, never === count);
  return { plan, warnings: simulation.problems };
}

/** Reopens contacts that were skipped as NEVER_OPEN, since a new schedule may fit them. */
async function reopenNeverOpen(tx: Tx, campaign: Campaign, now: Date): Promise<void> {
  const query = Prisma.sql`
    SELECT id, CASE WHEN attempts = 0 THEN 'PENDING' ELSE 'SCHEDULED' END AS status,
      ${now}::timestamptz AS next_eligible_at
    FROM campaign_contacts
    WHERE campaign_id = ${campaign.id}::uuid AND status = 'SKIPPED' AND skip_reason = 'NEVER_OPEN'`;
  await moveContactsOf(tx, 'REOPEN', query, now);
}

/** Makes retries due after their delay, since they were scheduled for an opening of the old window. */
async function rescheduleRetries(tx: Tx, campaign: Campaign, now: Date): Promise<void> {
  const query = Prisma.sql`
    SELECT w.id, 'SCHEDULED' AS status, greatest(${now}::timestamptz, last.ended
      + ${retryDelaySql(Prisma.sql`w.attempts`, campaign.retryDelaySeconds)}) AS next_eligible_at
    FROM campaign_contacts w CROSS JOIN LATERAL (
      -- Not of calls that were withdrawn: nobody's phone rang.
      SELECT max(a.outcome_recorded_at) AS ended FROM campaign_attempts a
      WHERE a.campaign_contact_id = w.id AND a.attempt IS NOT NULL
    ) last
    WHERE w.campaign_id = ${campaign.id}::uuid AND w.status = 'SCHEDULED' AND w.attempts > 0
      AND last.ended IS NOT NULL`;
  await moveContactsOf(tx, 'RESCHEDULE', query, now);
}

/** Limits that pace calls in a simulation. */
export function paceOf({ config }: { config: Config }, campaign: { maxConcurrentCalls: number }) {
  return {
    maxConcurrentCalls: Math.min(
      campaign.maxConcurrentCalls,
      config.ORGANIZATION_MAX_CONCURRENT_CALLS,
      config.ULTRAVOX_MAX_CONCURRENT_CALLS,
    ),
    callSeconds: CALL_SECONDS,
    callsPerMinute: config.ULTRAVOX_MAX_CALLS_PER_MINUTE,
  };
}

/** The waiting contacts of a campaign, as a parenthesized SQL relation. */
export function waitingContacts(
  campaignId: string,
  { neverCalled = false }: { neverCalled?: boolean } = {},
): Prisma.Sql {
  return Prisma.sql`(
    SELECT * FROM campaign_contacts
    WHERE campaign_id = ${campaignId}::uuid AND status IN ('PENDING', 'SCHEDULED')
      ${neverCalled ? Prisma.sql`AND attempts = 0` : Prisma.empty}
  ) AS waiting`;
}

/** Number of attempts by date in the campaign's time zone. */
export async function attemptsPerDay(
  db: Pick<Tx, 'campaignDay'>,
  campaignId: string,
): Promise<Map<string, number>> {
  const days = await db.campaignDay.findMany({
    where: { campaignId },
    select: { day: true, attempts: true },
  });
  return new Map(days.map(({ day, attempts }) => [day.toISOString().slice(0, 10), attempts]));
}

/**
 * Plans new contacts around the waiting ones.
 *
 * @throws UserInputError WINDOW_TOO_SMALL if the schedule is too small for them and `strict` is true. Otherwise they are
 * skipped.
 */
export async function planNewContacts(
  app: App,
  tx: Tx,
  {
    campaign,
    contacts,
    now,
    strict = true,
  }: {
    campaign: Campaign;
    contacts: readonly ContactRun[];
    now: Date;
    strict?: boolean;
  },
): Promise<{ plan: Plan; warnings: readonly SimulationProblem[] }> {
  const input = {
    ...planInput(app, campaign, now),
    contacts,
    alreadyPerDay: await callsPerDay(tx, campaign, now, { planned: true }),
  };
  const plan = await runCooperatively(planLoop(input));
  if (!strict) return { plan, warnings: [] };

  const count = totalCount(contacts);
  const alone =
    campaign.pendingCount === 0 ||
    campaign.pendingCount > count * MAX_WAITING_PER_NEW ||
    countUnplanned(plan, 'TOO_LATE') > 0;
  const simulated = alone
    ? { ...input, plan }
    : {
        ...input,
        contacts: [
          ...(await runsOf(tx, waitingContacts(campaign.id), Prisma.sql`position`)),
          ...contacts,
        ],
        alreadyPerDay: await attemptsPerDay(tx, campaign.id),
      };
  const simulation = await runCooperatively(
    simulationLoop({ ...simulated, ...paceOf(app, campaign) }),
  );
  // If other contacts can be called, those that never can are reported and skipped.
  const noneCanBeCalled = campaign.totalCount === 0 && countUnplanned(plan, 'NEVER_OPEN') === count;
  rejectTooSmall(simulation, noneCanBeCalled);
  return { plan, warnings: simulation.problems };
}

function planInput({ config }: App, campaign: Campaign, now: Date) {
  const startAt = Math.max(now.getTime(), campaign.scheduledAt?.getTime() ?? 0);
  return {
    window: windowOfCampaign(campaign, config.CALLING_WINDOW_MARGIN_SECONDS),
    startAt: Temporal.Instant.fromEpochMilliseconds(startAt),
    maxCallsPerDay: campaign.maxCallsPerDay,
  };
}

/**
 * Number of calls per day that count toward the daily limit before the plan: attempts, pending retries and, with
 * `planned`, the first calls of waiting contacts. Overdue calls count for today.
 */
async function callsPerDay(
  tx: Tx,
  campaign: Campaign,
  now: Date,
  { planned }: { planned: boolean },
): Promise<CallsPerDay> {
  if (campaign.maxCallsPerDay === null) return new Map();
  const perDay = await attemptsPerDay(tx, campaign.id);
  const bins = await tx.$queryRaw<{ at: Date; count: number }[]>`
    SELECT date_bin(${BIN_WIDTH}::interval, greatest(next_eligible_at, ${now}::timestamptz),
      timestamptz 'epoch') AS at, count(*)::int AS count
    FROM campaign_contacts
    WHERE campaign_id = ${campaign.id}::uuid AND status IN ('PENDING', 'SCHEDULED')
      AND next_eligible_at IS NOT NULL
      ${planned ? Prisma.empty : Prisma.sql`AND attempts > 0`}
    GROUP BY 1`;
  for (const { at, count } of bins) {
    const day = dateOf(dayAt(campaign.timezone, at.getTime()));
    perDay.set(day, (perDay.get(day) ?? 0) + count);
  }
  return perDay;
}

/** @throws UserInputError WINDOW_TOO_SMALL if any contact is too late, or none can be called. */
function rejectTooSmall({ problems, endsAt }: Simulation, noneCanBeCalled: boolean): void {
  const reason = problems.find(
    ({ code }) => code === 'TOO_LATE' || (noneCanBeCalled && code === 'NEVER_OPEN'),
  );
  if (!reason) return;
  throw userError('WINDOW_TOO_SMALL', reason.message, [], {
    details: { contacts: reason.contacts, endsAt: endsAt?.toString() ?? null },
  });
}

/** Writes the planned times of waiting contacts. */
async function updateWaiting(tx: Tx, waiting: Prisma.Sql, plan: Plan, now: Date): Promise<void> {
  const query = Prisma.sql`
    SELECT id, ${PLANNED_STATUS}, planned.scheduled_at AS next_eligible_at
    FROM (
      SELECT id, coalesce(timezone, '') AS zone,
        row_number() OVER (PARTITION BY timezone ORDER BY position) - 1 AS place_in_zone
      FROM ${waiting}
    ) AS numbered
    ${joinPlan(plan)}`;
  await moveContactsOf(tx, 'PLAN', query, now);
}

function countUnplanned(plan: Plan, reason: Plan['unplanned'][number]['reason']): number {
  return totalCount(plan.unplanned.filter((part) => part.reason === reason));
}

function totalCount(parts: readonly { count: number }[]): number {
  return parts.reduce((sum, { count }) => sum + count, 0);
}
