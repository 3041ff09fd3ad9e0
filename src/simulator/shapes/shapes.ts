/** Shapes of the request bodies for agents, calls and tools. */
import type { Shape } from './shape.ts';
import {
  anyObject,
  between,
  boolean,
  duration,
  number,
  object,
  oneOf,
  text,
  textMap,
  texts,
  wait,
} from './shape-parts.ts';
import { selectedTool } from './tool-shapes.ts';
import { externalVoice } from './voice-shapes.ts';

const dataMessages = object(
  Object.fromEntries(
    [
      'pong',
      'state',
      'transcript',
      'clientToolInvocation',
      'dataConnectionToolInvocation',
      'playbackClearBuffer',
      'callStarted',
      'debug',
      'callEvent',
      'toolUsed',
      'invokingTool',
      'userStartedSpeaking',
      'userStoppedSpeaking',
    ].map((name) => [name, boolean]),
  ),
);

const dtmfHandling: Shape = {
  kind: 'object',
  atMostOne: ['ignore', 'userTextMessage'],
  fields: {
    ignore: boolean,
    userTextMessage: object({
      text,
      urgency: oneOf('URGENCY_UNSPECIFIED', 'URGENCY_IMMEDIATE', 'URGENCY_SOON', 'URGENCY_LATER'),
    }),
  },
};

const provider = object({
  outgoing: object({ to: text, from: text, additionalParams: anyObject }, ['to', 'from']),
  dtmfHandling,
});

export const MEDIA = [
  'webRtc',
  'twilio',
  'telnyx',
  'plivo',
  'exotel',
  'serverWebSocket',
  'sip',
] as const;

const medium: Shape = {
  kind: 'object',
  atMostOne: MEDIA,
  fields: {
    webRtc: object({ dataMessages }),
    twilio: provider,
    telnyx: provider,
    plivo: provider,
    exotel: object({ dtmfHandling }),
    serverWebSocket: object(
      {
        inputSampleRate: number,
        outputSampleRate: number,
        clientBufferSizeMs: number,
        dataMessages,
        mediaIdleTimeout: duration,
      },
      ['inputSampleRate'],
    ),
    sip: {
      kind: 'object',
      exactlyOne: ['incoming', 'outgoing'],
      fields: {
        incoming: object({}),
        outgoing: object({ to: text, from: text, username: text, password: text }, ['to', 'from']),
      },
    },
  },
};

const firstSpeakerSettings: Shape = {
  kind: 'object',
  exactlyOne: ['agent', 'user'],
  fields: {
    agent: object({ uninterruptible: boolean, text, prompt: text, delay: duration }),
    user: object({ fallback: object({ delay: duration, text, prompt: text }) }),
  },
};

const outputMedium = oneOf(
  'MESSAGE_MEDIUM_UNSPECIFIED',
  'MESSAGE_MEDIUM_VOICE',
  'MESSAGE_MEDIUM_TEXT',
);

const retentionPolicy = oneOf(
  'CALL_RETENTION_POLICY_UNSPECIFIED',
  'CALL_RETENTION_POLICY_RETAIN',
  'CALL_RETENTION_POLICY_AUTO_DELETE',
);

const dataConnection = object(
  {
    websocketUrl: text,
    audioConfig: object({
      sampleRate: number,
      channelMode: oneOf(
        'CHANNEL_MODE_UNSPECIFIED',
        'CHANNEL_MODE_MIXED',
        'CHANNEL_MODE_SEPARATED',
      ),
    }),
    dataMessages,
    headers: textMap,
  },
  ['websocketUrl'],
);

const message = object({
  role: oneOf(
    'MESSAGE_ROLE_UNSPECIFIED',
    'MESSAGE_ROLE_USER',
    'MESSAGE_ROLE_AGENT',
    'MESSAGE_ROLE_TOOL_CALL',
    'MESSAGE_ROLE_TOOL_RESULT',
  ),
  text,
  invocationId: text,
  toolName: text,
  errorDetails: text,
  medium: outputMedium,
  callStageMessageIndex: number,
  callStageId: text,
  callState: anyObject,
  timespan: anyObject,
  wallClockTimespan: anyObject,
  metadata: anyObject,
});

const callback = object({ url: { kind: 'url' }, secrets: texts }, ['url']);

const inactivityMessages: Shape = {
  kind: 'list',
  of: object({
    duration,
    message: text,
    endBehavior: oneOf(
      'END_BEHAVIOR_UNSPECIFIED',
      'END_BEHAVIOR_HANG_UP_SOFT',
      'END_BEHAVIOR_HANG_UP_STRICT',
    ),
  }),
};

/** Members that templates and direct calls have in common. */
const behavior: Record<string, Shape> = {
  systemPrompt: text,
  temperature: between(0, 1),
  model: text,
  voice: text,
  externalVoice,
  voiceOverrides: externalVoice,
  languageHint: text,
  joinTimeout: wait,
  maxDuration: wait,
  timeExceededMessage: text,
  inactivityMessages,
  selectedTools: { kind: 'list', of: selectedTool },
  medium,
  recordingEnabled: boolean,
  initialOutputMedium: outputMedium,
  vadSettings: object({
    turnEndpointDelay: duration,
    minimumTurnDuration: duration,
    minimumInterruptionDuration: duration,
    frameActivationThreshold: between(0.1, 1),
  }),
  firstSpeakerSettings,
  dataConnection,
  retentionPolicy,
  sharedSecrets: { kind: 'list', of: { kind: 'string', min: 16, max: 127 } },
};

export const callTemplate: Shape = {
  kind: 'object',
  fields: {
    ...behavior,
    name: text,
    // Read-only. Accepted because clients send back what they have read.
    created: text,
    updated: text,
    contextSchema: anyObject,
  },
};

const requestOnly: Record<string, Shape> = {
  initialMessages: { kind: 'list', of: message },
  metadata: anyObject,
  experimentalSettings: anyObject,
  callbacks: object({ joined: callback, ended: callback, billed: callback }),
};

export const startCallRequest: Shape = {
  kind: 'object',
  fields: {
    ...behavior,
    ...requestOnly,
    initialState: anyObject,
    transcriptOptional: boolean,
    firstSpeaker: oneOf('FIRST_SPEAKER_UNSPECIFIED', 'FIRST_SPEAKER_AGENT', 'FIRST_SPEAKER_USER'),
  },
};

export const startAgentCallRequest: Shape = {
  kind: 'object',
  fields: {
    ...requestOnly,
    templateContext: anyObject,
    medium,
    joinTimeout: wait,
    maxDuration: wait,
    recordingEnabled: boolean,
    initialOutputMedium: outputMedium,
    firstSpeakerSettings,
    dataConnection,
    voice: text,
    voiceOverrides: externalVoice,
    toolOverrides: object({
      remove: texts,
      removeAll: boolean,
      add: { kind: 'list', of: selectedTool },
    }),
    retentionPolicy,
    sharedSecrets: behavior.sharedSecrets ?? texts,
    agentId: text,
  },
};
