/** Validates schedules, and builds the calling window of a valid schedule. */
import type { Campaign } from '../../generated/prisma/client.ts';
import { quote } from '../../infra/checks.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { canonicalTimeZone } from '../../infra/time-zone.ts';
import { nextInside, type Window } from './calling-window.ts';

export interface ScheduleInput {
  readonly scheduleType?: 'IMMEDIATE' | 'SCHEDULED' | null | undefined;
  readonly scheduledAt?: Temporal.Instant | Date | null | undefined;
  readonly timezone?: string | null | undefined;
  readonly workingDays?: readonly number[] | null | undefined;
  /** `HH:MM` */
  readonly startTime?: string | null | undefined;
  readonly endTime?: string | null | undefined;
  readonly maxConcurrentCalls?: number | null | undefined;
  readonly maxCallsPerDay?: number | null | undefined;
  readonly maxRetryAttempts?: number | null | undefined;
}

export interface ScheduleProblem {
  readonly path: readonly [keyof ScheduleInput];
  readonly message: string;
}

export const DEFAULT_TIMEZONE = 'UTC';
export const DEFAULT_WORKING_DAYS: readonly number[] = [1, 2, 3, 4, 5];

/** A start at most this far in the past counts as now, because clocks differ and requests take time. */
const PAST_TOLERANCE_MS = 60_000;

/** A later start indicates a mistake in the year. */
const MAX_YEARS_AHEAD = 20;

/** Returns all problems of a schedule. */
export function validateSchedule(input: ScheduleInput, now: Temporal.Instant): ScheduleProblem[] {
  const problems: ScheduleProblem[] = [];
  const add: AddProblem = (field, message) => {
    problems.push({ path: [field], message });
  };
  const { timezone } = input;
  if (timezone != null && canonicalTimeZone(timezone) === null) {
    add(
      'timezone',
      `\`timezone\` must be the IANA name of a time zone, such as "Europe/Berlin" or "UTC"; it is ${quote(timezone)}.`,
    );
  }

  checkWorkingDays(input, add);
  checkTimes(input, add);
  checkStart(input, now, add);
  for (const [field, min, max] of [
    ['maxConcurrentCalls', 1, 100],
    ['maxCallsPerDay', 1, 1_000_000],
    ['maxRetryAttempts', 0, 3],
  ] as const) {
    const value = input[field];
    if (value == null || (Number.isInteger(value) && value >= min && value <= max)) continue;
    add(
      field,
      `\`${field}\` must be a whole number from ${formatNumber(min)} to ${formatNumber(max)}; it is ${formatNumber(value)}.`,
    );
  }

  // A clock change can skip a whole window, but not every week.
  if (problems.length === 0 && nextInside(windowOf(input, 0), now) === null) {
    add('workingDays', 'The calling window never opens. Change its times or the working days.');
  }
  return problems;
}

type AddProblem = (field: keyof ScheduleInput, message: string) => void;

function checkWorkingDays({ workingDays }: ScheduleInput, add: AddProblem): void {
  if (workingDays == null) return;
  const wrong = workingDays.filter((day) => !Number.isInteger(day) || day < 1 || day > 7);
  if (wrong.length > 0) {
    add(
      'workingDays',
      `\`workingDays\` must be numbers from 1 (Monday) to 7 (Sunday); ${wrong.slice(0, 5).join(', ')} ${wrong.length === 1 ? 'is' : 'are'} not.`,
    );
  } else if (workingDays.length === 0) {
    add('workingDays', '`workingDays` must have at least one day.');
  } else if (new Set(workingDays).size < workingDays.length) {
    add('workingDays', '`workingDays` must not contain a day more than once.');
  }
}

function checkTimes({ startTime, endTime }: ScheduleInput, add: AddProblem): void {
  const start = startTime == null ? null : parseTime(startTime);
  const end = endTime == null ? null : parseTime(endTime);
  for (const [field, given, parsed] of [
    ['startTime', startTime, start],
    ['endTime', endTime, end],
  ] as const) {
    if (given == null || parsed !== null) continue;
    add(
      field,
      `\`${field}\` must be a time in the format HH:MM, from "00:00" to "23:59"; it is ${quote(given)}.`,
    );
  }
  const timesAreKnown = (startTime == null || start !== null) && (endTime == null || end !== null);
  if (timesAreKnown && (start ?? 0) === (end ?? 1440)) {
    add(
      'endTime',
      '`endTime` must differ from `startTime`. Omit both to call at any time of a working day.',
    );
  }
}

function checkStart(
  { scheduleType, scheduledAt }: ScheduleInput,
  now: Temporal.Instant,
  add: AddProblem,
): void {
  if (scheduleType === 'SCHEDULED' && scheduledAt == null) {
    add('scheduledAt', '`scheduledAt` is required when `scheduleType` is SCHEDULED.');
  }
  if (scheduleType === 'IMMEDIATE' && scheduledAt != null) {
    add(
      'scheduledAt',
      '`scheduledAt` requires the `scheduleType` SCHEDULED. Omit it to start immediately.',
    );
  }
  if (scheduledAt != null) {
    const at = scheduledAt instanceof Date ? scheduledAt.getTime() : scheduledAt.epochMilliseconds;
    if (at < now.epochMilliseconds - PAST_TOLERANCE_MS) {
      add('scheduledAt', '`scheduledAt` must not be in the past. Omit it to start now.');
    } else if (at > yearsAfter(now, MAX_YEARS_AHEAD)) {
      add('scheduledAt', '`scheduledAt` must be within 20 years from now.');
    }
  }
}

/** The calling window of a valid schedule. */
export function windowOf(
  {
    timezone,
    workingDays,
    startTime,
    endTime,
  }: Pick<ScheduleInput, 'timezone' | 'workingDays' | 'startTime' | 'endTime'>,
  marginSeconds: number,
): Window {
  return {
    marginSeconds,
    timezone: canonicalTimeZone(timezone ?? DEFAULT_TIMEZONE) ?? DEFAULT_TIMEZONE,
    workingDays: [...(workingDays ?? DEFAULT_WORKING_DAYS)].sort((a, b) => a - b),
    startMinute: startTime == null ? null : parseTime(startTime),
    endMinute: endTime == null ? null : parseTime(endTime),
  };
}

/** The calling window of a campaign. */
export function windowOfCampaign(
  {
    timezone,
    workingDays,
    startMinute,
    endMinute,
  }: Pick<Campaign, 'timezone' | 'workingDays' | 'startMinute' | 'endMinute'>,
  marginSeconds: number,
): Window {
  return { timezone, workingDays, startMinute, endMinute, marginSeconds };
}

/** Parses a time such as `09:30` to minutes after midnight. Null if it is invalid. */
export function parseTime(time: string): number | null {
  const match = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(time);
  return match ? Number(match[1]) * 60 + Number(match[2]) : null;
}

/** Formats minutes after midnight as a time such as `09:30`. */
export function formatTime(minute: number): string {
  const [hours, minutes] = [Math.floor(minute / 60), minute % 60];
  return `${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
}

function yearsAfter(instant: Temporal.Instant, years: number): number {
  return instant.toZonedDateTimeISO('UTC').add({ years }).epochMilliseconds;
}
