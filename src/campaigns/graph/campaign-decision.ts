/** The type `CampaignDecision` and its lists. */
import { CallNode } from '../../calls/graph/call.ts';
import { loadCall } from '../../calls/graph/loaders.ts';
import { builder } from '../../graphql/builder.ts';
import type { Context } from '../../graphql/context.ts';
import { connectionOf } from '../../graphql/lists/connections.ts';
import { cursorWriter, readCursor } from '../../graphql/lists/cursors.ts';
import type { SortTerm } from '../../graphql/lists/keyset.ts';
import {
  type Connection,
  connectionCost,
  connectionOfPage,
  type PageArgs,
  readPage,
  sourceOfPage,
} from '../../graphql/lists/page.ts';
import { readerOf } from '../../graphql/reading/batched.ts';
import type { DecisionPosition, DecisionScope, DecisionWithZone } from '../contacts/decisions.ts';
import { CampaignNode } from './campaign.ts';
import { CampaignContactNode } from './campaign-contact.ts';
import { CampaignDecisionOutcomeEnum, CampaignDecisionReasonEnum } from './campaign-enums.ts';
import { decisionMessage } from './decision-message.ts';
import { loadDecisionCount, loadDecisionPage } from './loaders.ts';

const CampaignDecisionType = builder.objectRef<DecisionWithZone>('CampaignDecision');

CampaignDecisionType.implement({
  description: 'Decision about a contact, or about the whole campaign, with its reason.',
  authScopes: { readCampaign: true },
  fields: (t) => ({
    outcome: t.expose('outcome', {
      type: CampaignDecisionOutcomeEnum,
      description: 'Outcome of the decision.',
    }),
    reason: t.expose('reason', {
      type: CampaignDecisionReasonEnum,
      description: 'Reason for the decision.',
    }),
    message: t.string({
      description:
        'Human-readable reason and outcome, in one sentence. Times are in the time zone of the campaign.',
      resolve: decisionMessage,
    }),
    at: t.expose('at', { type: 'DateTime', description: 'Time of the decision.' }),
    until: t.expose('until', {
      type: 'DateTime',
      nullable: true,
      description:
        'Earliest time of the next attempt, with the outcomes WAITS and RETRIES. Null if it is not known, and with other outcomes.',
    }),
    call: t.field({
      type: CallNode,
      nullable: true,
      description:
        'Call that the decision is about. Null if it is about none, and after the call was deleted.',
      resolve: ({ callId }, _args, context, info) =>
        callId ? loadCall(context, info, callId) : null,
    }),
  }),
});

const CampaignDecisionConnection = connectionOf(CampaignDecisionType);

/** Oldest first. */
const ORDER: SortTerm[] = [
  { column: 'at', direction: 'asc' },
  { column: 'id', direction: 'asc' },
];

function decisionsOf(
  list: string,
  scope: DecisionScope,
  args: PageArgs,
  context: Context,
): Connection<DecisionWithZone> {
  const reader = readerOf(context);
  const { app, viewer } = reader;
  const cursors = { list, terms: ORDER, organizationId: viewer.organizationId };
  const page = readPage(args, (argument): DecisionPosition => {
    const [at, id] = readCursor(app.cipher, cursors, argument);
    return { at: at as Date, id: id as string };
  });
  const write = cursorWriter(app.cipher, cursors);
  return connectionOfPage(page, {
    ...sourceOfPage(page, (query) => loadDecisionPage(reader, { scope, query })),
    cursorOf: ({ at, id }) => write([at, id]),
    totalCount: () => loadDecisionCount(reader, scope),
  });
}

builder.prismaObjectField(CampaignNode, 'decisions', (t) =>
  t.connection(
    {
      type: CampaignDecisionType,
      description:
        'Decisions about the campaign as a whole, oldest first: closed windows, reached daily limits, pauses. Decisions about a single contact are in `CampaignContact.decisions`.',
      complexity: connectionCost,
      select: { id: true },
      resolve: ({ id }, args, context) =>
        decisionsOf(
          'Campaign.decisions',
          { campaignId: id, contact: null },
          args,
          context,
        ) as never,
    },
    CampaignDecisionConnection,
  ),
);

builder.prismaObjectField(CampaignContactNode, 'decisions', (t) =>
  t.connection(
    {
      type: CampaignDecisionType,
      description:
        'Decisions that explain why the contact was or was not called, oldest first: those about the contact, and those about the whole campaign that were made while the contact was waiting.',
      complexity: connectionCost,
      select: { id: true, campaignId: true, createdAt: true, finishedAt: true },
      resolve: ({ campaignId, ...contact }, args, context) =>
        decisionsOf('CampaignContact.decisions', { campaignId, contact }, args, context) as never,
    },
    CampaignDecisionConnection,
  ),
);
