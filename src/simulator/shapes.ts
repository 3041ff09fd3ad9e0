import type { Shape } from './shape.ts';

/** The request bodies of the wire, as far as a client of agents, calls and tools sends them. */

const text: Shape = { kind: 'string' };
const boolean: Shape = { kind: 'boolean' };
const number: Shape = { kind: 'number' };
const anyObject: Shape = { kind: 'anyObject' };
const texts: Shape = { kind: 'list', of: text };
const textMap: Shape = { kind: 'map', of: text };
const duration: Shape = { kind: 'duration' };
const wait: Shape = { kind: 'duration', positive: true };

function oneOf(...values: string[]): Shape {
  return { kind: 'string', values };
}
function between(min: number, max: number): Shape {
  return { kind: 'number', min, max };
}
function object(fields: Record<string, Shape>, required: string[] = []): Shape {
  return { kind: 'object', fields, required };
}

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

const elevenLabs = object({
  voiceId: text,
  model: text,
  speed: between(0.7, 1.2),
  useSpeakerBoost: boolean,
  style: between(0, 1),
  similarityBoost: between(0, 1),
  stability: between(0, 1),
  pronunciationDictionaries: {
    kind: 'list',
    of: object({ dictionaryId: text, versionId: text }),
  },
  optimizeStreamingLatency: number,
  maxSampleRate: number,
  enableSsmlParsing: boolean,
});

export const VOICE_PROVIDERS = [
  'elevenLabs',
  'cartesia',
  'lmnt',
  'google',
  'inworld',
  'respeecher',
  'generic',
] as const;

export const externalVoice: Shape = {
  kind: 'object',
  exactlyOne: VOICE_PROVIDERS,
  fields: {
    elevenLabs,
    cartesia: object({
      voiceId: text,
      model: text,
      speed: number,
      emotion: text,
      emotions: texts,
      generationConfig: object({
        volume: between(0.5, 2),
        speed: between(0.6, 1.5),
        emotion: text,
        pronunciationDictId: text,
      }),
    }),
    lmnt: object({ voiceId: text, model: text, speed: between(0.25, 2), conversational: boolean }),
    google: object({ voiceId: text, speakingRate: between(0.25, 2) }),
    inworld: object({
      voiceId: text,
      modelId: text,
      speakingRate: between(0.5, 1.5),
      temperature: between(0, 2),
      applyTextNormalization: { kind: 'any' },
    }),
    respeecher: object({
      voiceId: text,
      model: text,
      seed: number,
      temperature: number,
      topK: number,
      topP: number,
      minP: number,
      presencePenalty: number,
      repetitionPenalty: number,
      frequencyPenalty: number,
    }),
    generic: object({
      url: text,
      headers: textMap,
      body: anyObject,
      responseSampleRate: number,
      responseWordsPerMinute: number,
      responseMimeType: text,
      jsonAudioFieldPath: text,
      jsonByteEncoding: oneOf(
        'JSON_BYTE_ENCODING_UNSPECIFIED',
        'JSON_BYTE_ENCODING_BASE64',
        'JSON_BYTE_ENCODING_HEX',
      ),
    }),
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

const location = oneOf(
  'PARAMETER_LOCATION_QUERY',
  'PARAMETER_LOCATION_PATH',
  'PARAMETER_LOCATION_HEADER',
  'PARAMETER_LOCATION_BODY',
);

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

export const toolDefinition: Shape = {
  kind: 'object',
  exactlyOne: ['http', 'client', 'dataConnection'],
  fields: {
    modelToolName: { kind: 'string', pattern: TOOL_NAME },
    description: text,
    dynamicParameters: {
      kind: 'list',
      of: object({ name: text, location, schema: anyObject, required: boolean }, [
        'name',
        'location',
        'schema',
      ]),
    },
    staticParameters: {
      kind: 'list',
      of: object({ name: text, location, value: { kind: 'any' } }, ['name', 'location']),
    },
    automaticParameters: {
      kind: 'list',
      of: object(
        {
          name: text,
          location,
          knownValue: oneOf(
            'KNOWN_PARAM_CALL_ID',
            'KNOWN_PARAM_CONVERSATION_HISTORY',
            'KNOWN_PARAM_OUTPUT_SAMPLE_RATE',
            'KNOWN_PARAM_CALL_STATE',
            'KNOWN_PARAM_CALL_STAGE_ID',
            'KNOWN_PARAM_THREAD_ID',
            'KNOWN_PARAM_THREAD_STATES',
            'KNOWN_PARAM_CALL_METADATA',
          ),
        },
        ['name', 'location', 'knownValue'],
      ),
    },
    requirements: object({
      httpSecurityOptions: object({
        options: {
          kind: 'list',
          of: object({
            requirements: {
              kind: 'map',
              of: {
                kind: 'object',
                exactlyOne: ['queryApiKey', 'headerApiKey', 'httpAuth'],
                fields: {
                  queryApiKey: object({ name: text }),
                  headerApiKey: object({ name: text }),
                  httpAuth: object({ scheme: text }),
                },
              },
            },
            ultravoxCallTokenRequirement: object({ scopes: texts }),
          }),
        },
      }),
      requiredParameterOverrides: texts,
    }),
    timeout: { kind: 'duration', positive: true, maxSeconds: 40 },
    precomputable: boolean,
    http: object({ baseUrlPattern: text, httpMethod: text }, ['baseUrlPattern', 'httpMethod']),
    client: object({}),
    dataConnection: object({}),
    defaultReaction: oneOf(
      'AGENT_REACTION_UNSPECIFIED',
      'AGENT_REACTION_SPEAKS',
      'AGENT_REACTION_LISTENS',
      'AGENT_REACTION_SPEAKS_ONCE',
    ),
    staticResponse: object({ responseText: text }),
  },
};

const selectedTool: Shape = {
  kind: 'object',
  exactlyOne: ['toolId', 'toolName', 'temporaryTool'],
  fields: {
    toolId: text,
    toolName: text,
    temporaryTool: toolDefinition,
    nameOverride: { kind: 'string', pattern: TOOL_NAME },
    descriptionOverride: text,
    authTokens: textMap,
    parameterOverrides: anyObject,
    transitionId: text,
  },
};

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

/** Members that a template and a direct call have in common. */
const behaviour: Record<string, Shape> = {
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
    ...behaviour,
    name: text,
    // Read-only, but a client that edits what it read sends them back.
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
    ...behaviour,
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
    sharedSecrets: behaviour.sharedSecrets ?? texts,
    agentId: text,
  },
};
