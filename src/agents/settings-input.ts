/** Validates the nested settings of an agent. Each is replaced as a whole. */
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import {
  isPremiumNumber,
  type PhoneNumberRules,
  withoutPunctuation,
} from '../infra/phone-number.ts';
import { LIMITS } from './limits.ts';
import { checkTemplate } from './placeholders.ts';
import type {
  BuiltInConfig,
  EndBehavior,
  FirstSpeaker,
  GreetingSettings,
  InactivityMessage,
  TransferConfig,
  VadSettings,
} from './settings.ts';

/** Absent and null both mean the default here. */
export type Maybe<T> = T | null | undefined;

export interface GreetingSettingsInput {
  firstSpeaker?: Maybe<FirstSpeaker>;
  text?: Maybe<string>;
  delay?: Maybe<string>;
  uninterruptible?: Maybe<boolean>;
}

export interface InactivityMessageInput {
  duration: string;
  message: string;
  endBehavior?: Maybe<EndBehavior | 'HANG_UP'>;
}

export interface VadSettingsInput {
  turnEndpointDelay?: Maybe<string>;
  minimumTurnDuration?: Maybe<string>;
  minimumInterruptionDuration?: Maybe<string>;
  frameActivationThreshold?: Maybe<number>;
}

export interface TransferConfigInput {
  cold?: Maybe<boolean>;
  warm?: Maybe<boolean>;
  target?: Maybe<string>;
}

export interface BuiltInConfigInput {
  transfer?: Maybe<TransferConfigInput>;
  hangUp?: Maybe<boolean>;
  leaveVoicemail?: Maybe<boolean>;
}

export function checkGreetingSettings(
  checks: Checks,
  input: GreetingSettingsInput,
  path: ProblemPath,
): GreetingSettings | undefined {
  const before = checks.problems.length;
  const firstSpeaker = input.firstSpeaker ?? 'AGENT';
  const uninterruptible = input.uninterruptible ?? false;
  const spoken = input.text ?? null;
  const delay = checks.duration(input.delay, [...path, 'delay'], { min: 0, max: 600 }) ?? null;
  if (spoken !== null) {
    checkTemplate(checks, spoken, [...path, 'text'], { min: 1, max: LIMITS.spokenText });
  }
  if (firstSpeaker === 'USER') {
    if (spoken !== null && (input.delay ?? null) === null) {
      checks.add(
        'REQUIRED',
        '`delay` is required with `text` when the user speaks first: it is the silence after which the agent says the text.',
        [...path, 'delay'],
      );
    }
    if (uninterruptible) {
      checks.add(
        'INVALID_INPUT',
        '`uninterruptible` is allowed only when the agent speaks first.',
        [...path, 'uninterruptible'],
      );
    }
  }
  if (checks.problems.length > before) return undefined;
  return { firstSpeaker, text: spoken, delay, uninterruptible };
}

export function checkInactivityMessages(
  checks: Checks,
  inputs: readonly InactivityMessageInput[],
  path: ProblemPath,
): InactivityMessage[] | undefined {
  const before = checks.problems.length;
  const messages = inputs.map((input, index): InactivityMessage => {
    const here = [...path, index];
    const limits = { min: 1, max: LIMITS.spokenText };
    return {
      duration:
        checks.duration(input.duration, [...here, 'duration'], { min: 1, max: 3_600 }) ?? '',
      message: checkTemplate(checks, input.message, [...here, 'message'], limits) ?? '',
      endBehavior: toEndBehavior(input.endBehavior),
    };
  });
  return checks.problems.length > before ? undefined : messages;
}

/** Maps HANG_UP, which the REST API documents but Ultravox does not have. */
function toEndBehavior(given: InactivityMessageInput['endBehavior']): EndBehavior {
  return given === 'HANG_UP' ? 'HANG_UP_SOFT' : (given ?? 'UNSPECIFIED');
}

export function checkVadSettings(
  checks: Checks,
  input: VadSettingsInput,
  path: ProblemPath,
): VadSettings | undefined {
  const before = checks.problems.length;
  const duration = (
    member: 'turnEndpointDelay' | 'minimumTurnDuration' | 'minimumInterruptionDuration',
  ) => checks.duration(input[member], [...path, member], { min: 0, max: 60 }) ?? null;
  const settings: VadSettings = {
    turnEndpointDelay: duration('turnEndpointDelay'),
    minimumTurnDuration: duration('minimumTurnDuration'),
    minimumInterruptionDuration: duration('minimumInterruptionDuration'),
    frameActivationThreshold:
      checks.number(input.frameActivationThreshold, [...path, 'frameActivationThreshold'], {
        min: 0.1,
        max: 1,
      }) ?? null,
  };
  return checks.problems.length > before ? undefined : settings;
}

export function checkBuiltInConfig(
  checks: Checks,
  input: BuiltInConfigInput,
  path: ProblemPath,
  rules: PhoneNumberRules,
): BuiltInConfig | undefined {
  const before = checks.problems.length;
  const transfer = input.transfer
    ? checkTransferConfig(checks, input.transfer, [...path, 'transfer'], rules)
    : null;
  if (checks.problems.length > before) return undefined;
  return {
    transfer: transfer ?? null,
    hangUp: input.hangUp ?? false,
    leaveVoicemail: input.leaveVoicemail ?? false,
  };
}

const SIP_URI = /^sips?:[^@\s<>]+@[^@\s<>]+$/i;
/** The user part of a SIP URI, without its parameters and password. */
const USER_OF_SIP_URI = /^sips?:([^@;:]+)/i;
/** Carriers accept numbers with "+", with an international prefix, or with neither. */
const INTERNATIONAL_PREFIX = /^(?:\+|00|011)?/;

/** The premium number that a transfer target leads to; null if it leads to none that can be recognized. */
export function premiumNumberOf(target: string): string | null {
  const user = USER_OF_SIP_URI.exec(target)?.[1];
  const dialed = withoutPunctuation(user === undefined ? target : percentDecoded(user));
  const number = dialed.replace(INTERNATIONAL_PREFIX, '+');
  return isPremiumNumber(number) ? number : null;
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Ultravox requires a target, and a SIP URI for warm transfers. */
function checkTransferConfig(
  checks: Checks,
  input: TransferConfigInput,
  path: ProblemPath,
  rules: PhoneNumberRules,
): TransferConfig | undefined {
  const cold = input.cold ?? false;
  const warm = input.warm ?? false;
  const target = input.target ?? null;
  const here = [...path, 'target'];
  if (target === null) {
    if (!cold && !warm) return { cold, warm, target };
    return checks.add(
      'REQUIRED',
      '`target` is required: a SIP URI such as "sip:desk@example.com" or, for cold transfers only, a phone number such as "+14155550123".',
      here,
    );
  }
  // Ultravox might replace a placeholder by a number that nobody has checked.
  if (/[{}]/.test(target)) {
    return checks.add('INVALID_INPUT', '`target` cannot have placeholders.', here);
  }
  if (SIP_URI.test(target)) {
    const before = checks.problems.length;
    const premium = premiumNumberOf(target);
    if (premium) checks.phoneNumber(premium, here, rules);
    if (checks.problems.length > before) return undefined;
    return checks.text(target, here, { max: 500 }) === undefined
      ? undefined
      : { cold, warm, target };
  }
  if (warm) {
    return checks.add(
      'INVALID_INPUT',
      '`target` of a warm transfer must be a SIP URI such as "sip:desk@example.com".',
      here,
    );
  }
  if (!target.startsWith('+')) {
    return checks.add(
      'INVALID_INPUT',
      '`target` must be a SIP URI such as "sip:desk@example.com" or a phone number such as "+14155550123".',
      here,
    );
  }
  const number = checks.phoneNumber(target, here, rules);
  return number === undefined ? undefined : { cold, warm, target: number };
}
