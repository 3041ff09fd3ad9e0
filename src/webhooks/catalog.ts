/** Events sent as webhooks, and the event log types they come from. */
import type { EventType } from '../generated/prisma/enums.ts';
import { LINK_MINUTES } from '../organizations/download-links.ts';

export type Subject = 'call' | 'campaign' | 'agent' | 'voice' | 'endpoint';

interface WebhookEvent {
  /** Name in the graph. */
  readonly name: string;
  /** Event log types for which it is sent. */
  readonly from: readonly EventType[];
  /** The kind of object that its `data` contains. */
  readonly about: Subject;
  readonly description: string;
}

/** Keyed by the name that is sent. */
export const WEBHOOK_EVENTS = {
  'call.started': {
    name: 'CALL_STARTED',
    from: ['CALL_CREATED'],
    about: 'call',
    description: 'A call was created, or an inbound call arrived.',
  },
  'call.joined': {
    name: 'CALL_JOINED',
    from: ['CALL_IN_PROGRESS'],
    about: 'call',
    description: 'The call was answered.',
  },
  'call.ended': {
    name: 'CALL_ENDED',
    from: ['CALL_COMPLETED', 'CALL_FAILED', 'CALL_CANCELLED'],
    about: 'call',
    description: 'The call ended, for any reason. See `data.status` and `data.endReason`.',
  },
  'call.failed': {
    name: 'CALL_FAILED',
    from: ['CALL_FAILED'],
    about: 'call',
    description:
      'The call ended without a conversation, or by a fault. Sent in addition to `call.ended`.',
  },
  'call.billed': {
    name: 'CALL_BILLED',
    from: ['CALL_BILLED'],
    about: 'call',
    description:
      'The call was billed or refunded, or its bill has changed. Not sent for calls that were never placed. `data.call.cost` is known.',
  },
  'call.analyzed': {
    name: 'CALL_ANALYZED',
    from: ['CALL_ANALYZED'],
    about: 'call',
    description:
      'The transcript, summary, outcome and extracted data of an answered call are available, or were given up. Sent again after `analyzeCall`, but not for a summary that Ultravox writes later than two minutes after the end.',
  },
  'call.recording.ready': {
    name: 'CALL_RECORDING_READY',
    from: ['CALL_RECORDING_READY'],
    about: 'call',
    description: `The recording of a call can be played. Read \`Call.recording.url\` for a link, which expires after ${LINK_MINUTES} minutes.`,
  },
  'call.recording.failed': {
    name: 'CALL_RECORDING_FAILED',
    from: ['CALL_RECORDING_FAILED'],
    about: 'call',
    description:
      'There will be no recording of a call, although it was answered and recording was enabled.',
  },
  'batch.status.changed': {
    name: 'BATCH_STATUS_CHANGED',
    from: [
      'CAMPAIGN_SCHEDULED',
      'CAMPAIGN_STARTED',
      'CAMPAIGN_PAUSED',
      'CAMPAIGN_RESUMED',
      'CAMPAIGN_COMPLETED',
      'CAMPAIGN_FAILED',
      'CAMPAIGN_CANCELLED',
    ],
    about: 'campaign',
    description: 'The status of a campaign changed.',
  },
  'batch.completed': {
    name: 'BATCH_COMPLETED',
    from: ['CAMPAIGN_COMPLETED'],
    about: 'campaign',
    description:
      'Every contact of a campaign has been handled. Sent in addition to `batch.status.changed`.',
  },
  'agent.synced': {
    name: 'AGENT_SYNCED',
    from: ['AGENT_SYNCED'],
    about: 'agent',
    description: 'Ultravox has the latest revision of an agent.',
  },
  'agent.failed': {
    name: 'AGENT_FAILED',
    from: ['AGENT_FAILED'],
    about: 'agent',
    description:
      'Ultravox rejected the latest revision of an agent. `data.error` contains the reason.',
  },
  'voice.training.completed': {
    name: 'VOICE_TRAINING_COMPLETED',
    from: ['VOICE_SYNCED'],
    about: 'voice',
    description: 'A voice that the organization added is ready for use.',
  },
  'voice.training.failed': {
    name: 'VOICE_TRAINING_FAILED',
    from: ['VOICE_FAILED'],
    about: 'voice',
    description:
      'Ultravox rejected a voice that the organization added. `data.error` contains the reason.',
  },
  'webhook_endpoint.disabled': {
    name: 'WEBHOOK_ENDPOINT_DISABLED',
    from: ['WEBHOOK_ENDPOINT_DISABLED'],
    about: 'endpoint',
    description:
      'Another webhook endpoint was disabled because it failed for five days or answered 410.',
  },
} as const satisfies Record<string, WebhookEvent>;

export type WebhookEventName = keyof typeof WEBHOOK_EVENTS;

/** Sent only by `sendTestWebhook`, to any endpoint. */
export const TEST_EVENT = 'webhook.test';
/** Sent only to the CRM webhook of an agent. */
export const RESULTS_EVENT = 'call.results';
/** Event types that trigger it: the analysis of a call, or the end of a call that has none. */
const RESULTS_FROM: readonly EventType[] = [
  'CALL_ANALYZED',
  'CALL_COMPLETED',
  'CALL_FAILED',
  'CALL_CANCELLED',
];

/** Events that are sent because of an event of the log. */
export type MessageName = WebhookEventName | typeof RESULTS_EVENT;

export function subjectOf(name: MessageName): Subject {
  return name === RESULTS_EVENT ? 'call' : WEBHOOK_EVENTS[name].about;
}

const NAMES_OF_TYPE = new Map<EventType, WebhookEventName[]>();
for (const [name, { from }] of Object.entries(WEBHOOK_EVENTS) as [
  WebhookEventName,
  WebhookEvent,
][]) {
  for (const type of from) {
    NAMES_OF_TYPE.set(type, [...(NAMES_OF_TYPE.get(type) ?? []), name]);
  }
}

/** Names of the events sent to endpoints of the organization for an event of the log. */
export function eventNamesOf(type: EventType): readonly WebhookEventName[] {
  return NAMES_OF_TYPE.get(type) ?? [];
}

/** Whether an event of the log may have to be sent to the agent's CRM webhook. */
export function mayTriggerResults(type: EventType): boolean {
  return RESULTS_FROM.includes(type);
}
