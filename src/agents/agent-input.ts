/** Validates the input of an agent: limits, formats and defaults. References are checked elsewhere. */
import type { ProblemPath } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { formatNumber } from '../infra/format-number.ts';
import { schemaProblem } from '../infra/json-schema/schema-problem.ts';
import { isAtOrBelow } from '../infra/outgoing/addresses.ts';
import { DEFAULT_MODEL, DEFAULT_TEMPERATURE, LIMITS } from './limits.ts';
import { checkTemplate } from './placeholders.ts';
import type { AgentSettings } from './settings.ts';
import {
  type BuiltInConfigInput,
  checkBuiltInConfig,
  checkGreetingSettings,
  checkInactivityMessages,
  checkVadSettings,
  type GreetingSettingsInput,
  type InactivityMessageInput,
  type Maybe,
  type VadSettingsInput,
} from './settings-input.ts';

export interface AgentInput {
  name?: Maybe<string>;
  voiceId?: Maybe<string>;
  systemPrompt?: Maybe<string>;
  description?: Maybe<string>;
  model?: Maybe<string>;
  toolIds?: Maybe<readonly string[]>;
  knowledgeBaseIds?: Maybe<readonly string[]>;
  temperature?: Maybe<number>;
  recordingEnabled?: Maybe<boolean>;
  languageHint?: Maybe<string>;
  joinTimeout?: Maybe<string>;
  maxDuration?: Maybe<string>;
  timeExceededMessage?: Maybe<string>;
  greetingSettings?: Maybe<GreetingSettingsInput>;
  inactivityMessages?: Maybe<readonly InactivityMessageInput[]>;
  vadSettings?: Maybe<VadSettingsInput>;
  builtInConfig?: Maybe<BuiltInConfigInput>;
  successCriteria?: Maybe<string>;
  extractionSchema?: Maybe<Record<string, unknown>>;
  crmWebhookUrl?: Maybe<string>;
  crmWebhookSecret?: Maybe<string>;
}

/** Content of an agent, with its references as UUIDs and the secret in clear text. */
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

/** Content in which invalid list entries are undefined. If there are no problems, it is an `AgentContent`. */
export interface ReadContent extends Omit<AgentContent, 'toolIds' | 'knowledgeBaseIds'> {
  toolIds: (string | undefined)[];
  knowledgeBaseIds: (string | undefined)[];
}

interface ReadOptions {
  /** Whether to reset fields that were not sent to their defaults. */
  whole: boolean;
  /** Whether to accept any URL for the CRM webhook. */
  allowPrivate: boolean;
  /** URLs accepted for it although they are not public HTTPS, and everything below them. */
  allowedUrls: readonly string[];
  /** Whether to accept premium numbers as transfer targets. */
  allowPremium: boolean;
  /** Accepted language models. */
  models: readonly string[];
}

type ReadValue<Value, Given> = (value: Given, path: ProblemPath) => Value | undefined;

/** Returns the fields set by the input; null means the default. Invalid fields are omitted and reported. */
export function readContent(
  checks: Checks,
  input: AgentInput,
  { whole, allowPrivate, allowedUrls, allowPremium, models }: ReadOptions,
): Partial<ReadContent> {
  const content: Partial<ReadContent> = {};

  function optional<K extends keyof ReadContent>(
    key: K,
    fallback: ReadContent[K],
    read: ReadValue<ReadContent[K], NonNullable<AgentInput[K]>>,
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
    read: ReadValue<string, string>,
  ): void {
    const given = input[key];
    if (given === undefined && !whole) return;
    const value =
      given === undefined || given === null
        ? checks.add('REQUIRED', `\`${key}\` cannot be null.`, [key])
        : read(given, [key]);
    if (value !== undefined) content[key] = value;
  }

  const textOf =
    (max: number, min = 0): ReadValue<string, string> =>
    (value, path) =>
      checks.text(value, path, { min, max });
  const templateOf =
    (max: number, min = 0): ReadValue<string, string> =>
    (value, path) =>
      checkTemplate(checks, value, path, { min, max });

  required('name', textOf(LIMITS.name, 1));
  required('voiceId', (value, path) => checks.id('Voice', value, path));
  required('systemPrompt', templateOf(LIMITS.systemPrompt, 1));
  optional('description', null, textOf(LIMITS.description));
  optional('model', DEFAULT_MODEL, (value, path) => checkModel(checks, value, { path, models }));
  optional('toolIds', [], (value, path) => checks.ids('Tool', value, path));
  optional('knowledgeBaseIds', [], (value, path) => checks.ids('KnowledgeBase', value, path));
  optional('temperature', DEFAULT_TEMPERATURE, (value, path) =>
    checks.number(value, path, { min: 0, max: 1 }),
  );
  optional('recordingEnabled', false, (value) => value);
  optional('languageHint', null, (value, path) => checkLanguageHint(checks, value, path));
  optional('joinTimeout', null, (value, path) =>
    checks.duration(value, path, LIMITS.joinTimeoutSeconds),
  );
  optional('maxDuration', null, (value, path) =>
    checks.duration(value, path, LIMITS.maxDurationSeconds),
  );
  optional('timeExceededMessage', null, templateOf(LIMITS.spokenText, 1));
  optional('greetingSettings', null, (value, path) => checkGreetingSettings(checks, value, path));
  optional('inactivityMessages', [], (value, path) => checkInactivityMessages(checks, value, path));
  optional('vadSettings', null, (value, path) => checkVadSettings(checks, value, path));
  optional('builtInConfig', null, (value, path) =>
    checkBuiltInConfig(checks, value, path, { allowPremium }),
  );
  optional('successCriteria', null, textOf(LIMITS.successCriteria, 1));
  optional('extractionSchema', null, (value, path) => checkExtractionSchema(checks, value, path));
  optional('crmWebhookUrl', null, (value, path) =>
    checks.url(value, path, { allowPrivate: allowPrivate || isAtOrBelow(allowedUrls, value) }),
  );
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

/** Returns the columns of the row, without the secret. References in lists are stored in other tables. */
export function toColumns(content: AgentContent): Columns;
export function toColumns(content: Partial<AgentContent>): Partial<Columns>;
export function toColumns(content: Partial<AgentContent>): Partial<Columns> {
  const { toolIds, knowledgeBaseIds, crmWebhookSecret, ...columns } = content;
  const { greetingSettings, vadSettings, builtInConfig, extractionSchema, ...plain } = columns;
  return {
    ...plain,
    ...(greetingSettings === undefined ? {} : { greetingSettings: jsonColumn(greetingSettings) }),
    ...(vadSettings === undefined ? {} : { vadSettings: jsonColumn(vadSettings) }),
    ...(builtInConfig === undefined ? {} : { builtInConfig: jsonColumn(builtInConfig) }),
    ...(extractionSchema === undefined ? {} : { extractionSchema: jsonColumn(extractionSchema) }),
  };
}

function jsonColumn(value: object | null): JsonColumn {
  return value === null ? Prisma.DbNull : (value as Prisma.InputJsonValue);
}

function checkModel(
  checks: Checks,
  value: string,
  { path, models }: { path: ProblemPath; models: readonly string[] },
): string | undefined {
  if (models.includes(value)) return value;
  return checks.add(
    'INVALID_INPUT',
    `\`model\` must be one of ${models.join(', ')}; it is ${JSON.stringify(value.slice(0, 60))}.`,
    path,
    { details: { models: [...models] } },
  );
}

function checkLanguageHint(checks: Checks, value: string, path: ProblemPath): string | undefined {
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

function checkExtractionSchema(
  checks: Checks,
  value: Record<string, unknown>,
  path: ProblemPath,
): Record<string, unknown> | undefined {
  const refuse = (why: string) => checks.add('INVALID_INPUT', `\`extractionSchema\` ${why}`, path);
  try {
    if (Buffer.byteLength(JSON.stringify(value)) > LIMITS.extractionSchemaBytes) {
      return refuse(
        `must have at most ${formatNumber(LIMITS.extractionSchemaBytes)} bytes as JSON.`,
      );
    }
  } catch {
    return refuse('is nested too deeply.');
  }
  if (value.type !== 'object') {
    return refuse('must be a JSON Schema whose `type` is "object".');
  }
  const problem = schemaProblem(value, { maxObjects: LIMITS.extractionSchemaObjects });
  return problem === null ? value : refuse(`is not a valid JSON Schema: ${problem.slice(0, 300)}.`);
}
