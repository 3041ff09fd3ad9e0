/** Creates three weeks of past calls for the demo organization, the same on every first start. */
import { addPastOutcomes } from '../analysis/past-outcomes.ts';
import type { App } from '../app.ts';
import { addPastCalls, type PastCall } from '../calls/past-calls.ts';
import type { Organization } from '../generated/prisma/client.ts';
import { derivedId } from '../infra/ids.ts';

const DAYS = 21;
const HOUR_MS = 3_600_000;
const OPENS_AT_HOUR = 8;
const OPEN_HOURS = 10;

/** Working days have more calls than Saturdays; Sundays have none. */
function callsOn(day: Date): number {
  const weekday = day.getUTCDay();
  if (weekday === 0) return 0;
  return weekday === 6 ? 6 : 18 + ((day.getUTCDate() * 7) % 9);
}

/** A repeatable sequence of numbers from 0 to 1. */
function sequence(): () => number {
  let state = 20_261_120;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

type CallWithoutId = Omit<PastCall, 'id'>;

function pastCalls(now: Date): CallWithoutId[] {
  const random = sequence();
  const today = Math.floor(now.getTime() / (24 * HOUR_MS)) * 24 * HOUR_MS;
  const calls: CallWithoutId[] = [];
  for (let ago = DAYS; ago > 0; ago -= 1) {
    const day = new Date(today - ago * 24 * HOUR_MS);
    for (let left = callsOn(day); left > 0; left -= 1) {
      const hour = OPENS_AT_HOUR + random() * OPEN_HOURS;
      const luck = random();
      const answered = luck < 0.72;
      const voicemail = luck > 0.6;
      calls.push({
        createdAt: new Date(day.getTime() + Math.floor(hour * HOUR_MS)),
        phoneNumber: `+1415555${String(100 + Math.floor(random() * 100)).padStart(4, '0')}`,
        endReason: answered
          ? random() < 0.6
            ? 'HANGUP'
            : 'AGENT_HANGUP'
          : luck < 0.85
            ? 'NO_ANSWER'
            : 'BUSY',
        talkSeconds: answered ? Math.round(voicemail ? 12 : 40 + random() ** 2 * 260) : null,
        answeredBy: answered ? (voicemail ? 'VOICEMAIL' : 'HUMAN') : null,
      });
    }
  }
  return calls.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
}

/** Adds the calls that are not there yet: those before the creation of the organization. */
export async function createHistory(
  app: App,
  { id: organizationId, createdAt }: Organization,
  from: { agentId: string; phoneNumberId: string; ownNumber: string },
): Promise<void> {
  const calls = pastCalls(createdAt).map((call, index) => ({
    ...call,
    id: derivedId(`${organizationId}/history/${index}`, createdAt),
  }));
  await addPastCalls(app, { organizationId, ...from }, calls);
  const outcomes = calls.flatMap((call) => {
    if (call.answeredBy !== 'HUMAN') return [];
    const success = (call.talkSeconds ?? 0) > 75;
    const reason = success
      ? 'They agreed on a day and a time.'
      : 'They asked to be called another day.';
    return [{ callId: call.id, success, reason }];
  });
  await addPastOutcomes(app, organizationId, outcomes);
}
