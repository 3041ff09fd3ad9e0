import { ApiKeyScope } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { mutation } from '../graphql/mutation.ts';
import { createAccessToken, createApiKey, MAX_TOKEN_SECONDS, revokeApiKey } from './service.ts';
import { ownedBy } from './viewer.ts';

export const OrganizationNode = builder.prismaNode('Organization', {
  nullable: true,
  description: 'The tenant. Everything else belongs to one, and no key sees beyond its own.',
  authScopes: { readCall: true },
  id: { field: 'id', description: '`org_` and a UUID.' },
  findUnique: (id, { viewer }) => ({ id, AND: { id: viewer?.organizationId ?? id } }),
  fields: (t) => ({
    name: t.exposeString('name', {
      description: 'As it was given when the organization was made.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    apiKeys: t.relatedConnection(
      'apiKeys',
      {
        description: 'Its API keys, newest first, revoked ones included.',
        authScopes: { admin: true },
        cursor: 'id',
        totalCount: true,
        complexity: connectionCost,
        query: (args) => {
          checkPage(args);
          return { orderBy: { id: 'desc' } };
        },
      },
      ApiKeyConnection,
    ),
  }),
});

const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
  description: 'What a key may do. ADMIN includes WRITE, and WRITE includes READ.',
  values: {
    [ApiKeyScope.READ]: { description: 'Queries and subscriptions.' },
    [ApiKeyScope.WRITE]: { description: 'Also mutations, but for API keys.' },
    [ApiKeyScope.ADMIN]: { description: 'Also list, make and revoke API keys.' },
  } as const,
});

export const ApiKeyNode = builder.prismaNode('ApiKey', {
  nullable: true,
  description: 'A credential of a back-end. Never send one to a browser; see `createAccessToken`.',
  authScopes: { admin: true },
  id: { field: 'id', description: '`key_` and a UUID. This is not the key itself.' },
  findUnique: (id, { viewer }) => ({ id, organizationId: viewer!.organizationId }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'What it is for, in your words.' }),
    prefix: t.exposeString('prefix', {
      description: 'The first characters of the key, to tell keys apart. The rest is not kept.',
    }),
    scopes: t.expose('scopes', {
      type: [ApiKeyScopeEnum],
      description: 'What it was given; what these include is not repeated.',
    }),
    ipAllowList: t.exposeStringList('ipAllowList', {
      description: 'CIDR ranges it may be used from; empty means anywhere.',
    }),
    expiresAt: t.expose('expiresAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it ends by itself; null means never.',
    }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'About when it was last used, to the minute.',
    }),
    revokedAt: t.expose('revokedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was revoked; null while it is not.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
  }),
});

const ApiKeyConnection = connectionOf(ApiKeyNode);

const ViewerType = builder.objectRef<{ organizationId: string }>('Viewer').implement({
  description: 'Who the key or token of this request stands for.',
  fields: (t) => ({
    organization: t.prismaField({
      type: OrganizationNode,
      description: 'Whose data it sees.',
      resolve: (query, viewer, _args, { app }) =>
        app.db.organization.findUniqueOrThrow({ ...query, where: { id: viewer.organizationId } }),
    }),
    scopes: t.field({
      type: [ApiKeyScopeEnum],
      description: 'What it may do, with everything that is included.',
      resolve: (_viewer, _args, { viewer }) => [...viewer!.scopes],
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the key or token ends.',
      resolve: (_viewer, _args, { viewer }) => viewer?.expiresAt ?? null,
    }),
  }),
});

builder.queryFields((t) => ({
  viewer: t.withAuth({ readCall: true }).field({
    type: ViewerType,
    description: 'Who is calling. A good first query to see that a key works.',
    resolve: (_root, _args, { viewer }) => ({ organizationId: viewer.organizationId }),
  }),
  organization: t.withAuth({ readCall: true }).prismaField({
    type: OrganizationNode,
    description: 'Your organization.',
    resolve: (query, _root, _args, { app, viewer }) =>
      app.db.organization.findUniqueOrThrow({ ...query, where: { id: viewer.organizationId } }),
  }),
  apiKeys: t.withAuth({ admin: true }).prismaConnection(
    {
      type: ApiKeyNode,
      cursor: 'id',
      description: 'The API keys of your organization, newest first, revoked ones included.',
      complexity: connectionCost,
      totalCount: (_root, _args, { app, viewer }) =>
        app.db.apiKey.count({ where: ownedBy(viewer!) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        return app.db.apiKey.findMany({
          ...query,
          where: ownedBy(viewer),
          orderBy: { id: 'desc' },
        });
      },
    },
    ApiKeyConnection,
  ),
}));

mutation('createApiKey', {
  description: 'Makes an API key. The key itself is in this answer and can never be read again.',
  scope: 'admin',
  input: (t) => ({
    name: t.string({ required: true, description: 'What it is for; 1 to 100 characters.' }),
    scopes: t.field({
      type: [ApiKeyScopeEnum],
      required: true,
      description: 'What it may do; at least one.',
    }),
    ipAllowList: t.stringList({
      description:
        'IP addresses or CIDR ranges it may be used from, at most 100. Absent or empty: anywhere.',
    }),
    expiresAt: t.field({
      type: 'DateTime',
      description: 'When it ends by itself. Absent: never.',
    }),
  }),
  run: (input, { app, viewer }) => createApiKey(app, viewer, input),
  payload: (t) => ({
    apiKey: t.field({
      type: ApiKeyNode,
      nullable: true,
      description: 'The key as it will be listed.',
      resolve: (payload) => payload.apiKey ?? null,
    }),
    key: t.string({
      nullable: true,
      description: 'The key itself: `truedy_` and 32 characters. Keep it now, it is not stored.',
      resolve: (payload) => payload.key ?? null,
    }),
  }),
});

mutation('revokeApiKey', {
  description: 'Ends an API key at once, with the access tokens made with it and its open sockets.',
  scope: 'admin',
  input: (t) => ({ id: t.id({ required: true, description: 'The `key_…` id.' }) }),
  run: async (input, { app, viewer }) => ({ apiKey: await revokeApiKey(app, viewer, input.id) }),
  payload: (t) => ({
    apiKey: t.field({
      type: ApiKeyNode,
      nullable: true,
      description: 'The revoked key.',
      resolve: (payload) => payload.apiKey ?? null,
    }),
  }),
});

mutation('createAccessToken', {
  description:
    'Makes a short-lived token for a browser that can only read, and if wanted only one call or one campaign.',
  scope: 'write',
  input: (t) => ({
    expiresInSeconds: t.int({
      description: `How long it lasts: 30 to ${MAX_TOKEN_SECONDS}. Default 3600.`,
    }),
    callId: t.id({
      description: 'A `cal_…` id: the token then sees this call and its events and nothing else.',
    }),
    campaignId: t.id({
      description:
        'A `cmp_…` id: the token then sees this campaign, its contacts, its calls and their events, and nothing else. Not together with `callId`.',
    }),
  }),
  run: (input, { app, viewer }) => createAccessToken(app, viewer, input),
  payload: (t) => ({
    accessToken: t.string({
      nullable: true,
      description: 'Used in place of an API key, in the same header or connectionParams.',
      resolve: (payload) => payload.accessToken ?? null,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ends.',
      resolve: (payload) => payload.expiresAt ?? null,
    }),
  }),
});
