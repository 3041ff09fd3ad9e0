/**
 * What travels between us and Ultravox, in both directions.
 *
 * Two kinds of shapes, as in the vendor's own document:
 *
 * - Resources (`Agent`, `Call`, `Tool`, …). What we receive is parsed by the schema of the same
 *   name, and the type is inferred from it. A member the vendor left out and a member it set to
 *   null both come out as null, so callers test for one thing.
 * - Messages (`ultravox.v1.*`, e.g. `CallTemplate`). Every member is optional. Received ones are
 *   only checked to be objects, because we store and show them but do not decide anything on
 *   their inside; members that are null at their top level are dropped.
 *
 * Enums are open and unknown members survive parsing: the vendor adds both without notice.
 */
import { z } from 'zod';
import type {
  BaseToolDefinition,
  BillingStatus,
  Callbacks,
  CallMedium,
  CallTemplate,
  CorpusStatus,
  DataConnectionConfig,
  Duration,
  EndReason,
  ExternalVoice,
  FirstSpeakerSettings,
  JsonObject,
  MessageMedium,
  MessageOf,
  MessageRole,
  Metadata,
  Open,
  Ownership,
  RequestedRetentionPolicy,
  SipTerminationReason,
  SourceStatus,
  TimedMessage,
  Timestamp,
  ToolOverrides,
  VadSettings,
  WebhookEvent,
} from './payloads.ts';

export type * from './payloads.ts';

// ---------------------------------------------------------------------------------------------
// Building blocks of the schemas

/** Unknown members are kept at run time but stay out of the type, so a typo is still an error. */
const extensible = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.looseObject(shape) as unknown as z.ZodObject<Shape, z.core.$strip>;

const timestamp = z
  .string()
  .refine((value) => !Number.isNaN(Date.parse(value)), { error: 'not a timestamp' });

const id = z.string().min(1);

/** Missing and null are the same thing to us. */
const orNull = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullable().default(null as never);

/** Missing and null both mean the value given. */
const orElse = <Schema extends z.ZodType>(schema: Schema, value: z.output<Schema>) =>
  schema
    .nullable()
    .default(null as never)
    .transform((given): z.output<Schema> => (given === null ? value : given) as z.output<Schema>);

const openEnum = <Value extends string>() => z.string() as unknown as z.ZodType<Value, Value>;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An `ultravox.v1.*` message: an object whose unset members are absent rather than null. */
const messageOf = <Value>() =>
  z
    .custom<Value>(isObject, { error: 'not an object' })
    .transform(
      (value) =>
        Object.fromEntries(
          Object.entries(value as JsonObject).filter(([, member]) => member !== null),
        ) as Value,
    );

const messagesOf = <Value>() => orElse(z.array(messageOf<Value>()), []);

/** Keys that begin with `ultravox.` are the vendor's and need not hold strings. */
const metadata = orElse(z.record(z.string(), z.unknown()), {}).transform(
  (record): Metadata =>
    Object.fromEntries(
      Object.entries(record).map(([key, value]) => [
        key,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
);

// ---------------------------------------------------------------------------------------------
// Lists

export interface Page<Item> {
  /** Absolute URL that carries cursor, page size and filters, or null on the last page. */
  next: string | null;
  previous: string | null;
  total: number | null;
  results: Item[];
}

export const pageSchema = <Item>(item: z.ZodType<Item>): z.ZodType<Page<Item>> =>
  extensible({
    next: orNull(z.string()),
    previous: orNull(z.string()),
    total: orNull(z.number()),
    results: z.array(item),
  });

// ---------------------------------------------------------------------------------------------
// Account, models

export const accountSchema = extensible({
  accountId: id,
  name: orElse(z.string(), ''),
  billingUrl: orNull(z.string()),
  freeTimeUsed: orNull(z.string()),
  freeTimeRemaining: orNull(z.string()),
  hasActiveSubscription: orElse(z.boolean(), false),
  subscriptionTier: orNull(z.string()),
  subscriptionCadence: orNull(z.string()),
  subscriptionExpiration: orNull(z.string()),
  subscriptionScheduledUpdate: orNull(z.string()),
  subscriptionRenewal: orNull(z.string()),
  activeCalls: orNull(z.number()),
  /** Null: no cap. */
  allowedConcurrentCalls: orNull(z.number()),
  allowedVoices: orNull(z.number()),
  allowedCorpora: orNull(z.number()),
});
export type Account = z.output<typeof accountSchema>;

export const modelSchema = extensible({ name: z.string() });
export type Model = z.output<typeof modelSchema>;

// ---------------------------------------------------------------------------------------------
// Agents

export const agentSchema = extensible({
  agentId: id,
  publishedRevisionId: orNull(z.string()),
  name: orElse(z.string(), ''),
  created: timestamp,
  callTemplate: orNull(messageOf<CallTemplate>()),
  statistics: orNull(extensible({ calls: orElse(z.number(), 0) })),
});
export type Agent = z.output<typeof agentSchema>;

export interface CreateAgentRequest {
  /** At most 64 characters. */
  name: string;
  callTemplate: CallTemplate;
}

/** `callTemplate` replaces the stored one as a whole; leave it out to keep it. */
export type UpdateAgentRequest = MessageOf<CreateAgentRequest>;

// ---------------------------------------------------------------------------------------------
// Calls

/** What a call says before it starts; `role` and `text` suffice. */
export type InitialMessage = MessageOf<{
  role: MessageRole;
  text: string;
  medium: MessageMedium;
  invocationId: string;
  toolName: string;
  errorDetails: string;
  metadata: JsonObject;
}>;

/** Everything an agent call may override. Prompt, model and language are not among it. */
export type StartAgentCallRequest = MessageOf<{
  templateContext: JsonObject;
  initialMessages: InitialMessage[];
  metadata: Metadata;
  medium: CallMedium;
  joinTimeout: Duration;
  maxDuration: Duration;
  recordingEnabled: boolean;
  initialOutputMedium: MessageMedium;
  firstSpeakerSettings: FirstSpeakerSettings;
  dataConnection: DataConnectionConfig;
  experimentalSettings: JsonObject;
  callbacks: Callbacks;
  voice: string;
  /** Only together with `voice`. */
  voiceOverrides: ExternalVoice;
  toolOverrides: ToolOverrides;
  retentionPolicy: RequestedRetentionPolicy;
  /** Replaces the agent's. */
  sharedSecrets: string[];
}>;

export const sipDetailsSchema = extensible({
  billedDuration: orNull(z.string()),
  terminationReason: orNull(openEnum<SipTerminationReason>()),
});
export type SipDetails = z.output<typeof sipDetailsSchema>;

/**
 * A call has no status: it is waiting until `joined`, live until `ended`, and never answered if it
 * has `ended` without `joined`.
 */
export const callSchema = extensible({
  callId: id,
  clientVersion: orNull(z.string()),
  created: timestamp,
  joined: orNull(timestamp),
  ended: orNull(timestamp),
  endReason: orNull(openEnum<EndReason>()),
  billedDuration: orNull(z.string()),
  billedSideInputTokens: orNull(z.number()),
  billedSideOutputTokens: orNull(z.number()),
  billingStatus: orElse(openEnum<BillingStatus>(), 'BILLING_STATUS_UNSPECIFIED'),
  firstSpeaker: orNull(openEnum<Open<'FIRST_SPEAKER_AGENT' | 'FIRST_SPEAKER_USER'>>()),
  firstSpeakerSettings: orNull(messageOf<FirstSpeakerSettings>()),
  inactivityMessages: messagesOf<TimedMessage>(),
  initialOutputMedium: orNull(openEnum<MessageMedium>()),
  joinTimeout: orNull(z.string()),
  maxDuration: orNull(z.string()),
  /** Whoever has it may join: treat as a secret. Null for outgoing SIP, perhaps elsewhere too. */
  joinUrl: orNull(z.string()),
  languageHint: orNull(z.string()),
  medium: orNull(messageOf<CallMedium>()),
  model: orNull(z.string()),
  recordingEnabled: orElse(z.boolean(), false),
  retentionPolicy: orNull(openEnum<Open<'retain' | 'auto_delete'>>()),
  systemPrompt: orNull(z.string()),
  temperature: orNull(z.number()),
  timeExceededMessage: orNull(z.string()),
  voice: orNull(z.string()),
  externalVoice: orNull(messageOf<ExternalVoice>()),
  voiceOverrides: orNull(messageOf<ExternalVoice>()),
  transcriptOptional: orNull(z.boolean()),
  vadSettings: orNull(messageOf<VadSettings>()),
  shortSummary: orNull(z.string()),
  summary: orNull(z.string()),
  agent: orNull(extensible({ agentId: id, name: orElse(z.string(), '') })),
  agentId: orNull(z.string()),
  experimentalSettings: orNull(z.unknown()),
  metadata,
  initialState: orNull(z.record(z.string(), z.unknown())),
  requestContext: orNull(z.unknown()),
  /** Named `dataConnection` in requests. */
  dataConnectionConfig: orNull(messageOf<DataConnectionConfig>()),
  callbacks: orNull(messageOf<Callbacks>()),
  sipDetails: orNull(sipDetailsSchema),
});
export type Call = z.output<typeof callSchema>;

const timespanSchema = extensible({ start: orNull(z.string()), end: orNull(z.string()) });

export const messageSchema = extensible({
  role: orElse(openEnum<MessageRole>(), 'MESSAGE_ROLE_UNSPECIFIED'),
  /** What was said, or a tool's arguments or result as text. */
  text: orNull(z.string()),
  /** Pairs a tool call with its result. */
  invocationId: orNull(z.string()),
  toolName: orNull(z.string()),
  errorDetails: orNull(z.string()),
  medium: orNull(openEnum<MessageMedium>()),
  callStageMessageIndex: orNull(z.number()),
  callStageId: orNull(z.string()),
  callState: orNull(z.record(z.string(), z.unknown())),
  timespan: orNull(timespanSchema),
  /** Relative to `Call.joined`; null for initial messages. */
  wallClockTimespan: orNull(timespanSchema),
  metadata: orNull(z.record(z.string(), z.unknown())),
});
export type Message = z.output<typeof messageSchema>;

/** What can be said to a call that is live. */
export type SendDataMessage =
  | {
      type: 'user_text_message';
      text: string;
      urgency?: 'immediate' | 'soon' | 'later' | undefined;
      threadId?: string | undefined;
    }
  | {
      type: 'forced_agent_message';
      content?: string | undefined;
      toolCalls?: { id?: string; name: string; arguments: JsonObject }[] | undefined;
      knownToolResults?: unknown;
      uninterruptible?: boolean | undefined;
      urgency?: 'immediate' | 'soon' | undefined;
      threadId?: string | undefined;
    }
  | { type: 'hang_up'; message?: string | undefined };

// ---------------------------------------------------------------------------------------------
// Tools

export const toolSchema = extensible({
  toolId: id,
  name: z.string(),
  created: timestamp,
  definition: messageOf<BaseToolDefinition>(),
  ownership: orElse(openEnum<Ownership>(), 'private'),
});
export type Tool = z.output<typeof toolSchema>;

export interface WriteToolRequest {
  /** At most 40 characters. */
  name: string;
  definition: BaseToolDefinition;
}

// ---------------------------------------------------------------------------------------------
// Voices

export const voiceSchema = extensible({
  voiceId: id,
  name: z.string(),
  description: orNull(z.string()),
  primaryLanguage: orNull(z.string()),
  languageLabel: orNull(z.string()),
  previewUrl: orNull(z.string()),
  ownership: orElse(openEnum<Ownership>(), 'private'),
  billingStyle: orNull(
    openEnum<Open<'VOICE_BILLING_STYLE_INCLUDED' | 'VOICE_BILLING_STYLE_EXTERNAL'>>(),
  ),
  provider: orNull(z.string()),
  definition: orNull(messageOf<ExternalVoice>()),
});
export type Voice = z.output<typeof voiceSchema>;

/** A clone from a recording (mp3 or wav, at most 10 MB). */
export interface CloneVoiceRequest {
  file: Uint8Array;
  fileName: string;
  mimeType: string;
  name: string;
  description?: string | undefined;
  language?: string | undefined;
}

/** A voice that lives at another provider. */
export interface RegisterVoiceRequest {
  name: string;
  description?: string | null | undefined;
  primaryLanguage?: string | null | undefined;
  definition: ExternalVoice;
}

// ---------------------------------------------------------------------------------------------
// Corpora

export const corpusSchema = extensible({
  corpusId: id,
  created: orNull(timestamp),
  name: orNull(z.string()),
  description: orNull(z.string()),
  stats: orNull(
    extensible({
      status: orElse(openEnum<CorpusStatus>(), 'CORPUS_STATUS_UNSPECIFIED'),
      lastUpdated: orNull(timestamp),
      numChunks: orElse(z.number(), 0),
      numDocs: orElse(z.number(), 0),
      numVectors: orElse(z.number(), 0),
    }),
  ),
});
export type Corpus = z.output<typeof corpusSchema>;

export type WriteCorpusRequest = MessageOf<{ name: string; description: string }>;

export type MimeTypeSet = MessageOf<{ mimeTypes: string[] }>;

export type CrawlSpec = MessageOf<{
  startUrls: string[];
  /** 1 reads the start pages only. */
  maxDepth: number;
  maxDocuments: number;
  maxDocumentBytes: number;
  relevantDocumentTypes: MessageOf<{ include: MimeTypeSet; exclude: MimeTypeSet }>;
}>;
export type UploadSpec = MessageOf<{ documentIds: string[] }>;
export type AdvancedSpec = MessageOf<{
  documents: MessageOf<{ documentId: string; exampleQueries: string[] }>[];
}>;

export const corpusSourceSchema = extensible({
  corpusId: orNull(z.string()),
  sourceId: id,
  created: orNull(timestamp),
  name: orNull(z.string()),
  description: orNull(z.string()),
  stats: orNull(
    extensible({
      status: orElse(openEnum<SourceStatus>(), 'SOURCE_STATUS_UNSPECIFIED'),
      lastUpdated: orNull(timestamp),
      numDocs: orElse(z.number(), 0),
    }),
  ),
  crawl: orNull(messageOf<CrawlSpec>()),
  upload: orNull(messageOf<UploadSpec>()),
  advanced: orNull(messageOf<AdvancedSpec>()),
});
export type CorpusSource = z.output<typeof corpusSourceSchema>;

/** Exactly one of `crawl`, `upload`, `advanced`. */
export type CreateCorpusSourceRequest = MessageOf<{
  name: string;
  description: string;
  crawl: CrawlSpec;
  upload: UploadSpec;
  advanced: AdvancedSpec;
}>;

export const corpusDocumentSchema = extensible({
  corpusId: orNull(z.string()),
  sourceId: orNull(z.string()),
  documentId: id,
  created: orNull(timestamp),
  mimeType: orNull(z.string()),
  metadata: orNull(
    messageOf<
      MessageOf<{
        publicUrl: string;
        language: string;
        title: string;
        description: string;
        published: Timestamp;
        exampleQueries: string[];
      }>
    >(),
  ),
  /** A 64-bit integer, hence a string; a number is tolerated. */
  sizeBytes: orNull(z.union([z.string(), z.number().transform(String)])),
});
export type CorpusDocument = z.output<typeof corpusDocumentSchema>;

export interface CorpusUploadRequest {
  mimeType: string;
  fileName?: string | undefined;
}

export const corpusUploadSchema = extensible({ documentId: id, presignedUrl: z.string().min(1) });
export type CorpusUpload = z.output<typeof corpusUploadSchema>;

// ---------------------------------------------------------------------------------------------
// Webhooks

export const webhookSchema = extensible({
  webhookId: id,
  /** Null: calls of every agent. */
  agentId: orNull(z.string()),
  created: timestamp,
  url: z.string(),
  /** Returned in the clear: treat the whole object as a secret. */
  secrets: orElse(z.array(z.string()), []),
  events: z.array(openEnum<WebhookEvent>()),
  status: orElse(openEnum<Open<'normal' | 'unhealthy'>>(), 'normal'),
  lastStatusChange: orNull(timestamp),
  recentFailures: orElse(z.array(extensible({ timestamp, failure: z.string() })), []),
});
export type Webhook = z.output<typeof webhookSchema>;

export interface CreateWebhookRequest {
  /** At most 200 characters. */
  url: string;
  events: WebhookEvent[];
  agentId?: string | null | undefined;
  /** Chosen by Ultravox when left out. */
  secrets?: string[] | undefined;
}
export type UpdateWebhookRequest = MessageOf<CreateWebhookRequest>;

/** The body of a delivery. There is no event id: (`call.callId`, `event`) is the identity. */
export const webhookDeliverySchema = extensible({
  event: openEnum<WebhookEvent>(),
  call: callSchema,
});
export type WebhookDelivery = z.output<typeof webhookDeliverySchema>;

// ---------------------------------------------------------------------------------------------
// Telephony

const keyPrefixSchema = extensible({ prefix: z.string() });

const telephonyShape = {
  callCreationAllowedAgentIds: orElse(z.array(z.string()), []),
  callCreationAllowAllAgents: orElse(z.boolean(), false),
  requestContextMapping: orNull(z.record(z.string(), z.string())),
};

export const twilioConfigSchema = extensible({
  ...telephonyShape,
  accountSid: z.string(),
  authTokenPrefix: orNull(keyPrefixSchema),
});
export type TwilioConfig = z.output<typeof twilioConfigSchema>;

export const telnyxConfigSchema = extensible({
  ...telephonyShape,
  accountSid: z.string(),
  apiKeyPrefix: orNull(keyPrefixSchema),
  publicKeyPrefix: orNull(keyPrefixSchema),
  applicationSid: orNull(z.string()),
});
export type TelnyxConfig = z.output<typeof telnyxConfigSchema>;

interface TelephonyConfigRequest {
  /** At most 100; excludes `callCreationAllowAllAgents`. */
  callCreationAllowedAgentIds?: string[] | undefined;
  callCreationAllowAllAgents?: boolean | undefined;
  /** Provider field to dotted context path: `From` → `user.phone_number`. */
  requestContextMapping?: Record<string, string> | undefined;
}
export interface CreateTwilioConfigRequest extends TelephonyConfigRequest {
  accountSid: string;
  authToken: string;
}
export interface CreateTelnyxConfigRequest extends TelephonyConfigRequest {
  accountSid: string;
  apiKey: string;
  publicKey: string;
  applicationSid: string;
}

/** What each telephony provider takes and gives. */
export interface TelephonyProviders {
  twilio: {
    config: TwilioConfig;
    create: CreateTwilioConfigRequest;
    update: MessageOf<CreateTwilioConfigRequest>;
  };
  telnyx: {
    config: TelnyxConfig;
    create: CreateTelnyxConfigRequest;
    update: MessageOf<CreateTelnyxConfigRequest>;
  };
}

export const sipConfigSchema = extensible({
  allowedCidrRanges: orElse(z.array(z.string()), []),
  allowAllAgents: orElse(z.boolean(), false),
  allowedAgents: orElse(
    z.array(extensible({ agentId: z.string(), toUserPattern: orNull(z.string()) })),
    [],
  ),
  fallbackHandler: orNull(extensible({ url: z.string(), secrets: z.array(z.string()).optional() })),
  domain: orNull(z.string()),
});
export type SipConfig = z.output<typeof sipConfigSchema>;

export type UpdateSipConfigRequest = MessageOf<{
  allowedCidrRanges: string[];
  allowAllAgents: boolean;
  allowedAgents: { agentId: string; toUserPattern?: string | undefined }[];
  fallbackHandler: { url: string; secrets?: string[] | undefined } | null;
}>;
