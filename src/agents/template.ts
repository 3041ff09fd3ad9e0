/** What an agent is at Ultravox: the complete call template, since a change there replaces it. */
import type { Agent } from '../generated/prisma/client.ts';
import type {
  CallTemplate,
  FirstSpeakerSettings,
  SelectedTool,
  VadSettings as WireVadSettings,
} from '../ultravox/wire.ts';
import {
  type BuiltInConfig,
  type GreetingSettings,
  settingsOf,
  type VadSettings,
} from './settings.ts';

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

/** What the agent refers to, by the ids it has at Ultravox. */
export interface TemplateReferences {
  voiceId: string;
  tools: readonly SelectedTool[];
  corpusIds: readonly string[];
}

const MAX_NAME = 64;

/** Names at Ultravox end with our id, which is how a copy is found again. */
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
 * Without a schema of ours Ultravox derives one from the placeholders, which may make each of them
 * required: a person who calls in brings none, and would be turned away.
 */
const ANY_VARIABLES = { type: 'object', additionalProperties: true };

/** Members without a value are left out, and Ultravox then uses its own defaults. */
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
        toolName: 'queryCorpus',
        parameterOverrides: { corpus_id: corpusId },
      })),
      ...builtInTools(builtInConfig),
    ],
  });
}

/**
 * The names by which the model calls the tools that an agent has without custom ones. A call must
 * not have two tools of one name.
 */
export function builtInToolNames(config: BuiltInConfig | null, hasKnowledge: boolean): string[] {
  return [
    ...(hasKnowledge ? ['queryCorpus'] : []),
    ...builtInTools(config).map(({ toolName }) => toolName),
  ];
}

function builtInTools(config: BuiltInConfig | null): (SelectedTool & { toolName: string })[] {
  if (!config) return [];
  const { transfer } = config;
  const target = { parameterOverrides: { target: transfer?.target } };
  return [
    ...(config.hangUp ? [{ toolName: 'hangUp' }] : []),
    ...(config.leaveVoicemail ? [{ toolName: 'leaveVoicemail' }] : []),
    ...(transfer?.cold ? [{ toolName: 'coldTransfer', ...target }] : []),
    ...(transfer?.warm ? [{ toolName: 'warmTransfer', ...target }] : []),
  ];
}

/** How long the user may stay silent where nothing else is said, before the agent begins itself. */
const DEFAULT_FALLBACK_DELAY = '3s';

/** Who begins, and with what. What is not given is as for an agent without greeting settings. */
export function firstSpeakerSettings(greeting: Partial<GreetingSettings>): FirstSpeakerSettings {
  const { firstSpeaker = 'AGENT', text = null, delay = null, uninterruptible = false } = greeting;
  if (firstSpeaker === 'AGENT') return { agent: withoutNulls({ text, delay, uninterruptible }) };
  if (text === null && delay === null) return { user: {} };
  return { user: { fallback: withoutNulls({ delay: delay ?? DEFAULT_FALLBACK_DELAY, text }) } };
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
