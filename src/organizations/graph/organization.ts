/** Organizations and the viewer, and the mutation of their settings. */
import type { GraphQLResolveInfo } from 'graphql';
import type { Organization } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import type { Context } from '../../graphql/context.ts';
import { mutation } from '../../graphql/mutation.ts';
import { rowSelection } from '../../graphql/reading/row-selection.ts';
import { findFirst } from '../../graphql/reading/rows.ts';
import { updateOrganization } from '../service.ts';
import { ApiKeyScopeEnum, apiKeys } from './api-key.ts';

export const OrganizationNode = builder.prismaNode('Organization', {
  select: { id: true },
  nullable: true,
  description:
    'Tenant. All objects belong to one organization, and an API key can access only its own organization.',
  authScopes: { readCall: true },
  id: { field: 'id', description: 'Node ID, `org_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, AND: { id: viewer?.organizationId ?? id } }),
  fields: (t) => ({
    name: t.exposeString('name', {
      description: 'Name given when the organization was created.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the organization was created.',
    }),
    allowPremiumNumbers: t.exposeBoolean('allowPremiumNumbers', {
      authScopes: { read: true },
      description:
        'Whether to allow calls to premium-rate, shared-cost, personal and satellite numbers. Such calls can cost many times as much as others. Default: false.',
    }),
    addDoNotCallRequests: t.exposeBoolean('addDoNotCallRequests', {
      authScopes: { read: true },
      description:
        'Whether to add a phone number to the do-not-call list when the person asks during a call not to be called again. Such calls have `doNotCallRequested` set either way. Default: false.',
    }),
  }),
});

apiKeys.related(OrganizationNode, 'apiKeys', {
  relation: 'apiKeys',
  description:
    'API keys of the organization, with revoked and expired ones. Requires the scope `ADMIN`.',
  authScopes: { admin: true },
});

mutation('updateOrganization', {
  description: 'Updates settings of the organization. Omitted settings stay unchanged.',
  scope: 'admin',
  input: (t) => ({
    allowPremiumNumbers: t.boolean({
      description:
        'Whether to allow calls to premium-rate, shared-cost, personal and satellite numbers, and transfers to them. Cannot be null. Cannot be set to false while agents transfer calls to such numbers.',
    }),
    addDoNotCallRequests: t.boolean({
      description:
        'Whether to add a phone number to the do-not-call list when the person asks during a call not to be called again. Cannot be null.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    organization: await updateOrganization(app, viewer, input),
  }),
  payload: {
    organization: { type: OrganizationNode, description: 'The updated organization.' },
  },
});

async function findOrganization(
  context: Context,
  info: GraphQLResolveInfo,
  { organizationId }: { organizationId: string },
): Promise<Organization> {
  const { query, options } = rowSelection({ context, info });
  const own = { ...query, where: { id: organizationId } };
  const organization = await findFirst(context.app, 'Organization', own, options);
  if (!organization) throw new Error('The organization does not exist');
  return organization;
}

const ViewerType = builder.objectRef<{ organizationId: string }>('Viewer').implement({
  description: 'Caller, as identified by the API key or access token of the request.',
  fields: (t) => ({
    organization: t.field({
      type: OrganizationNode,
      description: 'Organization that the key or token belongs to.',
      resolve: (viewer, _args, context, info) => findOrganization(context, info, viewer),
    }),
    scopes: t.field({
      type: [ApiKeyScopeEnum],
      description: 'Granted scopes, including implied ones.',
      resolve: (_viewer, _args, { viewer }) => [...viewer!.scopes],
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the key or token expires. Null if it does not expire.',
      resolve: (_viewer, _args, { viewer }) => viewer?.expiresAt ?? null,
    }),
  }),
});

builder.queryFields((t) => ({
  viewer: t.withAuth({ readCall: true }).field({
    type: ViewerType,
    description:
      'Caller, as identified by the API key or access token. Use it to verify that a key works.',
    resolve: (_root, _args, { viewer }) => ({ organizationId: viewer.organizationId }),
  }),
  organization: t.withAuth({ readCall: true }).field({
    type: OrganizationNode,
    description: 'Organization that the key or token belongs to.',
    resolve: (_root, _args, context, info) => findOrganization(context, info, context.viewer),
  }),
}));
