/**
 * The vendor's `ultravox.v1.*` messages and the enums that they share with its resources. Types only;
 * `wire.ts` re-exports them and describes what is checked.
 */

// ---------------------------------------------------------------------------------------------
// Vocabulary

/** A known value, or one that Ultravox has added since. */
export type OpenEnum<Known extends string> = Known | (string & {});

/** A message: every member may be unset. `undefined` is accepted because JSON drops it. */
export type MessageOf<T> = { [K in keyof T]?: T[K] | undefined };

/** Seconds with an `s`: `"30s"`, `"0.384s"`. */
export type Duration = string;
/** RFC 3339. */
export type Timestamp = string;
export type Metadata = Record<string, string>;
export type JsonObject = Record<string, unknown>;

export type MessageMedium = OpenEnum<
  'MESSAGE_MEDIUM_UNSPECIFIED' | 'MESSAGE_MEDIUM_VOICE' | 'MESSAGE_MEDIUM_TEXT'
>;
export type MessageRole = OpenEnum<
  | 'MESSAGE_ROLE_UNSPECIFIED'
  | 'MESSAGE_ROLE_USER'
  | 'MESSAGE_ROLE_AGENT'
  | 'MESSAGE_ROLE_TOOL_CALL'
  | 'MESSAGE_ROLE_TOOL_RESULT'
>;
export type EndReason = OpenEnum<
  'unjoined' | 'hangup' | 'agent_hangup' | 'timeout' | 'connection_error' | 'system_error'
>;
export type BillingStatus = OpenEnum<
  | 'BILLING_STATUS_UNSPECIFIED'
  | 'BILLING_STATUS_PENDING'
  | 'BILLING_STATUS_FREE_CONSOLE'
  | 'BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION'
  | 'BILLING_STATUS_FREE_MINUTES'
  | 'BILLING_STATUS_FREE_SYSTEM_ERROR'
  | 'BILLING_STATUS_FREE_OTHER'
  | 'BILLING_STATUS_BILLED'
  | 'BILLING_STATUS_REFUNDED'
>;
export type SipTerminationReason = OpenEnum<
  | 'SIP_TERMINATION_NORMAL'
  | 'SIP_TERMINATION_INVALID_NUMBER'
  | 'SIP_TERMINATION_TIMEOUT'
  | 'SIP_TERMINATION_DESTINATION_UNAVAILABLE'
  | 'SIP_TERMINATION_BUSY'
  | 'SIP_TERMINATION_CANCELED'
  | 'SIP_TERMINATION_REJECTED'
  | 'SIP_TERMINATION_UNKNOWN'
>;
/** Spelled differently in responses: see `Call.retentionPolicy`. */
export type RequestedRetentionPolicy = OpenEnum<
  | 'CALL_RETENTION_POLICY_UNSPECIFIED'
  | 'CALL_RETENTION_POLICY_RETAIN'
  | 'CALL_RETENTION_POLICY_AUTO_DELETE'
>;
export type EndBehavior = OpenEnum<
  'END_BEHAVIOR_UNSPECIFIED' | 'END_BEHAVIOR_HANG_UP_SOFT' | 'END_BEHAVIOR_HANG_UP_STRICT'
>;
export type DtmfUrgency = OpenEnum<
  'URGENCY_UNSPECIFIED' | 'URGENCY_IMMEDIATE' | 'URGENCY_SOON' | 'URGENCY_LATER'
>;
export type ParameterLocation = OpenEnum<
  | 'PARAMETER_LOCATION_UNSPECIFIED'
  | 'PARAMETER_LOCATION_QUERY'
  | 'PARAMETER_LOCATION_PATH'
  | 'PARAMETER_LOCATION_HEADER'
  | 'PARAMETER_LOCATION_BODY'
>;
export type KnownValue = OpenEnum<
  | 'KNOWN_PARAM_UNSPECIFIED'
  | 'KNOWN_PARAM_CALL_ID'
  | 'KNOWN_PARAM_CONVERSATION_HISTORY'
  | 'KNOWN_PARAM_OUTPUT_SAMPLE_RATE'
  | 'KNOWN_PARAM_CALL_STATE'
  | 'KNOWN_PARAM_CALL_STAGE_ID'
  | 'KNOWN_PARAM_THREAD_ID'
  | 'KNOWN_PARAM_THREAD_STATES'
  | 'KNOWN_PARAM_CALL_METADATA'
>;
export type AgentReaction = OpenEnum<
  | 'AGENT_REACTION_UNSPECIFIED'
  | 'AGENT_REACTION_SPEAKS'
  | 'AGENT_REACTION_LISTENS'
  | 'AGENT_REACTION_SPEAKS_ONCE'
>;
export type CorpusStatus = OpenEnum<
  | 'CORPUS_STATUS_UNSPECIFIED'
  | 'CORPUS_STATUS_EMPTY'
  | 'CORPUS_STATUS_INITIALIZING'
  | 'CORPUS_STATUS_READY'
  | 'CORPUS_STATUS_UPDATING'
>;
export type SourceStatus = OpenEnum<
  | 'SOURCE_STATUS_UNSPECIFIED'
  | 'SOURCE_STATUS_INITIALIZING'
  | 'SOURCE_STATUS_READY'
  | 'SOURCE_STATUS_UPDATING'
>;
export type Ownership = OpenEnum<'public' | 'private'>;
export type WebhookEvent = OpenEnum<'call.started' | 'call.joined' | 'call.ended' | 'call.billed'>;

// ---------------------------------------------------------------------------------------------
// Messages: media of a call

export type EnabledDataMessages = MessageOf<{
  pong: boolean;
  state: boolean;
  transcript: boolean;
  clientToolInvocation: boolean;
  dataConnectionToolInvocation: boolean;
  playbackClearBuffer: boolean;
  callStarted: boolean;
  debug: boolean;
  callEvent: boolean;
  toolUsed: boolean;
  invokingTool: boolean;
  userStartedSpeaking: boolean;
  userStoppedSpeaking: boolean;
}>;

export type DtmfHandling = MessageOf<{
  ignore: boolean;
  userTextMessage: MessageOf<{ text: string; urgency: DtmfUrgency }>;
}>;

export type OutgoingPhoneCall = MessageOf<{
  /** E.164. */
  to: string;
  /** A number that the account owns at the provider. */
  from: string;
  additionalParams: JsonObject;
}>;

export type PhoneMedium = MessageOf<{ outgoing: OutgoingPhoneCall; dtmfHandling: DtmfHandling }>;

export type OutgoingSipCall = MessageOf<{
  /** A SIP URI, never a bare phone number. */
  to: string;
  from: string;
  username: string;
  password: string;
}>;

/** At most one member. May contain a SIP password: never log it. */
export type CallMedium = MessageOf<{
  webRtc: MessageOf<{ dataMessages: EnabledDataMessages }>;
  twilio: PhoneMedium;
  telnyx: PhoneMedium;
  plivo: PhoneMedium;
  exotel: MessageOf<{ dtmfHandling: DtmfHandling }>;
  serverWebSocket: MessageOf<{
    inputSampleRate: number;
    outputSampleRate: number;
    clientBufferSizeMs: number;
    dataMessages: EnabledDataMessages;
    mediaIdleTimeout: Duration;
  }>;
  /** Exactly one of the two. */
  sip: MessageOf<{ incoming: JsonObject; outgoing: OutgoingSipCall }>;
}>;

export type DataConnectionConfig = MessageOf<{
  websocketUrl: string;
  headers: Record<string, string>;
  audioConfig: MessageOf<{
    sampleRate: number;
    channelMode: OpenEnum<
      'CHANNEL_MODE_UNSPECIFIED' | 'CHANNEL_MODE_MIXED' | 'CHANNEL_MODE_SEPARATED'
    >;
  }>;
  dataMessages: EnabledDataMessages;
}>;

export type Callback = MessageOf<{ url: string; secrets: string[] }>;
export type Callbacks = MessageOf<{ joined: Callback; ended: Callback; billed: Callback }>;

// ---------------------------------------------------------------------------------------------
// Messages: behavior of an agent

/** Exactly one member. */
export type FirstSpeakerSettings = MessageOf<{
  agent: MessageOf<{ uninterruptible: boolean; text: string; prompt: string; delay: Duration }>;
  user: MessageOf<{ fallback: MessageOf<{ delay: Duration; text: string; prompt: string }> }>;
}>;

export type VadSettings = MessageOf<{
  turnEndpointDelay: Duration;
  minimumTurnDuration: Duration;
  minimumInterruptionDuration: Duration;
  frameActivationThreshold: number;
}>;

/** One step of the inactivity sequence. Its duration counts from the previous step. */
export type TimedMessage = MessageOf<{
  duration: Duration;
  message: string;
  endBehavior: EndBehavior;
}>;

/** Exactly one member. */
export type ExternalVoice = MessageOf<{
  elevenLabs: MessageOf<{
    voiceId: string;
    model: string;
    speed: number;
    useSpeakerBoost: boolean;
    style: number;
    similarityBoost: number;
    stability: number;
    pronunciationDictionaries: MessageOf<{ dictionaryId: string; versionId: string }>[];
    optimizeStreamingLatency: number;
    maxSampleRate: number;
    enableSsmlParsing: boolean;
  }>;
  cartesia: MessageOf<{
    voiceId: string;
    model: string;
    /** Superseded by `generationConfig`, like the next two. */
    speed: number;
    emotion: string;
    emotions: string[];
    generationConfig: MessageOf<{
      volume: number;
      speed: number;
      emotion: string;
      pronunciationDictId: string;
    }>;
  }>;
  lmnt: MessageOf<{ voiceId: string; model: string; speed: number; conversational: boolean }>;
  google: MessageOf<{ voiceId: string; speakingRate: number }>;
  inworld: MessageOf<{
    voiceId: string;
    modelId: string;
    speakingRate: number;
    temperature: number;
    applyTextNormalization: boolean;
  }>;
  respeecher: MessageOf<{
    voiceId: string;
    model: string;
    seed: number;
    temperature: number;
    topK: number;
    topP: number;
    minP: number;
    presencePenalty: number;
    repetitionPenalty: number;
    frequencyPenalty: number;
  }>;
  generic: MessageOf<{
    url: string;
    headers: Record<string, string>;
    body: JsonObject;
    responseSampleRate: number;
    responseWordsPerMinute: number;
    responseMimeType: string;
    jsonAudioFieldPath: string;
    jsonByteEncoding: OpenEnum<
      'JSON_BYTE_ENCODING_UNSPECIFIED' | 'JSON_BYTE_ENCODING_BASE64' | 'JSON_BYTE_ENCODING_HEX'
    >;
  }>;
}>;

export type DynamicParameter = MessageOf<{
  name: string;
  location: ParameterLocation;
  schema: JsonObject;
  required: boolean;
}>;
export type StaticParameter = MessageOf<{
  name: string;
  location: ParameterLocation;
  value: unknown;
}>;
export type AutomaticParameter = MessageOf<{
  name: string;
  location: ParameterLocation;
  knownValue: KnownValue;
}>;

/** Exactly one member. */
export type SecurityRequirement = MessageOf<{
  queryApiKey: MessageOf<{ name: string }>;
  headerApiKey: MessageOf<{ name: string }>;
  httpAuth: MessageOf<{ scheme: string }>;
}>;

export type ToolRequirements = MessageOf<{
  /** The first option that the `authTokens` of the selected tool satisfy is used. */
  httpSecurityOptions: MessageOf<{
    options: MessageOf<{
      requirements: Record<string, SecurityRequirement>;
      ultravoxCallTokenRequirement: MessageOf<{ scopes: string[] }>;
    }>[];
  }>;
  requiredParameterOverrides: string[];
}>;

/** Exactly one of `http`, `client`, `dataConnection`. */
export type BaseToolDefinition = MessageOf<{
  modelToolName: string;
  description: string;
  dynamicParameters: DynamicParameter[];
  staticParameters: StaticParameter[];
  automaticParameters: AutomaticParameter[];
  requirements: ToolRequirements;
  timeout: Duration;
  precomputable: boolean;
  http: MessageOf<{ baseUrlPattern: string; httpMethod: string }>;
  client: JsonObject;
  dataConnection: JsonObject;
  defaultReaction: AgentReaction;
  staticResponse: MessageOf<{ responseText: string }>;
}>;

/** Exactly one of `toolId`, `toolName`, `temporaryTool`. */
export type SelectedTool = MessageOf<{
  toolId: string;
  toolName: string;
  temporaryTool: BaseToolDefinition;
  nameOverride: string;
  descriptionOverride: string;
  authTokens: Record<string, string>;
  parameterOverrides: JsonObject;
  transitionId: string;
}>;

/** Removal, by the name the model sees, comes before addition. */
export type ToolOverrides = MessageOf<{
  remove: string[];
  removeAll: boolean;
  add: SelectedTool[];
}>;

export type CallTemplate = MessageOf<{
  name: string;
  /** Set by Ultravox. */
  created: Timestamp;
  /** Set by Ultravox. */
  updated: Timestamp;
  medium: CallMedium;
  initialOutputMedium: MessageMedium;
  joinTimeout: Duration;
  maxDuration: Duration;
  vadSettings: VadSettings;
  recordingEnabled: boolean;
  firstSpeakerSettings: FirstSpeakerSettings;
  systemPrompt: string;
  temperature: number;
  model: string;
  voice: string;
  externalVoice: ExternalVoice;
  voiceOverrides: ExternalVoice;
  languageHint: string;
  timeExceededMessage: string;
  inactivityMessages: TimedMessage[];
  selectedTools: SelectedTool[];
  dataConnection: DataConnectionConfig;
  contextSchema: JsonObject;
  /** Never returned, so it must be sent again with every template. */
  sharedSecrets: string[];
  retentionPolicy: RequestedRetentionPolicy;
}>;
