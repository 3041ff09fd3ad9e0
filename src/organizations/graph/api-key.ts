/** API keys: the type, its list and its mutations. */
import { ApiKeyScope } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { mutation } from '../../graphql/mutation.ts';
import { ownedBy } from '../../viewer.ts';
import { createApiKey, MAX_KEYS, revokeApiKey } from '../api-keys.ts';
import { apiKeysWhere } from '../search.ts';

export const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
  description: 'Permission of an API key. ADMIN implies WRITE, and WRITE implies READ.',
  values: {
    [ApiKeyScope.READ]: { description: 'Permits queries and subscriptions.' },
    [ApiKeyScope.WRITE]: {
      description: 'Also permits mutations, except those that require ADMIN.',
    },
    [ApiKeyScope.ADMIN]: {
      description:
        'Also permits listing, creating and revoking API keys, and changing settings of the organization.',
    },
  } as const,
});

export const ApiKeyNode = builder.prismaNode('ApiKey', {
  select: { id: true },
  nullable: true,
  description:
    'Credential for a back end. Do not use it in a browser; create a token with `createAccessToken` instead. Requires the scope `ADMIN`.',
  authScopes: { admin: true },
  id: {
    field: 'id',
    description: 'Node ID, `key_` followed by a UUID. This is not the secret key.',
  },
  findUnique: (id, { viewer }) => ({ id, ...ownedBy(viewer!) }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Display name.' }),
    prefix: t.exposeString('prefix', {
      description:
        'First characters of the secret key, to identify it. The full key is not stored.',
    }),
    scopes: t.expose('scopes', {
      type: [ApiKeyScopeEnum],
      description: 'Granted scopes, without implied ones.',
    }),
    ipAllowList: t.exposeStringList('ipAllowList', {
      description:
        'CIDR ranges from which the key, and the access tokens that it creates, can be used. Empty means any address.',
    }),
    expiresAt: t.expose('expiresAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the key expires. Null means never.',
    }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time of the last use, accurate to about a minute. Null if the key was never used.',
    }),
    revokedAt: t.expose('revokedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the key was revoked. Null if it is not revoked.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the key was created.',
    }),
  }),
});

const ApiKeyFilter = builder.inputType('ApiKeyFilter', {
  description: 'Filters for API keys. All of them must match.',
  fields: (t) => ({
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    revoked: t.boolean({ description: 'Whether the key is revoked.' }),
    expired: t.boolean({
      description:
        'Whether the key has expired, by its `expiresAt`. A key can be revoked and expired.',
    }),
  }),
});

export const apiKeys = new List({
  type: ApiKeyNode,
  items: 'API keys',
  visible: ownedBy,
  filter: { type: ApiKeyFilter, where: apiKeysWhere },
  sort: { CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' } },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

apiKeys.query('apiKeys', {
  description:
    'API keys of the organization, with revoked and expired ones. Requires the scope `ADMIN`.',
  authScopes: { admin: true },
});

mutation('createApiKey', {
  description: `Creates an API key. The secret key is returned only once. An organization can have at most ${MAX_KEYS} keys that are not revoked.`,
  scope: 'admin',
  input: (t) => ({
    name: t.string({ required: true, description: 'Display name, 1 to 100 characters.' }),
    scopes: t.field({
      type: [ApiKeyScopeEnum],
      required: true,
      maxItems: 3,
      description: 'Scopes to grant, at least one.',
    }),
    ipAllowList: t.stringList({
      maxItems: 100,
      description:
        'IPv4 or IPv6 addresses or CIDR ranges from which the key, and the access tokens that it creates, can be used, at most 100; stored as ranges in canonical form. A key that creates tokens for browsers must include the addresses of their users. Default: any address.',
    }),
    expiresAt: t.field({
      type: 'DateTime',
      description: 'Time at which the key expires. Must be in the future. Default: never.',
    }),
  }),
  run: (input, { app, viewer }) => createApiKey(app, viewer, input),
  payload: {
    apiKey: { type: ApiKeyNode, description: 'The created key, without its secret.' },
    key: {
      type: 'String',
      description:
        'Secret key, `truedy_` followed by 32 letters and digits. Store it now; it cannot be retrieved later.',
    },
  },
});

mutation('revokeApiKey', {
  description:
    'Revokes an API key immediately, together with its access tokens and open connections. Fails with INVALID_STATE for the last key with the scope ADMIN. Has no effect on a revoked key.',
  scope: 'admin',
  stops: true,
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the key (`key_…`).' }) }),
  run: async (input, { app, viewer }) => ({ apiKey: await revokeApiKey(app, viewer, input.id) }),
  payload: {
    apiKey: { type: ApiKeyNode, description: 'The revoked key.' },
  },
});
