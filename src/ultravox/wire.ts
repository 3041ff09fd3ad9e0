/**
 * The requests and responses of the Ultravox API.
 *
 * Resources (`Agent`, `Call`, `Tool`, …) are parsed by the schema of the same name, and the type is
 * inferred from it. A missing member and a null member both become null, and so does a member of an
 * unexpected type, unless it identifies the resource or the state of a call depends on it. Messages
 * (`ultravox.v1.*`, such as `CallTemplate`) are only checked to be objects, because they are stored
 * and shown but not interpreted; null members at their top level are dropped.
 *
 * Enums are open and unknown members survive parsing, since Ultravox adds both without notice.
 */
import { z } from 'zod';
import type {
  BaseToolDefinition,
  CallTemplate,
  ExternalVoice,
  MessageOf,
  OpenEnum,
  Ownership,
  WebhookEvent,
} from './payloads.ts';
import { callSchema } from './wire-calls.ts';
import {
  extensible,
  id,
  messageOf,
  number,
  openEnum,
  orElse,
  orNull,
  strictOrNull,
  timestamp,
} from './wire-schemas.ts';

export type * from './payloads.ts';
export * from './wire-calls.ts';
export * from './wire-corpora.ts';
export * from './wire-telephony.ts';

// ---------------------------------------------------------------------------------------------
// Lists

export interface Page<Item> {
  /** Absolute URL with cursor, page size and filters. Null on the last page. */
  next: string | null;
  previous: string | null;
  total: number | null;
  results: Item[];
}

/** Items are parsed one by one, so that an invalid one does not spoil the others. */
export const pageSchema: z.ZodType<Page<unknown>> = extensible({
  next: strictOrNull(z.string()),
  previous: orNull(z.string()),
  total: orNull(number),
  results: z.array(z.unknown()),
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
  activeCalls: orNull(number),
  /** Null: no cap. */
  allowedConcurrentCalls: orNull(number),
  allowedVoices: orNull(number),
  allowedCorpora: orNull(number),
});
export type Account = z.output<typeof accountSchema>;

export const modelSchema = extensible({ name: id });

// ---------------------------------------------------------------------------------------------
// Agents

export const agentSchema = extensible({
  agentId: id,
  publishedRevisionId: orNull(z.string()),
  name: orElse(z.string(), ''),
  created: orNull(timestamp),
  callTemplate: orNull(messageOf<CallTemplate>()),
  statistics: orNull(extensible({ calls: orElse(number, 0) })),
});
export type Agent = z.output<typeof agentSchema>;

export interface CreateAgentRequest {
  /** At most 64 characters. */
  name: string;
  callTemplate: CallTemplate;
}

/** `callTemplate` replaces the stored template as a whole. Omit it to keep the stored one. */
export type UpdateAgentRequest = MessageOf<CreateAgentRequest>;

// ---------------------------------------------------------------------------------------------
// Tools

export const toolSchema = extensible({
  toolId: id,
  name: orElse(z.string(), ''),
  created: orNull(timestamp),
  definition: orNull(messageOf<BaseToolDefinition>()),
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
  name: orElse(z.string(), ''),
  description: orNull(z.string()),
  primaryLanguage: orNull(z.string()),
  languageLabel: orNull(z.string()),
  previewUrl: orNull(z.string()),
  ownership: orElse(openEnum<Ownership>(), 'private'),
  billingStyle: orNull(
    openEnum<OpenEnum<'VOICE_BILLING_STYLE_INCLUDED' | 'VOICE_BILLING_STYLE_EXTERNAL'>>(),
  ),
  provider: orNull(z.string()),
  definition: orNull(messageOf<ExternalVoice>()),
});
export type Voice = z.output<typeof voiceSchema>;

/** A voice of another provider. */
export interface RegisterVoiceRequest {
  name: string;
  description?: string | null | undefined;
  primaryLanguage?: string | null | undefined;
  definition: ExternalVoice;
}

// ---------------------------------------------------------------------------------------------
// Webhooks

export const webhookSchema = extensible({
  webhookId: id,
  /** Null: calls of every agent. */
  agentId: orNull(z.string()),
  created: orNull(timestamp),
  url: orElse(z.string(), ''),
  /** Returned in plain text: treat the whole object as a secret. */
  secrets: orElse(z.array(z.string()), []),
  events: orElse(z.array(openEnum<WebhookEvent>()), []),
  status: orElse(openEnum<OpenEnum<'normal' | 'unhealthy'>>(), 'normal'),
  lastStatusChange: orNull(timestamp),
  recentFailures: orElse(z.array(extensible({ timestamp, failure: z.string() })), []),
});
export type Webhook = z.output<typeof webhookSchema>;

export interface CreateWebhookRequest {
  /** At most 200 characters. */
  url: string;
  events: WebhookEvent[];
  agentId?: string | null | undefined;
  /** Default: generated by Ultravox. */
  secrets?: string[] | undefined;
}
export type UpdateWebhookRequest = MessageOf<CreateWebhookRequest>;

/** The body of a delivery. There is no event id; (`call.callId`, `event`) identifies it. */
export const webhookDeliverySchema = extensible({
  /** Bounded like an ID. */
  event: id as unknown as z.ZodType<WebhookEvent, WebhookEvent>,
  call: callSchema,
});
export type WebhookDelivery = z.output<typeof webhookDeliverySchema>;
