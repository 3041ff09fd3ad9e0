/** Settings of one call, and their defaults. */
import type { Agent, Call } from '../generated/prisma/client.ts';
import { durationSeconds } from '../infra/checks.ts';

/** As stored in `calls.settings`: only the fields that were given. Durations are already validated. */
export interface CallSettings {
  recordingEnabled?: boolean;
  greeting?: string;
  maxDuration?: string;
  joinTimeout?: string;
}

/** Limits of a call, as in its row. */
type DurationLimits = Pick<Call, 'maxDurationSeconds' | 'joinTimeoutSeconds'>;

const ULTRAVOX_DEFAULTS: DurationLimits = { maxDurationSeconds: 3_600, joinTimeoutSeconds: 30 };

/** Longest call that `calls.duration_ms` can hold, in whole days. */
export const MAX_CALL_SECONDS = 24 * 86_400;

/**
 * Returns the maximum duration and ringing time: from the call, else the agent, else the defaults. Durations that
 * Ultravox reports may be missing or unreadable.
 */
export function durationLimitsOf(
  agent: Pick<Agent, 'maxDuration' | 'joinTimeout'>,
  settings: CallSettings,
  defaults = ULTRAVOX_DEFAULTS,
): DurationLimits {
  return {
    maxDurationSeconds: wholeSeconds(
      settings.maxDuration ?? agent.maxDuration,
      defaults.maxDurationSeconds,
    ),
    joinTimeoutSeconds: wholeSeconds(
      settings.joinTimeout ?? agent.joinTimeout,
      defaults.joinTimeoutSeconds,
    ),
  };
}

function wholeSeconds(duration: string | null, fallback: number): number {
  const seconds = durationSeconds(duration ?? '');
  return Math.min(Math.ceil(seconds > 0 ? seconds : fallback), MAX_CALL_SECONDS);
}
