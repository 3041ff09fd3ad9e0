/** What may be written into an agent: limits, formats and defaults, without looking anything up. */
import type { ProblemPath } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { mayBePublicHost } from '../infra/addresses.ts';
import type { Checks } from '../infra/checks.ts';
import { jsonSchemaProblem } from '../infra/json-schema.ts';
import { isStorableJson } from '../infra/storable.ts';
import { DEFAULT_MODEL, DEFAULT_TEMPERATURE, LIMITS, MODELS } from './limits.ts';
import type { AgentSettings } from './settings.ts';
import {
  type BuiltInConfigInput,
  builtInConfig,
  type Given,
  type GreetingSettingsInput,
  greetingSettings,
  type InactivityMessageInput,
  inactivityMessages,
  type VadSettingsInput,
  vadSettings,
} from './settings-input.ts';
import { template } from './text.ts';

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

/**
 * Content as it was read. A list has undefined in the place of each entry that was wrong in itself:
 * once no problem was found, none is left.
 */
export interface ReadContent extends Omit<AgentContent, 'toolIds' | 'knowledgeBaseIds'> {
  toolIds: (string | undefined)[];
  knowledgeBaseIds: (string | undefined)[];
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
): Partial<ReadContent> {
  const content: Partial<ReadContent> = {};

  function optional<K extends keyof ReadContent>(
    key: K,
    fallback: ReadContent[K],
    read: Reader<ReadContent[K], NonNullable<AgentInput[K]>>,
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
      checks.text(value, path, { min, max });
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
    checks.ids('tol', 'Tool', value, path, { max: LIMITS.tools }),
  );
  optional('knowledgeBaseIds', [], (value, path) =>
    checks.ids('knb', 'KnowledgeBase', value, path, { max: LIMITS.knowledgeBases }),
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
  optional('crmWebhookUrl', null, (value, path) => webhookUrl(checks, value, path, allowPrivate));
  optional('crmWebhookSecret', null, (value, path) =>
    checks.text(value, path, LIMITS.crmWebhookSecret),
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

function model(checks: Checks, value: string, path: ProblemPath): string | undefined {
  if ((MODELS as readonly string[]).includes(value)) return value;
  return checks.add(
    'INVALID_INPUT',
    `\`model\` must be one of ${MODELS.join(', ')}; it is ${JSON.stringify(value.slice(0, 60))}.`,
    path,
    { details: { models: [...MODELS] } },
  );
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

/** What the name resolves to is checked again whenever something is sent there. */
function webhookUrl(
  checks: Checks,
  value: string,
  path: ProblemPath,
  allowPrivate: boolean,
): string | undefined {
  const url = checks.url(value, path, { allowPrivate });
  if (url === undefined || allowPrivate || mayBePublicHost(new URL(url).hostname)) return url;
  return checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must be an address on the public internet.`,
    path,
  );
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
    if (!isStorableJson(value)) {
      return refuse('must not contain null characters or broken Unicode.');
    }
  } catch {
    return refuse('is nested too deeply.');
  }
  if (value.type !== 'object') {
    return refuse('must be a JSON Schema whose `type` is "object".');
  }
  const problem = jsonSchemaProblem(value);
  return problem === null ? value : refuse(`is not a valid JSON Schema: ${problem.slice(0, 300)}.`);
}
