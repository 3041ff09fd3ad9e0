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
  const turns = transcriptIn(content);
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
      kind === 'misfit' ? { unfit: true } : exampleOf(wanted.extractedData, success);
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

function transcriptIn(content: string): Turn[] {
  try {
    return (JSON.parse(content) as { transcript?: Turn[] }).transcript ?? [];
  } catch {
    return [{ text: content }];
  }
}

/** Examples of the formats that the server checks. */
const EXAMPLES = new Map([
  ['date', '2026-11-20'],
  ['time', '14:30:00Z'],
  ['date-time', '2026-11-20T14:30:00Z'],
  ['duration', 'PT30M'],
  ['email', 'ada@example.com'],
  ['hostname', 'example.com'],
  ['ipv4', '192.0.2.1'],
  ['ipv6', '2001:db8::1'],
  ['uri', 'https://example.com/'],
  ['uri-reference', '/example'],
  ['uuid', '0199a000-0000-7000-8000-000000000001'],
]);

/** A value that fits the types and formats of the schema. From an enum it takes the first value, or the last for a failed call. */
function exampleOf(schema: Json, success: boolean, name = 'value'): Json {
  if (!isObject(schema)) return {};
  const choice = listAt(schema, 'enum').at(success ? 0 : -1);
  if (schema.const !== undefined) return schema.const;
  if (choice !== undefined) return choice;
  const [type] = Array.isArray(schema.type) ? schema.type : [schema.type];
  switch (type) {
    case 'string':
      return EXAMPLES.get(stringAt(schema, 'format') ?? '') ?? `example ${name}`;
    case 'integer':
    case 'number':
      return typeof schema.minimum === 'number' ? schema.minimum : 1;
    case 'boolean':
      return success;
    case 'null':
      return null;
    case 'array':
      return [exampleOf(schema.items ?? {}, success, name)];
    default: {
      const properties = Object.entries(objectAt(schema, 'properties') ?? {});
      return Object.fromEntries(
        properties.map(([key, item]) => [key, exampleOf(item, success, key)]),
      );
    }
  }
}

export const languageModelRoutes: Route[] = [
  // `open`, because OpenAI's API has the key in another header.
  { method: 'POST', path: '/v1/chat/completions', open: true, handler: complete },
];
