/**
 * Creates, updates and deletes campaigns. Each change is one transaction that locks the row of the
 * campaign, so concurrent changes run one after the other. `lifecycle.ts` starts and stops campaigns.
 */
import { findAgent, keepAgentFromDeletion } from '../agents/usable-agent.ts';
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import type { CampaignScheduleType } from '../generated/prisma/enums.ts';
import { Checks, changesNothing } from '../infra/checks.ts';
import { LONG_TRANSACTION } from '../infra/database/long-transaction.ts';
import { canonicalTimeZone } from '../infra/time-zone.ts';
import { appendEvents, type NewEvent } from '../live/log.ts';
import { watchSnapshots } from '../live/snapshots.ts';
import { deletedByEarlierRun, newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { enqueueRun, revokeCampaignClaims } from './calls.ts';
import {
  type AddedContacts,
  type ContactSourceInput,
  checkSource,
} from './enrollment/contact-sources.ts';
import { enrollContacts } from './enrollment/enrollment.ts';
import { addFirstContacts } from './enrollment/first-contacts.ts';
import { listOptOuts } from './enrollment/opt-outs.ts';
import { planWaiting } from './enrollment/planning.ts';
import { finishReplan, storeReplan } from './enrollment/replan.ts';
import { announceCampaigns, campaignEvent, campaignTopic } from './events.ts';
import { lockCampaign } from './locks.ts';
import { DEFAULT_TIMEZONE } from './schedule/schedule.ts';
import type { SimulationProblem } from './schedule/simulation.ts';
import {
  type CampaignSettingsInput,
  checkNumberPool,
  checkSchedule,
  DEFAULT_SETTINGS,
  SCHEDULE_FIELDS,
  scheduleOf,
  settingsColumns,
  startProblems,
  writeNumberPool,
} from './settings.ts';
import { campaignAfter, isCampaignTerminal, statusesBefore } from './status.ts';
import { visibleCampaigns } from './visibility.ts';

export const MAX_DELETED = 100;

export interface CreateCampaignInput extends CampaignSettingsInput, ContactSourceInput {
  name: string;
  agentId: string;
  /** Default: SCHEDULED with a `scheduledAt`, otherwise the campaign stays a draft. */
  scheduleType?: CampaignScheduleType | null | undefined;
  timezone?: string | null | undefined;
}

export interface ChangedCampaign {
  campaign: Campaign;
  /** Mismatches between contacts and schedule that did not prevent the change. */
  warnings: readonly SimulationProblem[];
}

export interface CampaignWithContacts extends ChangedCampaign {
  added: AddedContacts;
}

const NO_CONTACTS: AddedContacts = {
  addedCount: 0,
  duplicateCount: 0,
  problemCount: 0,
  problems: [],
  warningCount: 0,
  warnings: [],
  doNotCallCount: 0,
};

/**
 * Creates a campaign with its contacts, and starts or schedules it if a schedule is given.
 *
 * @throws UserInputError with all problems, and creates nothing. If the input is valid and only its contacts do not fit
 * the schedule, the opt-outs of its file are still added to the do-not-call list.
 */
export async function createCampaign(
  app: App,
  viewer: Viewer,
  input: CreateCampaignInput,
): Promise<CampaignWithContacts> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const campaign = await app.db.campaign.findFirst({ where: { ...ownedBy(viewer), id } });
    // The first run crashed before it could store the result, so its duplicates are unknown.
    if (campaign) {
      return { campaign, added: { ...NO_CONTACTS, addedCount: campaign.totalCount }, warnings: [] };
    }
  }
  const now = app.now();
  const scheduleType = input.scheduleType ?? (input.scheduledAt ? 'SCHEDULED' : null);
  const checks = new Checks();
  const columns = settingsColumns(checks, input);
  checkSchedule(checks, { ...input, scheduleType }, now);
  const pool = (await checkNumberPool(app, viewer, checks, input.phoneNumberIds ?? [])) ?? [];
  const agent = await findAgent(app.db, viewer, checks, input.agentId);
  if (agent && scheduleType) checks.problems.push(...(await startProblems(app.db, agent, pool)));
  const required = scheduleType !== null;
  const source = await checkSource(app, viewer, checks, { input, required });
  checks.throwIfAny();

  const doNotCallCount = source ? await listOptOuts(app, viewer, source) : 0;
  const made = await app.db.$transaction(async (tx) => {
    await keepAgentFromDeletion(tx, viewer, agent!.id);
    const campaign = await tx.campaign.create({
      data: {
        id,
        ...ownedBy(viewer),
        ...DEFAULT_SETTINGS,
        ...columns,
        name: input.name.trim(),
        agentId: agent!.id,
        status: 'DRAFT',
        contactSource: source?.contactSource ?? 'MANUAL',
        contactFolderId: source?.contactFolderId ?? null,
        scheduleType: scheduleType ?? 'IMMEDIATE',
        scheduledAt: input.scheduledAt ?? null,
        timezone: canonicalTimeZone(input.timezone ?? DEFAULT_TIMEZONE) ?? DEFAULT_TIMEZONE,
        createdAt: now,
      },
    });
    await writeNumberPool(tx, campaign, pool);
    const { added, warnings } = source
      ? await addFirstContacts(app, tx, { campaign, source, plan: required })
      : { added: NO_CONTACTS, warnings: [] };
    const events = [campaignEvent('CAMPAIGN_CREATED', campaign, now)];
    if (required) events.push(await activateDraft(app, tx, campaign, now));
    await appendEvents(tx, viewer.organizationId, events);
    return {
      campaign: await tx.campaign.findUniqueOrThrow({ where: { id } }),
      added: { ...added, doNotCallCount },
      warnings,
    };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [id], [viewer.organizationId]);
  return made;
}

/**
 * Moves a draft with planned contacts to ACTIVE, or to SCHEDULED if its start is in the future.
 * Returns the event to append.
 */
export async function activateDraft(
  app: App,
  tx: Tx,
  draft: Campaign,
  now: Date,
): Promise<NewEvent> {
  const startsLater = draft.scheduledAt !== null && draft.scheduledAt > now;
  const step = campaignAfter(draft.status, 'SCHEDULE', { startsLater });
  if (!step.allowed) throw userError('INVALID_STATE', step.message, ['id']);
  const campaign = await tx.campaign.update({
    where: { id: draft.id },
    data: {
      status: step.status,
      nextDispatchAt: startsLater ? draft.scheduledAt : now,
      startedAt: startsLater ? null : now,
    },
  });
  await enqueueRun(app, tx);
  return campaignEvent(startsLater ? 'CAMPAIGN_SCHEDULED' : 'CAMPAIGN_STARTED', campaign, now);
}

export interface UpdateCampaignInput extends CampaignSettingsInput {
  id: string;
}

/**
 * Updates the given fields. If the schedule changes, waiting contacts are planned again; active calls continue. Nothing
 * changes if the contacts do not fit the new schedule. The contacts get their new times after the commit, so that the
 * campaign is not locked for long.
 */
export async function updateCampaign(
  app: App,
  viewer: Viewer,
  input: UpdateCampaignInput,
): Promise<ChangedCampaign> {
  const checks = new Checks();
  const id = checks.id('Campaign', input.id, ['id']);
  const columns = settingsColumns(checks, input);
  const pool = await checkNumberPool(app, viewer, checks, input.phoneNumberIds);
  if (id === undefined) checks.throwIfAny();
  const changed = await app.db.$transaction(async (tx) => {
    const campaign = await requireCampaign(tx, viewer, id!);
    const now = app.now();
    const step = campaignAfter(campaign.status, 'EDIT');
    if (!step.allowed) checks.add('INVALID_STATE', step.message, ['id']);
    const started = campaign.startedAt !== null;
    if (started && input.scheduledAt !== undefined) {
      checks.add(
        'INVALID_STATE',
        'The campaign has started, so its start cannot be changed. To stop calling temporarily, pause it.',
        ['scheduledAt'],
      );
    }
    checkChangedSchedule(checks, campaign, input, now);
    checks.throwIfAny();
    if (changesNothing(input)) return { campaign, warnings: [] };

    const scheduledAt = input.scheduledAt === undefined ? campaign.scheduledAt : input.scheduledAt;
    const start = scheduledAt === null ? campaignAfter(campaign.status, 'START') : null;
    const row = await tx.campaign.update({
      where: { id: campaign.id },
      data: {
        ...columns,
        scheduledAt,
        scheduleType: scheduledAt ? 'SCHEDULED' : 'IMMEDIATE',
        ...(pool ? { rotationIndex: 0 } : {}),
        ...(campaign.status === 'ACTIVE' ? { nextDispatchAt: now, holdReason: null } : {}),
        ...(campaign.status === 'SCHEDULED' ? { nextDispatchAt: scheduledAt ?? now } : {}),
        ...(start?.allowed ? { status: start.status, startedAt: now } : {}),
      },
    });
    if (pool) await writeNumberPool(tx, campaign, pool);
    await revokeCampaignClaims(tx, [campaign.id]);
    const planned = SCHEDULE_FIELDS.some((field) => input[field] !== undefined);
    const { plan, warnings } =
      planned && campaign.status !== 'DRAFT'
        ? await planWaiting(app, tx, row)
        : { plan: null, warnings: [] };
    if (plan) await storeReplan(tx, row, plan);
    await enqueueRun(app, tx);
    const events = [campaignEvent('CAMPAIGN_UPDATED', row, now)];
    if (start?.allowed) events.push(campaignEvent('CAMPAIGN_STARTED', row, now));
    await appendEvents(tx, viewer.organizationId, events);
    return { campaign: await tx.campaign.findUniqueOrThrow({ where: { id: row.id } }), warnings };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [changed.campaign.id], [viewer.organizationId]);
  const { id: campaignId } = changed.campaign;
  // The change is committed; if this fails, the rest of the plan is carried out later.
  await finishReplan(app, campaignId).catch((error) =>
    app.failures.record('finishReplan', error, { campaignId }),
  );
  return {
    ...changed,
    campaign: await app.db.campaign.findUniqueOrThrow({ where: { id: campaignId } }),
  };
}

/** Checks the schedule after the change. A start in the past is a problem only if it was given. */
function checkChangedSchedule(
  checks: Checks,
  campaign: Campaign,
  input: CampaignSettingsInput,
  now: Date,
): void {
  const sent = Object.fromEntries(
    Object.entries(input).filter(([, value]) => value !== undefined),
  ) as CampaignSettingsInput;
  checkSchedule(checks, { ...scheduleOf(campaign), ...sent }, now);
}

export interface AddCampaignContactsInput extends ContactSourceInput {
  campaignId: string;
}

/** Adds contacts to a campaign that has not ended, planned after the existing contacts. */
export async function addCampaignContacts(
  app: App,
  viewer: Viewer,
  input: AddCampaignContactsInput,
): Promise<CampaignWithContacts> {
  const checks = new Checks();
  const path = ['campaignId'];
  const id = checks.id('Campaign', input.campaignId, path);
  const source = await checkSource(app, viewer, checks, { input, required: true });
  checks.throwIfAny();
  const enrolled = await enrollContacts(app, viewer, id!, source!);
  const campaign = await app.db.campaign.findFirst({ where: { ...ownedBy(viewer), id: id! } });
  if (!campaign) throw userError('NOT_FOUND', 'Campaign not found.', path);
  return { campaign, ...enrolled };
}

/**
 * Deletes campaigns: all of them, or none if one cannot be deleted. Their calls are kept, and their
 * waiting contacts are not called. Returns the UUIDs of the campaigns.
 */
export async function deleteCampaigns(
  app: App,
  viewer: Viewer,
  publicIds: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  checks.notEmpty(publicIds, ['ids']);
  const ids = checks.ids('Campaign', publicIds, ['ids']);
  const known = ids.filter((id) => id !== undefined);
  const earlier = deletedByEarlierRun(viewer);
  if (earlier && checks.problems.length === 0) {
    const deleted = await app.db.campaign.count({ where: { ...earlier, id: { in: known } } });
    if (deleted === known.length) return known;
  }
  await app.db.$transaction(async (tx) => {
    const now = app.now();
    await tx.$queryRaw`
      SELECT 1 FROM campaigns WHERE id = ANY(${known}::uuid[])
        AND organization_id = ${viewer.organizationId}::uuid ORDER BY id FOR NO KEY UPDATE`;
    const campaigns = await tx.campaign.findMany({
      where: { ...ownedBy(viewer), id: { in: known }, deletedAt: null },
    });
    const byId = new Map(campaigns.map((campaign) => [campaign.id, campaign]));
    ids.forEach((id, index) => {
      const campaign = id && byId.get(id);
      const step = campaign && campaignAfter(campaign.status, 'DELETE');
      if (id && !campaign) {
        checks.add('NOT_FOUND', 'Campaign not found.', ['ids', index]);
      } else if (step && !step.allowed) {
        checks.add('INVALID_STATE', step.message, ['ids', index]);
      }
    });
    checks.throwIfAny();
    await revokeCampaignClaims(tx, known);
    const end = {
      status: 'CANCELLED',
      statusReason: null,
      endedAt: now,
      nextDispatchAt: null,
      holdReason: null,
    } as const;
    const cancelled = await tx.campaign.updateManyAndReturn({
      where: { id: { in: known }, status: { in: statusesBefore('DELETE', end.status) } },
      data: end,
    });
    const deleted = await tx.campaign.updateManyAndReturn({
      where: { id: { in: known } },
      data: { deletedAt: now },
    });
    // The run withdraws calls whose claims were revoked; `cancelRemainingContacts` cancels the waiting contacts.
    if (cancelled.length > 0) await enqueueRun(app, tx);
    await appendEvents(tx, viewer.organizationId, [
      ...cancelled.map((campaign) => campaignEvent('CAMPAIGN_CANCELLED', campaign, now)),
      ...deleted.map((campaign) => campaignEvent('CAMPAIGN_DELETED', campaign, now)),
    ]);
  }, LONG_TRANSACTION);
  announceCampaigns(app, known, [viewer.organizationId]);
  return known;
}

/** Yields snapshots of a campaign, now and after changes; null if the viewer cannot see such a campaign. */
export async function watchCampaign(
  app: App,
  viewer: Viewer,
  id: string,
): Promise<AsyncIterableIterator<Campaign> | null> {
  const where = { AND: [visibleCampaigns(viewer), { id }] };
  if ((await app.db.campaign.count({ where })) === 0) return null;
  return watchSnapshots(app, {
    topic: campaignTopic(id),
    read: () => app.db.campaign.findFirst({ where }),
    // The waiting contacts of a failed campaign are canceled shortly afterwards.
    isLast: ({ status, callingCount, pendingCount }) =>
      isCampaignTerminal(status) && callingCount === 0 && pendingCount === 0,
    version: (campaign) =>
      `${campaign.updatedAt.getTime()} ${countsOf(campaign).join(' ')} ${campaign.status}`,
  });
}

function countsOf(campaign: Campaign): number[] {
  const { totalCount, pendingCount, callingCount, completedCount } = campaign;
  const { failedCount, skippedCount, cancelledCount } = campaign;
  const open = [totalCount, pendingCount, callingCount];
  return [...open, completedCount, failedCount, skippedCount, cancelledCount];
}

/** Locks a campaign until the transaction ends. @throws UserInputError NOT_FOUND */
export async function requireCampaign(
  tx: Tx,
  viewer: Viewer,
  id: string,
  path: readonly string[] = ['id'],
): Promise<Campaign> {
  const campaign = await lockCampaign(tx, { ...ownedBy(viewer), id });
  if (!campaign) throw userError('NOT_FOUND', 'Campaign not found.', path);
  return campaign;
}
