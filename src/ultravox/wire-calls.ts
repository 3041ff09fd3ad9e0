/** Ultravox calls, their messages, and the requests that start them. */
import { z } from 'zod';
import type {
  BillingStatus,
  Callbacks,
  CallMedium,
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
  OpenEnum,
  RequestedRetentionPolicy,
  SipTerminationReason,
  TimedMessage,
  ToolOverrides,
  VadSettings,
} from './payloads.ts';
import {
  duration,
  extensible,
  id,
  messageOf,
  messagesOf,
  metadata,
  number,
  openEnum,
  orElse,
  orNull,
  strictOrNull,
  timestamp,
} from './wire-schemas.ts';

/** A message of the conversation before the call; only `role` and `text` are required. */
export type InitialMessage = MessageOf<{
  role: MessageRole;
  text: string;
  medium: MessageMedium;
  invocationId: string;
  toolName: string;
  errorDetails: string;
  metadata: JsonObject;
}>;

/** The settings that an agent call may override. Prompt, model and language cannot be overridden. */
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
  billedDuration: orNull(duration),
  terminationReason: orNull(openEnum<SipTerminationReason>()),
});
export type SipDetails = z.output<typeof sipDetailsSchema>;

/**
 * A call has no status: it is waiting until `joined`, live until `ended`, and was never answered if it
 * has `ended` without `joined`.
 */
export const callSchema = extensible({
  callId: id,
  clientVersion: orNull(z.string()),
  created: timestamp,
  joined: strictOrNull(timestamp),
  ended: strictOrNull(timestamp),
  endReason: orNull(openEnum<EndReason>()),
  billedDuration: orNull(duration),
  billedSideInputTokens: orNull(number),
  billedSideOutputTokens: orNull(number),
  billingStatus: orElse(openEnum<BillingStatus>(), 'BILLING_STATUS_UNSPECIFIED'),
  firstSpeaker: orNull(openEnum<OpenEnum<'FIRST_SPEAKER_AGENT' | 'FIRST_SPEAKER_USER'>>()),
  firstSpeakerSettings: orNull(messageOf<FirstSpeakerSettings>()),
  inactivityMessages: messagesOf<TimedMessage>(),
  initialOutputMedium: orNull(openEnum<MessageMedium>()),
  joinTimeout: orNull(duration),
  maxDuration: orNull(duration),
  /** A secret: anyone who has it can join. Null for outgoing SIP. */
  joinUrl: orNull(z.string()),
  languageHint: orNull(z.string()),
  medium: orNull(messageOf<CallMedium>()),
  model: orNull(z.string()),
  recordingEnabled: orElse(z.boolean(), false),
  retentionPolicy: orNull(openEnum<OpenEnum<'retain' | 'auto_delete'>>()),
  systemPrompt: orNull(z.string()),
  temperature: orNull(number),
  timeExceededMessage: orNull(z.string()),
  voice: orNull(z.string()),
  externalVoice: orNull(messageOf<ExternalVoice>()),
  voiceOverrides: orNull(messageOf<ExternalVoice>()),
  transcriptOptional: orNull(z.boolean()),
  vadSettings: orNull(messageOf<VadSettings>()),
  shortSummary: orNull(z.string()),
  summary: orNull(z.string()),
  agent: orNull(extensible({ agentId: id, name: orElse(z.string(), '') })),
  agentId: strictOrNull(z.string()),
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
  /** Text of an utterance, or arguments or result of a tool call. */
  text: orNull(z.string()),
  /** Pairs a tool call with its result. */
  invocationId: orNull(z.string()),
  toolName: orNull(z.string()),
  errorDetails: orNull(z.string()),
  medium: orNull(openEnum<MessageMedium>()),
  callStageMessageIndex: orNull(number),
  callStageId: orNull(z.string()),
  callState: orNull(z.record(z.string(), z.unknown())),
  timespan: orNull(timespanSchema),
  /** Relative to `Call.joined`; null for initial messages. */
  wallClockTimespan: orNull(timespanSchema),
  metadata: orNull(z.record(z.string(), z.unknown())),
});
export type Message = z.output<typeof messageSchema>;
