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

/** Returns the maximum duration and ringing time: from the call, else the agent, else Ultravox's default. */
export function durationLimitsOf(
  agent: Pick<Agent, 'maxDuration' | 'joinTimeout'>,
  settings: CallSettings,
): { maxDurationSeconds: number; joinTimeoutSeconds: number } {
  return {
    maxDurationSeconds: Math.ceil(
      durationSeconds(settings.maxDuration ?? agent.maxDuration ?? DEFAULT_MAX_DURATION),
    ),
    joinTimeoutSeconds: Math.ceil(
      durationSeconds(settings.joinTimeout ?? agent.joinTimeout ?? DEFAULT_JOIN_TIMEOUT),
    ),
  };
}
