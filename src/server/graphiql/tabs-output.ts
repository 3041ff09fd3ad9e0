/** GraphiQL tabs about statistics, webhooks and files. */
import type { Tab, TabIds } from './tab.ts';

const DAY_MS = 86_400_000;

/** The last three weeks and today, in whole days (UTC), so that the page changes only once a day. */
function lastWeeks(): { from: string; to: string } {
  const midnight = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const [from, to] = [midnight - 21 * DAY_MS, midnight + DAY_MS];
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
}

const analytics = ({ agentId }: TabIds): Tab => ({
  query: `# 17. Figures of three weeks: by day, by end reason, and of
# one agent. AnalyticsGroupBy lists the other groupings.
query Analytics($range: AnalyticsRange!, $agentId: ID!) {
  days: analytics(range: $range, timezone: "Europe/Berlin", groupBy: [DAY]) {
    total { callCount answeredCount answerRate successRate averageHandleSeconds medianHandleSeconds cost { amount currency } }
    groups { start figures { callCount answerRate successRate averageHandleSeconds } }
  }
  ends: analytics(range: $range, groupBy: [END_REASON]) {
    groups { endReason figures { callCount } }
  }
  agent(id: $agentId) {
    name
    figures(range: $range) { callCount successRate totalHandleSeconds }
  }
}`,
  variables: { range: lastWeeks(), agentId },
});

const webhooks = (): Tab => ({
  query: `# 18. Webhook endpoints and their deliveries. The demo
# has an endpoint at the simulator; create others with
# createWebhookEndpoint.
query Webhooks {
  webhookEndpoints(first: 10) {
    nodes {
      id
      url
      enabled
      eventTypes
      deliveries(first: 10) {
        totalCount
        nodes {
          eventType
          status
          cursor
          body
          attempts { nodes { startedAt durationSeconds statusCode error responseBody } }
        }
      }
    }
  }
}`,
});

const testWebhook = ({ endpointId }: TabIds): Tab => ({
  query: `# 19. Send a test event to an endpoint of tab 18.
# Tab 18 then shows its delivery.
mutation SendTestWebhook($input: SendTestWebhookInput!) {
  sendTestWebhook(input: $input) {
    webhookDelivery { id eventId status }
    userErrors { code message path }
  }
}`,
  variables: { input: { id: endpointId } },
});

const exports = ({ campaignId }: TabIds): Tab => ({
  query: `# 20. Download all calls, and the contacts of a campaign.
# Open the links in a browser.
mutation Exports($calls: ExportCallsInput!, $contacts: ExportCampaignContactsInput!) {
  exportCalls(input: $calls) {
    url
    callCount
    userErrors { message }
  }
  exportCampaignContacts(input: $contacts) {
    url
    contactCount
    userErrors { message }
  }
}`,
  variables: { calls: { format: 'CSV' }, contacts: { campaignId, format: 'CSV' } },
});

export const OUTPUT_TABS = [analytics, webhooks, testWebhook, exports];
