/** How a campaign calls, from what was sent to what is kept, and what has to hold before it starts. */

import { isReadyForCalls } from '../agents/service.ts';
import type { App, Tx } from '../app.ts';
import type { Problem } from '../errors.ts';
import type { Agent, Campaign, Prisma } from '../generated/prisma/client.ts';
import type { PhoneRotationStrategy } from '../generated/prisma/enums.ts';
import { type Checks, durationSeconds } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { callerIds } from '../phone-numbers/service.ts';
import { DEFAULT_RETRY_DELAY_SECONDS } from './retry.ts';
import {
  DEFAULT_WORKING_DAYS,
  formatTime,
  parseTime,
  type ScheduleInput,
  validateSchedule,
} from './schedule.ts';

const MAX_NAME = 255;
const MAX_NUMBERS = 100;
const RETRY_DELAY = { min: 1, max: 7 * 24 * 3600 };

/** On a change, null means the default and undefined that it stays as it is. */
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
  maxRetryAttempts?: number | null | undefined;
  /** Such as `"900s"`. */
  retryDelay?: string | null | undefined;
}

/** What a change of these plans the contacts anew. */
export const PLANNED_BY = [
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
  maxRetryAttempts: 0,
  retryDelaySeconds: DEFAULT_RETRY_DELAY_SECONDS,
};

/**
 * The columns that were sent, as they are kept, where nothing is wrong with them. What the schedule
 * as a whole must fulfil is in `checkSchedule`.
 */
export function settingsColumns(
  checks: Checks,
  input: CampaignSettingsInput,
): Partial<SettingsColumns> {
  const columns: Partial<SettingsColumns> = {};
  const name = checks.text(input.name?.trim(), ['name'], { min: 1, max: MAX_NAME });
  if (name !== undefined) columns.name = name;
  if (input.name === null) checks.add('REQUIRED', 'A campaign needs a name.', ['name']);
  if (input.retryDelay !== undefined) {
    const delay = checks.duration(input.retryDelay, ['retryDelay'], RETRY_DELAY);
    columns.retryDelaySeconds = delay
      ? Math.ceil(durationSeconds(delay))
      : DEFAULT_SETTINGS.retryDelaySeconds;
  }
  const { startTime, endTime, workingDays, retryFailed } = input;
  if (startTime !== undefined) columns.startMinute = startTime ? parseTime(startTime) : null;
  if (endTime !== undefined) columns.endMinute = endTime ? parseTime(endTime) : null;
  if (workingDays !== undefined) {
    columns.workingDays = [...(workingDays ?? DEFAULT_WORKING_DAYS)].sort((a, b) => a - b);
  }
  if (retryFailed !== undefined) columns.retryFailed = retryFailed ?? false;
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

/** Everything that is wrong with a schedule, among the other problems. */
export function checkSchedule(checks: Checks, schedule: ScheduleInput, now: Date | null): void {
  const at = now && Temporal.Instant.fromEpochMilliseconds(now.getTime());
  for (const { path, message } of validateSchedule(schedule, at ? { now: at } : {})) {
    checks.add('INVALID_INPUT', message, path);
  }
}

/** The schedule that a campaign has, as it would be sent. */
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

/** The numbers of a pool, in its order. Undefined when none was sent or something is wrong. */
export async function checkPool(
  app: App,
  viewer: Viewer,
  checks: Checks,
  phoneNumberIds: readonly string[] | null | undefined,
): Promise<string[] | undefined> {
  if (phoneNumberIds === undefined) return undefined;
  const path = ['phoneNumberIds'];
  const ids = checks.ids('num', 'PhoneNumber', phoneNumberIds ?? [], path, { max: MAX_NUMBERS });
  if (!ids) return undefined;
  const known = ids.filter((id) => id !== undefined);
  const found = await app.db.phoneNumber.findMany({
    where: { ...ownedBy(viewer), id: { in: known }, releasedAt: null },
    select: { id: true },
  });
  const there = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !there.has(id)) {
      checks.add('NOT_FOUND', 'There is no such phone number.', [...path, index]);
    }
  });
  return known;
}

export async function writePool(
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

/** What keeps an agent with this pool from calling anybody. */
export async function problemsOfStart(
  db: App['db'] | Tx,
  agent: Agent,
  pool: readonly string[],
): Promise<Problem[]> {
  const problems: Problem[] = [];
  if (agent.deletedAt) {
    problems.push({
      code: 'NOT_FOUND',
      message: 'Its agent was deleted. Make another campaign with another agent.',
      path: ['agentId'],
    });
  } else if (!isReadyForCalls(agent)) {
    const why = agent.syncError ? ` Ultravox says: ${agent.syncError}` : '';
    problems.push({
      code: 'AGENT_NOT_READY',
      message: `The agent is ${agent.status}, not ACTIVE, so it cannot place calls yet.${why}`,
      path: ['agentId'],
    });
  }
  const numbers = await callerIds(db, {
    agentIds: pool.length === 0 ? [agent.id] : [],
    ids: pool,
  });
  if (numbers.length === 0) {
    problems.push({
      code: 'NO_PHONE_NUMBER_CONFIGURED',
      message:
        pool.length === 0
          ? 'The agent has no outbound phone number. Give it one with `assignPhoneNumber`, direction OUTBOUND, or name numbers in `phoneNumberIds`.'
          : 'None of the campaign’s phone numbers can be called from any more. Name others in `phoneNumberIds` of `updateCampaign`, or none there to call from those of its agent.',
      path: pool.length === 0 ? ['agentId'] : ['phoneNumberIds'],
    });
  }
  return problems;
}

/** Why a campaign could not call anybody as things are. */
export async function problemsOfCampaign(tx: Tx, campaign: Campaign): Promise<Problem[]> {
  const [agent, pool] = await Promise.all([
    tx.agent.findUniqueOrThrow({ where: { id: campaign.agentId } }),
    tx.campaignPhoneNumber.findMany({ where: { campaignId: campaign.id } }),
  ]);
  const problems = await problemsOfStart(
    tx,
    agent,
    pool.map(({ phoneNumberId }) => phoneNumberId),
  );
  // None of them is about what was sent.
  return problems.map((problem) => ({ ...problem, path: ['id'] }));
}
