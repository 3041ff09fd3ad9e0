import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId, toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { KnowledgeBaseNode } from '../knowledge-bases/schema.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { isInSync } from '../sync/status.ts';
import { ToolNode } from '../tools/schema.ts';
import { VoiceNode } from '../voices/schema.ts';
import { createInputFields, updateInputFields } from './inputs.ts';
import { listedAgents } from './queries.ts';
import { createAgent, deleteAgent, replaceAgent, retryAgentSync, updateAgent } from './service.ts';
import { settingsOf } from './settings.ts';
import {
  BuiltInConfigType,
  GreetingSettingsType,
  InactivityMessageType,
  VadSettingsType,
} from './settings-schema.ts';

export const AgentNode = builder.prismaNode('Agent', {
  description:
    'A voice on the phone: what it says, how it sounds and what it may do. Kept in step with its copy at Ultravox.',
  authScopes: { read: true },
  id: { field: 'id', description: '`agt_` and a UUID.' },
  // Deleted ones too: a call keeps showing who took it.
  findUnique: (id, { viewer }) => ({ id, organizationId: viewer!.organizationId }),
  nullable: true,
  fields: (t) => ({
    name: t.exposeString('name', { description: 'For people. Need not be unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'A note for yourselves, never used in a call.',
    }),
    voice: t.relation('voice', { description: 'What it speaks with.' }),
    systemPrompt: t.exposeString('systemPrompt', {
      description: 'Who it is and what it does, with its {{placeholders}}.',
    }),
    model: t.exposeString('model', { description: 'The language model behind it.' }),
    tools: t.field({
      type: [ToolNode],
      description: 'Tools it may use, in the order in which they were given; at most 50.',
      complexity: { multiplier: 5 },
      select: (_args, _context, nested) => ({
        tools: { orderBy: { position: 'asc' as const }, select: { tool: nested(true) } },
      }),
      resolve: (agent) => agent.tools.map(({ tool }) => tool),
    }),
    knowledgeBases: t.field({
      type: [KnowledgeBaseNode],
      description: 'Where it looks things up; at most one.',
      select: (_args, _context, nested) => ({
        knowledgeBases: {
          orderBy: { position: 'asc' as const },
          select: { knowledgeBase: nested(true) },
        },
      }),
      resolve: (agent) => agent.knowledgeBases.map(({ knowledgeBase }) => knowledgeBase),
    }),
    temperature: t.exposeFloat('temperature', {
      description: '0 to 1; lower answers are more alike.',
    }),
    recordingEnabled: t.exposeBoolean('recordingEnabled', {
      description: 'Whether its calls are recorded unless a call says otherwise.',
    }),
    languageHint: t.expose('languageHint', {
      type: 'LanguageTag',
      nullable: true,
      description: 'The language to expect and to speak.',
    }),
    joinTimeout: t.expose('joinTimeout', {
      type: 'Duration',
      nullable: true,
      description: 'How long a call waits to be answered; null leaves it to Ultravox (30s).',
    }),
    maxDuration: t.expose('maxDuration', {
      type: 'Duration',
      nullable: true,
      description: 'How long a call may last; null leaves it to Ultravox (3600s).',
    }),
    timeExceededMessage: t.exposeString('timeExceededMessage', {
      nullable: true,
      description: 'Said right before `maxDuration` ends the call.',
    }),
    greetingSettings: t.field({
      type: GreetingSettingsType,
      nullable: true,
      description: 'How its calls begin; null: it greets in its own words.',
      select: { greetingSettings: true },
      resolve: (agent) => settingsOf(agent).greetingSettings,
    }),
    inactivityMessages: t.field({
      type: [InactivityMessageType],
      description: 'What is said into silence, one after the other.',
      select: { inactivityMessages: true },
      resolve: (agent) => settingsOf(agent).inactivityMessages,
    }),
    vadSettings: t.field({
      type: VadSettingsType,
      nullable: true,
      description: 'Fine tuning of turn taking; null leaves it to Ultravox.',
      select: { vadSettings: true },
      resolve: (agent) => settingsOf(agent).vadSettings,
    }),
    builtInConfig: t.field({
      type: BuiltInConfigType,
      nullable: true,
      description: "Which of Ultravox's own tools it may use; null: none.",
      select: { builtInConfig: true },
      resolve: (agent) => settingsOf(agent).builtInConfig,
    }),
    successCriteria: t.exposeString('successCriteria', {
      nullable: true,
      description: 'What makes a call a success; judged after each call.',
    }),
    extractionSchema: t.field({
      type: 'JSONObject',
      nullable: true,
      description: 'What is taken out of the transcript after each call, as a JSON Schema.',
      select: { extractionSchema: true },
      resolve: (agent) => settingsOf(agent).extractionSchema,
    }),
    crmWebhookUrl: t.expose('crmWebhookUrl', {
      type: 'Url',
      nullable: true,
      description: 'Gets a POST with the results after each call.',
    }),
    hasCrmWebhookSecret: t.boolean({
      description: 'Whether those POSTs are signed. The secret itself is never shown.',
      select: { crmWebhookSecret: true },
      resolve: (agent) => agent.crmWebhookSecret !== null,
    }),
    status: t.expose('status', {
      type: SyncStatusEnum,
      description:
        'ACTIVE once it can place and take calls; it stays so while a change is on its way.',
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description:
        'What keeps Ultravox from having it as it is here: its refusal, that it could not be reached, or what has to be there first. Null when all is well.',
    }),
    isInSync: t.boolean({
      description: 'Whether Ultravox has it exactly as it is here.',
      select: { revision: true, syncedRevision: true },
      resolve: isInSync,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When it was last changed.',
    }),
    deletedAt: t.expose('deletedAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When it was deleted. Only seen where an old call or `node` leads to it; queries and lists leave it out.',
    }),
  }),
});

export const AgentConnection = connectionOf(AgentNode);

const AgentFilterInput = builder.inputType('AgentFilter', {
  description: 'Which agents are wanted; what is given must all hold.',
  fields: (t) => ({
    status: t.field({
      type: [SyncStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
    name: t.string({ description: 'Part of the name, in any case.' }),
  }),
});

const AgentOrderFieldEnum = builder.enumType('AgentOrderField', {
  description: 'What agents can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When they were made.' },
    UPDATED_AT: { value: 'updatedAt', description: 'When they were last changed.' },
    NAME: { value: 'name', description: 'Their names.' },
  } as const,
});

const AgentOrderInput = builder.inputType('AgentOrder', {
  description: 'The order of a list of agents.',
  fields: (t) => ({
    field: t.field({ type: AgentOrderFieldEnum, required: true, description: 'What counts.' }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

builder.queryFields((t) => ({
  agent: t.withAuth({ read: true }).prismaField({
    type: AgentNode,
    nullable: true,
    description: 'An agent by its id; null when there is none in your organization, or no longer.',
    args: { id: t.arg.id({ required: true, description: 'Its `agt_…` id.' }) },
    resolve: (query, _root, args, { app, viewer }) =>
      app.db.agent.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('Agent', args.id), deletedAt: null },
      }),
  }),
  agents: t.withAuth({ read: true }).prismaConnection(
    {
      type: AgentNode,
      cursor: 'id',
      description: 'The agents of your organization, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: AgentFilterInput, description: 'Leaves out the others.' }),
        orderBy: t.arg({ type: AgentOrderInput, description: 'Default: newest first.' }),
      },
      totalCount: (_root, args, { app, viewer }) =>
        app.db.agent.count({ where: listedAgents(viewer!, args.filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? { field: 'createdAt', direction: 'desc' };
        return app.db.agent.findMany({
          ...query,
          where: listedAgents(viewer, args.filter),
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    AgentConnection,
  ),
}));

builder.prismaObjectField(VoiceNode, 'agents', (t) =>
  t.relatedConnection(
    'agents',
    {
      description: 'The agents that speak with it, newest first.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      query: (args) => {
        checkPage(args);
        return { where: { deletedAt: null }, orderBy: { id: 'desc' } };
      },
    },
    AgentConnection,
  ),
);

mutation('createAgent', {
  description:
    'Makes an agent and brings it to Ultravox. The answer normally shows it ACTIVE already; when Ultravox cannot be reached it stays DRAFT and follows by itself, when it refuses the agent is FAILED and `syncError` says why.',
  scope: 'write',
  input: createInputFields,
  run: async (input, { app, viewer }) => ({ agent: await createAgent(app, viewer, input) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The new agent.',
      resolve: (payload) => payload.agent ?? null,
    }),
  }),
});

mutation('updateAgent', {
  description:
    'Changes the members that are sent and leaves the others. Null clears a member or puts it back to its default; lists and nested objects are replaced as a whole. Running calls go on with what they began with.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'Its `agt_…` id.' }),
    ...updateInputFields(t),
  }),
  run: async (input, { app, viewer }) => ({ agent: await updateAgent(app, viewer, input) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The agent as it is now.',
      resolve: (payload) => payload.agent ?? null,
    }),
  }),
});

mutation('replaceAgent', {
  description:
    'Like `updateAgent`, but all that is not given goes back to its default, the CRM webhook secret included.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'Its `agt_…` id.' }),
    ...createInputFields(t),
  }),
  run: async (input, { app, viewer }) => ({ agent: await replaceAgent(app, viewer, input) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The agent as it is now.',
      resolve: (payload) => payload.agent ?? null,
    }),
  }),
});

mutation('deleteAgent', {
  description:
    'Deletes an agent, here and at Ultravox, and frees its phone numbers. Its calls stay. Refused while it has calls that have not ended, and while a campaign that is not over is to call with it (IN_USE; a draft does not count).',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'Its `agt_…` id.' }) }),
  run: async (input, { app, viewer }) => ({ agent: await deleteAgent(app, viewer, input.id) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The agent as it was, with `deletedAt`.',
      resolve: (payload) => payload.agent ?? null,
    }),
    deletedAgentId: t.id({
      nullable: true,
      description: 'The id that is no longer listed.',
      resolve: ({ agent }) => (agent ? toPublicId('Agent', agent.id) : null),
    }),
  }),
});

mutation('retryAgentSync', {
  description:
    'Sends an agent to Ultravox again now, without waiting for the next try, also when Ultravox had refused it. Does nothing when it is in step.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'Its `agt_…` id.' }) }),
  run: async (input, { app, viewer }) => ({ agent: await retryAgentSync(app, viewer, input.id) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The agent with what came of it.',
      resolve: (payload) => payload.agent ?? null,
    }),
  }),
});
