/**
 * Reads the times of a call at Ultravox within bounds. A call that ended more than `MAX_CALL_SECONDS` after its answer
 * cannot be stored, and one that was answered in the distant future would keep its slot until then.
 */
import type { App } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { MAX_CALL_SECONDS } from '../settings.ts';

/** Before Ultravox existed. */
const EARLIEST = Date.UTC(2020);
/** Far more than clocks differ. */
const TOLERANCE_MS = 24 * 3_600_000;

/**
 * Creation time, at most the current time: the clock of Ultravox may be ahead, and the call counts against the limits
 * of the minute after its creation.
 */
export function createdAtOf({ now }: App, { created }: Pick<UltravoxCall, 'created'>): Date {
  return between(EARLIEST, Date.parse(created), now().getTime());
}

/** When a call of ours was joined and when it ended. */
export function joinedAndEnded(
  { now }: App,
  call: Pick<Call, 'createdAt' | 'answeredAt'>,
  { joined, ended }: Pick<UltravoxCall, 'joined' | 'ended'>,
): { joinedAt: Date | null; endedAt: Date | null } {
  const earliest = call.createdAt.getTime() - TOLERANCE_MS;
  const latest = now().getTime() + TOLERANCE_MS;
  const joinedAt = joined === null ? null : between(earliest, Date.parse(joined), latest);
  if (ended === null) return { joinedAt, endedAt: null };
  const answeredAt = (call.answeredAt ?? joinedAt)?.getTime();
  const endedAt =
    answeredAt === undefined
      ? between(earliest, Date.parse(ended), latest)
      : between(
          answeredAt,
          Date.parse(ended),
          Math.min(Math.max(latest, answeredAt), answeredAt + MAX_CALL_SECONDS * 1000),
        );
  return { joinedAt, endedAt };
}

function between(min: number, time: number, max: number): Date {
  return new Date(Math.max(min, Math.min(time, max)));
}
