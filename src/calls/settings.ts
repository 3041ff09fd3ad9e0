/** What can be asked for one call alone, and the bounds that follow when it is not. */
import type { Agent } from '../generated/prisma/client.ts';
import { durationSeconds } from '../infra/checks.ts';

/** As kept in `calls.settings`: only what was given. Durations as validated strings. */
export interface CallSettings {
  recordingEnabled?: boolean;
  greeting?: string;
  maxDuration?: string;
  joinTimeout?: string;
}

/** Ultravox's own defaults: an hour, and thirty seconds of ringing. */
const DEFAULT_MAX_DURATION = '3600s';
const DEFAULT_JOIN_TIMEOUT = '30s';

/** The longest a call may last and ring: its own setting, else the agent's, else Ultravox's. */
export function boundsOf(
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
