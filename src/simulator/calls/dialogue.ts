/** What is said in simulated calls, and their summaries. */
import { randomUUID } from 'node:crypto';
import { atPath, isObject, type JsonObject, objectAt, stringAt } from '../json.ts';
import type { CallRecord } from '../world.ts';

interface Phrases {
  greet(agent: string, person: string | undefined): string;
  answer: string;
  turns: [user: string, agent: string][];
  bye: string;
  userBye: string;
  voicemail: string;
  message(agent: string, person: string | undefined): string;
}

const withName = (person: string | undefined) => (person === undefined ? '' : ` ${person}`);

const ENGLISH: Phrases = {
  greet: (agent, person) =>
    `Hello${withName(person)}, this is ${agent}. Is now a good time to talk?`,
  answer: 'Hello?',
  turns: [
    ['Yes, go ahead.', 'Thank you. I will keep it short: I am calling about your request.'],
    ['Right, I remember. What do you need from me?', 'Just a moment to confirm the details.'],
    ['Sure. Does it cost anything?', 'No, there is no charge for this.'],
    ['And when would that be?', 'We have an opening on Thursday at ten in the morning.'],
    ['Thursday at ten works for me.', 'Perfect, I have put you down for Thursday at ten.'],
    ['Will I get a confirmation?', 'Yes, you will receive a message within a few minutes.'],
  ],
  bye: 'Thank you for your time. Goodbye!',
  userBye: 'Great, thanks. Bye!',
  voicemail: 'You have reached my voicemail. Please leave a message after the tone.',
  message: (agent, person) =>
    `Hello${withName(person)}, this is ${agent}. Please call us back when it suits you. Goodbye.`,
};

const SPANISH: Phrases = {
  greet: (agent, person) => `Hola${withName(person)}, le habla ${agent}. ¿Tiene un momento?`,
  answer: '¿Diga?',
  turns: [
    ['Sí, dígame.', 'Gracias, seré breve: llamo por su solicitud.'],
    ['Ah, sí. ¿Qué necesita?', 'Solo confirmar algunos datos.'],
    ['¿Cuándo sería?', 'Tenemos un hueco el jueves a las diez.'],
    ['El jueves me viene bien.', 'Perfecto, queda anotado para el jueves a las diez.'],
  ],
  bye: 'Gracias por su tiempo. ¡Adiós!',
  userBye: 'Muchas gracias. ¡Adiós!',
  voicemail: 'Este es mi buzón de voz. Deje su mensaje después de la señal.',
  message: (agent, person) => `Hola${withName(person)}, le habla ${agent}. Llámenos, por favor.`,
};

const GERMAN: Phrases = {
  greet: (agent, person) =>
    `Guten Tag${withName(person)}, hier spricht ${agent}. Haben Sie einen Moment Zeit?`,
  answer: 'Ja, bitte?',
  turns: [
    ['Ja, worum geht es?', 'Danke, ich mache es kurz: Es geht um Ihre Anfrage.'],
    ['Stimmt. Was brauchen Sie von mir?', 'Ich möchte nur kurz die Angaben bestätigen.'],
    ['Wann wäre das?', 'Am Donnerstag um zehn Uhr ist noch etwas frei.'],
    ['Donnerstag passt mir gut.', 'Sehr gut, dann sehen wir uns am Donnerstag um zehn.'],
  ],
  bye: 'Vielen Dank für Ihre Zeit. Auf Wiederhören!',
  userBye: 'Danke, tschüss!',
  voicemail: 'Hier ist die Mailbox. Bitte sprechen Sie nach dem Ton.',
  message: (agent, person) =>
    `Guten Tag${withName(person)}, hier ist ${agent}. Bitte rufen Sie zurück.`,
};

function phrasesFor(language: string | undefined): Phrases {
  const base = language?.toLowerCase().split('-')[0];
  return base === 'es' ? SPANISH : base === 'de' ? GERMAN : ENGLISH;
}

interface Line {
  role:
    | 'MESSAGE_ROLE_USER'
    | 'MESSAGE_ROLE_AGENT'
    | 'MESSAGE_ROLE_TOOL_CALL'
    | 'MESSAGE_ROLE_TOOL_RESULT';
  text: string;
  /** Start and end as fractions of the talk time. */
  begin: number;
  end: number;
  toolName?: string;
  invocationId?: string;
}

/**
 * Plans the messages of a call that was joined at `joinedAt`. Offsets in the messages are in simulated
 * time; `at` is the real time of their end.
 */
export function writeTranscript(record: CallRecord, joinedAt: number): CallRecord['transcript'] {
  const { talkMs } = record.plan;
  return buildLines(record).map((line) => {
    const end = line.end * talkMs;
    return {
      at: joinedAt + end / record.speed,
      message: message(record, line, { start: (line.begin * talkMs) / 1000, end: end / 1000 }),
    };
  });
}

export function message(
  record: CallRecord,
  line: Pick<Line, 'role' | 'text' | 'toolName' | 'invocationId'>,
  {
    start,
    end,
    medium = 'MESSAGE_MEDIUM_VOICE',
  }: { start: number; end: number; medium?: string | undefined },
): JsonObject {
  const span = { start: formatSeconds(start), end: formatSeconds(end) };
  return {
    role: line.role,
    text: line.text,
    ...(line.invocationId === undefined ? {} : { invocationId: line.invocationId }),
    ...(line.toolName === undefined ? {} : { toolName: line.toolName }),
    medium,
    callStageId: record.stageId,
    timespan: span,
    wallClockTimespan: span,
  };
}

function buildLines(record: CallRecord): Line[] {
  const phrases = phrasesFor(stringAt(record.call, 'languageHint'));
  const settings = objectAt(record.call, 'firstSpeakerSettings');
  const fallback = objectAt(objectAt(settings, 'user'), 'fallback');
  const agent = agentName(record);
  const person = personName(record.context);
  const greeting =
    stringAt(objectAt(settings, 'agent'), 'text') ??
    stringAt(fallback, 'text') ??
    phrases.greet(agent, person);
  if (record.plan.outcome === 'voicemail') return voicemailLines(record, phrases, agent, person);

  const spoken: Pick<Line, 'role' | 'text'>[] = [];
  const say = (role: Line['role'], text: string) => spoken.push({ role, text });
  if (record.call.firstSpeaker === 'FIRST_SPEAKER_USER') say('MESSAGE_ROLE_USER', phrases.answer);
  say('MESSAGE_ROLE_AGENT', greeting);
  const fitting = Math.min(phrases.turns.length, Math.floor(record.plan.talkMs / 8000));
  const exchanges = record.plan.exchanges ?? Math.max(1, fitting);
  for (let number = 0; number < exchanges; number += 1) {
    const [user, reply] = phrases.turns[number % phrases.turns.length]!;
    say('MESSAGE_ROLE_USER', user);
    say('MESSAGE_ROLE_AGENT', reply);
  }
  const ending = record.plan.endReason;
  if (ending === 'hangup' || ending === 'agent_hangup') {
    say('MESSAGE_ROLE_USER', phrases.userBye);
    say('MESSAGE_ROLE_AGENT', phrases.bye);
  } else if (ending === 'timeout') {
    const farewell = stringAt(record.call, 'timeExceededMessage');
    if (farewell !== undefined) say('MESSAGE_ROLE_AGENT', farewell);
  }
  // A lost connection drops the last lines.
  const cut = ending === 'connection_error' || ending === 'system_error' ? 1.4 : 1;
  const step = (0.96 * cut) / spoken.length;
  const timed = spoken.map((line, index) => ({
    ...line,
    begin: step * index + 0.01,
    end: step * (index + 1),
  }));
  return withToolCall(
    record,
    timed.filter((line) => line.end < 1),
    step,
  );
}

/** Adds the use of one of the call's tools in the middle of the conversation. */
function withToolCall(record: CallRecord, spoken: Line[], step: number): Line[] {
  const tool = record.tools.find(
    (item) =>
      !['hangUp', 'leaveVoicemail', 'playDtmfSounds', 'coldTransfer', 'warmTransfer'].includes(
        String(item.name),
      ),
  );
  const index = spoken.findIndex((line, i) => i > 1 && line.role === 'MESSAGE_ROLE_AGENT');
  const before = spoken[index];
  const hangUp =
    record.plan.outcome === 'agentHangup'
      ? record.tools.find((item) => item.name === 'hangUp')
      : undefined;
  const result = [...spoken];
  if (hangUp !== undefined) {
    result.push(
      ...toolCallLines('hangUp', { reason: 'The conversation is over.' }, 'OK', {
        begin: 0.97,
        end: 0.98,
      }),
    );
  }
  if (tool === undefined || before === undefined) return result;
  const begin = before.begin + step * 0.2;
  const pair = toolCallLines(
    String(tool.name),
    exampleArguments(objectAt(tool, 'definition')),
    tool.name === 'queryCorpus'
      ? '{"results":[{"content":"Opening hours are nine to five.","score":0.82}]}'
      : '{"ok":true}',
    { begin, end: begin + step * 0.2 },
  );
  result.splice(index, 1, ...pair, { ...before, begin: begin + step * 0.25 });
  return result;
}

function toolCallLines(
  toolName: string,
  given: JsonObject,
  answer: string,
  { begin, end }: Pick<Line, 'begin' | 'end'>,
): Line[] {
  const invocationId = randomUUID();
  return [
    {
      role: 'MESSAGE_ROLE_TOOL_CALL',
      text: JSON.stringify(given),
      toolName,
      invocationId,
      begin,
      end: begin + 0.001,
    },
    { role: 'MESSAGE_ROLE_TOOL_RESULT', text: answer, toolName, invocationId, begin, end },
  ];
}

/** Arguments of the right types for the parameters that the model provides. */
export function exampleArguments(definition: JsonObject | undefined): JsonObject {
  const given: JsonObject = {};
  const parameters = definition?.dynamicParameters;
  for (const parameter of Array.isArray(parameters) ? parameters : []) {
    if (!isObject(parameter)) continue;
    const name = stringAt(parameter, 'name');
    const schema = objectAt(parameter, 'schema');
    if (name === undefined) continue;
    const values = schema?.enum;
    if (Array.isArray(values) && values[0] !== undefined) given[name] = values[0];
    else if (schema?.type === 'integer' || schema?.type === 'number') given[name] = 5;
    else if (schema?.type === 'boolean') given[name] = true;
    else if (schema?.type === 'array') given[name] = [];
    else if (schema?.type === 'object') given[name] = {};
    else given[name] = name === 'query' ? 'opening hours' : `example ${name}`;
  }
  return given;
}

function voicemailLines(
  record: CallRecord,
  phrases: Phrases,
  agent: string,
  person: string | undefined,
): Line[] {
  const text = phrases.message(agent, person);
  const recorded: Line[] = [
    { role: 'MESSAGE_ROLE_USER', text: phrases.voicemail, begin: 0.02, end: 0.35 },
  ];
  if (record.tools.some((tool) => tool.name === 'leaveVoicemail')) {
    recorded.push(
      ...toolCallLines('leaveVoicemail', { message: text }, 'Message left.', {
        begin: 0.4,
        end: 0.42,
      }),
    );
  }
  recorded.push({ role: 'MESSAGE_ROLE_AGENT', text, begin: 0.45, end: 0.95 });
  return recorded;
}

function agentName(record: CallRecord): string {
  const prompt = stringAt(record.call, 'systemPrompt') ?? '';
  const introduced =
    /(?:[Yy]ou are|[Yy]our name is|[Ii]ch bin|[Ee]res|[Dd]u bist)\s+(\p{Lu}\p{L}+)/u.exec(prompt);
  // Names of agents may end with an id.
  const spoken = record.name
    .replace(/[_\s-]*[a-z]{3}_[0-9a-f-]{36}$/, '')
    .replaceAll(/[_-]+/g, ' ');
  return introduced?.[1] ?? (spoken === '' ? 'your assistant' : spoken);
}

function personName(context: JsonObject): string | undefined {
  for (const path of [
    'firstName',
    'first_name',
    'name',
    'customerName',
    'customer_name',
    'contact.firstName',
    'contact.first_name',
    'contact.name',
    'user.firstName',
    'user.name',
  ]) {
    const found = atPath(context, path);
    if (typeof found === 'string' && found !== '') return found;
  }
  return undefined;
}

/** The short and the long summary of an ended call. */
export function summarize(record: CallRecord): { short: string; long: string } {
  const agent = agentName(record);
  const person = personName(record.context) ?? 'The caller';
  const how: Record<string, string> = {
    voicemail: `${agent} reached a voicemail and left a message.`,
    connectionError: `${person} and ${agent} were cut off in the middle of the conversation.`,
    systemError: `The conversation between ${person} and ${agent} stopped because of a fault.`,
  };
  const short = how[record.plan.outcome] ?? `${person} talked to ${agent} about an appointment.`;
  return {
    short,
    long: `${short} The call lasted ${Math.round(record.talkedMs / 1000)} seconds and ended with "${String(record.call.endReason)}".`,
  };
}

function formatSeconds(value: number): string {
  return `${Number(value.toFixed(3))}s`;
}
