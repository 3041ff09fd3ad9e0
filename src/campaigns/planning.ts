/**
 * Contacts join a campaign, and get the times at which they are to be called. Whoever calls these
 * holds the row of the campaign, or has made it in the same transaction.
 */
import type { App, Tx } from '../app.ts';
import type { Config } from '../config.ts';
import { userError } from '../errors.ts';
import { type Campaign, Prisma } from '../generated/prisma/client.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { type Forecast, type ForecastProblem, forecastSteps } from './forecast.ts';
import { type CallsPerDay, type ContactRun, type Plan, planSteps } from './plan.ts';
import { plannedRows, withoutNestedLoops } from './plan-sql.ts';
import { retryDelaySql } from './retry.ts';
import { windowOfCampaign } from './schedule.ts';
import { type AddedContacts, type CheckedSource, MAX_CAMPAIGN_CONTACTS } from './sources.ts';
import { runsOf, STAGE, STAGED_COLUMNS, type Staged, stageContacts } from './stage.ts';
import { inTurns } from './steps.ts';
import { dateOf, dayAt } from './zone.ts';

/** How long a call is expected to hold its place, ringing included. */
export const CALL_SECONDS = 120;

/** No offset of today is finer, so a bin lies within one day of every zone. */
const BIN = '15 minutes';

/**
 * Copies the contacts of a source into the campaign, behind those that are there, and with `plan`
 * gives them their times.
 *
 * @throws UserInputError LIMIT_EXCEEDED, EMPTY_CONTACT_SOURCE or WINDOW_TOO_SMALL: nothing is added.
 */
export async function addContacts(
  app: App,
  viewer: Viewer,
  tx: Tx,
  campaign: Campaign,
  source: CheckedSource,
  { plan }: { plan: boolean },
): Promise<{ added: AddedContacts; warnings: readonly ForecastProblem[] }> {
  const now = app.now();
  const staged = await stageContacts(tx, viewer, campaign, source.contacts);
  refuseUnusable(campaign, source, staged);
  const added = {
    addedCount: staged.count,
    duplicateCount: staged.duplicateCount,
    problemCount: staged.problemCount,
    problems: staged.problems,
  };
  if (staged.count === 0) return { added, warnings: [] };

  const runs = plan ? await runsOf(tx, Prisma.sql`${STAGE}`, Prisma.sql`ordinal`) : null;
  const planned = runs ? await planNew(app, tx, campaign, runs, now) : null;
  await insertStaged(tx, campaign, planned?.plan ?? null, now);
  const never = planned?.never ?? 0;
  await tx.campaign.update({
    where: { id: campaign.id },
    data: {
      totalCount: { increment: staged.count },
      pendingCount: { increment: staged.count - never },
      skippedCount: { increment: never },
    },
    select: { id: true },
  });
  return { added, warnings: planned?.warnings ?? [] };
}

/**
 * Plans anew all that wait and were never called, in the order of the list. Those that wait for a
 * retry are due when their delay is over; whether the hour suits is asked then.
 *
 * @throws UserInputError WINDOW_TOO_SMALL: everything stays as it is.
 */
export async function replanContacts(
  app: App,
  tx: Tx,
  campaign: Campaign,
): Promise<{ warnings: readonly ForecastProblem[] }> {
  const now = app.now();
  await takeBackIn(tx, campaign, now);
  await retriesAsDue(tx, campaign, now);
  const waiting = waitingContacts(campaign.id, { neverCalled: true });
  const contacts = await runsOf(tx, waiting, Prisma.sql`position`);
  const count = countOf(contacts);
  if (count === 0) return { warnings: [] };

  const input = {
    ...planInput(campaign, now),
    contacts,
    alreadyPerDay: await callsPerDay(tx, campaign, now, { planned: false }),
  };
  const plan = await inTurns(planSteps(input));
  const outlook = await inTurns(forecastSteps({ ...input, ...paceOf(app, campaign) }));
  const never = unplanned(plan, 'NEVER_OPEN');
  refuseTooSmall(outlook, never === count);
  await withoutNestedLoops(tx, () => updateWaiting(tx, campaign, waiting, plan, now));
  await tx.campaign.update({
    where: { id: campaign.id },
    data: { pendingCount: { decrement: never }, skippedCount: { increment: never } },
    select: { id: true },
  });
  return { warnings: outlook.problems };
}

/** Those whom no time suited: another schedule may. */
async function takeBackIn(tx: Tx, campaign: Campaign, now: Date): Promise<void> {
  const back = await tx.$executeRaw`
    UPDATE campaign_contacts SET skip_reason = NULL, finished_at = NULL,
      status = CASE WHEN attempts = 0 THEN 'PENDING' ELSE 'SCHEDULED' END::"CampaignContactStatus",
      next_eligible_at = CASE WHEN attempts > 0 THEN ${now}::timestamptz END,
      updated_at = ${now}::timestamptz
    WHERE campaign_id = ${campaign.id}::uuid AND status = 'SKIPPED' AND skip_reason = 'NEVER_OPEN'`;
  if (back === 0) return;
  await tx.campaign.update({
    where: { id: campaign.id },
    data: { pendingCount: { increment: back }, skippedCount: { decrement: back } },
    select: { id: true },
  });
}

/** A retry was put to when the window opened as it was then. */
async function retriesAsDue(tx: Tx, campaign: Campaign, now: Date): Promise<void> {
  await tx.$executeRaw`
    UPDATE campaign_contacts cc SET next_eligible_at = r.due, scheduled_at = r.due,
      updated_at = ${now}::timestamptz
    FROM (
      SELECT w.id, greatest(${now}::timestamptz, last.ended
        + ${retryDelaySql(Prisma.sql`w.attempts`, campaign.retryDelaySeconds)}) AS due
      FROM campaign_contacts w CROSS JOIN LATERAL (
        SELECT max(k.settled_at) AS ended FROM calls k WHERE k.campaign_contact_id = w.id
      ) last
      WHERE w.campaign_id = ${campaign.id}::uuid AND w.status = 'SCHEDULED' AND w.attempts > 0
        AND last.ended IS NOT NULL
    ) r WHERE cc.id = r.id`;
}

/** How fast calls can follow each other, for a forecast. */
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

/** The contacts of a campaign that wait for a call, as a query in parentheses. */
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

/** Attempts made, by the campaign's calendar day. */
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

function refuseUnusable(campaign: Campaign, source: CheckedSource, staged: Staged): void {
  const total = campaign.totalCount + staged.count;
  if (total > MAX_CAMPAIGN_CONTACTS) {
    throw userError(
      'LIMIT_EXCEEDED',
      `The campaign would have ${total} contacts; at most ${MAX_CAMPAIGN_CONTACTS} are possible. Nobody was added. Make another campaign for the others.`,
      pathOf(source),
    );
  }
  const [first] = staged.problems;
  const unusable = staged.duplicateCount === 0 && first !== undefined;
  if (staged.count > 0 || (campaign.totalCount > 0 && !unusable)) return;
  throw userError(
    'EMPTY_CONTACT_SOURCE',
    first
      ? `There is nobody to call: no row can be used. Row ${first.row}: ${first.reason}`
      : 'Nobody is left to call: the contacts have been deleted meanwhile.',
    pathOf(source),
  );
}

function pathOf({ contacts: { kind } }: CheckedSource): string[] {
  const members = {
    FOLDER: 'contactFolderId',
    IDS: 'contactIds',
    ROWS: 'contacts',
    FILE: 'contactsFile',
  };
  return [members[kind]];
}

/** The plan of the new contacts, and what it leads to together with those that wait already. */
async function planNew(
  app: App,
  tx: Tx,
  campaign: Campaign,
  contacts: readonly ContactRun[],
  now: Date,
): Promise<{ plan: Plan; never: number; warnings: readonly ForecastProblem[] }> {
  const input = {
    ...planInput(campaign, now),
    contacts,
    alreadyPerDay: await callsPerDay(tx, campaign, now, { planned: true }),
  };
  const plan = await inTurns(planSteps(input));
  const alone = campaign.pendingCount === 0 || unplanned(plan, 'TOO_LATE') > 0;
  const everyone = alone
    ? input
    : {
        ...input,
        contacts: [
          ...(await runsOf(tx, waitingContacts(campaign.id), Prisma.sql`position`)),
          ...contacts,
        ],
        alreadyPerDay: await attemptsPerDay(tx, campaign.id),
      };
  const outlook = await inTurns(forecastSteps({ ...everyone, ...paceOf(app, campaign) }));
  const never = unplanned(plan, 'NEVER_OPEN');
  // Where others can be called, those that never can are told of and skipped.
  refuseTooSmall(outlook, campaign.totalCount === 0 && never === countOf(contacts));
  return { plan, never, warnings: outlook.problems };
}

function planInput(campaign: Campaign, now: Date) {
  const startAt = Math.max(now.getTime(), campaign.scheduledAt?.getTime() ?? 0);
  return {
    window: windowOfCampaign(campaign),
    startAt: Temporal.Instant.fromEpochMilliseconds(startAt),
    maxCallsPerDay: campaign.maxCallsPerDay,
  };
}

/**
 * What the day's cap counts before anybody is planned: attempts made, retries to come, and with
 * `planned` the first calls of those that wait already. Who is overdue counts for today.
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
    SELECT date_bin(${BIN}::interval, greatest(next_eligible_at, ${now}::timestamptz),
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

/** @throws UserInputError WINDOW_TOO_SMALL when the end is out of reach, or nobody can be called. */
function refuseTooSmall({ problems, endsAt }: Forecast, nobody: boolean): void {
  const reason = problems.find(
    ({ code }) => code === 'TOO_LATE' || (nobody && code === 'NEVER_OPEN'),
  );
  if (!reason) return;
  throw userError('WINDOW_TOO_SMALL', reason.message, [], {
    details: { contacts: reason.contacts, endsAt: endsAt?.toString() ?? null },
  });
}

/** All rows of the stage, behind those that are there. Without a plan they wait for one. */
async function insertStaged(tx: Tx, campaign: Campaign, plan: Plan | null, now: Date) {
  const at = Prisma.sql`${now}::timestamptz`;
  const planned = Prisma.sql`planned.scheduled_at`;
  const never = Prisma.sql`planned.scheduled_at IS NULL`;
  const state = plan
    ? Prisma.sql`
        CASE WHEN ${never} THEN 'SKIPPED' ELSE 'SCHEDULED' END::"CampaignContactStatus",
        CASE WHEN ${never} THEN 'NEVER_OPEN' END::"CampaignSkipReason",
        ${planned}, ${planned}, CASE WHEN ${never} THEN ${at} END`
    : Prisma.sql`'PENDING'::"CampaignContactStatus", NULL, NULL, NULL, NULL`;
  const next = await nextPosition(tx, campaign);
  const insert = Prisma.sql`
    INSERT INTO campaign_contacts (id, organization_id, campaign_id, position, ${STAGED_COLUMNS},
      status, skip_reason, scheduled_at, next_eligible_at, finished_at, created_at, updated_at)
    SELECT new_id(), ${campaign.organizationId}::uuid, ${campaign.id}::uuid,
      ${next}::int + place, ${qualified('staged')},
      ${state}, ${at}, ${at}
    FROM (
      SELECT ordinal, coalesce(timezone, '') AS zone,
        row_number() OVER (ORDER BY ordinal) - 1 AS place,
        row_number() OVER (PARTITION BY timezone ORDER BY ordinal) - 1 AS place_in_zone
      FROM ${STAGE}
    ) AS numbered
    JOIN ${STAGE} AS staged USING (ordinal)
    ${plan ? joinPlan(plan) : Prisma.empty}
    ORDER BY place`;
  if (plan && unplanned(plan, 'NEVER_OPEN') > 0) await withDecisions(tx, now, insert);
  else await tx.$executeRaw(insert);
}

/** Of the stage, or of any table with its columns. */
function qualified(table: string): Prisma.Sql {
  const columns = STAGED_COLUMNS.sql.split(',').map((column) => `${table}.${column.trim()}`);
  return Prisma.raw(columns.join(', '));
}

/** Each contact of `numbered` with its time, or none. */
function joinPlan(plan: Plan): Prisma.Sql {
  return Prisma.sql`
    LEFT JOIN (${plannedRows(plan.segments)}) AS planned
      ON coalesce(planned.timezone, '') = numbered.zone
        AND planned.ordinal = numbered.place_in_zone`;
}

async function nextPosition(tx: Tx, campaign: Campaign): Promise<number> {
  const [{ next }] = await tx.$queryRaw<[{ next: number }]>`
    SELECT coalesce(max(position) + 1, 0) AS next FROM campaign_contacts
    WHERE campaign_id = ${campaign.id}::uuid`;
  return next;
}

async function updateWaiting(
  tx: Tx,
  campaign: Campaign,
  waiting: Prisma.Sql,
  plan: Plan,
  now: Date,
): Promise<void> {
  const at = Prisma.sql`${now}::timestamptz`;
  const never = Prisma.sql`planned.scheduled_at IS NULL`;
  const update = Prisma.sql`
    UPDATE campaign_contacts AS contact SET
      status = CASE WHEN ${never} THEN 'SKIPPED' ELSE 'SCHEDULED' END::"CampaignContactStatus",
      skip_reason = CASE WHEN ${never} THEN 'NEVER_OPEN' END::"CampaignSkipReason",
      scheduled_at = planned.scheduled_at,
      next_eligible_at = planned.scheduled_at,
      finished_at = CASE WHEN ${never} THEN ${at} END,
      updated_at = ${at}
    FROM (
      SELECT id, coalesce(timezone, '') AS zone,
        row_number() OVER (PARTITION BY timezone ORDER BY position) - 1 AS place_in_zone
      FROM ${waiting}
    ) AS numbered
    ${joinPlan(plan)}
    WHERE contact.campaign_id = ${campaign.id}::uuid AND contact.id = numbered.id`;
  if (unplanned(plan, 'NEVER_OPEN') > 0) await withDecisions(tx, now, update, 'contact.');
  else await tx.$executeRaw(update);
}

/** Runs a statement that writes contacts, and says of those it skips why. */
async function withDecisions(
  tx: Tx,
  now: Date,
  write: Prisma.Sql,
  table: 'contact.' | '' = '',
): Promise<void> {
  const of = Prisma.raw(table);
  await tx.$executeRaw`
    WITH written AS (
      ${write} RETURNING ${of}organization_id, ${of}campaign_id, ${of}id, ${of}status
    )
    INSERT INTO campaign_decisions
      (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, at)
    SELECT new_id(), organization_id, campaign_id, id, 'SKIPPED', 'NEVER_OPEN',
      ${now}::timestamptz
    FROM written WHERE status = 'SKIPPED'`;
}

function unplanned(plan: Plan, reason: Plan['unplanned'][number]['reason']): number {
  return countOf(plan.unplanned.filter((part) => part.reason === reason));
}

function countOf(parts: readonly { count: number }[]): number {
  return parts.reduce((sum, { count }) => sum + count, 0);
}
