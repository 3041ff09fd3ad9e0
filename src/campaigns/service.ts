/**
 * Campaigns as operators make and change them. Each of these is one transaction that holds the row
 * of the campaign, so whatever two processes do at the same moment happens one after the other, and
 * a campaign is never half made. How one is started and stopped is in `lifecycle.ts`.
 */
import type { App, Tx } from '../app.ts';
import { recallClaims } from '../calls/claims.ts';
import { userError } from '../errors.ts';
import type { Agent, Campaign } from '../generated/prisma/client.ts';
import type { CampaignScheduleType } from '../generated/prisma/enums.ts';
import { Checks } from '../infra/checks.ts';
import { appendEvents, type NewEvent } from '../live/log.ts';
import { watchPictures } from '../live/pictures.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { enqueueRun } from './engine.ts';
import type { ForecastProblem } from './forecast.ts';
import { addContacts, replanContacts } from './planning.ts';
import {
  announceCampaigns,
  CAMPAIGNS_TOPIC,
  campaignEvent,
  LONG_TRANSACTION,
  lockCampaign,
} from './progress.ts';
import { DEFAULT_TIMEZONE } from './schedule.ts';
import {
  type CampaignSettingsInput,
  checkPool,
  checkSchedule,
  DEFAULT_SETTINGS,
  PLANNED_BY,
  problemsOfStart,
  scheduleOf,
  settingsColumns,
  writePool,
} from './settings.ts';
import { type AddedContacts, type ContactSourceInput, checkSource } from './sources.ts';
import { campaignAfter, isCampaignTerminal } from './status.ts';
import { visibleCampaigns } from './visibility.ts';
import { canonicalTimeZone } from './zone.ts';

const MAX_DELETED = 100;

export interface CreateCampaignInput extends CampaignSettingsInput, ContactSourceInput {
  name: string;
  agentId: string;
  /** Absent: SCHEDULED with a `scheduledAt`, else it is left a draft. */
  scheduleType?: CampaignScheduleType | null | undefined;
  timezone?: string | null | undefined;
}

export interface ChangedCampaign {
  campaign: Campaign;
  /** What the schedule leaves to be desired, if anything. */
  warnings: readonly ForecastProblem[];
}

export interface CampaignWithContacts extends ChangedCampaign {
  added: AddedContacts;
}

const NOBODY: AddedContacts = { addedCount: 0, duplicateCount: 0, problemCount: 0, problems: [] };

/**
 * Makes a campaign with its contacts, and starts or schedules it when a schedule is given.
 *
 * @throws UserInputError with everything that is wrong; then nothing is there.
 */
export async function createCampaign(
  app: App,
  viewer: Viewer,
  input: CreateCampaignInput,
): Promise<CampaignWithContacts> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const campaign = await app.db.campaign.findFirst({ where: { ...ownedBy(viewer), id } });
    // The run that made it died before it could say how many rows were left out.
    if (campaign) {
      return { campaign, added: { ...NOBODY, addedCount: campaign.totalCount }, warnings: [] };
    }
  }
  const now = app.now();
  const scheduleType = input.scheduleType ?? (input.scheduledAt ? 'SCHEDULED' : null);
  const checks = new Checks();
  const columns = settingsColumns(checks, input);
  checkSchedule(checks, { ...input, scheduleType }, now);
  const pool = (await checkPool(app, viewer, checks, input.phoneNumberIds ?? [])) ?? [];
  const agent = await findAgent(app, viewer, checks, input.agentId);
  if (agent && scheduleType) checks.problems.push(...(await problemsOfStart(app.db, agent, pool)));
  const required = scheduleType !== null;
  const source = await checkSource(app, viewer, checks, input, { required });
  checks.throwIfAny();

  const made = await app.db.$transaction(async (tx) => {
    await lockAgent(tx, viewer, agent!);
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
    await writePool(tx, campaign, pool);
    const { added, warnings } = source
      ? await addContacts(app, viewer, tx, campaign, source, { plan: required })
      : { added: NOBODY, warnings: [] };
    const events = [campaignEvent('CAMPAIGN_CREATED', campaign, now)];
    if (required) events.push(await begin(app, tx, campaign, now));
    await appendEvents(tx, viewer.organizationId, events);
    return { campaign: await tx.campaign.findUniqueOrThrow({ where: { id } }), added, warnings };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [id], [viewer.organizationId]);
  return made;
}

/**
 * Takes a draft whose contacts are planned to ACTIVE, or to SCHEDULED when its start is ahead.
 *
 * @returns the event to append.
 */
export async function begin(app: App, tx: Tx, draft: Campaign, now: Date): Promise<NewEvent> {
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
 * Changes what was sent. A change of the schedule plans anew whoever has not been called; calls that
 * are running go on. If the new schedule is too small, everything stays as it was.
 */
export async function updateCampaign(
  app: App,
  viewer: Viewer,
  input: UpdateCampaignInput,
): Promise<ChangedCampaign> {
  const checks = new Checks();
  const id = checks.id('cmp', 'Campaign', input.id, ['id']);
  const columns = settingsColumns(checks, input);
  const pool = await checkPool(app, viewer, checks, input.phoneNumberIds);
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
        'The campaign has started, so its start cannot be changed. Pause it to stop calling for a while.',
        ['scheduledAt'],
      );
    }
    checkChangedSchedule(checks, campaign, input, now);
    checks.throwIfAny();

    const scheduledAt = input.scheduledAt === undefined ? campaign.scheduledAt : input.scheduledAt;
    const row = await tx.campaign.update({
      where: { id: campaign.id },
      data: {
        ...columns,
        scheduledAt,
        scheduleType: scheduledAt ? 'SCHEDULED' : 'IMMEDIATE',
        ...(pool ? { rotationIndex: 0 } : {}),
        ...(campaign.status === 'ACTIVE' ? { nextDispatchAt: now, holdReason: null } : {}),
        ...(campaign.status === 'SCHEDULED' ? { nextDispatchAt: scheduledAt ?? now } : {}),
      },
    });
    if (pool) await writePool(tx, campaign, pool);
    await recallClaims(tx, [campaign.id]);
    const planned = PLANNED_BY.some((field) => input[field] !== undefined);
    const { warnings } =
      planned && campaign.status !== 'DRAFT'
        ? await replanContacts(app, tx, row)
        : { warnings: [] };
    await enqueueRun(app, tx);
    await appendEvents(tx, viewer.organizationId, [campaignEvent('CAMPAIGN_UPDATED', row, now)]);
    return { campaign: await tx.campaign.findUniqueOrThrow({ where: { id: row.id } }), warnings };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [changed.campaign.id], [viewer.organizationId]);
  return changed;
}

/** The schedule as it would be. A start in the past is wrong only if it was sent. */
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

/** More contacts for a campaign that is not over. They are planned behind those that are there. */
export async function addCampaignContacts(
  app: App,
  viewer: Viewer,
  input: AddCampaignContactsInput,
): Promise<CampaignWithContacts> {
  const checks = new Checks();
  const path = ['campaignId'];
  const id = checks.id('cmp', 'Campaign', input.campaignId, path);
  const source = await checkSource(app, viewer, checks, input, { required: true });
  checks.throwIfAny();
  const changed = await app.db.$transaction(async (tx) => {
    const campaign = await requireCampaign(tx, viewer, id!, path);
    const now = app.now();
    const step = campaignAfter(campaign.status, 'APPEND');
    if (!step.allowed) throw userError('INVALID_STATE', step.message, path);
    const plan = campaign.status !== 'DRAFT';
    const { added, warnings } = await addContacts(app, viewer, tx, campaign, source!, { plan });
    const row = await tx.campaign.update({
      where: { id: campaign.id },
      data: {
        ...(campaign.totalCount === 0 && source
          ? { contactSource: source.contactSource, contactFolderId: source.contactFolderId }
          : {}),
        ...(campaign.status === 'ACTIVE' && !campaign.holdReason ? { nextDispatchAt: now } : {}),
      },
    });
    if (added.addedCount > 0) {
      await enqueueRun(app, tx);
      await appendEvents(tx, viewer.organizationId, [campaignEvent('CAMPAIGN_UPDATED', row, now)]);
    }
    return { campaign: row, added, warnings };
  }, LONG_TRANSACTION);
  announceCampaigns(app, [changed.campaign.id], [viewer.organizationId]);
  return changed;
}

/**
 * Deletes campaigns: all of them, or none when one cannot go. What they called stays among the
 * calls; who has not been called will not be.
 *
 * @returns their UUIDs.
 */
export async function deleteCampaigns(
  app: App,
  viewer: Viewer,
  publicIds: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  if (publicIds.length === 0) checks.add('REQUIRED', 'Give at least one campaign.', ['ids']);
  const ids = checks.ids('cmp', 'Campaign', publicIds, ['ids'], { max: MAX_DELETED });
  if (!ids || publicIds.length === 0) checks.throwIfAny();
  const known = (ids ?? []).filter((id) => id !== undefined);
  await app.db.$transaction(async (tx) => {
    const now = app.now();
    await tx.$queryRaw`
      SELECT 1 FROM campaigns WHERE id = ANY(${known}::uuid[])
        AND organization_id = ${viewer.organizationId}::uuid ORDER BY id FOR NO KEY UPDATE`;
    const campaigns = await tx.campaign.findMany({
      where: { ...ownedBy(viewer), id: { in: known }, deletedAt: null },
    });
    const byId = new Map(campaigns.map((campaign) => [campaign.id, campaign]));
    ids?.forEach((id, index) => {
      const campaign = id && byId.get(id);
      const step = campaign && campaignAfter(campaign.status, 'DELETE');
      if (id && !campaign) {
        checks.add('NOT_FOUND', 'There is no such campaign.', ['ids', index]);
      } else if (step && !step.allowed) {
        checks.add('INVALID_STATE', step.message, ['ids', index]);
      }
    });
    checks.throwIfAny();
    const open = campaigns.filter(({ status }) => !isCampaignTerminal(status));
    await recallClaims(tx, known);
    const end = {
      status: 'CANCELLED',
      endedAt: now,
      nextDispatchAt: null,
      holdReason: null,
    } as const;
    await tx.campaign.updateMany({ where: { id: { in: open.map((one) => one.id) } }, data: end });
    await tx.campaign.updateMany({ where: { id: { in: known } }, data: { deletedAt: now } });
    // Who waits in them is let go by the engine.
    if (open.length > 0) await enqueueRun(app, tx);
    await appendEvents(
      tx,
      viewer.organizationId,
      campaigns.map((campaign) => campaignEvent('CAMPAIGN_DELETED', campaign, now)),
    );
  }, LONG_TRANSACTION);
  announceCampaigns(app, known, [viewer.organizationId]);
  return known;
}

/** The campaign as it is now and whenever it has come on; null when the viewer has none such. */
export async function watchCampaign(
  app: App,
  viewer: Viewer,
  id: string,
): Promise<AsyncIterableIterator<Campaign> | null> {
  const where = { AND: [visibleCampaigns(viewer), { id }] };
  if ((await app.db.campaign.count({ where })) === 0) return null;
  return watchPictures(app, {
    topic: CAMPAIGNS_TOPIC,
    concerns: (message) => message === id,
    read: () => app.db.campaign.findFirst({ where }),
    // Whoever waits in one that has failed is let go a moment later.
    isLast: ({ status, callingCount, pendingCount }) =>
      isCampaignTerminal(status) && callingCount === 0 && pendingCount === 0,
    version: ({ updatedAt, nextDispatchAt: _, ...rest }) =>
      `${updatedAt.getTime()} ${Object.values(countsOf(rest)).join(' ')} ${rest.status}`,
  });
}

function countsOf(campaign: Omit<Campaign, 'updatedAt' | 'nextDispatchAt'>): number[] {
  const { totalCount, pendingCount, callingCount, completedCount } = campaign;
  const { failedCount, skippedCount, cancelledCount } = campaign;
  const open = [totalCount, pendingCount, callingCount];
  return [...open, completedCount, failedCount, skippedCount, cancelledCount];
}

/** Locked for the rest of the transaction. */
export async function requireCampaign(
  tx: Tx,
  viewer: Viewer,
  id: string,
  path: readonly string[] = ['id'],
): Promise<Campaign> {
  const campaign = await lockCampaign(tx, { ...ownedBy(viewer), id });
  if (!campaign) throw userError('NOT_FOUND', 'There is no such campaign.', path);
  return campaign;
}

async function findAgent(
  app: App,
  viewer: Viewer,
  checks: Checks,
  agentId: string,
): Promise<Agent | null> {
  const id = checks.id('agt', 'Agent', agentId, ['agentId']);
  if (!id) return null;
  const agent = await app.db.agent.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
  });
  if (!agent) checks.add('NOT_FOUND', 'There is no such agent.', ['agentId']);
  return agent;
}

/** Keeps the agent from being deleted until the campaign is there. */
async function lockAgent(tx: Tx, viewer: Viewer, agent: Agent): Promise<void> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM agents
    WHERE id = ${agent.id}::uuid AND organization_id = ${viewer.organizationId}::uuid
      AND deleted_at IS NULL FOR SHARE`;
  if (rows.length === 0) throw userError('NOT_FOUND', 'There is no such agent.', ['agentId']);
}
