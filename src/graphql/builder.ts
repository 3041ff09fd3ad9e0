/** The schema builder that every feature's `schema.ts` adds to. */
import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import DataloaderPlugin from '@pothos/plugin-dataloader';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import { getNamedType, isLeafType } from 'graphql';
import { RequestError } from '../errors.ts';
import type PrismaTypes from '../generated/pothos.ts';
import { getDatamodel } from '../generated/pothos.ts';
import type { UploadedFile } from '../infra/uploaded-file.ts';
import type { Context, ViewerContext } from './context.ts';
import { decodeAnyId, type NodeType, toPublicId } from './ids.ts';

export interface SchemaTypes {
  Context: Context;
  PrismaTypes: PrismaTypes;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: { items: false; list: false };
  DefaultNodeNullability: false;
  AuthScopes: {
    /** May read everything of the organization. */
    read: boolean;
    /** May read calls; an access token for one call may do that and no more. */
    readCall: boolean;
    /** May read campaigns; an access token for one campaign may do that, read calls, and no more. */
    readCampaign: boolean;
    write: boolean;
    admin: boolean;
  };
  AuthContexts: {
    read: ViewerContext;
    readCall: ViewerContext;
    readCampaign: ViewerContext;
    write: ViewerContext;
    admin: ViewerContext;
  };
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

export const DEFAULT_PAGE = 50;
export const MAX_PAGE = 100;
const MAX_DEPTH = 20;

interface PageArgs {
  first?: number | null | undefined;
  last?: number | null | undefined;
}

/** Cost of a connection: itself, and what is below it for each object asked for. */
export function connectionCost(args: PageArgs) {
  return { field: 1, multiplier: Math.max(1, args.first ?? args.last ?? DEFAULT_PAGE) };
}

/** @throws RequestError when a page size lies outside 1–100. */
export function checkPage(args: object): void {
  const { first, last } = args as PageArgs;
  for (const [name, size] of Object.entries({ first, last })) {
    if (typeof size === 'number' && (size < 1 || size > MAX_PAGE)) {
      throw new RequestError(
        'BAD_USER_INPUT',
        `\`${name}\` must be from 1 to ${MAX_PAGE}; it is ${size}.`,
      );
    }
  }
}

export const builder = new SchemaBuilder<SchemaTypes>({
  plugins: [ScopeAuthPlugin, RelayPlugin, PrismaPlugin, DataloaderPlugin, ComplexityPlugin],
  defaultFieldNullability: false,
  prisma: {
    client: (context) => context.app.db,
    dmmf: getDatamodel(),
    maxConnectionSize: MAX_PAGE,
    defaultConnectionSize: DEFAULT_PAGE,
    filterConnectionTotalCount: true,
    onUnusedQuery: process.env.NODE_ENV === 'test' || process.env.VITEST ? 'error' : null,
  },
  relay: {
    clientMutationId: 'omit',
    cursorType: 'String',
    nodesOnConnection: { description: 'The objects of this page, without cursors.' },
    edgesFieldOptions: {
      nullable: { items: false, list: false },
      description: 'The objects of this page, each with its cursor.',
    },
    nodeFieldOptions: { nullable: false, description: 'The object.' },
    cursorFieldOptions: { description: 'Give it to `after` or `before` to go on from here.' },
    pageInfoFieldOptions: { description: 'Whether and where there is more.' },
    hasNextPageFieldOptions: { description: 'Whether there is more after this page.' },
    hasPreviousPageFieldOptions: { description: 'Whether there is more before this page.' },
    startCursorFieldOptions: { description: 'The cursor of the first object of this page.' },
    endCursorFieldOptions: { description: 'The cursor of the last object; give it to `after`.' },
    firstArgOptions: {
      description: `How many from the beginning, 1 to ${MAX_PAGE}; ${DEFAULT_PAGE} if not given.`,
    },
    lastArgOptions: { description: `How many from the end, 1 to ${MAX_PAGE}.` },
    afterArgOptions: { description: 'Only what comes after this cursor.' },
    beforeArgOptions: { description: 'Only what comes before this cursor.' },
    defaultConnectionTypeOptions: { description: 'One page of a list.' },
    defaultEdgeTypeOptions: { description: 'An object in a list, with its position.' },
    encodeGlobalID: (type, id) => toPublicId(type as NodeType, String(id)),
    decodeGlobalID: (id) => {
      const { type, uuid } = decodeAnyId(id);
      return { typename: type, id: uuid };
    },
    idFieldOptions: {
      description: 'Three letters for its type, `_` and a UUID; it never changes.',
    },
    nodeTypeOptions: {
      description: 'Anything that can be read again by its id with `node`.',
    },
    nodeQueryOptions: {
      description:
        'Any object by its id, whatever its type; null when there is none in your organization.',
      authScopes: { readCall: true },
      args: { id: { description: 'Any id of this API, such as `cal_…` or `agt_…`.' } },
    },
    nodesQueryOptions: {
      description:
        'Several objects by their ids, in the same order, with null for those that are not there.',
      authScopes: { readCall: true },
      args: {
        ids: {
          description:
            'Ids of this API, of any types. One that has not the form of an id refuses all of them.',
        },
      },
      complexity: (args: { ids?: unknown[] }) => ({ field: 1, multiplier: args.ids?.length ?? 1 }),
    },
    pageInfoTypeOptions: {
      description: 'Where a page lies within its connection.',
    },
  },
  scopeAuth: {
    authorizeOnSubscribe: true,
    authScopes: ({ viewer }) => {
      const ofCampaign = viewer !== null && viewer.onlyCallId === undefined;
      const whole = ofCampaign && viewer.onlyCampaignId === undefined;
      return {
        read: whole && viewer.scopes.has('READ'),
        readCall: viewer?.scopes.has('READ') ?? false,
        readCampaign: ofCampaign && viewer.scopes.has('READ'),
        write: whole && viewer.scopes.has('WRITE'),
        admin: whole && viewer.scopes.has('ADMIN'),
      };
    },
    unauthorizedError: (_parent, context, info) => notAllowed(context, info),
  },
  complexity: {
    // What costs is objects; their scalars come along, and only connections multiply.
    fieldComplexity: (_args, _context, field) => ({
      field: isLeafType(getNamedType(field.type)) ? 0 : 1,
      multiplier: 1,
    }),
    limit: (context) => ({
      complexity: context.app.config.MAX_QUERY_COST,
      depth: MAX_DEPTH,
      breadth: 2_000,
    }),
    complexityError: (kind, result) =>
      new RequestError(
        'QUERY_TOO_COSTLY',
        `The operation is too costly (${kind.toLowerCase()}). Ask for fewer fields, smaller pages or fewer levels.`,
        {
          cost: result.complexity,
          maxCost: result.maxComplexity,
          depth: result.depth,
          maxDepth: result.maxDepth,
        },
      ),
  },
});

function notAllowed(
  context: Context,
  info: { parentType: { name: string }; fieldName: string },
): RequestError {
  if (!context.viewer) {
    return new RequestError(
      'UNAUTHENTICATED',
      'An API key is needed: send the header "Authorization: Bearer truedy_…", or on a socket the same in connectionParams.',
    );
  }
  const granted = [...context.viewer.scopes].join(', ') || 'none';
  const { onlyCallId, onlyCampaignId } = context.viewer;
  const one = onlyCallId ? 'call' : onlyCampaignId ? 'campaign' : null;
  const only = one ? ` It may read one ${one} only.` : '';
  return new RequestError(
    'FORBIDDEN',
    `This key may not use ${info.parentType.name}.${info.fieldName}; its scopes are: ${granted}.${only}`,
  );
}

builder.queryType({
  description: 'Everything that can be read. All of it belongs to your organization.',
});
builder.mutationType({
  description:
    'Everything that can be done. Each mutation answers with the object and with `userErrors`, which say what to mend. With the header `X-Idempotency-Key` a mutation is done at most once.',
});
builder.subscriptionType({
  description: 'Everything that can be watched, over graphql-ws or server-sent events.',
});
