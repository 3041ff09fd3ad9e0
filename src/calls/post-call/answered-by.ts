/** Determines from a conversation whether a person or a voicemail answered. */
import type { AnsweredBy, CallDirection } from '../../generated/prisma/enums.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import type { Turn } from './turns.ts';
import { plainWords } from './words.ts';

export interface AnsweredByFinding {
  answeredBy: AnsweredBy;
  /** Human-readable evidence. */
  evidence: string;
}

interface Finding extends AnsweredByFinding {
  /** Whether it does not rest on the wording of what was said. */
  isCertain: boolean;
}

/** Phrases that a voicemail says in its first words, as `plainWords` spells them. */
const GREETINGS = [
  /\bvoice ?mail(box)?\b/,
  /\bleave (me |us )?(a|your|an?other) (message|name)\b/,
  /\b(after|at) the (tone|beep)\b/,
  /\b(is|am|are) (not available|unavailable|unable to (take|answer|come))\b/,
  /\bcan(no)?t (take your call|come to the phone|answer)\b/,
  /\bmailbox (is full|of)\b/,
  /\bbuzon de voz\b|\bdeje (su|un|tu) mensaje\b|\bdespues (de la senal|del tono)\b/,
  /\bmailbox\b|\bnach dem (signal)?ton\b|\bhinterlassen sie\b|\bnicht erreichbar\b/,
  /\bmessagerie\b|\blaissez (un|votre) message\b|\bapres le (bip|signal)\b/,
  /\bsegreteria telefonica\b|\bcaixa postal\b|\bdeixe (a )?(sua )?mensagem\b/,
];
/** Only the first turns can be a greeting: later on, people talk about voicemails too. */
const FIRST_TURNS = 2;
/** Maximum length of what was said in the evidence. */
const MAX_SPOKEN = 200;

/** `turns` are those of the whole call, in order. */
export function answeredByOf(
  turns: readonly Pick<Turn, 'speaker' | 'text' | 'toolName'>[],
  { direction }: { direction: CallDirection },
): Finding {
  const heard = turns.filter(({ speaker }) => speaker === 'USER');
  const left = turns.find(({ toolName }) => toolName === 'leaveVoicemail');
  if (left) {
    return { answeredBy: 'VOICEMAIL', evidence: 'The agent left a voicemail.', isCertain: true };
  }
  if (direction === 'INBOUND') {
    return heard.length > 0
      ? { answeredBy: 'HUMAN', evidence: 'The person called, and spoke.', isCertain: true }
      : { answeredBy: 'UNKNOWN', evidence: 'Nothing was heard from the caller.', isCertain: true };
  }
  const greeting = heard.slice(0, FIRST_TURNS).find(({ text }) => isGreeting(plainWords(text)));
  if (greeting) {
    const evidence = `It said “${quoted(greeting.text)}”.`;
    return { answeredBy: 'VOICEMAIL', evidence, isCertain: false };
  }
  const [first] = heard;
  if (first) {
    const evidence = `It said “${quoted(first.text)}”.`;
    return { answeredBy: 'HUMAN', evidence, isCertain: false };
  }
  const evidence = 'Nothing was heard from the other side.';
  return { answeredBy: 'UNKNOWN', evidence, isCertain: true };
}

function isGreeting(words: string): boolean {
  return GREETINGS.some((pattern) => pattern.test(words));
}

function quoted(text: string): string {
  return text.length > MAX_SPOKEN ? `${truncateText(text, MAX_SPOKEN)}…` : text;
}
