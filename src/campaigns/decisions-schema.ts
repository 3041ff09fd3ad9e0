/** Why somebody was or was not called. */
import { resolveCursorConnection } from '@pothos/plugin-relay';
import { loadCall } from '../calls/loaders.ts';
import { CallNode } from '../calls/schema.ts';
import { RequestError } from '../errors.ts';
import { builder, checkPage, connectionCost, DEFAULT_PAGE, MAX_PAGE } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import type { Context } from '../graphql/context.ts';
import { CampaignContactNode } from './contacts-schema.ts';
import { decisionMessage } from './decision-text.ts';
import { CampaignDecisionOutcomeEnum, CampaignDecisionReasonEnum } from './enums.ts';
import {
  type DecisionPlace,
  type DecisionScope,
  loadDecisionCount,
  loadDecisionPage,
  type ToldDecision,
} from './loaders.ts';
import { CampaignNode } from './schema.ts';

const CampaignDecisionType = builder.objectRef<ToldDecision>('CampaignDecision');

CampaignDecisionType.implement({
  description: 'What was decided about a contact, or about the whole campaign, and why.',
  authScopes: { readCampaign: true },
  fields: (t) => ({
    outcome: t.expose('outcome', {
      type: CampaignDecisionOutcomeEnum,
      description: 'What came of it.',
    }),
    reason: t.expose('reason', { type: CampaignDecisionReasonEnum, description: 'Why.' }),
    message: t.string({
      description: "Both for people, in one sentence; times are in the campaign's zone.",
      resolve: decisionMessage,
    }),
    at: t.expose('at', { type: 'DateTime', description: 'When it was decided.' }),
    until: t.expose('until', {
      type: 'DateTime',
      nullable: true,
      description: 'For WAITS and RETRIES: not before this instant; null when that is not known.',
    }),
    call: t.field({
      type: CallNode,
      nullable: true,
      description: 'The call it is about; null when it is about none, or the call was deleted.',
      resolve: ({ callId }, _args, { app, execution }) =>
        callId ? loadCall(app, execution, callId) : null,
    }),
  }),
});

const CampaignDecisionConnection = connectionOf(CampaignDecisionType);

interface PageArgs {
  first?: number | null | undefined;
  last?: number | null | undefined;
  after?: string | null | undefined;
  before?: string | null | undefined;
}

async function decisionsOf(
  scope: DecisionScope,
  args: PageArgs,
  { app, viewer, execution }: Context,
): Promise<never> {
  checkPage(args);
  const reader = { app, viewer: viewer!, execution };
  const connection = await resolveCursorConnection(
    {
      args,
      defaultSize: DEFAULT_PAGE,
      maxSize: MAX_PAGE,
      toCursor: (decision) => toCursor(decision as ToldDecision),
    },
    ({ after, before, limit, inverted }) =>
      loadDecisionPage(reader, {
        scope,
        page: { after: readPlace(after), before: readPlace(before), limit, inverted },
      }),
  );
  return { ...connection, args, totalCount: () => loadDecisionCount(reader, scope) } as never;
}

function toCursor({ at, id }: ToldDecision): string {
  return `${at.getTime()}.${id}`;
}

function readPlace(cursor: string | undefined): DecisionPlace | null {
  if (cursor === undefined) return null;
  const match = /^(\d{1,15})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(cursor);
  if (match) return { at: new Date(Number(match[1])), id: match[2]! };
  throw new RequestError(
    'BAD_USER_INPUT',
    `${JSON.stringify(cursor.slice(0, 60))} is not a cursor of decisions. Take cursors from \`pageInfo\` or \`edges\`.`,
  );
}

builder.prismaObjectField(CampaignNode, 'decisions', (t) =>
  t.connection(
    {
      type: CampaignDecisionType,
      description:
        'What was decided about the campaign as a whole, oldest first: closed windows, used-up days, pauses. What was decided about a single contact is in its own `decisions`.',
      complexity: connectionCost,
      select: { id: true },
      resolve: ({ id }, args, context) =>
        decisionsOf({ campaignId: id, contact: null }, args, context),
    },
    CampaignDecisionConnection,
  ),
);

builder.prismaObjectField(CampaignContactNode, 'decisions', (t) =>
  t.connection(
    {
      type: CampaignDecisionType,
      description:
        'Why it was or was not called, oldest first: what was decided about it, and what was decided about the whole campaign while it was waiting.',
      complexity: connectionCost,
      select: { id: true, campaignId: true, createdAt: true, finishedAt: true },
      resolve: ({ campaignId, ...contact }, args, context) =>
        decisionsOf({ campaignId, contact }, args, context),
    },
    CampaignDecisionConnection,
  ),
);
