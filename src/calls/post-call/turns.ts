/** Converts Ultravox's messages into the turns of a conversation. */
import { durationSeconds } from '../../infra/checks.ts';
import { parseStorableJson, toStorableText } from '../../infra/database/storable-text.ts';
import type { Message } from '../../ultravox/wire.ts';

export interface Turn {
  /** Index of its message. A tool result belongs to the turn of the tool call. */
  position: number;
  speaker: 'AGENT' | 'USER' | 'TOOL';
  /** Empty for a tool. */
  text: string;
  /** Seconds since the answer. */
  startSeconds: number | null;
  endSeconds: number | null;
  toolName: string | null;
  /** JSON if the tool was given JSON, otherwise text. */
  toolArguments: unknown;
  toolResult: string | null;
  toolError: string | null;
  /** Number of the stage in the order in which stages began, from 1. */
  stage: number;
}

/** Returns the turns in order. Messages without text or of an unknown kind are skipped. */
export function turnsOf(messages: readonly Message[]): Turn[] {
  const turns: Turn[] = [];
  const stages = new Map<string | null, number>();
  const open = new Map<string, Turn>();
  messages.forEach((message, position) => {
    const stage = stages.get(message.callStageId) ?? stages.size + 1;
    stages.set(message.callStageId, stage);
    const text = toStorableText(message.text ?? '');
    const turn: Turn = { ...EMPTY, ...timesOf(message), position, stage };
    switch (message.role) {
      case 'MESSAGE_ROLE_AGENT':
      case 'MESSAGE_ROLE_USER':
        if (text.trim() === '') return;
        turn.speaker = message.role === 'MESSAGE_ROLE_AGENT' ? 'AGENT' : 'USER';
        turns.push({ ...turn, text });
        return;
      case 'MESSAGE_ROLE_TOOL_CALL':
        turn.toolName = nameOf(message);
        turn.toolArguments = parsed(text);
        turns.push(turn);
        open.set(keyOf(message), turn);
        return;
      case 'MESSAGE_ROLE_TOOL_RESULT': {
        const called = open.get(keyOf(message));
        open.delete(keyOf(message));
        const answered = called ?? { ...turn, toolName: nameOf(message) };
        answered.toolResult = text;
        answered.toolError = message.errorDetails ? toStorableText(message.errorDetails) : null;
        answered.endSeconds = turn.endSeconds ?? answered.endSeconds;
        if (!called) turns.push(answered);
      }
    }
  });
  return turns;
}

/** Whether nothing more can be added to the turn. A tool use is complete once it has a result. */
export function isComplete(turn: Turn): boolean {
  return turn.speaker !== 'TOOL' || turn.toolResult !== null;
}

const EMPTY = {
  speaker: 'TOOL',
  text: '',
  toolName: null,
  toolArguments: null,
  toolResult: null,
  toolError: null,
} as const;

function keyOf({ invocationId, toolName }: Message): string {
  return invocationId ?? `name ${toolName}`;
}

function nameOf({ toolName }: Message): string | null {
  return toolName === null ? null : toStorableText(toolName);
}

function timesOf({ wallClockTimespan, timespan }: Message) {
  const span = wallClockTimespan ?? timespan;
  return { startSeconds: secondsOf(span?.start), endSeconds: secondsOf(span?.end) };
}

function secondsOf(duration: string | null | undefined): number | null {
  const seconds = durationSeconds(duration ?? '');
  return Number.isFinite(seconds) ? seconds : null;
}

function parsed(text: string): unknown {
  try {
    return parseStorableJson(text);
  } catch {
    return text === '' ? null : text;
  }
}
