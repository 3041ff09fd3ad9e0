import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId, toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { isInSync } from '../sync/status.ts';
import type {
  AutomaticParameter,
  DynamicParameter,
  StaticParameter,
  ToolAuthentication,
  ToolHttp,
} from './definition.ts';
import {
  definitionFields,
  PLACE_OF_PARAMETER,
  ToolAuthenticationKindEnum,
  ToolHttpInput,
  ToolHttpMethodEnum,
  ToolKnownValueEnum,
  ToolParameterLocationEnum,
  ToolReactionEnum,
} from './inputs.ts';
import { createTool, definitionOf, deleteTool, listedTools, updateTool } from './service.ts';

const ToolHttpType = builder.objectRef<ToolHttp>('ToolHttp').implement({
  description: 'The request a tool makes.',
  fields: (t) => ({
    url: t.expose('url', {
      type: 'Url',
      description: 'Without a query string. `{name}` in the path is filled by a PATH parameter.',
    }),
    method: t.expose('method', { type: ToolHttpMethodEnum, description: 'Of the request.' }),
  }),
});

const NAME_OF_PARAMETER = 'As the request carries it.';

const ToolDynamicParameterType = builder
  .objectRef<DynamicParameter>('ToolDynamicParameter')
  .implement({
    description: 'A parameter that the model fills in from the conversation.',
    fields: (t) => ({
      name: t.exposeString('name', { description: NAME_OF_PARAMETER }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PLACE_OF_PARAMETER,
      }),
      schema: t.expose('schema', {
        type: 'JSONObject',
        description: 'JSON Schema of the value. The model reads its descriptions.',
      }),
      required: t.exposeBoolean('required', {
        description: 'Whether the model must give a value before it can use the tool.',
      }),
    }),
  });

const ToolStaticParameterType = builder
  .objectRef<StaticParameter>('ToolStaticParameter')
  .implement({
    description: 'A parameter that always has the same value. The model does not see it.',
    fields: (t) => ({
      name: t.exposeString('name', { description: NAME_OF_PARAMETER }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PLACE_OF_PARAMETER,
      }),
      value: t.field({
        type: 'JSON',
        description: 'What is sent. Readable here, so secrets belong into `authentication`.',
        resolve: (parameter) => parameter.value,
      }),
    }),
  });

const ToolAutomaticParameterType = builder
  .objectRef<AutomaticParameter>('ToolAutomaticParameter')
  .implement({
    description: 'A parameter that Ultravox fills in with something about the call.',
    fields: (t) => ({
      name: t.exposeString('name', { description: NAME_OF_PARAMETER }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PLACE_OF_PARAMETER,
      }),
      knownValue: t.expose('knownValue', {
        type: ToolKnownValueEnum,
        description: 'What is filled in.',
      }),
    }),
  });

const ToolAuthenticationType = builder
  .objectRef<ToolAuthentication>('ToolAuthentication')
  .implement({
    description:
      'How the request of a tool is authenticated. The key itself can never be read again.',
    fields: (t) => ({
      kind: t.expose('kind', {
        type: ToolAuthenticationKindEnum,
        description: 'The way it is done.',
      }),
      name: t.exposeString('name', {
        description: 'Of the header or the query parameter, or the scheme of HTTP_AUTH.',
      }),
    }),
  });

export const ToolNode = builder.prismaNode('Tool', {
  description: 'An HTTP request that agents may make during a conversation, to look up or to do.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`tol_` and a UUID; used in the `toolIds` of agents.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    deletedAt: null,
  }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'For people. Need not be unique.' }),
    modelToolName: t.exposeString('modelToolName', {
      description:
        'The identifier the model sees and may mention. No two tools of one agent have the same.',
    }),
    description: t.exposeString('description', {
      description: 'What the model is told about what the tool does and when to use it.',
    }),
    http: t.field({
      type: ToolHttpType,
      description: 'The request it makes.',
      resolve: (tool) => definitionOf(tool).http,
    }),
    dynamicParameters: t.field({
      type: [ToolDynamicParameterType],
      description: 'What the model fills in.',
      resolve: (tool) => definitionOf(tool).dynamicParameters,
    }),
    staticParameters: t.field({
      type: [ToolStaticParameterType],
      description: 'What is always the same.',
      resolve: (tool) => definitionOf(tool).staticParameters,
    }),
    automaticParameters: t.field({
      type: [ToolAutomaticParameterType],
      description: 'What Ultravox fills in about the call.',
      resolve: (tool) => definitionOf(tool).automaticParameters,
    }),
    authentication: t.field({
      type: [ToolAuthenticationType],
      description: 'How the request is authenticated, without the keys. Empty: not at all.',
      resolve: (tool) => definitionOf(tool).authentication,
    }),
    timeout: t.field({
      type: 'Duration',
      nullable: true,
      description: 'How long the agent waits for the answer; null is Ultravox’s own 2.5 s.',
      resolve: (tool) => definitionOf(tool).timeout,
    }),
    precomputable: t.boolean({
      description:
        'Whether Ultravox may make the request ahead of need, and in vain: only for requests that change nothing.',
      resolve: (tool) => definitionOf(tool).precomputable,
    }),
    defaultReaction: t.field({
      type: ToolReactionEnum,
      description: 'What the agent does with the result, unless the answer itself says otherwise.',
      resolve: (tool) => definitionOf(tool).defaultReaction,
    }),
    staticResponse: t.string({
      nullable: true,
      description: 'What the model is told at once in place of the answer; null: it waits for it.',
      resolve: (tool) => definitionOf(tool).staticResponse,
    }),
    status: t.expose('status', {
      type: SyncStatusEnum,
      description: 'ACTIVE as soon as agents can use it.',
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description:
        'Why the latest change is not at Ultravox: its refusal, or that it could not be reached. Null when all is well.',
    }),
    isInSync: t.boolean({
      description: 'Whether Ultravox has it exactly as it is here.',
      select: { revision: true, syncedRevision: true },
      resolve: isInSync,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it last changed.' }),
  }),
});

export const ToolConnection = connectionOf(ToolNode);

const ToolFilterInput = builder.inputType('ToolFilter', {
  description: 'Which tools are wanted; what is given must all hold.',
  fields: (t) => ({
    name: t.string({ description: 'Part of the name, in any case.' }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
  }),
});

const ToolOrderFieldEnum = builder.enumType('ToolOrderField', {
  description: 'What tools can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When they were made.' },
    UPDATED_AT: { value: 'updatedAt', description: 'When they last changed.' },
    NAME: { value: 'name', description: 'Their names.' },
  } as const,
});

const ToolOrderInput = builder.inputType('ToolOrder', {
  description: 'The order of a list of tools.',
  fields: (t) => ({
    field: t.field({ type: ToolOrderFieldEnum, required: true, description: 'What counts.' }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

builder.queryFields((t) => ({
  tools: t.withAuth({ read: true }).prismaConnection(
    {
      type: ToolNode,
      cursor: 'id',
      description: 'The tools of your organization, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: ToolFilterInput, description: 'Leaves out the others.' }),
        orderBy: t.arg({ type: ToolOrderInput, description: 'Default: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.tool.count({ where: listedTools(viewer!, filter ?? {}) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? { field: 'createdAt', direction: 'desc' };
        return app.db.tool.findMany({
          ...query,
          where: listedTools(viewer, args.filter ?? {}),
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    ToolConnection,
  ),
  tool: t.withAuth({ read: true }).prismaField({
    type: ToolNode,
    nullable: true,
    description: 'One tool; null when there is none with this id in your organization.',
    args: { id: t.arg.id({ required: true, description: 'A `tol_…` id.' }) },
    resolve: (query, _root, args, { app, viewer }) =>
      app.db.tool.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('Tool', args.id), deletedAt: null },
      }),
  }),
}));

mutation('createTool', {
  description:
    'Makes a tool. It is ACTIVE in the answer unless Ultravox is away (then it follows by itself) or refuses it (`status` FAILED, `syncError`).',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: 'For people; 1 to 255 characters.' }),
    modelToolName: t.string({
      description:
        'What the model calls it: 1 to 64 letters, digits, "_" or "-". Default: `name` in snake_case.',
    }),
    description: t.string({
      required: true,
      description: 'Tells the model what it does and when to use it; 1 to 2000 characters.',
    }),
    http: t.field({ type: ToolHttpInput, required: true, description: 'The request it makes.' }),
    ...definitionFields(t, false),
  }),
  run: async (input, { app, viewer }) => ({ tool: await createTool(app, viewer, input) }),
  payload: (t) => ({
    tool: t.field({
      type: ToolNode,
      nullable: true,
      description: 'The new tool.',
      resolve: (payload) => payload.tool ?? null,
    }),
  }),
});

mutation('updateTool', {
  description:
    'Changes a tool. What is not sent stays. Agents that use it have the change with their next call.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `tol_…` id.' }),
    name: t.string({ description: '1 to 255 characters. Does not change `modelToolName`.' }),
    modelToolName: t.string({ description: '1 to 64 letters, digits, "_" or "-".' }),
    description: t.string({ description: '1 to 2000 characters.' }),
    http: t.field({
      type: ToolHttpInput,
      description: 'The request it makes. The method stays if it is left out.',
    }),
    ...definitionFields(t, true),
  }),
  run: async (input, { app, viewer }) => ({ tool: await updateTool(app, viewer, input) }),
  payload: (t) => ({
    tool: t.field({
      type: ToolNode,
      nullable: true,
      description: 'The tool as it is now.',
      resolve: (payload) => payload.tool ?? null,
    }),
  }),
});

mutation('deleteTool', {
  description:
    'Deletes a tool, here and at Ultravox. Refused with IN_USE while agents use it; `details.agentIds` names up to 100 of them.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `tol_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    deletedToolId: toPublicId('Tool', await deleteTool(app, viewer, input.id)),
  }),
  payload: (t) => ({
    deletedToolId: t.id({
      nullable: true,
      description: 'The id that is no longer there.',
      resolve: (payload) => payload.deletedToolId ?? null,
    }),
  }),
});
