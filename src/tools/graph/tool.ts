/** Tools: the type, its list and its lookup. */
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { addSyncFields } from '../../sync/graph/sync-fields.ts';
import { SyncStatusEnum } from '../../sync/graph/sync-status.ts';
import { nameAndStatusWhere } from '../../sync/search.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import type {
  AutomaticParameter,
  DynamicParameter,
  StaticParameter,
  ToolAuthentication,
  ToolHttp,
} from '../definition.ts';
import { definitionOf } from '../service.ts';
import {
  PARAMETER_LOCATION,
  ToolAuthenticationKindEnum,
  ToolHttpMethodEnum,
  ToolKnownValueEnum,
  ToolParameterLocationEnum,
  ToolReactionEnum,
} from './tool-inputs.ts';

const ToolHttpType = builder.objectRef<ToolHttp>('ToolHttp').implement({
  description: 'HTTP request that a tool makes.',
  fields: (t) => ({
    url: t.expose('url', {
      type: 'Url',
      description:
        'URL without a query string. A PATH parameter replaces each `{name}` in its path.',
    }),
    method: t.expose('method', {
      type: ToolHttpMethodEnum,
      description: 'HTTP method of the request.',
    }),
  }),
});

const PARAMETER_NAME = 'Name of the parameter in the request.';

const ToolDynamicParameterType = builder
  .objectRef<DynamicParameter>('ToolDynamicParameter')
  .implement({
    description: 'Parameter whose value the model takes from the conversation.',
    fields: (t) => ({
      name: t.exposeString('name', { description: PARAMETER_NAME }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PARAMETER_LOCATION,
      }),
      schema: t.expose('schema', {
        type: 'JSONObject',
        description: 'JSON Schema of the value. The model reads the descriptions in it.',
      }),
      required: t.exposeBoolean('required', {
        description: 'Whether the model must provide a value to invoke the tool.',
      }),
    }),
  });

const ToolStaticParameterType = builder
  .objectRef<StaticParameter>('ToolStaticParameter')
  .implement({
    description: 'Parameter with a fixed value. The model does not see it.',
    fields: (t) => ({
      name: t.exposeString('name', { description: PARAMETER_NAME }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PARAMETER_LOCATION,
      }),
      value: t.field({
        type: 'JSON',
        description: 'Value that is sent. Use `authentication` for secrets.',
        resolve: (parameter) => parameter.value,
      }),
    }),
  });

const ToolAutomaticParameterType = builder
  .objectRef<AutomaticParameter>('ToolAutomaticParameter')
  .implement({
    description: 'Parameter that Ultravox fills in with a value about the call.',
    fields: (t) => ({
      name: t.exposeString('name', { description: PARAMETER_NAME }),
      location: t.expose('location', {
        type: ToolParameterLocationEnum,
        description: PARAMETER_LOCATION,
      }),
      knownValue: t.expose('knownValue', {
        type: ToolKnownValueEnum,
        description: 'Value that Ultravox fills in.',
      }),
    }),
  });

const ToolAuthenticationType = builder
  .objectRef<ToolAuthentication>('ToolAuthentication')
  .implement({
    description: 'Authentication of the request of a tool. The key or token is never returned.',
    fields: (t) => ({
      kind: t.expose('kind', {
        type: ToolAuthenticationKindEnum,
        description: 'Authentication method.',
      }),
      name: t.exposeString('name', {
        description: 'Name of the header or query parameter, or the scheme of HTTP_AUTH.',
      }),
    }),
  });

export const ToolNode = builder.prismaNode('Tool', {
  select: { id: true },
  description:
    'HTTP request that agents can make during a call, to look something up or to take an action.',
  authScopes: { read: true },
  nullable: true,
  id: {
    field: 'id',
    description: 'Node ID, `tol_` followed by a UUID. Passed in `toolIds` to agents.',
  },
  findUnique: (id, { viewer }) => ({ id, ...ownedAndNotDeleted(viewer!) }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Display name. Not necessarily unique.' }),
    modelToolName: t.exposeString('modelToolName', {
      description:
        'Name by which the model refers to the tool. Unique among the tools of an agent.',
    }),
    description: t.exposeString('description', {
      description: 'Description for the model: what the tool does and when to use it.',
    }),
    http: t.field({
      type: ToolHttpType,
      description: 'HTTP request that the tool makes.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).http,
    }),
    dynamicParameters: t.field({
      type: [ToolDynamicParameterType],
      description: 'Parameters that the model fills in.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).dynamicParameters,
    }),
    staticParameters: t.field({
      type: [ToolStaticParameterType],
      description: 'Parameters with fixed values.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).staticParameters,
    }),
    automaticParameters: t.field({
      type: [ToolAutomaticParameterType],
      description: 'Parameters that Ultravox fills in with values about the call.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).automaticParameters,
    }),
    authentication: t.field({
      type: [ToolAuthenticationType],
      description:
        'Authentication of the request, without the keys. Empty when the request is not authenticated.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).authentication,
    }),
    timeout: t.field({
      type: 'Duration',
      nullable: true,
      description:
        'Time that the agent waits for the response. Null means the default of Ultravox, 2.5 seconds.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).timeout,
    }),
    precomputable: t.boolean({
      description:
        'Whether Ultravox may make the request speculatively, before its result is needed. Only for requests without side effects.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).precomputable,
    }),
    defaultReaction: t.field({
      type: ToolReactionEnum,
      description:
        'Reaction of the agent to the result. The response can override it with the header `X-Ultravox-Agent-Reaction`.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).defaultReaction,
    }),
    staticResponse: t.string({
      nullable: true,
      description:
        'Text that the model receives immediately in place of the response. Null if the model waits for the response.',
      select: { definition: true },
      resolve: (tool) => definitionOf(tool).staticResponse,
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the tool was created.',
    }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'Time of the last change.' }),
  }),
});

addSyncFields('Tool', {
  status: 'Sync status. Agents can use the tool once it is ACTIVE.',
  syncError:
    'Reason why the latest revision is not at Ultravox: it was refused, or Ultravox could not be reached. Null if there is none.',
});

const ToolFilterInput = builder.inputType('ToolFilter', {
  description: 'Filters for tools. All of them must match.',
  fields: (t) => ({
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
  }),
});

const tools = new List({
  type: ToolNode,
  items: 'tools',
  visible: ownedAndNotDeleted,
  filter: { type: ToolFilterInput, where: nameAndStatusWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    UPDATED_AT: { column: 'updatedAt', description: 'Sort by time of the last change.' },
    NAME: { column: 'name', description: 'Sort by name.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

tools.query('tools', { description: 'Tools of the organization.', authScopes: { read: true } });

addLookup('tool', {
  type: ToolNode,
  where: ownedAndNotDeleted,
  description: 'Looks up a tool by ID. Null if the organization has no such tool.',
  authScopes: { read: true },
});
