/** The GraphiQL tabs: the main tasks, in the usual order. */

import type { Tab, TabIds } from './tab.ts';
import { AFTER_CALL_TABS } from './tabs-after-call.ts';
import { OUTPUT_TABS } from './tabs-output.ts';

/** The tabs. If an ID is absent, the variables name the tab that returns it. */
export function graphiqlTabs(ids: Partial<TabIds>): Tab[] {
  const known: TabIds = {
    voiceId: ids.voiceId ?? 'voc_… from tab 1',
    agentId: ids.agentId ?? 'agt_… from tab 2',
    numberId: ids.numberId ?? 'num_… from tab 3',
    campaignId: ids.campaignId ?? 'cmp_… from tab 9',
    callId: ids.callId ?? 'cal_… from tab 13',
    endpointId: ids.endpointId ?? 'whe_… from tab 18',
  };
  return TABS.map((tab) => tab(known));
}

const welcome = (): Tab => ({
  query: `# 1. The caller, and some voices. Press the play
# button or Ctrl-Enter. The tabs cover the main
# tasks, from left to right.
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
});

const createAgent = ({ voiceId }: TabIds): Tab => ({
  query: `# 2. Create an agent. It is ACTIVE once Ultravox
# has it. Copy its id for tabs 4 and 5.
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
});

const importPhoneNumber = (): Tab => ({
  query: `# 3. Import a phone number. Credentials are
# stored encrypted and never returned. Copy its
# id for tab 4.
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
});

const assignPhoneNumber = ({ agentId, numberId }: TabIds): Tab => ({
  query: `# 4. Assign the number to the agent for outbound
# calls, which need a number. \`id\` is the
# number from tab 3, \`agentId\` the agent from
# tab 2. The IDs below are those of the demo
# agent and of a number that is already assigned
# to it.
mutation AssignPhoneNumber($input: AssignPhoneNumberInput!) {
  assignPhoneNumber(input: $input) {
    phoneNumber { id phoneNumber outboundAgent { id name } }
    userErrors { code message path }
  }
}`,
  variables: { input: { id: numberId, agentId, direction: 'OUTBOUND' } },
});

const createCall = ({ agentId }: TabIds): Tab => ({
  query: `# 5. Place a call with your agent from tab 2, or
# with the demo agent below. Without
# \`fromNumber\` it uses one of the agent's
# numbers. NO_PHONE_NUMBER_CONFIGURED: see tab 4.
# In the simulator the last four digits of
# \`phoneNumber\` decide what happens: 0001 busy,
# 0002 rejected, 0003 no answer, 0008 talks until
# the maximum duration; others answer and talk.
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
});

const callEvents = (): Tab => ({
  query: `# 6. Follow calls live: ringing, answered, ended,
# billed. after: "0" replays past events first.
# Omit it to receive only new events.
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
});

const overview = (): Tab => ({
  query: `# 7. One query across the graph: agents, their
# calls, and the number and events of each call.
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
});

const campaignForecast = (): Tab => ({
  query: `# 8. Tabs 8 to 12: a campaign calls many contacts
# with one agent, on a schedule. First a
# forecast, which saves nothing: how long would
# 500 calls take on working days from 9:00 to
# 17:00? It also takes a folder
# (contactFolderId), contacts (contactIds) or a
# campaign (campaignId).
query CampaignForecast($input: CampaignForecastInput!) {
  campaignForecast(input: $input) {
    fits
    callCount
    firstCallAt
    endsAt
    problems { code message }
    hours(first: 24) { totalCount nodes { from callCount } }
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
});

const createCampaign = ({ agentId }: TabIds): Tab => ({
  query: `# 9. Create a campaign as a draft, which calls
# nobody yet. The contacts are a CSV file, pasted
# between \`"""\` since GraphiQL cannot select
# files; curl can upload it (see the type
# Upload). A folder, contact IDs or rows work
# too. In the simulator 0001 is busy and 0003
# does not answer (tab 5); both are retried once,
# after 10 seconds. Tabs 10 to 12 contain the ID of
# a demo draft; replace it with the ID returned here.
mutation CreateCampaign($agentId: ID!, $name: String!) {
  createCampaign(input: {
    name: $name
    agentId: $agentId
    contactsFile: """
    client id,phone,first name
    1,+1 415 555 0142,Ada
    2,+1 415 555 0143,Grace
    3,+1 415 555 0001,Alan
    4,+1 415 555 0003,Kurt
    5,not a number,Nobody
    """
    workingDays: [1, 2, 3, 4, 5, 6, 7]
    maxConcurrentCalls: 2
    retryFailed: true
    maxRetryAttempts: 1
    retryDelay: "10s"
  }) {
    campaign { id status counts { total pending } }
    addedCount
    duplicateCount
    problems { row reason }
    warnings { code message }
    userErrors { code message path }
  }
}`,
  variables: { agentId, name: 'Spring offer' },
});

const scheduleCampaign = ({ campaignId }: TabIds): Tab => ({
  query: `# 10. Start the campaign, now or at
# \`scheduledAt\`. It can then be paused
# (pauseCampaign), resumed (resumeCampaign),
# updated (updateCampaign) and canceled
# (cancelCampaign).
mutation ScheduleCampaign($input: ScheduleCampaignInput!) {
  scheduleCampaign(input: $input) {
    campaign { id status nextDispatchAt holdReason }
    warnings { code message }
    userErrors { code message path }
  }
}`,
  variables: { input: { id: campaignId } },
});

const campaignProgress = ({ campaignId }: TabIds): Tab => ({
  query: `# 11. Follow the counters of the campaign until
# it ends, at most four times per second. For
# single calls, use tab 6 with
# callEvents(campaignId:).
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
});

const campaignContacts = ({ campaignId }: TabIds): Tab => ({
  query: `# 12. Each contact with its calls, and the
# decisions that explain why it was or was not
# called.
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
        attemptCount
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
});

const TABS = [
  welcome,
  createAgent,
  importPhoneNumber,
  assignPhoneNumber,
  createCall,
  callEvents,
  overview,
  campaignForecast,
  createCampaign,
  scheduleCampaign,
  campaignProgress,
  campaignContacts,
  ...AFTER_CALL_TABS,
  ...OUTPUT_TABS,
];
