/**
 * Schedules, pauses, resumes and cancels campaigns. Each change is one transaction that locks the row of the campaign,
 * as dispatch cycles do, and revokes claims that were not sent yet: after its commit, no process places a call that the
 * new status forbids. A repeated change has no effect.
 */
import type { App, Tx } from '../app.ts';
import { UserInputError, userError } from '../errors.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { LONG_TRANSACTION } from '../infra/database/long-transaction.ts';
import { canonicalTimeZone } from '../infra/time-zone.ts';
import { appendEvents, type NewEvent } from '../live/log.ts';
import type { Viewer } from '../viewer.ts';
import { enqueueRun, revokeCampaignClaims } from './calls.ts';
import { cancelWaitingContacts } from './contacts/contact-transitions.ts';
import { recordDecisions } from './contacts/decisions.ts';
import { planDraft } from './enrollment/planning.ts';
import { announceCampaigns, campaignEvent } from './events.ts';
import { activateDraft, type ChangedCampaign, requireCampaign } from './service.ts';
import { campaignProblems, checkSchedule, scheduleOf } from './settings.ts';
import { campaignAfter, isRepeated, type RepeatableAction } from './status.ts';

export interface ScheduleCampaignInput {
  id: string;
  /** Default: the current start if it is in the future, otherwise now. Null: now. */
  scheduledAt?: Date | null | undefined;
  timezone?: string | null | undefined;
}

/** Plans the contacts of a draft and starts it, now or at `scheduledAt`. Repeated, it gives no warnings. */
export async function scheduleCampaign(
  app: App,
  viewer: Viewer,
  input: ScheduleCampaignInput,
): Promise<ChangedCampaign> {
  const id = idOf(input.id);
  const changed = await app.db.$transaction(async (tx) => {
    const draft = await requireCampaign(tx, viewer, id);
    if (isScheduledSo(draft, input)) return { campaign: draft, warnings: [], repeated: true };
    const now = app.now();
    const step = campaignAfter(draft.status, 'SCHEDULE');
    if (!step.allowed) throw userError('INVALID_STATE', step.message, ['id']);
    const checks = new Checks();
    const kept = draft.scheduledAt && draft.scheduledAt > now ? draft.scheduledAt : null;
    const scheduledAt = input.scheduledAt === undefined ? kept : input.scheduledAt;
    const timezone = input.timezone ?? draft.timezone;
    checkSchedule(checks, { ...scheduleOf(draft), scheduledAt, timezone }, now);
    checks.problems.push(...(await campaignProblems(tx, draft)));
    if (draft.totalCount === 0) {
      checks.add(
        'EMPTY_CONTACT_SOURCE',
        'The campaign has no contacts. Add some with `addCampaignContacts` first.',
        ['id'],
      );
    }
    checks.throwIfAny();
    const campaign = await tx.campaign.update({
      where: { id },
      data: {
        scheduledAt,
        scheduleType: scheduledAt ? 'SCHEDULED' : 'IMMEDIATE',
        timezone: canonicalTimeZone(timezone) ?? draft.timezone,
      },
    });
    const { warnings } = await planDraft(app, tx, campaign);
    const event = await activateDraft(app, tx, campaign, now);
    await appendEvents(tx, viewer.organizationId, [event]);
    const campaignAfterwards = await tx.campaign.findUniqueOrThrow({ where: { id } });
    return { campaign: campaignAfterwards, warnings, repeated: false };
  }, LONG_TRANSACTION);
  if (!changed.repeated) announceCampaigns(app, [id], [viewer.organizationId]);
  return changed;
}

/** Whether the campaign waits or runs with the start and zone that the input asks for. */
function isScheduledSo(campaign: Campaign, { scheduledAt, timezone }: ScheduleCampaignInput) {
  if (campaign.status !== 'SCHEDULED' && campaign.status !== 'ACTIVE') return false;
  const isSameStart =
    scheduledAt === undefined || scheduledAt?.getTime() === campaign.scheduledAt?.getTime();
  return isSameStart && (!timezone || canonicalTimeZone(timezone) === campaign.timezone);
}

/** Stops placing calls. Active calls continue and count. */
export async function pauseCampaign(app: App, viewer: Viewer, publicId: string): Promise<Campaign> {
  return change(
    app,
    viewer,
    { publicId, action: 'PAUSE' },
    async (tx, { campaign, status, now }) => {
      const row = await tx.campaign.update({
        where: { id: campaign.id },
        data: { status, statusReason: null, nextDispatchAt: null, holdReason: null },
      });
      await recordDecisionForWaiting(tx, row, now, 'CAMPAIGN_PAUSED');
      return [campaignEvent('CAMPAIGN_PAUSED', row, now)];
    },
  );
}

/** Continues a paused campaign with the contacts that have waited longest. */
export async function resumeCampaign(
  app: App,
  viewer: Viewer,
  publicId: string,
): Promise<Campaign> {
  return change(
    app,
    viewer,
    { publicId, action: 'RESUME' },
    async (tx, { campaign, status, now }) => {
      const problems = await campaignProblems(tx, campaign);
      if (problems.length > 0) throw new UserInputError(problems);
      const later = status === 'SCHEDULED';
      const row = await tx.campaign.update({
        where: { id: campaign.id },
        data: {
          status,
          statusReason: null,
          // The circuit breaker starts counting anew.
          recentEnds: [],
          nextDispatchAt: later ? campaign.scheduledAt : now,
          startedAt: campaign.startedAt ?? (later ? null : now),
        },
      });
      await recordDecisionForWaiting(tx, row, now, 'CAMPAIGN_RESUMED');
      return [campaignEvent('CAMPAIGN_RESUMED', row, now)];
    },
  );
}

/** Ends a campaign and cancels its waiting contacts. Active calls continue. */
export async function cancelCampaign(
  app: App,
  viewer: Viewer,
  publicId: string,
): Promise<Campaign> {
  return change(
    app,
    viewer,
    { publicId, action: 'CANCEL' },
    async (tx, { campaign, status, now }) => {
      const row = await tx.campaign.update({
        where: { id: campaign.id },
        data: { status, statusReason: null, endedAt: now, nextDispatchAt: null, holdReason: null },
      });
      await recordDecisions(tx, now, [
        {
          organizationId: row.organizationId,
          campaignId: row.id,
          outcome: 'CANCELLED',
          reason: 'CAMPAIGN_OVER',
        },
      ]);
      await cancelWaitingContacts(tx, row.id, now);
      return [campaignEvent('CAMPAIGN_CANCELLED', row, now)];
    },
  );
}

/** Moves a campaign to the status after `action`. `write` returns the events to append. */
async function change(
  app: App,
  viewer: Viewer,
  { publicId, action }: { publicId: string; action: RepeatableAction },
  write: (
    tx: Tx,
    context: { campaign: Campaign; status: Campaign['status']; now: Date },
  ) => Promise<NewEvent[]>,
): Promise<Campaign> {
  const id = idOf(publicId);
  const { after, repeated } = await app.db.$transaction(async (tx) => {
    const campaign = await requireCampaign(tx, viewer, id);
    if (isRepeated(campaign.status, action)) return { after: campaign, repeated: true };
    const now = app.now();
    const ahead = campaign.scheduledAt !== null && campaign.scheduledAt > now;
    const startsLater = ahead && campaign.startedAt === null;
    const step = campaignAfter(campaign.status, action, { startsLater });
    if (!step.allowed) throw userError('INVALID_STATE', step.message, ['id']);
    const events = await write(tx, { campaign, status: step.status, now });
    if (action !== 'RESUME') await revokeCampaignClaims(tx, [id]);
    await enqueueRun(app, tx);
    await appendEvents(tx, viewer.organizationId, events);
    const changed = await tx.campaign.findUniqueOrThrow({ where: { id } });
    return { after: changed, repeated: false };
  }, LONG_TRANSACTION);
  if (!repeated) announceCampaigns(app, [id], [viewer.organizationId]);
  return after;
}

/** Records one decision that applies to all contacts waiting now. */
async function recordDecisionForWaiting(
  tx: Tx,
  campaign: Campaign,
  now: Date,
  reason: 'CAMPAIGN_PAUSED' | 'CAMPAIGN_RESUMED',
): Promise<void> {
  const { organizationId, id: campaignId } = campaign;
  await recordDecisions(tx, now, [{ organizationId, campaignId, outcome: 'WAITS', reason }]);
}

function idOf(publicId: string): string {
  const checks = new Checks();
  const id = checks.id('Campaign', publicId, ['id']);
  checks.throwIfAny();
  return id!;
}
