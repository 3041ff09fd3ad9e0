/** Settings of one call, and their defaults. */
import type { Agent } from '../generated/prisma/client.ts';
import { durationSeconds } from '../infra/checks.ts';

/** As stored in `calls.settings`: only the fields that were given. Durations are already validated. */
export interface CallSettings {
  recordingEnabled?: boolean;
  greeting?: string;
  maxDuration?: string;
  joinTimeout?: string;
}

/** Ultravox's defaults. */
const DEFAULT_MAX_DURATION = '3600s';
const DEFAULT_JOIN_TIMEOUT = '30s';

/** Longest call that `calls.duration_ms` can hold, in whole days. */
export const MAX_CALL_SECONDS = 24 * 86_400;

/**
 * Returns the maximum duration and ringing time: from the call, else the agent, else Ultravox's default. Durations that
 * Ultravox reports, those of inbound calls, may be unreadable.
 */
export function durationLimitsOf(
  agent: Pick<Agent, 'maxDuration' | 'joinTimeout'>,
  settings: CallSettings,
): { maxDurationSeconds: number; joinTimeoutSeconds: number } {
  return {
    maxDurationSeconds: wholeSeconds(
      settings.maxDuration ?? agent.maxDuration,
      DEFAULT_MAX_DURATION,
    ),
    joinTimeoutSeconds: wholeSeconds(
      settings.joinTimeout ?? agent.joinTimeout,
      DEFAULT_JOIN_TIMEOUT,
    ),
  };
}

function wholeSeconds(duration: string | null, fallback: string): number {
  const seconds = durationSeconds(duration ?? fallback);
  const known = Number.isFinite(seconds) ? seconds : durationSeconds(fallback);
  return Math.min(Math.ceil(known), MAX_CALL_SECONDS);
}
