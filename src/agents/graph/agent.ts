/** Agents: the type, its list and its lookup. */
import type { Prisma } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { listCost } from '../../graphql/lists/page.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { ONLY_ORIGIN, receiverUrlFor } from '../../graphql/receiver-url.ts';
import { KnowledgeBaseNode } from '../../knowledge-bases/graph/knowledge-base.ts';
import { addSyncFields } from '../../sync/graph/sync-fields.ts';
import { SyncStatusEnum } from '../../sync/graph/sync-status.ts';
import { ToolNode } from '../../tools/graph/tool.ts';
import { ownedAndNotDeleted, ownedBy, type Viewer } from '../../viewer.ts';
import { VoiceNode } from '../../voices/graph/voice.ts';
import { LIMITS } from '../limits.ts';
import { agentsWhere } from '../search.ts';
import { settingsOf } from '../settings.ts';
import {
  BuiltInConfigType,
  GreetingSettingsType,
  InactivityMessageType,
  VadSettingsType,
} from './agent-settings.ts';

/** Options of the fields that a token for one call or campaign may read. All other fields are refused. */
const FOR_LIMITED_TOKENS = { skipTypeScopes: true, authScopes: { readCall: true } } as const;

/**
 * Limits a token for one call or campaign to its agent. Calls of a deleted campaign can still be read. They all have
 * the agent of the campaign, so it is found without searching them.
 */
function visibleTo({ onlyCallId, onlyCampaignId }: Viewer): Prisma.AgentWhereInput[] {
  const filters: Prisma.AgentWhereInput[] = [];
  if (onlyCallId) filters.push({ calls: { some: { id: onlyCallId, deletedAt: null } } });
  if (onlyCampaignId) {
    const exists = { deletedAt: null };
    const OR = [exists, { calls: { some: exists } }];
    filters.push({ campaigns: { some: { id: onlyCampaignId, OR } } });
  }
  return filters;
}

export const AgentNode = builder.prismaNode('Agent', {
  select: { id: true },
  description:
    'AI voice agent that places and takes phone calls: its prompt, voice, tools and call settings. Each change is sent to Ultravox.',
  authScopes: { read: true },
  id: {
    field: 'id',
    ...FOR_LIMITED_TOKENS,
    description: 'Node ID, `agt_` followed by a UUID.',
  },
  // Includes deleted agents, because their calls still refer to them.
  findUnique: (id, { viewer }) => {
    const filters = visibleTo(viewer!);
    // Flat where possible: Prisma batches only flat lookups into one statement.
    return { id, ...ownedBy(viewer!), ...(filters.length > 0 ? { AND: filters } : {}) };
  },
  nullable: true,
  fields: (t) => ({
    name: t.exposeString('name', {
      ...FOR_LIMITED_TOKENS,
      description: 'Display name. Not necessarily unique.',
    }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Internal note. It is not used in calls. Null if there is none.',
    }),
    voice: t.relation('voice', { description: 'Voice that the agent speaks with.' }),
    systemPrompt: t.exposeString('systemPrompt', {
      description:
        'Instructions for the language model. {{placeholders}} are replaced by the variables of a call.',
    }),
    model: t.exposeString('model', { description: 'Name of the language model.' }),
    tools: t.field({
      type: [ToolNode],
      description: `Tools that the agent can use, in the order of \`toolIds\`. At most ${LIMITS.tools}.`,
      complexity: listCost(LIMITS.tools),
      select: (_args, _context, nested) => ({
        tools: { orderBy: { position: 'asc' as const }, select: { tool: nested(true) } },
      }),
      resolve: (agent) => agent.tools.map(({ tool }) => tool),
    }),
    knowledgeBases: t.field({
      type: [KnowledgeBaseNode],
      description: 'Knowledge bases that the agent searches. At most one.',
      select: (_args, _context, nested) => ({
        knowledgeBases: {
          orderBy: { position: 'asc' as const },
          select: { knowledgeBase: nested(true) },
        },
      }),
      resolve: (agent) => agent.knowledgeBases.map(({ knowledgeBase }) => knowledgeBase),
    }),
  }),
});

/** Call settings. */
builder.prismaObjectFields('Agent', (t) => ({
  temperature: t.exposeFloat('temperature', {
    description:
      'Sampling temperature of the model, 0 to 1. Lower values make responses more predictable.',
  }),
  recordingEnabled: t.exposeBoolean('recordingEnabled', {
    description: 'Whether Ultravox records the calls of the agent. A call can override it.',
  }),
  languageHint: t.expose('languageHint', {
    type: 'LanguageTag',
    nullable: true,
    description:
      'Language that the agent expects and speaks, as a BCP 47 tag. Null if none is set.',
  }),
  joinTimeout: t.expose('joinTimeout', {
    type: 'Duration',
    nullable: true,
    description:
      'Time that a call waits to be answered. Null means the default of Ultravox, 30 seconds.',
  }),
  maxDuration: t.expose('maxDuration', {
    type: 'Duration',
    nullable: true,
    description: 'Maximum duration of a call. Null means the default of Ultravox, 3,600 seconds.',
  }),
  timeExceededMessage: t.exposeString('timeExceededMessage', {
    nullable: true,
    description:
      'Message that the agent speaks right before `maxDuration` ends the call. Null if there is none.',
  }),
  greetingSettings: t.field({
    type: GreetingSettingsType,
    nullable: true,
    description:
      'Settings for the beginning of a call. Null if the agent speaks first, in its own words.',
    select: { greetingSettings: true },
    resolve: (agent) => settingsOf(agent).greetingSettings,
  }),
  inactivityMessages: t.field({
    type: [InactivityMessageType],
    description: 'Messages that the agent speaks when the user stays silent, in order.',
    select: { inactivityMessages: true },
    resolve: (agent) => settingsOf(agent).inactivityMessages,
  }),
  vadSettings: t.field({
    type: VadSettingsType,
    nullable: true,
    description: 'Voice activity detection. Null means the defaults of Ultravox.',
    select: { vadSettings: true },
    resolve: (agent) => settingsOf(agent).vadSettings,
  }),
  builtInConfig: t.field({
    type: BuiltInConfigType,
    nullable: true,
    description: 'Built-in tools of Ultravox that the agent can use. Null if it has none.',
    select: { builtInConfig: true },
    resolve: (agent) => settingsOf(agent).builtInConfig,
  }),
}));

builder.prismaObjectFields('Agent', (t) => ({
  successCriteria: t.exposeString('successCriteria', {
    nullable: true,
    description:
      'Criteria of a successful call, by which `Call.outcome` is judged. Null if there are none.',
  }),
  extractionSchema: t.field({
    type: 'JSONObject',
    nullable: true,
    description:
      'JSON Schema of the data to extract from calls, see `Call.extractedData`. Null if there is none.',
    select: { extractionSchema: true },
    resolve: (agent) => settingsOf(agent).extractionSchema,
  }),
  crmWebhookUrl: t.field({
    type: 'Url',
    nullable: true,
    description: `URL of your CRM. The results of each call are sent to it, see \`crmWebhookEndpoint\`. Null if there is none. ${ONLY_ORIGIN}`,
    select: { crmWebhookUrl: true },
    resolve: ({ crmWebhookUrl }, _args, { viewer }) =>
      crmWebhookUrl && receiverUrlFor(viewer, crmWebhookUrl),
  }),
  hasCrmWebhookSecret: t.boolean({
    description: 'Whether a secret for the CRM webhook is stored. The secret is never returned.',
    select: { crmWebhookSecret: true },
    resolve: (agent) => agent.crmWebhookSecret !== null,
  }),
  createdAt: t.expose('createdAt', {
    type: 'DateTime',
    description: 'Time at which the agent was created.',
  }),
  updatedAt: t.expose('updatedAt', {
    type: 'DateTime',
    description: 'Time of the last change.',
  }),
  deletedAt: t.expose('deletedAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Time at which the agent was deleted. A deleted agent is reachable only through its calls and campaigns and through `node`; `agent` and `agents` omit it. Null if it is not deleted.',
  }),
}));

addSyncFields('Agent', {
  status:
    'Sync status. The agent can place and take calls once it is ACTIVE; until a change has reached Ultravox, calls use the previous revision.',
  syncError:
    'Reason why the latest revision is not at Ultravox: it was refused, Ultravox could not be reached, or an object that the agent refers to is not there yet. Null if there is none.',
});

const AgentFilterInput = builder.inputType('AgentFilter', {
  description: 'Filters for agents. All of them must match.',
  fields: (t) => ({
    status: t.field({
      type: [SyncStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    voiceId: t.id({ description: 'Agents with this voice (`voc_…`).' }),
    toolId: t.id({ description: 'Agents that can use this tool (`tol_…`).' }),
    knowledgeBaseId: t.id({
      description: 'Agents that search this knowledge base (`knb_…`).',
    }),
  }),
});

const agents = new List({
  type: AgentNode,
  items: 'agents',
  visible: ownedAndNotDeleted,
  filter: { type: AgentFilterInput, where: agentsWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    UPDATED_AT: { column: 'updatedAt', description: 'Sort by time of the last change.' },
    NAME: { column: 'name', description: 'Sort by name.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

agents.query('agents', {
  description: 'Agents of the organization. Deleted agents are not included.',
  authScopes: { read: true },
});

agents.related(VoiceNode, 'agents', {
  relation: 'agents',
  description: 'Agents that speak with the voice. Deleted agents are not included.',
});

agents.related(ToolNode, 'agents', {
  relation: 'agents',
  through: 'agent',
  description: 'Agents that can use the tool. Deleted agents are not included.',
});

agents.related(KnowledgeBaseNode, 'agents', {
  relation: 'agents',
  through: 'agent',
  description: 'Agents that search the knowledge base. Deleted agents are not included.',
});

addLookup('agent', {
  type: AgentNode,
  where: ownedAndNotDeleted,
  description:
    'Looks up an agent by ID. Null if the organization has no such agent or the agent was deleted.',
  authScopes: { read: true },
});
