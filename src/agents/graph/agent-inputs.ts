/** Enums and input types of an agent. */
import { builder } from '../../graphql/builder.ts';
import type { InputBuilder } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { DEFAULT_MODEL, DEFAULT_TEMPERATURE, LIMITS, MODELS } from '../limits.ts';

export const FirstSpeakerEnum = builder.enumType('FirstSpeaker', {
  description: 'Party that speaks first in a call.',
  values: {
    AGENT: { description: 'The agent greets the user.' },
    USER: { description: 'The agent waits for the user to speak. Common for outbound calls.' },
  } as const,
});

export const InactivityEndBehaviorEnum = builder.enumType('InactivityEndBehavior', {
  description: 'Action after an inactivity message.',
  values: {
    UNSPECIFIED: { description: 'The call continues.' },
    HANG_UP_SOFT: { description: 'The call ends unless the user speaks during the message.' },
    HANG_UP_STRICT: { description: 'The call ends even if the user speaks during the message.' },
    HANG_UP: { description: 'Input only: stored and returned as HANG_UP_SOFT.' },
  } as const,
});

const GreetingSettingsInput = builder.inputType('GreetingSettingsInput', {
  description: 'Settings for the beginning of a call.',
  fields: (t) => ({
    firstSpeaker: t.field({
      type: FirstSpeakerEnum,
      description: 'Party that speaks first. Default: AGENT.',
    }),
    text: t.string({
      description: `Exact words of the greeting, 1 to ${formatNumber(LIMITS.spokenText)} characters. {{placeholders}} are replaced by the variables of the call, and are empty on inbound calls. Default: the agent chooses its own words. With USER, it is spoken only after the user has been silent for \`delay\`, which is then required.`,
    }),
    delay: t.field({
      type: 'Duration',
      description:
        'Pause before the greeting. With USER, the silence after which the agent speaks first. `0s` to `600s`.',
    }),
    uninterruptible: t.boolean({
      description:
        'Whether the greeting continues when the user speaks. Allowed only with AGENT. Default: false.',
    }),
  }),
});

const InactivityMessageInput = builder.inputType('InactivityMessageInput', {
  description: 'Message that the agent speaks when the user has been silent for some time.',
  fields: (t) => ({
    duration: t.field({
      type: 'Duration',
      required: true,
      description:
        'Silence before the message, counted from the previous message in the list. `1s` to `3600s`.',
    }),
    message: t.string({
      required: true,
      description: `Text to speak, 1 to ${formatNumber(LIMITS.spokenText)} characters. {{placeholders}} are replaced by the variables of the call.`,
    }),
    endBehavior: t.field({
      type: InactivityEndBehaviorEnum,
      description: 'Action after the message. Default: UNSPECIFIED.',
    }),
  }),
});

const VadSettingsInput = builder.inputType('VadSettingsInput', {
  description:
    'Settings for voice activity detection, which decides when the user begins and stops speaking. Omitted fields use the defaults of Ultravox.',
  fields: (t) => ({
    turnEndpointDelay: t.field({
      type: 'Duration',
      description:
        'Silence that ends the turn of the user, in steps of 32 ms. `0s` to `60s`. Default: `0.384s`.',
    }),
    minimumTurnDuration: t.field({
      type: 'Duration',
      description:
        'Minimum duration of speech that counts as a turn. `0s` to `60s`. Default: `0s`.',
    }),
    minimumInterruptionDuration: t.field({
      type: 'Duration',
      description:
        'Minimum duration of speech that interrupts the agent. It has no effect below `minimumTurnDuration`. `0s` to `60s`. Default: `0.09s`.',
    }),
    frameActivationThreshold: t.float({
      description:
        'Probability from which audio counts as speech, 0.1 to 1. Higher values ignore more noise but may miss quiet voices. Default: 0.1.',
    }),
  }),
});

const TransferConfigInput = builder.inputType('TransferConfigInput', {
  description: 'Settings for transferring calls to another party.',
  fields: (t) => ({
    cold: t.boolean({
      description:
        'Whether the agent can transfer a call and leave it. Works on SIP and Twilio calls. Default: false.',
    }),
    warm: t.boolean({
      description:
        'Whether the agent can call the target first, brief it, and then connect the two. Works on SIP calls. Default: false.',
    }),
    target: t.string({
      description:
        'Transfer target: a SIP URI such as `sip:desk@example.com`, or, if `warm` is false, a phone number in E.164 format, without placeholders. Required if `cold` or `warm` is true.',
    }),
  }),
});

const BuiltInConfigInput = builder.inputType('BuiltInConfigInput', {
  description: 'Built-in tools of Ultravox that the agent can use.',
  fields: (t) => ({
    transfer: t.field({ type: TransferConfigInput, description: 'Call transfers. Default: none.' }),
    hangUp: t.boolean({
      description: 'Whether the agent can end a call (tool `hangUp`). Default: false.',
    }),
    leaveVoicemail: t.boolean({
      description:
        'Whether the agent can leave a message on an answering machine and end the call (tool `leaveVoicemail`). Default: false.',
    }),
  }),
});

/** The optional input fields of an agent. */
export function optionalInputFields(t: InputBuilder) {
  return {
    description: t.string({
      description: `Internal note, at most ${formatNumber(LIMITS.description)} characters. It is not used in calls. Default: none.`,
    }),
    model: t.string({
      description: `Language model of Ultravox: ${MODELS.map((name) => `\`${name}\``).join(', ')}, or one that it has added since. Default: \`${DEFAULT_MODEL}\`.`,
    }),
    toolIds: t.idList({
      maxItems: LIMITS.tools,
      description: `IDs of the tools that the agent can use (\`tol_…\`), at most ${LIMITS.tools}, without duplicates. No two tools may have the same \`modelToolName\`. Default: none.`,
    }),
    knowledgeBaseIds: t.idList({
      maxItems: LIMITS.knowledgeBases,
      description:
        'ID of the knowledge base that the agent searches (`knb_…`). At most one. Default: none.',
    }),
    temperature: t.float({
      description: `Sampling temperature of the model, 0 to 1. Lower values make responses more predictable. Default: ${DEFAULT_TEMPERATURE}.`,
    }),
    recordingEnabled: t.boolean({
      description:
        'Whether Ultravox records the calls of the agent. A call can override it. Default: false.',
    }),
    languageHint: t.field({
      type: 'LanguageTag',
      description: `Language that the agent expects and speaks, as a BCP 47 tag of at most ${LIMITS.languageHint} characters. Improves speech recognition. Default: none.`,
    }),
    joinTimeout: t.field({
      type: 'Duration',
      description:
        'Time that a call waits to be answered, `1s` to `3600s`. Default: `30s`, set by Ultravox.',
    }),
    maxDuration: t.field({
      type: 'Duration',
      description:
        'Maximum duration of a call, `1s` to `86400s`. Longer calls are ended. Default: `3600s`, set by Ultravox.',
    }),
    timeExceededMessage: t.string({
      description: `Message that the agent speaks right before \`maxDuration\` ends the call, 1 to ${formatNumber(LIMITS.spokenText)} characters. {{placeholders}} are replaced by the variables of the call. Default: none.`,
    }),
    greetingSettings: t.field({
      type: GreetingSettingsInput,
      description:
        'Settings for the beginning of a call. Default: the agent speaks first, in its own words.',
    }),
    inactivityMessages: t.field({
      type: [InactivityMessageInput],
      maxItems: LIMITS.inactivityMessages,
      description: `Messages that the agent speaks when the user stays silent, in order. At most ${LIMITS.inactivityMessages}. Default: none.`,
    }),
    vadSettings: t.field({
      type: VadSettingsInput,
      description: 'Voice activity detection. Default: the defaults of Ultravox.',
    }),
    builtInConfig: t.field({
      type: BuiltInConfigInput,
      description:
        'Built-in tools of Ultravox: hanging up, voicemail and transfers. Default: none.',
    }),
    successCriteria: t.string({
      description: `Criteria of a successful call in natural language, 1 to ${formatNumber(LIMITS.successCriteria)} characters. A language model judges each answered call by them; see \`Call.outcome\`. Default: none; calls have no outcome.`,
    }),
    extractionSchema: t.field({
      type: 'JSONObject',
      description: `JSON Schema of the data that a language model extracts from each transcript; see \`Call.extractedData\`. Its \`type\` must be "object"; at most ${formatNumber(LIMITS.extractionSchemaBytes)} bytes as JSON, ${formatNumber(LIMITS.extractionSchemaObjects)} objects and lists, 200 references and 64 levels. Draft 2020-12 unless \`$schema\` names draft-07. The formats date, time, date-time, duration, email, hostname, ipv4, ipv6, uri, uri-reference and uuid are checked; others only inform the language model. Default: none; no data is extracted.`,
    }),
    crmWebhookUrl: t.field({
      type: 'Url',
      description:
        'Public https:// URL of your CRM. The results of each call are sent to it; see `Agent.crmWebhookEndpoint`. Default: none.',
    }),
    crmWebhookSecret: t.string({
      description: `Secret for the CRM webhook, ${LIMITS.crmWebhookSecret.min} to ${LIMITS.crmWebhookSecret.max} characters. Requests to \`crmWebhookUrl\` are signed with it. Stored encrypted and never returned. Default: none; requests are not signed.`,
    }),
  };
}

const NAME = `Display name, 1 to ${LIMITS.name} characters. Not necessarily unique.`;
const VOICE = 'ID of the voice that the agent speaks with (`voc_…`). `voices` lists them.';
const PROMPT = `Instructions for the language model, 1 to ${formatNumber(LIMITS.systemPrompt)} characters. Placeholders such as {{first_name}} are replaced by the variables of a call.`;

export function createInputFields(t: InputBuilder) {
  return {
    name: t.string({ required: true, description: NAME }),
    voiceId: t.id({ required: true, description: VOICE }),
    systemPrompt: t.string({ required: true, description: PROMPT }),
    ...optionalInputFields(t),
  };
}

export function updateInputFields(t: InputBuilder) {
  return {
    name: t.string({ description: `${NAME} Cannot be null.` }),
    voiceId: t.id({ description: `${VOICE} Cannot be null.` }),
    systemPrompt: t.string({ description: `${PROMPT} Cannot be null.` }),
    ...optionalInputFields(t),
  };
}
