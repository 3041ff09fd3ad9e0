/** Builds the call template of an agent. It is always complete, because an update replaces all of it. */
import type { Agent } from '../generated/prisma/client.ts';
import { builtInTools, QUERY_TOOL } from '../tools/built-in-tools.ts';
import type {
  CallTemplate,
  FirstSpeakerSettings,
  SelectedTool,
  VadSettings as WireVadSettings,
} from '../ultravox/wire.ts';
import { LIMITS } from './limits.ts';
import { fillPlaceholders } from './placeholders.ts';
import { type GreetingSettings, settingsOf, type VadSettings } from './settings.ts';

export type TemplateAgent = Pick<
  Agent,
  | 'systemPrompt'
  | 'model'
  | 'temperature'
  | 'recordingEnabled'
  | 'languageHint'
  | 'joinTimeout'
  | 'maxDuration'
  | 'timeExceededMessage'
  | 'greetingSettings'
  | 'inactivityMessages'
  | 'vadSettings'
  | 'builtInConfig'
>;

/** References of the agent, as remote IDs. */
export interface TemplateReferences {
  voiceId: string;
  tools: readonly SelectedTool[];
  corpusIds: readonly string[];
}

const MAX_NAME = 64;

/** Returns the name at Ultravox. It ends with our ID, by which the remote agent is found. */
export function remoteName(name: string, publicAgentId: string): string {
  const slug = name
    .normalize('NFKD')
    .replaceAll(/\p{Mark}/gu, '')
    .replaceAll(/[^a-zA-Z0-9]+/g, '-')
    .slice(0, MAX_NAME - 1 - publicAgentId.length)
    .replaceAll(/^-|-$/g, '');
  return `${slug || 'agent'}_${publicAgentId}`;
}

/**
 * Without a schema, Ultravox derives one from the placeholders and may require each of them. It would then refuse
 * inbound calls, which have no variables.
 */
const ANY_VARIABLES = { type: 'object', additionalProperties: true };

/** Builds the call template. Fields without a value are omitted, so that Ultravox uses its defaults. */
export function callTemplate(agent: TemplateAgent, references: TemplateReferences): CallTemplate {
  const { greetingSettings, inactivityMessages, vadSettings, builtInConfig } = settingsOf(agent);
  return withoutNulls({
    systemPrompt: agent.systemPrompt,
    contextSchema: ANY_VARIABLES,
    model: agent.model,
    temperature: agent.temperature,
    voice: references.voiceId,
    recordingEnabled: agent.recordingEnabled,
    languageHint: agent.languageHint,
    joinTimeout: agent.joinTimeout,
    maxDuration: agent.maxDuration,
    timeExceededMessage: agent.timeExceededMessage,
    firstSpeakerSettings: greetingSettings && firstSpeakerSettings(greetingSettings),
    inactivityMessages: inactivityMessages.map(({ duration, message, endBehavior }) => ({
      duration,
      message,
      endBehavior: `END_BEHAVIOR_${endBehavior}`,
    })),
    vadSettings: vadSettings && withoutNulls<WireVadSettings>(vadMembers(vadSettings)),
    selectedTools: [
      ...references.tools,
      ...references.corpusIds.map((corpusId) => ({
        toolName: QUERY_TOOL,
        parameterOverrides: { corpus_id: corpusId },
      })),
      ...builtInTools(builtInConfig),
    ],
  });
}

/** Silence after which the agent speaks first if the greeting has a text but no delay. */
const DEFAULT_FALLBACK_DELAY = '3s';

/**
 * Builds the first speaker settings. Missing fields get the defaults of an agent without greeting settings. Ultravox
 * speaks the text as it is, so its placeholders are replaced here: for calls by their variables, and in the template,
 * which inbound calls use, by nothing.
 */
export function firstSpeakerSettings(
  greeting: Partial<GreetingSettings>,
  variables: Readonly<Record<string, string>> = {},
): FirstSpeakerSettings {
  const { firstSpeaker = 'AGENT', delay = null, uninterruptible = false } = greeting;
  const spoken = spokenText(greeting.text ?? '', variables);
  const text = spoken.trim() === '' ? null : spoken;
  if (firstSpeaker === 'AGENT') return { agent: withoutNulls({ text, delay, uninterruptible }) };
  if (text === null && delay === null) return { user: {} };
  return { user: { fallback: withoutNulls({ delay: delay ?? DEFAULT_FALLBACK_DELAY, text }) } };
}

/** Fills the placeholders of a text. It is cut, by characters as in its validation, only if that made it too long. */
function spokenText(text: string, variables: Readonly<Record<string, string>>): string {
  const filled = fillPlaceholders(text, variables);
  if (filled === text) return text;
  // A character has at most two UTF-16 units.
  return [...filled.slice(0, LIMITS.spokenText * 2)]
    .slice(0, LIMITS.spokenText)
    .join('')
    .toWellFormed();
}

function vadMembers(settings: VadSettings): VadSettings {
  const { turnEndpointDelay, minimumTurnDuration, minimumInterruptionDuration } = settings;
  return {
    turnEndpointDelay,
    minimumTurnDuration,
    minimumInterruptionDuration,
    frameActivationThreshold: settings.frameActivationThreshold,
  };
}

function withoutNulls<Wire extends object>(
  members: {
    [K in keyof Wire]: Wire[K] | null;
  },
): Wire {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== null && value !== undefined),
  ) as Wire;
}
