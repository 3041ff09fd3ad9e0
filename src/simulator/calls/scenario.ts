/** The planned course of a call. */
import { createHash } from 'node:crypto';
import type { SimulatorSettings } from '../settings.ts';
import type { CallPlan } from '../world.ts';

/** The outcome of a call, by the last four digits of the dialed number. */
export const OUTCOMES: Record<string, string> = {
  '0001': 'busy',
  '0002': 'rejected',
  '0003': 'noAnswer',
  '0004': 'invalidNumber',
  '0005': 'unavailable',
  '0006': 'connectionError',
  '0007': 'systemError',
  '0008': 'untilMaxDuration',
  '0009': 'agentHangup',
  '0010': 'ringsLong',
  '0011': 'voicemail',
};

/** Outcomes without an answer, with their SIP termination reasons. */
const REFUSED: Record<string, { sipReason: string; part: number }> = {
  busy: { sipReason: 'SIP_TERMINATION_BUSY', part: 0.5 },
  rejected: { sipReason: 'SIP_TERMINATION_REJECTED', part: 1 },
  invalidNumber: { sipReason: 'SIP_TERMINATION_INVALID_NUMBER', part: 0.25 },
  unavailable: { sipReason: 'SIP_TERMINATION_DESTINATION_UNAVAILABLE', part: 0.5 },
};

export interface PlanInput {
  callId: string;
  /** Null when no number was dialed. */
  dialed: string | null;
  joinTimeoutMs: number;
  maxDurationMs: number;
  /** Seconds until the call is joined without ringing; null: never. */
  joinAfterSeconds?: number | null;
  /** Whether Ultravox learns why nobody answers, and so ends the call at once instead of after the join timeout. */
  reportsRefusals: boolean;
}

export function planCall(settings: SimulatorSettings, input: PlanInput): CallPlan {
  const spread = (part: number, salt: string) =>
    part * (1 + settings.jitter * (2 * randomFraction(input.callId, salt) - 1));
  const ringMs = spread(settings.ringSeconds * 1000, 'ring');
  const talkMs = spread(settings.talkSeconds * 1000, 'talk');
  const plan: CallPlan = {
    outcome: outcomeOf(settings, input),
    answerAfterMs:
      input.joinAfterSeconds === undefined
        ? ringMs
        : input.joinAfterSeconds === null
          ? null
          : input.joinAfterSeconds * 1000,
    giveUpAfterMs: input.joinTimeoutMs,
    talkMs,
    exchanges: settings.exchanges,
    endReason: 'hangup',
    sipReason: 'SIP_TERMINATION_NORMAL',
  };
  const refused = REFUSED[plan.outcome];
  if (refused !== undefined) {
    plan.answerAfterMs = null;
    // For calls that nobody joins, only two things are documented: they end when their join timeout is reached
    // (https://docs.ultravox.ai/webhooks/available-webhooks), and the SIP termination reason.
    if (input.reportsRefusals) {
      plan.giveUpAfterMs = Math.min(ringMs * refused.part, input.joinTimeoutMs);
    }
    plan.sipReason = refused.sipReason;
  } else if (plan.outcome === 'noAnswer') plan.answerAfterMs = null;
  else if (plan.outcome === 'ringsLong') plan.answerAfterMs = input.joinTimeoutMs * 0.9;
  else if (plan.outcome === 'connectionError') {
    plan.talkMs = talkMs / 2;
    plan.endReason = 'connection_error';
    plan.sipReason = 'SIP_TERMINATION_UNKNOWN';
  } else if (plan.outcome === 'systemError') {
    plan.talkMs = talkMs / 4;
    plan.endReason = 'system_error';
    plan.sipReason = 'SIP_TERMINATION_UNKNOWN';
  } else if (plan.outcome === 'untilMaxDuration') plan.talkMs = input.maxDurationMs;
  else if (plan.outcome === 'agentHangup') plan.endReason = 'agent_hangup';
  else if (plan.outcome === 'voicemail') {
    plan.talkMs = Math.min(talkMs, 20_000);
    plan.endReason = 'agent_hangup';
  }
  if (plan.answerAfterMs !== null && plan.answerAfterMs >= input.joinTimeoutMs) {
    plan.answerAfterMs = null;
  }
  if (plan.answerAfterMs === null && refused === undefined) {
    plan.sipReason = 'SIP_TERMINATION_TIMEOUT';
  }
  if (plan.talkMs >= input.maxDurationMs) {
    plan.talkMs = input.maxDurationMs;
    plan.endReason = 'timeout';
    plan.sipReason = 'SIP_TERMINATION_NORMAL';
  }
  return plan;
}

function outcomeOf(settings: SimulatorSettings, input: PlanInput): string {
  if (input.dialed === null) return 'answered';
  const steered = OUTCOMES[lastFour(input.dialed)];
  if (steered !== undefined) return steered;
  return randomFraction(input.callId, 'answer') < settings.answerRate ? 'answered' : 'noAnswer';
}

/** The last four digits of a number or of the user part of a SIP address. */
export function lastFour(dialed: string): string {
  const user = dialed.replace(/^sips?:/i, '').split('@')[0] ?? '';
  return user.replaceAll(/\D/g, '').slice(-4);
}

/** A number from 0 to 1, constant for a call. */
function randomFraction(callId: string, salt: string): number {
  return createHash('md5').update(`${callId}:${salt}`).digest().readUInt32LE(0) / 2 ** 32;
}
