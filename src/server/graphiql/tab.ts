/** A GraphiQL tab with an example operation. */
export interface Tab {
  query: string;
  variables?: Record<string, unknown>;
}

/** IDs for the variables of the tabs. */
export interface TabIds {
  voiceId: string;
  agentId: string;
  numberId: string;
  campaignId: string;
  callId: string;
  endpointId: string;
}
