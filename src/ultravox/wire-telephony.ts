/** Ultravox telephony: carrier accounts and SIP. */
import { z } from 'zod';
import type { MessageOf } from './payloads.ts';
import { extensible, orElse, orNull } from './wire-schemas.ts';

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

/** Request and response types of each telephony provider. */
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
