/** A delivery that a process has claimed, with the endpoint that it is sent to. */
import type { Agent, WebhookEndpoint } from '../generated/prisma/client.ts';

export type Endpoint = WebhookEndpoint & {
  /** The agent whose CRM webhook this is. */
  agent: Pick<Agent, 'id' | 'crmWebhookSecret'> | null;
};

export interface ClaimedDelivery {
  id: string;
  claimId: string;
  /** Attempts so far, including those before a replay. */
  attemptCount: number;
  /** Attempts since it was queued, or queued again. */
  tries: number;
  messageId: string;
  body: string;
}
