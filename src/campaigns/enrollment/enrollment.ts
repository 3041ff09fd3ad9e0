/**
 * Adds contacts to an existing campaign without keeping it from calling: they are staged and planned without a lock,
 * and join in steps that lock the campaign briefly.
 *
 * From the status JOINING on, an enrollment is completed even if the process dies: the periodic `resumeEnrollments`
 * continues at the row after the last step. A row joins only once, because the steps of a campaign exclude each other
 * and record their end in the same transaction.
 */
import type { App, Tx } from '../../app.ts';
import { userError } from '../../errors.ts';
import { type Campaign, type CampaignEnrollment, Prisma } from '../../generated/prisma/client.ts';
import { appendEvents } from '../../live/log.ts';
import { newObjectId, ownedBy, type Viewer } from '../../viewer.ts';
import { enqueueRun } from '../calls.ts';
import { insertContacts } from '../contacts/contact-transitions.ts';
import { announceCampaigns, campaignEvent } from '../events.ts';
import { lockCampaign } from '../locks.ts';
import type { SimulationProblem } from '../schedule/simulation.ts';
import { campaignAfter } from '../status.ts';
import {
  type AddedContacts,
  type CheckedSource,
  MAX_CAMPAIGN_CONTACTS,
} from './contact-sources.ts';
import { listOptOuts } from './opt-outs.ts';
import { joinPlan, PLANNED_STATUS, withoutNestedLoops } from './plan-sql.ts';
import { planNewContacts } from './planning.ts';
import {
  COLUMNS_OF_STAGED,
  durableStage,
  isEnrolled,
  rejectTooMany,
  rejectUnusable,
  runsOf,
  STAGED_COLUMNS,
  type Staged,
  stageContacts,
  stagedRows,
} from './staging-table.ts';

/** Number of rows that join in one step. */
export const BATCH_ROWS = 250;
/** Seconds without a step after which an enrollment is resumed (JOINING) or deleted (others). */
const DEAD_AFTER_SECONDS = { JOINING: 10, STAGING: 3_600, DONE: 86_400, CANCELLED: 86_400 };
const ENROLLMENT_TRANSACTION = { timeout: 120_000, maxWait: 10_000 };

export interface EnrollmentResult {
  added: AddedContacts;
  warnings: readonly SimulationProblem[];
}

/**
 * Adds the contacts of a source to the end of a campaign, and plans them unless it is a draft. Returns once all have
 * joined.
 *
 * @throws UserInputError LIMIT_EXCEEDED, EMPTY_CONTACT_SOURCE or WINDOW_TOO_SMALL, without adding any contact, though
 * its opt-outs are added to the do-not-call list; INVALID_STATE if the campaign has ended, or ends before all have
 * joined.
 */
export async function enrollContacts(
  app: App,
  viewer: Viewer,
  campaignId: string,
  source: CheckedSource,
): Promise<EnrollmentResult> {
  const id = newObjectId(viewer);
  const earlier = await app.db.campaignEnrollment.findFirst({ where: { ...ownedBy(viewer), id } });
  if (earlier && earlier.status !== 'STAGING') return finishEnrollment(app, earlier, NOTHING_FOUND);
  if (earlier) await app.db.campaignEnrollment.deleteMany({ where: { id } });

  const campaign = await app.db.campaign.findFirst({
    where: { ...ownedBy(viewer), id: campaignId, deletedAt: null },
  });
  if (!campaign) throw userError('NOT_FOUND', 'Campaign not found.', ['campaignId']);
  const doNotCallCount = await listOptOuts(app, viewer, source);
  requireOpenCampaign(campaign);
  const enrollment = await app.db.campaignEnrollment.create({
    data: { id, ...ownedBy(viewer), campaignId, status: 'STAGING' },
  });
  try {
    const staged = await stageContacts(app.db, durableStage(id), campaign, source.contacts);
    rejectUnusable(campaign, source, staged);
    const warnings = await planRemaining(app, enrollment, { strict: true });
    const joining = await beginEnrollment(app, enrollment, { source, staged, doNotCallCount });
    return await finishEnrollment(app, joining, { ...staged, planWarnings: warnings });
  } catch (error) {
    await app.db.campaignEnrollment.deleteMany({ where: { id, status: 'STAGING' } });
    throw error;
  }
}

/** Results known only to the request that staged the rows. */
interface SourceFindings extends Pick<Staged, 'problems' | 'warnings'> {
  planWarnings: readonly SimulationProblem[];
}

const NOTHING_FOUND: SourceFindings = { problems: [], warnings: [], planWarnings: [] };

async function finishEnrollment(
  app: App,
  enrollment: CampaignEnrollment,
  { problems, warnings, planWarnings }: SourceFindings,
): Promise<EnrollmentResult> {
  await joinRemaining(app, enrollment);
  const { status, addedCount, duplicateCount, problemCount, warningCount, doNotCallCount } =
    await app.db.campaignEnrollment.findUniqueOrThrow({ where: { id: enrollment.id } });
  if (status === 'CANCELLED') {
    const { campaignId } = enrollment;
    requireOpenCampaign(
      await app.db.campaign.findFirst({ where: { id: campaignId, deletedAt: null } }),
    );
  }
  const counts = { addedCount, duplicateCount, problemCount, warningCount, doNotCallCount };
  return { added: { ...counts, problems, warnings }, warnings: planWarnings };
}

/** @throws UserInputError NOT_FOUND or INVALID_STATE if the campaign takes no more contacts. */
function requireOpenCampaign(campaign: Campaign | null): asserts campaign {
  if (!campaign) throw userError('NOT_FOUND', 'Campaign not found.', ['campaignId']);
  const step = campaignAfter(campaign.status, 'APPEND');
  if (!step.allowed) throw userError('INVALID_STATE', step.message, ['campaignId']);
}

/** Marks the rows to join. From here on they join even if this process crashes. */
async function beginEnrollment(
  app: App,
  { id, campaignId, organizationId }: CampaignEnrollment,
  {
    source,
    staged,
    doNotCallCount,
  }: { source: CheckedSource; staged: Staged; doNotCallCount: number },
): Promise<CampaignEnrollment> {
  return app.db.$transaction(async (tx) => {
    const campaign = await lockCampaign(tx, { id: campaignId, organizationId });
    requireOpenCampaign(campaign);
    rejectTooMany(source, await totalAfter(tx, campaign, { id, stagedCount: staged.count }));
    if (campaign.totalCount === 0) {
      const { contactSource, contactFolderId } = source;
      await tx.campaign.update({
        where: { id: campaignId },
        data: { contactSource, contactFolderId },
      });
    }
    return tx.campaignEnrollment.update({
      where: { id },
      data: {
        status: 'JOINING',
        stagedCount: staged.count,
        duplicateCount: staged.duplicateCount,
        problemCount: staged.problemCount,
        warningCount: staged.warningCount,
        doNotCallCount,
      },
    });
  });
}

/**
 * Number of contacts of a locked campaign after this enrollment and those that are joining; an upper bound if that is
 * within the limit.
 */
async function totalAfter(
  tx: Tx,
  { id: campaignId, totalCount }: Campaign,
  { id, stagedCount }: Pick<CampaignEnrollment, 'id' | 'stagedCount'>,
): Promise<number> {
  const joining = await tx.campaignEnrollment.findMany({
    where: { campaignId, status: 'JOINING' },
    select: { stagedCount: true, addedCount: true },
  });
  const ahead = joining.reduce((sum, one) => sum + one.stagedCount - one.addedCount, 0);
  const most = totalCount + ahead + stagedCount;
  if (most <= MAX_CAMPAIGN_CONTACTS) return most;
  // A repeated request has staged the rows that its first run is adding.
  const [{ count }] = await withoutNestedLoops(
    tx,
    () => tx.$queryRaw<[{ count: number }]>`
      SELECT count(DISTINCT r.identity)::int AS count
      FROM campaign_enrollments e JOIN campaign_enrollment_rows r ON r.enrollment_id = e.id
      WHERE e.campaign_id = ${campaignId}::uuid AND (e.status = 'JOINING' OR e.id = ${id}::uuid)
        AND r.ordinal >= e.next_ordinal AND NOT ${isEnrolled(campaignId, Prisma.sql`r`)}`,
  );
  return totalCount + count;
}

/** Key of the settings used for planning. A step joins rows only if it has not changed since. */
function scheduleKey(campaign: Campaign): string {
  const { status, timezone, workingDays, startMinute, endMinute } = campaign;
  const { scheduledAt, maxCallsPerDay } = campaign;
  const window = [timezone, workingDays, startMinute, endMinute];
  return JSON.stringify([status === 'DRAFT', window, scheduledAt, maxCallsPerDay]);
}

/** Plans the rows that have not joined yet, with the current settings of the campaign. */
async function planRemaining(
  app: App,
  { id, campaignId }: CampaignEnrollment,
  { strict }: { strict: boolean },
): Promise<readonly SimulationProblem[]> {
  const campaign = await app.db.campaign.findUniqueOrThrow({ where: { id: campaignId } });
  const { nextOrdinal } = await app.db.campaignEnrollment.findUniqueOrThrow({ where: { id } });
  const rows = stagedRows(durableStage(id), nextOrdinal);
  const contacts =
    campaign.status === 'DRAFT' ? [] : await runsOf(app.db, rows, Prisma.sql`ordinal`);
  const planned =
    contacts.length > 0
      ? await planNewContacts(app, app.db, { campaign, contacts, now: app.now(), strict })
      : null;
  await app.db.$transaction(async (tx) => {
    if (planned) {
      await withoutNestedLoops(
        tx,
        () => tx.$executeRaw`
          UPDATE campaign_enrollment_rows r SET status = p.status::"CampaignContactStatus",
            skip_reason = p.skip_reason::"CampaignSkipReason", scheduled_at = p.scheduled_at
          FROM (
            SELECT numbered.ordinal, ${PLANNED_STATUS}, planned.scheduled_at
            FROM (
              SELECT ordinal, coalesce(timezone, '') AS zone,
                row_number() OVER (PARTITION BY timezone ORDER BY ordinal) - 1 AS place_in_zone
              FROM ${rows}
            ) AS numbered
            ${joinPlan(planned.plan)}
          ) AS p
          WHERE r.enrollment_id = ${id}::uuid AND r.ordinal = p.ordinal`,
      );
    }
    await tx.campaignEnrollment.update({
      where: { id },
      data: { plannedFor: scheduleKey(campaign) },
    });
  }, ENROLLMENT_TRANSACTION);
  return planned?.warnings ?? [];
}

/** The settings of the campaign have changed since the rows were planned. */
class PlanOutdatedError extends Error {
  override name = 'PlanOutdatedError';
}

/** Joins all rows, step by step, until the end of the campaign. */
async function joinRemaining(app: App, enrollment: CampaignEnrollment): Promise<void> {
  const { id, campaignId, organizationId } = enrollment;
  for (let more = true; more; ) {
    try {
      more = await app.db.$transaction(
        (tx) => joinStep(app, tx, enrollment),
        ENROLLMENT_TRANSACTION,
      );
      announceCampaigns(app, [campaignId], more ? [] : [organizationId]);
    } catch (error) {
      if (error instanceof PlanOutdatedError) {
        await planRemaining(app, enrollment, { strict: false });
        continue;
      }
      if (!(await cancelIfEnded(app, enrollment))) throw error;
      more = false;
    }
  }
  await app.db.campaignEnrollmentRow.deleteMany({ where: { enrollmentId: id } });
}

/** Joins the next rows. Returns whether more are left. */
async function joinStep(
  app: App,
  tx: Tx,
  { id, campaignId, organizationId }: CampaignEnrollment,
): Promise<boolean> {
  const now = app.now();
  // Steps exclude each other by their own lock, not by that of the campaign.
  await tx.$queryRaw`
    SELECT pg_advisory_xact_lock(hashtextextended(${campaignId}, 0))::text AS locked`;
  const enrollment = await tx.campaignEnrollment.findUnique({ where: { id } });
  if (enrollment?.status !== 'JOINING') return false;
  const { nextOrdinal, plannedFor } = enrollment;
  const [step] = await tx.$queryRaw<[{ last: number | null; count: number }]>`
    SELECT max(ordinal) AS last, count(*)::int AS count FROM (
      SELECT ordinal FROM ${stagedRows(durableStage(id), nextOrdinal)}
      ORDER BY ordinal LIMIT ${BATCH_ROWS}
    ) AS next`;
  const added = await insertRows(tx, enrollment, step.last, now);
  // The insertion locked the campaign only at its end. The campaign kept calling until then.
  const campaign = await lockCampaign(tx, { id: campaignId, organizationId });
  requireOpenCampaign(campaign);
  if (scheduleKey(campaign) !== plannedFor) throw new PlanOutdatedError();

  const isLast = step.count < BATCH_ROWS;
  const addedCount = enrollment.addedCount + added;
  await tx.campaignEnrollment.update({
    where: { id },
    data: {
      addedCount,
      duplicateCount: { increment: step.count - added },
      nextOrdinal: (step.last ?? nextOrdinal) + 1,
      ...(isLast ? { status: 'DONE' } : {}),
    },
  });
  // Even without new contacts, since the campaign may have waited for them before it completes.
  if (campaign.status === 'ACTIVE' && (isLast || !campaign.holdReason)) {
    await tx.campaign.update({ where: { id: campaignId }, data: { nextDispatchAt: now } });
  }
  if (isLast && addedCount > 0) {
    await appendEvents(tx, organizationId, [campaignEvent('CAMPAIGN_UPDATED', campaign, now)]);
  }
  await enqueueRun(app, tx);
  return !isLast;
}

/** Inserts the staged rows up to `last` that are not in the campaign yet. Returns their number. */
async function insertRows(
  tx: Tx,
  { id, campaignId, organizationId, nextOrdinal }: CampaignEnrollment,
  last: number | null,
  now: Date,
): Promise<number> {
  if (last === null) return 0;
  const campaign = { id: campaignId, organizationId };
  const next = await nextPosition(tx, campaignId);
  const columns = Prisma.sql`position, ${STAGED_COLUMNS}`;
  const query = Prisma.sql`
    SELECT ${next}::int + row_number() OVER (ORDER BY ordinal) - 1 AS position,
      ${COLUMNS_OF_STAGED}, status, skip_reason, scheduled_at
    FROM ${stagedRows(durableStage(id), nextOrdinal)}
    WHERE ordinal <= ${last} AND NOT ${isEnrolled(campaignId, Prisma.sql`staged`)}
    ORDER BY ordinal`;
  return insertContacts(tx, campaign, { columns, query }, now);
}

async function nextPosition(tx: Tx, campaignId: string): Promise<number> {
  const [{ next }] = await tx.$queryRaw<[{ next: number }]>`
    SELECT coalesce(max(position) + 1, 0) AS next FROM campaign_contacts
    WHERE campaign_id = ${campaignId}::uuid`;
  return next;
}

/** Cancels the enrollment if the campaign has ended. Returns whether it has. */
async function cancelIfEnded(app: App, { id, campaignId }: CampaignEnrollment): Promise<boolean> {
  const campaign = await app.db.campaign.findUnique({ where: { id: campaignId } });
  if (campaign && !campaign.deletedAt && campaignAfter(campaign.status, 'APPEND').allowed) {
    return false;
  }
  await app.db.campaignEnrollment.updateMany({
    where: { id, status: 'JOINING' },
    data: { status: 'CANCELLED' },
  });
  return true;
}

/** SQL condition: whether `resumeEnrollments` has anything to do. */
export function hasUnfinishedEnrollments(): Prisma.Sql {
  const idle = Object.entries(DEAD_AFTER_SECONDS).map(
    ([status, seconds]) => Prisma.sql`(status = ${status}::"CampaignEnrollmentStatus"
      AND updated_at < now() - make_interval(secs => ${seconds}))`,
  );
  return Prisma.sql`EXISTS (
    SELECT 1 FROM campaign_enrollments WHERE ${Prisma.join(idle, ' OR ')})`;
}

/** Completes enrollments whose process has died, and deletes old enrollments. */
export async function resumeEnrollments(app: App): Promise<void> {
  const idle = (status: keyof typeof DEAD_AFTER_SECONDS) => ({
    status,
    updatedAt: { lt: new Date(Date.now() - DEAD_AFTER_SECONDS[status] * 1000) },
  });
  await app.db.campaignEnrollment.deleteMany({
    where: { OR: [idle('STAGING'), idle('DONE'), idle('CANCELLED')] },
  });
  const dead = await app.db.campaignEnrollment.findMany({
    where: idle('JOINING'),
    orderBy: { updatedAt: 'asc' },
    take: 100,
  });
  for (const enrollment of dead) {
    if (app.closing.aborted) return;
    const { id } = enrollment;
    await joinRemaining(app, enrollment).catch(async (error) => {
      app.failures.record('resumeEnrollment', error, {
        level: 'error',
        message: 'Could not complete an enrollment; will retry',
        enrollment: id,
      });
      // Moved to the end of the order, so that it does not block the others.
      await app.db.campaignEnrollment.updateMany({
        where: { id },
        data: { updatedAt: new Date() },
      });
    });
  }
}
