/**
 * Campaigns are scheduled, paused, resumed and cancelled. Each of these is one transaction that holds
 * the row of the campaign, as every dispatch does, and recalls what was decided and not yet sent:
 * once it is committed, nobody is dialled whom it does not allow, whichever process does the dialling.
 */
import type { App, Tx } from '../app.ts';
import { recallClaims } from '../calls/claims.ts';
import { UserInputError, userError } from '../errors.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { appendEvents, type NewEvent } from '../live/log.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { enqueueRun } from './engine.ts';
import { replanContacts } from './planning.ts';
import {
  announceCampaigns,
  campaignEvent,
  cancelWaitingContacts,
  LONG_TRANSACTION,
  recordDecisions,
} from './progress.ts';
import { begin, type ChangedCampaign, requireCampaign } from './service.ts';
import { checkSchedule, problemsOfCampaign, scheduleOf } from './settings.ts';
import { campaignAfter } from './status.ts';
import { canonicalTimeZone } from './zone.ts';

export interface ScheduleCampaignInput {
  id: string;
  /** Absent: the start that it has, if that is ahead. Null: now. */
  scheduledAt?: Date | null | undefined;
  timezone?: string | null | undefined;
}

/** Plans the contacts of a draft and starts it, now or at the time given. */
export async function scheduleCampaign(
  app: App,
  viewer: Viewer,
  input: ScheduleCampaignInput,
): Promise<ChangedCampaign> {
  const id = idOf(input.id);
  const changed = await app.db.$transaction(async (tx) => {
    const draft = await requireCampaign(tx, viewer, id);
    const now = app.now();
    const step = campaignAfter(draft.status, 'SCHEDULE');
    if (!step.allowed) throw userError('INVALID_STATE', step.message, ['id']);
    const checks = new Checks();
    const kept = draft.scheduledAt && draft.scheduledAt > now ? draft.scheduledAt : null;
    const scheduledAt = input.scheduledAt === undefined ? kept : input.scheduledAt;
    const timezone = input.timezone ?? draft.timezone;
    checkSchedule(checks, { ...scheduleOf(draft), scheduledAt, timezone }, now);
    checks.problems.push(...(await problemsOfCampaign(tx, draft)));
    if (draft.totalCount === 0) {
      checks.add(
        'EMPTY_CONTACT_SOURCE',
        'The campaign has nobody to call. Add contacts with addCampaignContacts first.',
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
    const { warnings } = await replanContacts(app, tx, campaign);
    const event = await begin(app, tx, campaign, now);
    await appendEvents(tx, viewer.organizationId, [event]);
    return { campaign: await tx.campaign.findUniqueOrThrow({ where: { id } }), warnings };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [id], [viewer.organizationId]);
  return changed;
}

/** Nobody is dialled any more. Calls that are running go on and still count. */
export async function pauseCampaign(app: App, viewer: Viewer, publicId: string): Promise<Campaign> {
  return change(app, viewer, publicId, 'PAUSE', async (tx, { campaign, status, now }) => {
    const row = await tx.campaign.update({
      where: { id: campaign.id },
      data: { status, statusReason: null, nextDispatchAt: null, holdReason: null },
    });
    await tellWaiting(tx, row, now, 'CAMPAIGN_PAUSED');
    return [campaignEvent('CAMPAIGN_PAUSED', row, now)];
  });
}

/** Goes on where it was: who has waited longest comes first, under the same limits. */
export async function resumeCampaign(
  app: App,
  viewer: Viewer,
  publicId: string,
): Promise<Campaign> {
  return change(app, viewer, publicId, 'RESUME', async (tx, { campaign, status, now }) => {
    const problems = await problemsOfCampaign(tx, campaign);
    if (problems.length > 0) throw new UserInputError(problems);
    const later = status === 'SCHEDULED';
    const row = await tx.campaign.update({
      where: { id: campaign.id },
      data: {
        status,
        statusReason: null,
        // The breaker counts from here.
        recentEnds: [],
        nextDispatchAt: later ? campaign.scheduledAt : now,
        startedAt: campaign.startedAt ?? (later ? null : now),
      },
    });
    await tellWaiting(tx, row, now, 'CAMPAIGN_RESUMED');
    return [campaignEvent('CAMPAIGN_RESUMED', row, now)];
  });
}

/** Ends it for good. Calls that are running go on; nobody else is called. */
export async function cancelCampaign(
  app: App,
  viewer: Viewer,
  publicId: string,
): Promise<Campaign> {
  return change(app, viewer, publicId, 'CANCEL', async (tx, { campaign, status, now }) => {
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
    await cancelWaitingContacts(tx, row, now);
    return [campaignEvent('CAMPAIGN_CANCELLED', row, now)];
  });
}

async function change(
  app: App,
  viewer: Viewer,
  publicId: string,
  action: 'PAUSE' | 'RESUME' | 'CANCEL',
  write: (
    tx: Tx,
    context: { campaign: Campaign; status: Campaign['status']; now: Date },
  ) => Promise<NewEvent[]>,
): Promise<Campaign> {
  const id = idOf(publicId);
  const after = await app.db.$transaction(async (tx) => {
    const campaign = await requireCampaign(tx, viewer, id);
    const now = app.now();
    const ahead = campaign.scheduledAt !== null && campaign.scheduledAt > now;
    const startsLater = ahead && campaign.startedAt === null;
    const step = campaignAfter(campaign.status, action, { startsLater });
    if (!step.allowed) throw userError('INVALID_STATE', step.message, ['id']);
    const events = await write(tx, { campaign, status: step.status, now });
    if (action !== 'RESUME') await recallClaims(tx, [id]);
    await enqueueRun(app, tx);
    await appendEvents(tx, viewer.organizationId, events);
    return tx.campaign.findUniqueOrThrow({ where: { id } });
  }, LONG_TRANSACTION);
  announceCampaigns(app, [id], [viewer.organizationId]);
  return after;
}

/** For all that wait at this moment. */
async function tellWaiting(
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
  const id = checks.id('cmp', 'Campaign', publicId, ['id']);
  checks.throwIfAny();
  return id!;
}
