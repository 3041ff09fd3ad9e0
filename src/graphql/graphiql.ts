/** GraphiQL at `/graphql`, served by us; nothing is loaded from anywhere else. */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { renderGraphiQL as render } from '@graphql-yoga/render-graphiql';
import type { GraphiQLOptions } from 'graphql-yoga';

export interface GraphiQLSettings {
  /** Filled in as the header; only for the demo organisation. */
  demoKey: string | null;
  /** Ids for the variables of the tabs, read anew for each page; absent ones are left as a hint. */
  ids(): Promise<{ voiceId?: string; agentId?: string; numberId?: string; campaignId?: string }>;
}

interface Tab {
  query: string;
  variables?: Record<string, unknown>;
}

/** The main job as tabs, in the order in which one would do it. */
function walk(ids: Awaited<ReturnType<GraphiQLSettings['ids']>>): Tab[] {
  const voiceId = ids.voiceId ?? 'voc_… from tab 1';
  const agentId = ids.agentId ?? 'agt_… from tab 2';
  const numberId = ids.numberId ?? 'num_… from tab 3';
  const campaignId = ids.campaignId ?? 'cmp_… from tab 9';
  return [
    {
      query: `# 1. Who am I, and which voices are there?
# Press the play button (or Ctrl-Enter). The tabs go through the main job, left to right.
query Welcome {
  viewer {
    organization { id name }
    scopes
  }
  voices(first: 5, filter: { language: "en" }) {
    totalCount
    nodes { id name provider language previewUrl }
  }
}`,
    },
    {
      query: `# 2. An agent. It is ACTIVE once Ultravox has it. Keep its id for tabs 4 and 5.
mutation CreateAgent($input: CreateAgentInput!) {
  createAgent(input: $input) {
    agent { id name status syncError voice { name } }
    userErrors { code message path }
  }
}`,
      variables: {
        input: {
          name: 'Customer support',
          voiceId,
          systemPrompt: 'You are a helpful support agent. The customer is {{first_name}}.',
          greetingSettings: { firstSpeaker: 'AGENT', text: 'Hello! How can I help you today?' },
          maxDuration: '300s',
        },
      },
    },
    {
      query: `# 3. A phone number of yours. Credentials are encrypted and never shown again.
# Keep its id for tab 4.
mutation ImportPhoneNumber($input: ImportPhoneNumberInput!) {
  importPhoneNumber(input: $input) {
    phoneNumber { id phoneNumber provider status }
    userErrors { code message path }
  }
}`,
      variables: {
        input: {
          phoneNumber: '+14155550123',
          name: 'Support line',
          provider: {
            sip: { server: 'sip.example.com', username: 'support', password: 'a-password' },
          },
        },
      },
    },
    {
      query: `# 4. Give the number to the agent, for calls out: an agent without a number cannot call.
# \`id\` is the number from tab 3, \`agentId\` the agent from tab 2. The ids filled in below are
# those of the demo agent and its number, which has it already.
mutation AssignPhoneNumber($input: AssignPhoneNumberInput!) {
  assignPhoneNumber(input: $input) {
    phoneNumber { id phoneNumber outboundAgent { id name } }
    userErrors { code message path }
  }
}`,
      variables: { input: { id: numberId, agentId, direction: 'OUTBOUND' } },
    },
    {
      query: `# 5. Call somebody, with your agent's id from tab 2 or, as filled in, the demo agent. Without
# \`fromNumber\` it calls from one of the agent's numbers; NO_PHONE_NUMBER_CONFIGURED: see tab 4.
# In the simulator the last four digits of \`phoneNumber\` decide what happens: 0001 busy,
# 0002 rejected, 0003 no answer, 0008 talks to the limit; others answer and talk.
mutation CreateCall($input: CreateCallInput!) {
  createCall(input: $input) {
    call { id status fromNumber toNumber agent { name } }
    userErrors { code message path }
  }
}`,
      variables: {
        input: {
          agentId,
          phoneNumber: '+14155550142',
          variables: { first_name: 'Ada' },
          metadata: { orderId: '17' },
        },
      },
    },
    {
      query: `# 6. Watch it live: ring, talk, end, bill. after: "0" first replays what has happened,
# then goes on; leave it out to begin now.
subscription CallEvents($after: Cursor) {
  callEvents(after: $after) {
    cursor
    type
    occurredAt
    endReason
    call { id status toNumber durationSeconds cost { amount currency } }
  }
}`,
      variables: { after: '0' },
    },
    {
      query: `# 7. The whole graph in one question: agents, their calls, each call's number and events.
query Overview {
  eventCursor
  agents(first: 10) {
    totalCount
    nodes {
      name
      status
      calls(first: 5) {
        totalCount
        nodes {
          id
          status
          endReason
          toNumber
          durationSeconds
          cost { amount currency }
          number { phoneNumber name }
          events { nodes { sequence type occurredAt } }
        }
      }
    }
  }
}`,
    },
    {
      query: `# 8. A campaign, tabs 8 to 12: many people, one agent, a schedule. First, without saving
# anything: how long would 500 calls take on working days from 9 to 17 o'clock?
# Also for a folder (contactFolderId), contacts (contactIds) or a campaign (campaignId).
query CampaignForecast($input: CampaignForecastInput!) {
  campaignForecast(input: $input) {
    fits
    calls
    firstCallAt
    endsAt
    problems { code message }
    hours(first: 24) { totalCount nodes { from calls } }
  }
}`,
      variables: {
        input: {
          contactCount: 500,
          timezone: 'Europe/Berlin',
          startTime: '09:00',
          endTime: '17:00',
          maxConcurrentCalls: 5,
        },
      },
    },
    {
      query: `# 9. The campaign, as a draft: nobody is called yet. The list is a CSV, given as text because no
# file can be chosen here; with curl it is an upload (see the type Upload). A folder, contacts or
# rows do as well. In the simulator 0001 is busy and 0003 does not answer (tab 5): both are tried
# again once. Tabs 10 to 12 have the id of the demo’s own draft: put this one there.
mutation CreateCampaign($input: CreateCampaignInput!) {
  createCampaign(input: $input) {
    campaign { id status counts { total pending } }
    addedCount
    duplicateCount
    problems { row reason }
    warnings { code message }
    userErrors { code message path }
  }
}`,
      variables: {
        input: {
          name: 'Spring offer',
          agentId,
          contactsFile:
            'client id,phone,first name\n1,+1 415 555 0142,Ada\n2,+1 415 555 0143,Grace\n3,+1 415 555 0001,Alan\n4,+1 415 555 0003,Kurt\n5,not a number,Nobody',
          workingDays: [1, 2, 3, 4, 5, 6, 7],
          maxConcurrentCalls: 2,
          retryFailed: true,
          maxRetryAttempts: 1,
          retryDelay: '60s',
        },
      },
    },
    {
      query: `# 10. Start it, now or at a scheduledAt. From here on it can be paused (pauseCampaign), gone on
# with (resumeCampaign), changed (updateCampaign) and stopped for good (cancelCampaign).
mutation ScheduleCampaign($input: ScheduleCampaignInput!) {
  scheduleCampaign(input: $input) {
    campaign { id status nextDispatchAt holdReason }
    warnings { code message }
    userErrors { code message path }
  }
}`,
      variables: { input: { id: campaignId } },
    },
    {
      query: `# 11. Watch its counters, at most four times a second, until it is over. For each single call:
# tab 6 with callEvents(campaignId:).
subscription CampaignProgress($id: ID!) {
  campaignProgress(campaignId: $id) {
    status
    statusReason
    holdReason
    nextDispatchAt
    counts { total pending calling called completed failed skipped cancelled }
  }
}`,
      variables: { id: campaignId },
    },
    {
      query: `# 12. Why was somebody called, or not? Each contact with its calls and every decision about it.
query CampaignContacts($id: ID!) {
  campaign(id: $id) {
    name
    status
    contacts(first: 20) {
      totalCount
      nodes {
        clientId
        phoneNumber
        status
        attempts
        endReason
        nextEligibleAt
        waitingFor
        calls { nodes { id status attempt fromNumber durationSeconds } }
        decisions { nodes { at outcome reason message } }
      }
    }
  }
}`,
      variables: { id: campaignId },
    },
  ];
}

/** The page as it is sent; `gzip` when the browser takes it. */
export interface GraphiQLPage {
  body: string | Buffer;
  gzip: boolean;
}

const compress = promisify(gzip);

/** Pages differ by their options only, of which there are few; a page is megabytes. */
export function createGraphiQL(settings: GraphiQLSettings): {
  page(options: { withKey: boolean; gzip: boolean }): Promise<GraphiQLPage>;
} {
  const pages = new Map<string, { html: string; zipped: Promise<Buffer> | null }>();
  return {
    async page({ withKey, gzip }) {
      const options = await graphiqlOptions(settings, withKey);
      const key = JSON.stringify(options);
      const page = pages.get(key) ?? { html: renderGraphiQL(options), zipped: null };
      pages.delete(key);
      pages.set(key, page);
      const [oldest] = pages.keys();
      if (pages.size > 4 && oldest !== undefined) pages.delete(oldest);
      if (!gzip) return { body: page.html, gzip };
      page.zipped ??= compress(page.html);
      return { body: await page.zipped, gzip };
    },
  };
}

async function graphiqlOptions(
  settings: GraphiQLSettings,
  withKey: boolean,
): Promise<GraphiQLOptions> {
  const demoKey = withKey ? settings.demoKey : null;
  const headers = JSON.stringify({ Authorization: `Bearer ${demoKey ?? 'truedy_…'}` }, null, 2);
  const tabs = walk(demoKey ? await settings.ids() : {});
  return {
    title: 'Truedy GraphQL',
    headers,
    defaultHeaders: headers,
    // A key that somebody pastes is not left behind in the browser.
    shouldPersistHeaders: demoKey !== null,
    subscriptionsProtocol: 'SSE',
    defaultEditorToolsVisibility: 'variables',
    defaultTabs: tabs.map(({ query, variables }) => ({
      query,
      variables: variables ? JSON.stringify(variables, null, 2) : null,
      headers,
    })),
  };
}

/**
 * GraphiQL lets tabs be dragged, and takes the first press on one for the beginning of a drag: the
 * tab jumps aside, and the click misses it. Kept in place, tabs can be clicked.
 */
const STYLE = '<style>.graphiql-tab { transform: none !important; }</style>';

function renderGraphiQL(options: GraphiQLOptions): string {
  return render(options).replace('</head>', () => `${STYLE}</head>`);
}
