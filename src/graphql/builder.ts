/** The schema builder to which the `graph/` of every feature adds its types and fields. */
import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import DataloaderPlugin from '@pothos/plugin-dataloader';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import { getNamedType, isLeafType } from 'graphql';
import type PrismaTypes from '../generated/pothos.ts';
import { getDatamodel } from '../generated/pothos.ts';
import { type NodeType, publicId } from '../ids.ts';
import type { UploadedFile } from '../infra/files/uploaded-file.ts';
import type { Context, ViewerContext } from './context.ts';
import { decodeAnyId } from './ids.ts';
import MaxItemsPlugin from './inputs/max-items.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from './lists/page.ts';
import LoadedColumnsPlugin from './reading/loaded-columns.ts';
import { findNodes } from './reading/nodes.ts';
import ReloadedRowsPlugin from './reading/reloaded-rows.ts';
import { forbiddenError, type Scopes, scopesOf } from './scopes.ts';

export interface SchemaTypes {
  Context: Context;
  PrismaTypes: PrismaTypes;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: { items: false; list: false };
  DefaultNodeNullability: false;
  AuthScopes: { [S in keyof Scopes]: boolean };
  AuthContexts: { [S in keyof Scopes]: ViewerContext };
  Scalars: {
    ID: { Input: string; Output: string | number | bigint };
    DateTime: { Input: Date; Output: Date };
    Duration: { Input: string; Output: string };
    E164: { Input: string; Output: string };
    LanguageTag: { Input: string; Output: string };
    JSONObject: { Input: Record<string, unknown>; Output: unknown };
    JSON: { Input: unknown; Output: unknown };
    Decimal: { Input: string; Output: string };
    Cursor: { Input: string; Output: string };
    Url: { Input: string; Output: string };
    Upload: { Input: UploadedFile; Output: never };
  };
}

export const builder = new SchemaBuilder<SchemaTypes>({
  plugins: [
    // The first plugin wraps all others.
    LoadedColumnsPlugin,
    ScopeAuthPlugin,
    RelayPlugin,
    PrismaPlugin,
    ReloadedRowsPlugin,
    DataloaderPlugin,
    ComplexityPlugin,
    MaxItemsPlugin,
  ],
  defaultFieldNullability: false,
  prisma: {
    client: (context) => context.app.db,
    dmmf: getDatamodel(),
    onUnusedQuery: process.env.NODE_ENV === 'test' || process.env.VITEST ? 'error' : null,
  },
  relay: {
    clientMutationId: 'omit',
    cursorType: 'String',
    nodesOnConnection: { description: 'Items of the page, without cursors.' },
    edgesFieldOptions: {
      nullable: { items: false, list: false },
      description: 'Items of the page with their cursors.',
    },
    nodeFieldOptions: { nullable: false, description: 'The item.' },
    cursorFieldOptions: {
      description:
        'Opaque position of the item in the list, for `after` and `before`. Valid for the same list with the same `orderBy`, even after the item is changed or deleted.',
    },
    pageInfoFieldOptions: { description: 'Position of the page in the list.' },
    hasNextPageFieldOptions: { description: 'Whether the list has items after the page.' },
    hasPreviousPageFieldOptions: { description: 'Whether the list has items before the page.' },
    startCursorFieldOptions: {
      description: 'Cursor of the first item of the page. Null if the page is empty.',
    },
    endCursorFieldOptions: {
      description: 'Cursor of the last item of the page. Null if the page is empty.',
    },
    firstArgOptions: {
      description: `Maximum number of items, from the start of the list or after \`after\`: 1 to ${MAX_PAGE_SIZE}. Default: ${DEFAULT_PAGE_SIZE}. Cannot be combined with \`last\`.`,
    },
    lastArgOptions: {
      description: `Maximum number of items, from the end of the list or before \`before\`: 1 to ${MAX_PAGE_SIZE}. Cannot be combined with \`first\`.`,
    },
    afterArgOptions: {
      description:
        'Returns only items after this cursor. With `before`, only items between both cursors.',
    },
    beforeArgOptions: {
      description:
        'Returns only items before this cursor: the last ones, unless `first` or `after` is given.',
    },
    defaultConnectionTypeOptions: { description: 'Page of a list.' },
    defaultEdgeTypeOptions: { description: 'Item of a list, with its cursor.' },
    encodeGlobalID: (type, id) => publicId(type as NodeType, String(id)),
    decodeGlobalID: (id) => {
      const { type, uuid } = decodeAnyId(id);
      return { typename: type, id: uuid };
    },
    idFieldOptions: {
      description: 'Node ID: three letters for the type, `_` and a UUID. It never changes.',
    },
    nodeTypeOptions: {
      description: 'Object with an ID by which `node` and `nodes` look it up.',
    },
    nodeQueryOptions: {
      description:
        'Looks up an object of any type by ID. Null if the organization has no such object, or if the key may not read objects of its type.',
      authScopes: { readCall: true },
      args: { id: { description: 'ID of the object, such as `cal_…` or `agt_…`.' } },
      resolve: async (_root, { id }, context, info) => {
        const [node] = await findNodes(context, info, [id]);
        return node;
      },
    },
    nodesQueryOptions: {
      description:
        'Looks up objects of any types by ID. Returns them in the order of `ids`, with null for objects that do not exist and for types that the key may not read.',
      authScopes: { readCall: true },
      args: {
        ids: {
          maxItems: MAX_PAGE_SIZE,
          description: 'IDs of the objects. A malformed ID fails the whole lookup.',
        },
      },
      resolve: (_root, { ids }, context, info) => findNodes(context, info, ids),
      complexity: (args: { ids?: unknown[] }) => ({ field: 1, multiplier: args.ids?.length ?? 1 }),
    },
    pageInfoTypeOptions: {
      description: 'Position of a page in its list.',
    },
  },
  scopeAuth: {
    authorizeOnSubscribe: true,
    authScopes: ({ viewer }) => ({ ...scopesOf(viewer) }),
    unauthorizedError: (_parent, { viewer }, info) =>
      forbiddenError(viewer, `${info.parentType.name}.${info.fieldName}`),
  },
  complexity: {
    // The server measures the cost of an operation before it runs; see `server/limits/query-cost.ts`.
    disabled: true,
    // Objects have a cost, scalars do not, and only connections multiply it.
    fieldComplexity: (_args, _context, field) => ({
      field: isLeafType(getNamedType(field.type)) ? 0 : 1,
      multiplier: 1,
    }),
  },
});

builder.queryType({
  description: 'Queries. They return data of the organization that the key or token belongs to.',
});
builder.mutationType({
  description:
    'Mutations. Every payload has `userErrors`, with problems that the caller can fix. If the mutation failed, its other fields are null, except for an object that was created anyway. With the header `X-Idempotency-Key` or `Idempotency-Key`, a mutation runs at most once within 24 hours.',
});
builder.subscriptionType({
  description: 'Subscriptions, over graphql-ws or server-sent events.',
});
