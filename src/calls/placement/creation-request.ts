/** Builds the request that creates a call at Ultravox. */
import { firstSpeakerSettings } from '../../agents/call-template.ts';
import { settingsOf } from '../../agents/settings.ts';
import type { App } from '../../app.ts';
import type { PhoneNumber, Prisma } from '../../generated/prisma/client.ts';
import { publicId } from '../../ids.ts';
import { mediumForNumber } from '../../phone-numbers/service.ts';
import type { CallMedium, StartAgentCallRequest } from '../../ultravox/wire.ts';
import type { CallSettings } from '../settings.ts';

export const withParts = { agent: true, number: true } satisfies Prisma.CallInclude;
/** A call with everything needed to build its request. */
export type CallWithParts = Prisma.CallGetPayload<{ include: typeof withParts }>;

/** Builds the creation request of a call: https://docs.ultravox.ai/api-reference/agents/agents-calls-post. */
export function requestFor(app: App, call: CallWithParts): StartAgentCallRequest {
  const settings = call.settings as CallSettings;
  const variables = call.variables as Record<string, string>;
  const agentGreeting = settingsOf(call.agent).greetingSettings;
  const text = settings.greeting ?? agentGreeting?.text ?? null;
  return {
    medium: call.number ? mediumOf(app, call, call.number) : { webRtc: {} },
    metadata: {
      callId: publicId('Call', call.id),
      organizationId: publicId('Organization', call.organizationId),
      ...(call.campaignId ? { campaignId: publicId('Campaign', call.campaignId) } : {}),
    },
    templateContext: variables,
    recordingEnabled: call.recordingEnabled,
    ...(settings.maxDuration ? { maxDuration: settings.maxDuration } : {}),
    ...(settings.joinTimeout ? { joinTimeout: settings.joinTimeout } : {}),
    ...(settings.greeting || text?.includes('{{')
      ? { firstSpeakerSettings: firstSpeakerSettings({ ...agentGreeting, text }, variables) }
      : {}),
  };
}

function mediumOf(app: App, call: CallWithParts, number: PhoneNumber): CallMedium {
  if (!call.phoneNumber) throw new Error(`Call ${call.id} has a caller ID but no number to call`);
  return mediumForNumber(app, number, call.phoneNumber);
}
