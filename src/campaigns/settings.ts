/** Campaign settings: input checks, and requirements for starting. */
import { readinessProblems } from '../agents/usable-agent.ts';
import type { App, Tx } from '../app.ts';
import type { Problem } from '../errors.ts';
import type { Agent, Campaign, Prisma } from '../generated/prisma/client.ts';
import type { PhoneRotationStrategy } from '../generated/prisma/enums.ts';
import { type Checks, durationSeconds } from '../infra/checks.ts';
import { callerIds } from '../phone-numbers/service.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { DEFAULT_RETRY_DELAY_SECONDS } from './schedule/retry.ts';
import {
  DEFAULT_WORKING_DAYS,
  formatTime,
  parseTime,
  type ScheduleInput,
  validateSchedule,
} from './schedule/schedule.ts';

export const MAX_NAME = 255;
export const MAX_NUMBERS = 100;
const RETRY_DELAY = { min: 1, max: 7 * 24 * 3600 };

/** In an update, null resets a setting to its default and undefined keeps it. */
export interface CampaignSettingsInput {
  name?: string | null | undefined;
  phoneNumberIds?: readonly string[] | null | undefined;
  phoneRotationStrategy?: PhoneRotationStrategy | null | undefined;
  scheduledAt?: Date | null | undefined;
  /** `HH:MM` */
  startTime?: string | null | undefined;
  endTime?: string | null | undefined;
  workingDays?: readonly number[] | null | undefined;
  maxConcurrentCalls?: number | null | undefined;
  maxCallsPerDay?: number | null | undefined;
  retryFailed?: boolean | null | undefined;
  retryVoicemail?: boolean | null | undefined;
  maxRetryAttempts?: number | null | undefined;
  /** A duration such as `"900s"`. */
  retryDelay?: string | null | undefined;
}

/** Settings whose change causes waiting contacts to be planned again. */
export const SCHEDULE_FIELDS = [
  'scheduledAt',
  'startTime',
  'endTime',
  'workingDays',
  'maxCallsPerDay',
] as const satisfies readonly (keyof CampaignSettingsInput)[];

type SettingsColumns = Pick<
  Campaign,
  | 'name'
  | 'phoneRotationStrategy'
  | 'startMinute'
  | 'endMinute'
  | 'workingDays'
  | 'maxConcurrentCalls'
  | 'maxCallsPerDay'
  | 'retryFailed'
  | 'retryVoicemail'
  | 'maxRetryAttempts'
  | 'retryDelaySeconds'
>;

export const DEFAULT_SETTINGS: Omit<SettingsColumns, 'name'> = {
  phoneRotationStrategy: 'RANDOM',
  startMinute: null,
  endMinute: null,
  workingDays: [...DEFAULT_WORKING_DAYS],
  maxConcurrentCalls: 10,
  maxCallsPerDay: null,
  retryFailed: false,
  retryVoicemail: false,
  maxRetryAttempts: 0,
  retryDelaySeconds: DEFAULT_RETRY_DELAY_SECONDS,
};

/** Returns the columns of the given valid settings. `checkSchedule` checks the schedule as a whole. */
export function settingsColumns(
  checks: Checks,
  input: CampaignSettingsInput,
): Partial<SettingsColumns> {
  const columns: Partial<SettingsColumns> = {};
  const name = checks.text(input.name?.trim(), ['name'], { min: 1, max: MAX_NAME });
  if (name !== undefined) columns.name = name;
  checks.notNull(input.name, ['name']);
  if (input.retryDelay !== undefined) {
    const delay = checks.duration(input.retryDelay, ['retryDelay'], RETRY_DELAY);
    columns.retryDelaySeconds = delay
      ? Math.ceil(durationSeconds(delay))
      : DEFAULT_SETTINGS.retryDelaySeconds;
  }
  const { startTime, endTime, workingDays, retryFailed, retryVoicemail } = input;
  if (startTime !== undefined) columns.startMinute = startTime ? parseTime(startTime) : null;
  if (endTime !== undefined) columns.endMinute = endTime ? parseTime(endTime) : null;
  if (workingDays !== undefined) {
    columns.workingDays = [...(workingDays ?? DEFAULT_WORKING_DAYS)].sort((a, b) => a - b);
  }
  if (retryFailed !== undefined) columns.retryFailed = retryFailed ?? false;
  if (retryVoicemail !== undefined) columns.retryVoicemail = retryVoicemail ?? false;
  if (input.maxCallsPerDay !== undefined) columns.maxCallsPerDay = input.maxCallsPerDay;
  for (const field of [
    'phoneRotationStrategy',
    'maxConcurrentCalls',
    'maxRetryAttempts',
  ] as const) {
    if (input[field] === undefined) continue;
    Object.assign(columns, { [field]: input[field] ?? DEFAULT_SETTINGS[field] });
  }
  return columns;
}

/** Adds all problems of a schedule to `checks`. */
export function checkSchedule(checks: Checks, schedule: ScheduleInput, now: Date): void {
  for (const { path, message } of validateSchedule(schedule, now.toTemporalInstant())) {
    checks.add('INVALID_INPUT', message, path);
  }
}

/** The schedule of a campaign as an input. */
export function scheduleOf(campaign: Campaign): ScheduleInput {
  return {
    timezone: campaign.timezone,
    workingDays: campaign.workingDays,
    startTime: campaign.startMinute === null ? null : formatTime(campaign.startMinute),
    endTime: campaign.endMinute === null ? null : formatTime(campaign.endMinute),
    maxConcurrentCalls: campaign.maxConcurrentCalls,
    maxCallsPerDay: campaign.maxCallsPerDay,
    maxRetryAttempts: campaign.maxRetryAttempts,
  };
}

/** Returns the UUIDs of a pool in order; undefined if none was given or it has problems. */
export async function checkNumberPool(
  app: App,
  viewer: Viewer,
  checks: Checks,
  phoneNumberIds: readonly string[] | null | undefined,
): Promise<string[] | undefined> {
  if (phoneNumberIds === undefined) return undefined;
  const path = ['phoneNumberIds'];
  const ids = checks.ids('PhoneNumber', phoneNumberIds ?? [], path);
  const known = ids.filter((id) => id !== undefined);
  const found = await app.db.phoneNumber.findMany({
    where: { ...ownedBy(viewer), id: { in: known }, releasedAt: null },
    select: { id: true },
  });
  const there = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !there.has(id)) {
      checks.add('NOT_FOUND', 'Phone number not found.', [...path, index]);
    }
  });
  return known;
}

export async function writeNumberPool(
  tx: Tx,
  campaign: Pick<Campaign, 'id' | 'organizationId'>,
  pool: readonly string[],
): Promise<void> {
  await tx.campaignPhoneNumber.deleteMany({ where: { campaignId: campaign.id } });
  await tx.campaignPhoneNumber.createMany({
    data: pool.map(
      (phoneNumberId, position): Prisma.CampaignPhoneNumberCreateManyInput => ({
        organizationId: campaign.organizationId,
        campaignId: campaign.id,
        phoneNumberId,
        position,
      }),
    ),
  });
}

/** Problems that prevent an agent from calling with this pool of phone numbers. */
export async function startProblems(
  db: App['db'] | Tx,
  agent: Agent,
  pool: readonly string[],
): Promise<Problem[]> {
  if (agent.deletedAt) {
    const message =
      'The agent of the campaign was deleted. Create another campaign with another agent.';
    return [{ code: 'NOT_FOUND', message, path: ['agentId'] }];
  }
  const problems = readinessProblems(agent);
  const numbers = await callerIds(db, {
    agentIds: pool.length === 0 ? [agent.id] : [],
    ids: pool,
  });
  if (numbers.length === 0) {
    problems.push({
      code: 'NO_PHONE_NUMBER_CONFIGURED',
      message:
        pool.length === 0
          ? 'The agent has no outbound phone number. Assign one with `assignPhoneNumber` (direction OUTBOUND), or set `phoneNumberIds`.'
          : 'The phone numbers of the campaign can no longer be used for calls. Set `phoneNumberIds` with `updateCampaign` to other numbers, or to null to use the outbound numbers of the agent.',
      path: pool.length === 0 ? ['agentId'] : ['phoneNumberIds'],
    });
  }
  return problems;
}

/** Problems that currently prevent all calls of a campaign. */
export async function campaignProblems(tx: Tx, campaign: Campaign): Promise<Problem[]> {
  const [agent, pool] = await Promise.all([
    tx.agent.findUniqueOrThrow({ where: { id: campaign.agentId } }),
    tx.campaignPhoneNumber.findMany({ where: { campaignId: campaign.id } }),
  ]);
  const problems = await startProblems(
    tx,
    agent,
    pool.map(({ phoneNumberId }) => phoneNumberId),
  );
  // The problems do not concern a field of the input.
  return problems.map((problem) => ({ ...problem, path: ['id'] }));
}
