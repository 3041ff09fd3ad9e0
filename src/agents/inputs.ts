/** What clients write into an agent, as GraphQL inputs. */
import type { InputFieldBuilder } from '@pothos/core';
import { builder } from '../graphql/builder.ts';
import { DEFAULT_MODEL, DEFAULT_TEMPERATURE, LIMITS, MODELS } from './limits.ts';

type Types = (typeof builder)['$inferSchemaTypes'];

export const FirstSpeakerEnum = builder.enumType('FirstSpeaker', {
  description: 'Who says the first words of a call.',
  values: {
    AGENT: { description: 'The agent greets. The default.' },
    USER: { description: 'The agent waits for the person. Usual for calls to a phone.' },
  } as const,
});

export const InactivityEndBehaviorEnum = builder.enumType('InactivityEndBehavior', {
  description: 'What follows once an inactivity message has been spoken.',
  values: {
    UNSPECIFIED: { description: 'The call goes on.' },
    HANG_UP_SOFT: { description: 'The call ends, unless the person reacts during the message.' },
    HANG_UP_STRICT: { description: 'The call ends in any case.' },
  } as const,
});

const GreetingSettingsInput = builder.inputType('GreetingSettingsInput', {
  description: 'How a call begins.',
  fields: (t) => ({
    firstSpeaker: t.field({ type: FirstSpeakerEnum, description: 'Default AGENT.' }),
    text: t.string({
      description:
        'What the agent says first, word for word: placeholders are not filled in here. Absent: it finds its own words from the system prompt. With USER it is said once the person has been silent for `delay`.',
    }),
    delay: t.field({
      type: 'Duration',
      description:
        'With AGENT: how long it waits before it greets. With USER: how long a silence makes the agent begin after all. Up to 600s.',
    }),
    uninterruptible: t.boolean({
      description:
        'Whether the greeting goes on when the person speaks. AGENT only. Default false.',
    }),
  }),
});

const InactivityMessageInput = builder.inputType('InactivityMessageInput', {
  description: 'Something said when the person has been silent for a while.',
  fields: (t) => ({
    duration: t.field({
      type: 'Duration',
      required: true,
      description:
        'How much silence comes before it: `1s` to `3600s`, counted from the message before it in the list.',
    }),
    message: t.string({
      required: true,
      description: `What is said; 1 to ${LIMITS.spokenText} characters. {{placeholders}} are filled in.`,
    }),
    endBehavior: t.field({ type: InactivityEndBehaviorEnum, description: 'Default UNSPECIFIED.' }),
  }),
});

const VadSettingsInput = builder.inputType('VadSettingsInput', {
  description:
    'Fine tuning of when speech is taken to begin and end. What is absent is left to Ultravox.',
  fields: (t) => ({
    turnEndpointDelay: t.field({
      type: 'Duration',
      description:
        'How long a pause ends the turn of the person, in steps of 32 ms. Up to 60s; Ultravox takes 0.384s.',
    }),
    minimumTurnDuration: t.field({
      type: 'Duration',
      description: 'Speech shorter than this is no turn. Up to 60s; Ultravox takes 0s.',
    }),
    minimumInterruptionDuration: t.field({
      type: 'Duration',
      description:
        'Speech shorter than this does not interrupt the agent; no effect below `minimumTurnDuration`. Up to 60s; Ultravox takes 0.09s.',
    }),
    frameActivationThreshold: t.float({
      description:
        'How sure it must be that sound is speech, 0.1 to 1. Higher hears less noise and misses quiet voices. Ultravox takes 0.1.',
    }),
  }),
});

const TransferConfigInput = builder.inputType('TransferConfigInput', {
  description: 'Whether and to where the agent may hand over callers.',
  fields: (t) => ({
    cold: t.boolean({
      description: 'Hand over and leave the call. On SIP and Twilio calls. Default false.',
    }),
    warm: t.boolean({
      description:
        'Call the target, tell it about the caller, then connect the two. On SIP calls. Default false.',
    }),
    target: t.string({
      description:
        'Where to: a SIP URI such as `sip:desk@example.com`, or for cold transfers alone a phone number in E.164 form. Needed as soon as one of the two is on.',
    }),
  }),
});

const BuiltInConfigInput = builder.inputType('BuiltInConfigInput', {
  description: "Ultravox's own tools that the agent may use.",
  fields: (t) => ({
    transfer: t.field({ type: TransferConfigInput, description: 'Handing over callers.' }),
    hangUp: t.boolean({
      description: 'Lets the agent end the call (tool `hangUp`). Default false.',
    }),
    leaveVoicemail: t.boolean({
      description:
        'Lets the agent recognise an answering machine, leave a message and end the call (tool `leaveVoicemail`). Default false.',
    }),
  }),
});

/** All that an agent may have beside what it must have. */
export function optionalInputFields(t: InputFieldBuilder<Types, 'InputObject'>) {
  return {
    description: t.string({
      description: `A note for yourselves, never used in a call; at most ${LIMITS.description} characters.`,
    }),
    model: t.string({
      description: `One of ${MODELS.map((name) => `\`${name}\``).join(', ')}. Default \`${DEFAULT_MODEL}\`.`,
    }),
    toolIds: t.idList({
      description: `Tools it may use, \`tol_…\`, at most ${LIMITS.tools}; the list is replaced as a whole. No two may have the same model-facing name.`,
    }),
    knowledgeBaseIds: t.idList({
      description: 'Knowledge bases it looks things up in, `knb_…`; at most one.',
    }),
    temperature: t.float({
      description: `0 to 1; lower answers are more alike. Default ${DEFAULT_TEMPERATURE}.`,
    }),
    recordingEnabled: t.boolean({
      description: 'Whether its calls are recorded unless a call says otherwise. Default false.',
    }),
    languageHint: t.field({
      type: 'LanguageTag',
      description: 'The language to expect and to speak; helps recognition.',
    }),
    joinTimeout: t.field({
      type: 'Duration',
      description: 'How long a call waits to be answered: `1s` to `3600s`. Ultravox takes 30s.',
    }),
    maxDuration: t.field({
      type: 'Duration',
      description:
        'How long a call may last: `1s` to `86400s`. Ultravox takes 3600s, and ends the call then.',
    }),
    timeExceededMessage: t.string({
      description: `Said right before \`maxDuration\` ends the call; at most ${LIMITS.spokenText} characters. {{placeholders}} are filled in.`,
    }),
    greetingSettings: t.field({
      type: GreetingSettingsInput,
      description:
        'How calls begin. Replaced as a whole. Absent: the agent greets in its own words.',
    }),
    inactivityMessages: t.field({
      type: [InactivityMessageInput],
      description: `What is said into silence, one after the other; at most ${LIMITS.inactivityMessages}. Replaced as a whole.`,
    }),
    vadSettings: t.field({
      type: VadSettingsInput,
      description: 'Fine tuning of turn taking. Replaced as a whole.',
    }),
    builtInConfig: t.field({
      type: BuiltInConfigInput,
      description: 'Hanging up, voicemail and transfers. Replaced as a whole.',
    }),
    successCriteria: t.string({
      description: `In your words, what makes a call a success; judged after each call. At most ${LIMITS.successCriteria} characters.`,
    }),
    extractionSchema: t.field({
      type: 'JSONObject',
      description:
        'A JSON Schema with `"type": "object"` (2020-12, or draft-07 if `$schema` says so): what is taken out of the transcript after each call.',
    }),
    crmWebhookUrl: t.field({
      type: 'Url',
      description: 'A public https address that gets a POST with the results after each call.',
    }),
    crmWebhookSecret: t.string({
      description: `Signs those POSTs (HMAC); ${LIMITS.crmWebhookSecret.min} to ${LIMITS.crmWebhookSecret.max} characters. Kept encrypted, never shown again.`,
    }),
  };
}

const NAME = `For people; 1 to ${LIMITS.name} characters. Need not be unique.`;
const VOICE = 'What it speaks with, `voc_…`; see `voices`.';
const PROMPT = `Who it is and what it does; 1 to ${LIMITS.systemPrompt} characters. Placeholders such as {{first_name}} are filled in from the variables of a call.`;

export function createInputFields(t: InputFieldBuilder<Types, 'InputObject'>) {
  return {
    name: t.string({ required: true, description: NAME }),
    voiceId: t.id({ required: true, description: VOICE }),
    systemPrompt: t.string({ required: true, description: PROMPT }),
    ...optionalInputFields(t),
  };
}

export function updateInputFields(t: InputFieldBuilder<Types, 'InputObject'>) {
  return {
    name: t.string({ description: NAME }),
    voiceId: t.id({ description: VOICE }),
    systemPrompt: t.string({ description: PROMPT }),
    ...optionalInputFields(t),
  };
}
