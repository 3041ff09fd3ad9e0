/** A delivery that a process has claimed, with its endpoint. */
import type { Agent, WebhookEndpoint } from '../generated/prisma/client.ts';

export type Endpoint = WebhookEndpoint & {
  /** Agent whose CRM webhook this is; null for other endpoints. */
  agent: Pick<Agent, 'id' | 'crmWebhookSecret'> | null;
};

export interface ClaimedDelivery {
  id: string;
  claimId: string;
  /** Number of attempts so far, including those before a replay. */
  attemptCount: number;
  /** Number of attempts since it was last queued. */
  tries: number;
  messageId: string;
  body: string;
}
