/** What may be written into an agent: limits, formats and defaults, without looking anything up. */
import Mustache from 'mustache';
import type { ProblemPath } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { compileExtractionSchema } from './extraction.ts';
import type {
  AgentSettings,
  BuiltInConfig,
  EndBehavior,
  FirstSpeaker,
  GreetingSettings,
  InactivityMessage,
  TransferConfig,
  VadSettings,
} from './settings.ts';

export const DEFAULT_MODEL = 'ultravox-v0.7';
export const MODELS = [
  DEFAULT_MODEL,
  'ultravox-v0.6',
  'ultravox-v0.6-llama3.3-70b',
  'ultravox-v0.6-gemma3-27b',
  'fixie-ai/ultravox',
] as const;
export const DEFAULT_TEMPERATURE = 0.3;

export const LIMITS = {
  name: 100,
  description: 2_000,
  systemPrompt: 200_000,
  languageHint: 16,
  spokenText: 2_000,
  inactivityMessages: 20,
  successCriteria: 10_000,
  extractionSchemaBytes: 65_536,
  crmWebhookSecret: { min: 8, max: 255 },
  tools: 50,
  knowledgeBases: 1,
  joinTimeoutSeconds: { min: 1, max: 3_600 },
  maxDurationSeconds: { min: 1, max: 86_400 },
} as const;

type Given<T> = T | null | undefined;

export interface GreetingSettingsInput {
  firstSpeaker?: Given<FirstSpeaker>;
  text?: Given<string>;
  delay?: Given<string>;
  uninterruptible?: Given<boolean>;
}

export interface InactivityMessageInput {
  duration: string;
  message: string;
  endBehavior?: Given<EndBehavior>;
}

export interface VadSettingsInput {
  turnEndpointDelay?: Given<string>;
  minimumTurnDuration?: Given<string>;
  minimumInterruptionDuration?: Given<string>;
  frameActivationThreshold?: Given<number>;
}

export interface TransferConfigInput {
  cold?: Given<boolean>;
  warm?: Given<boolean>;
  target?: Given<string>;
}

export interface BuiltInConfigInput {
  transfer?: Given<TransferConfigInput>;
  hangUp?: Given<boolean>;
  leaveVoicemail?: Given<boolean>;
}

export interface AgentInput {
  name?: Given<string>;
  voiceId?: Given<string>;
  systemPrompt?: Given<string>;
  description?: Given<string>;
  model?: Given<string>;
  toolIds?: Given<readonly string[]>;
  knowledgeBaseIds?: Given<readonly string[]>;
  temperature?: Given<number>;
  recordingEnabled?: Given<boolean>;
  languageHint?: Given<string>;
  joinTimeout?: Given<string>;
  maxDuration?: Given<string>;
  timeExceededMessage?: Given<string>;
  greetingSettings?: Given<GreetingSettingsInput>;
  inactivityMessages?: Given<readonly InactivityMessageInput[]>;
  vadSettings?: Given<VadSettingsInput>;
  builtInConfig?: Given<BuiltInConfigInput>;
  successCriteria?: Given<string>;
  extractionSchema?: Given<Record<string, unknown>>;
  crmWebhookUrl?: Given<string>;
  crmWebhookSecret?: Given<string>;
}

/** An agent's content in the form in which it is kept, references as UUIDs, the secret in clear. */
export interface AgentContent extends AgentSettings {
  name: string;
  voiceId: string;
  systemPrompt: string;
  description: string | null;
  model: string;
  toolIds: string[];
  knowledgeBaseIds: string[];
  temperature: number;
  recordingEnabled: boolean;
  languageHint: string | null;
  joinTimeout: string | null;
  maxDuration: string | null;
  timeExceededMessage: string | null;
  successCriteria: string | null;
  crmWebhookUrl: string | null;
  crmWebhookSecret: string | null;
}

interface ReadOptions {
  /** Take the default for what was not given, instead of leaving it as it is. */
  whole: boolean;
  /** Let the CRM webhook go to private addresses. */
  allowPrivate: boolean;
}

type Reader<Value, Given> = (value: Given, path: ProblemPath) => Value | undefined;

/**
 * The members that the input sets. Null stands for the default, which for most is nothing; what is
 * wrong is reported to `checks` and left out.
 */
export function readContent(
  checks: Checks,
  input: AgentInput,
  { whole, allowPrivate }: ReadOptions,
): Partial<AgentContent> {
  const content: Partial<AgentContent> = {};

  function optional<K extends keyof AgentContent>(
    key: K,
    fallback: AgentContent[K],
    read: Reader<AgentContent[K], NonNullable<AgentInput[K]>>,
  ): void {
    const given = input[key];
    if (given === undefined && !whole) return;
    const value =
      given === undefined || given === null
        ? fallback
        : read(given as NonNullable<AgentInput[K]>, [key]);
    if (value !== undefined) content[key] = value;
  }

  function required<K extends 'name' | 'voiceId' | 'systemPrompt'>(
    key: K,
    read: Reader<string, string>,
  ): void {
    const given = input[key];
    if (given === undefined && !whole) return;
    const value =
      given === undefined || given === null
        ? checks.add('REQUIRED', `\`${key}\` is required and cannot be null.`, [key])
        : read(given, [key]);
    if (value !== undefined) content[key] = value;
  }

  const textOf =
    (max: number, min = 0): Reader<string, string> =>
    (value, path) =>
      text(checks, value, path, { min, max });
  const templateOf =
    (max: number, min = 0): Reader<string, string> =>
    (value, path) =>
      template(checks, value, path, { min, max });

  required('name', textOf(LIMITS.name, 1));
  required('voiceId', (value, path) => checks.id('voc', 'Voice', value, path));
  required('systemPrompt', templateOf(LIMITS.systemPrompt, 1));
  optional('description', null, textOf(LIMITS.description));
  optional('model', DEFAULT_MODEL, (value, path) => model(checks, value, path));
  optional('toolIds', [], (value, path) =>
    ids(checks, value, path, { prefix: 'tol', type: 'Tool', max: LIMITS.tools }),
  );
  optional('knowledgeBaseIds', [], (value, path) =>
    ids(checks, value, path, {
      prefix: 'knb',
      type: 'KnowledgeBase',
      max: LIMITS.knowledgeBases,
    }),
  );
  optional('temperature', DEFAULT_TEMPERATURE, (value, path) =>
    checks.number(value, path, { min: 0, max: 1 }),
  );
  optional('recordingEnabled', false, (value) => value);
  optional('languageHint', null, (value, path) => languageHint(checks, value, path));
  optional('joinTimeout', null, (value, path) =>
    checks.duration(value, path, LIMITS.joinTimeoutSeconds),
  );
  optional('maxDuration', null, (value, path) =>
    checks.duration(value, path, LIMITS.maxDurationSeconds),
  );
  optional('timeExceededMessage', null, templateOf(LIMITS.spokenText, 1));
  optional('greetingSettings', null, (value, path) => greetingSettings(checks, value, path));
  optional('inactivityMessages', [], (value, path) => inactivityMessages(checks, value, path));
  optional('vadSettings', null, (value, path) => vadSettings(checks, value, path));
  optional('builtInConfig', null, (value, path) => builtInConfig(checks, value, path));
  optional('successCriteria', null, textOf(LIMITS.successCriteria, 1));
  optional('extractionSchema', null, (value, path) => extractionSchema(checks, value, path));
  optional('crmWebhookUrl', null, (value, path) => checks.url(value, path, { allowPrivate }));
  optional('crmWebhookSecret', null, (value, path) =>
    text(checks, value, path, LIMITS.crmWebhookSecret),
  );
  return content;
}

type PlainColumns = Omit<
  AgentContent,
  'toolIds' | 'knowledgeBaseIds' | 'crmWebhookSecret' | keyof AgentSettings
>;
type JsonColumn = Prisma.InputJsonValue | typeof Prisma.DbNull;
type Columns = PlainColumns & {
  inactivityMessages: Prisma.InputJsonValue;
  greetingSettings: JsonColumn;
  vadSettings: JsonColumn;
  builtInConfig: JsonColumn;
  extractionSchema: JsonColumn;
};

/** The columns a row gets; references in lists and the secret are not among them. */
export function toColumns(content: AgentContent): Columns;
export function toColumns(content: Partial<AgentContent>): Partial<Columns>;
export function toColumns(content: Partial<AgentContent>): Partial<Columns> {
  const { toolIds, knowledgeBaseIds, crmWebhookSecret, ...columns } = content;
  const { greetingSettings, vadSettings, builtInConfig, extractionSchema, ...plain } = columns;
  return {
    ...plain,
    ...(greetingSettings === undefined ? {} : { greetingSettings: json(greetingSettings) }),
    ...(vadSettings === undefined ? {} : { vadSettings: json(vadSettings) }),
    ...(builtInConfig === undefined ? {} : { builtInConfig: json(builtInConfig) }),
    ...(extractionSchema === undefined ? {} : { extractionSchema: json(extractionSchema) }),
  };
}

function json(value: object | null): JsonColumn {
  return value === null ? Prisma.DbNull : (value as Prisma.InputJsonValue);
}

/** JSON columns cannot hold half a surrogate pair, so it becomes a replacement character. */
function text(
  checks: Checks,
  value: string,
  path: ProblemPath,
  limits: { min?: number; max: number },
): string | undefined {
  return checks.text(value, path, limits)?.toWellFormed();
}

/** A text in which Ultravox replaces `{{placeholders}}`. */
function template(
  checks: Checks,
  value: string,
  path: ProblemPath,
  limits: { min?: number; max: number },
): string | undefined {
  const checked = text(checks, value, path, limits);
  if (checked === undefined || !checked.includes('{{')) return checked;
  try {
    // A writer of its own: the shared one keeps every text it has ever seen.
    new Mustache.Writer().parse(checked);
    return checked;
  } catch (error) {
    return checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` has a broken placeholder (${messageOf(error)}). Write placeholders as {{name}}, and close every section {{#name}} with {{/name}}.`,
      path,
    );
  }
}

function model(checks: Checks, value: string, path: ProblemPath): string | undefined {
  if ((MODELS as readonly string[]).includes(value)) return value;
  return checks.add(
    'INVALID_INPUT',
    `\`model\` must be one of ${MODELS.join(', ')}; it is ${JSON.stringify(value.slice(0, 60))}.`,
    path,
    { details: { models: [...MODELS] } },
  );
}

function ids(
  checks: Checks,
  values: readonly string[],
  path: ProblemPath,
  { prefix, type, max }: { prefix: string; type: string; max: number },
): string[] | undefined {
  if (values.length > max) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `\`${path.join('.')}\` may have at most ${max} ${max === 1 ? 'entry' : 'entries'}; it has ${values.length}.`,
      path,
    );
  }
  const before = checks.problems.length;
  const uuids: string[] = [];
  for (const [index, value] of values.entries()) {
    const uuid = checks.id(prefix, type, value, [...path, index]);
    if (uuid === undefined) continue;
    if (uuids.includes(uuid)) {
      checks.add('INVALID_INPUT', `\`${[...path, index].join('.')}\` is listed twice.`, [
        ...path,
        index,
      ]);
    }
    uuids.push(uuid);
  }
  return checks.problems.length > before ? undefined : uuids;
}

function languageHint(checks: Checks, value: string, path: ProblemPath): string | undefined {
  if (value.length <= LIMITS.languageHint && isLanguageTag(value)) return value;
  return checks.add(
    'INVALID_INPUT',
    `\`languageHint\` must be a BCP 47 language tag of at most ${LIMITS.languageHint} characters, such as "en-US"; it is ${JSON.stringify(value.slice(0, 60))}.`,
    path,
  );
}

function isLanguageTag(value: string): boolean {
  try {
    return Intl.getCanonicalLocales(value).length === 1;
  } catch {
    return false;
  }
}

function greetingSettings(
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
    text(checks, spoken, [...path, 'text'], { min: 1, max: LIMITS.spokenText });
  }
  if (firstSpeaker === 'USER') {
    if (spoken !== null && (input.delay ?? null) === null) {
      checks.add(
        'REQUIRED',
        'Give `delay` with `text` when the user speaks first: the agent says the text once the user has been silent for that long.',
        [...path, 'delay'],
      );
    }
    if (uninterruptible) {
      checks.add(
        'INVALID_INPUT',
        '`uninterruptible` is possible only when the agent speaks first.',
        [...path, 'uninterruptible'],
      );
    }
  }
  if (checks.problems.length > before) return undefined;
  return { firstSpeaker, text: spoken?.toWellFormed() ?? null, delay, uninterruptible };
}

function inactivityMessages(
  checks: Checks,
  inputs: readonly InactivityMessageInput[],
  path: ProblemPath,
): InactivityMessage[] | undefined {
  if (inputs.length > LIMITS.inactivityMessages) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `\`inactivityMessages\` may have at most ${LIMITS.inactivityMessages} entries; it has ${inputs.length}.`,
      path,
    );
  }
  const before = checks.problems.length;
  const messages = inputs.map((input, index): InactivityMessage => {
    const here = [...path, index];
    const limits = { min: 1, max: LIMITS.spokenText };
    return {
      duration:
        checks.duration(input.duration, [...here, 'duration'], { min: 1, max: 3_600 }) ?? '',
      message: template(checks, input.message, [...here, 'message'], limits) ?? '',
      endBehavior: input.endBehavior ?? 'UNSPECIFIED',
    };
  });
  return checks.problems.length > before ? undefined : messages;
}

function vadSettings(
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

function builtInConfig(
  checks: Checks,
  input: BuiltInConfigInput,
  path: ProblemPath,
): BuiltInConfig | undefined {
  const before = checks.problems.length;
  const transfer = input.transfer
    ? transferConfig(checks, input.transfer, [...path, 'transfer'])
    : null;
  if (checks.problems.length > before) return undefined;
  return {
    transfer: transfer ?? null,
    hangUp: input.hangUp ?? false,
    leaveVoicemail: input.leaveVoicemail ?? false,
  };
}

const SIP_URI = /^sips?:[^@\s<>]+@[^@\s<>]+$/i;

/** Ultravox refuses a transfer tool without a target, and a warm one to anything but SIP. */
function transferConfig(
  checks: Checks,
  input: TransferConfigInput,
  path: ProblemPath,
): TransferConfig | undefined {
  const cold = input.cold ?? false;
  const warm = input.warm ?? false;
  const target = input.target ?? null;
  const here = [...path, 'target'];
  if (target === null) {
    if (!cold && !warm) return { cold, warm, target };
    return checks.add(
      'REQUIRED',
      'Give `target`, where callers are transferred to: a SIP URI such as "sip:desk@example.com", or for cold transfers only a phone number such as "+14155550123".',
      here,
    );
  }
  if (SIP_URI.test(target)) {
    return text(checks, target, here, { max: 500 }) === undefined
      ? undefined
      : { cold, warm, target: target.toWellFormed() };
  }
  if (warm) {
    return checks.add(
      'INVALID_INPUT',
      'A warm transfer needs a SIP URI such as "sip:desk@example.com" as its `target`.',
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
  return checks.phoneNumber(target, here) === undefined ? undefined : { cold, warm, target };
}

function extractionSchema(
  checks: Checks,
  value: Record<string, unknown>,
  path: ProblemPath,
): Record<string, unknown> | undefined {
  const refuse = (why: string) => checks.add('INVALID_INPUT', `\`extractionSchema\` ${why}`, path);
  try {
    if (Buffer.byteLength(JSON.stringify(value)) > LIMITS.extractionSchemaBytes) {
      return refuse(`must have at most ${LIMITS.extractionSchemaBytes} bytes as JSON.`);
    }
    if (!isStorable(value)) {
      return refuse('must not contain null characters or broken Unicode.');
    }
  } catch {
    return refuse('is nested too deeply.');
  }
  if (value.type !== 'object') {
    return refuse('must be a JSON Schema whose `type` is "object".');
  }
  try {
    compileExtractionSchema(value);
    return value;
  } catch (error) {
    return refuse(`is not a valid JSON Schema: ${messageOf(error)}.`);
  }
}

/** PostgreSQL's JSON has no null characters and no halves of surrogate pairs. */
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\u0000');
  if (Array.isArray(value)) return value.every(isStorable);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, item]) => isStorable(key) && isStorable(item));
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 300);
}
