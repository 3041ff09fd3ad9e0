/** An OpenAI-compatible endpoint that analyzes calls without a model. */
import {
  isObject,
  type Json,
  type JsonObject,
  listAt,
  objectAt,
  refuse,
  stringAt,
} from './json.ts';
import { exampleOf } from './schema-example.ts';
import type { Request, Route, World } from './world.ts';

/** How a voicemail greets, and how a person asks not to be called again without using the usual phrases. */
const VOICEMAIL = /you have reached/i;
const DO_NOT_CALL = /leave me (in peace|alone)|in ruhe/i;
/** Words of agreement, which make a call a success. */
const AGREED = /\b(thursday|jueves|donnerstag|perfect|perfecto|sehr gut|great)\b/i;

function complete(world: World, request: Request) {
  if (request.headers.authorization !== `Bearer ${world.apiKey}`) {
    throw refuse(401, 'Incorrect API key provided.');
  }
  const body: JsonObject = isObject(request.body) ? request.body : {};
  const messages = listAt(body, 'messages').filter((item) => isObject(item));
  const content = String(messages.findLast(({ role }) => role === 'user')?.content ?? '');
  const text = answerTo(world, content, objectAt(objectAt(body, 'response_format'), 'json_schema'));
  const tokens = (sent: string) => Math.ceil(sent.length / 4);
  const input = messages.reduce((sum, message) => sum + tokens(String(message.content)), 0);
  return {
    status: 200,
    body: {
      id: `chatcmpl-${world.now()}`,
      object: 'chat.completion',
      created: Math.floor(world.now() / 1000),
      model: stringAt(body, 'model') ?? 'simulator',
      choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: text } }],
      usage: {
        prompt_tokens: input,
        completion_tokens: tokens(text),
        total_tokens: input + tokens(text),
      },
    },
  };
}

function answerTo(world: World, content: string, format: JsonObject | undefined): string {
  const kind = world.settings().modelAnswers;
  if (kind === 'junk') return 'Certainly! The call went very well, I think.';
  const { transcript: turns = [], extractionSchema } = taskIn(content);
  const said = turns.map(({ text }) => text ?? '').join(' ');
  const success = AGREED.test(said);
  const quote = AGREED.exec(said)?.[0];
  const wanted = objectAt(objectAt(format, 'schema'), 'properties') ?? {};
  const answer: JsonObject = {};
  if (wanted.success !== undefined) {
    answer.success = success;
    answer.reason = quote
      ? `An agreement was reached: “${quote}” was said.`
      : 'No agreement was reached in the conversation.';
  }
  if (wanted.extractedData !== undefined) {
    answer.extractedData =
      kind === 'misfit'
        ? { unfit: true }
        : exampleOf(extractionSchema ?? wanted.extractedData, success);
  }
  if (wanted.doNotCallQuote !== undefined) Object.assign(answer, findingsIn(turns, kind));
  return JSON.stringify(answer);
}

function findingsIn(turns: readonly Turn[], kind: string): JsonObject {
  const quoteOf = (speaker: string, pattern: RegExp): string | null =>
    turns.find((turn) => turn.speaker === speaker && pattern.test(turn.text ?? ''))?.text ?? null;
  if (kind === 'invented') {
    return {
      answeredBy: 'VOICEMAIL',
      answeredByQuote: 'Nobody in this call said so.',
      doNotCallQuote: quoteOf('agent', /./),
    };
  }
  const greeting = quoteOf('user', VOICEMAIL);
  return {
    answeredBy: greeting === null ? 'UNKNOWN' : 'VOICEMAIL',
    answeredByQuote: greeting,
    doNotCallQuote: quoteOf('user', DO_NOT_CALL),
  };
}

interface Turn {
  speaker?: string;
  text?: string;
}

interface Task {
  transcript?: Turn[];
  /** As it was sent; the schema of the answer does not contain all of it. */
  extractionSchema?: Json;
}

function taskIn(content: string): Task {
  try {
    const task: unknown = JSON.parse(content);
    return (task ?? {}) as Task;
  } catch {
    return { transcript: [{ text: content }] };
  }
}

export const languageModelRoutes: Route[] = [
  // `open`, because OpenAI's API has the key in another header.
  { method: 'POST', path: '/v1/chat/completions', open: true, handler: complete },
];
