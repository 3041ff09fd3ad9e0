/** Live calls: the events, their subscription, and the cursor that joins them to a snapshot. */
import { resolveCursorConnection } from '@pothos/plugin-relay';
import { OperationTypeNode } from 'graphql';
import type { Event } from '../generated/prisma/client.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { readCursor } from '../graphql/cursor.ts';
import { requireId, toPublicId } from '../graphql/ids.ts';
import { currentCursor } from '../live/log.ts';
import { CallEndReasonEnum, CallStatusEnum } from './enums.ts';
import {
  type CallEventTypeName,
  callEventFilter,
  callEventTypeOf,
  checkWatched,
} from './events.ts';
import { loadCall, loadEventCount, loadEventPage, loadLiveCall } from './loaders.ts';
import { CallNode } from './schema.ts';

const DESCRIPTIONS: Record<CallEventTypeName, string> = {
  CREATED: 'It was asked for, or came in.',
  RINGING: 'Dialling began.',
  IN_PROGRESS: 'Somebody answered.',
  COMPLETED: 'The conversation is over.',
  FAILED: 'It never came to a conversation, or the conversation broke.',
  CANCELLED: 'It was stopped before anybody answered.',
  BILLED: 'Its cost is known.',
  DELETED: 'It was deleted; `call` is null from now on.',
};

const CallEventTypeEnum = builder.enumType('CallEventType', {
  description: 'What happened to a call.',
  values: Object.fromEntries(
    Object.entries(DESCRIPTIONS).map(([name, description]) => [name, { description }]),
  ) as { [T in CallEventTypeName]: { description: string } },
});

interface EventData {
  status: (typeof CallStatusEnum)['$inferType'];
  endReason: (typeof CallEndReasonEnum)['$inferType'] | null;
}

export const CallEventType = builder.objectRef<Event>('CallEvent');

CallEventType.implement({
  description:
    'One thing that happened to a call. Events are kept for 30 days unless set otherwise.',
  authScopes: { readCall: true },
  fields: (t) => ({
    cursor: t.field({
      type: 'Cursor',
      description:
        'Its position in the event log of your organization; give it to `callEvents(after:)`.',
      resolve: (event) => String(event.cursor),
    }),
    sequence: t.int({
      description: 'Its number within the call: 1, 2, 3 … without gaps.',
      resolve: (event) => event.sequence ?? 0,
    }),
    type: t.field({
      type: CallEventTypeEnum,
      description: 'What happened.',
      resolve: callEventTypeOf,
    }),
    status: t.field({
      type: CallStatusEnum,
      description: 'The status of the call right after it, whatever it is by now.',
      resolve: (event) => (event.data as unknown as EventData).status,
    }),
    endReason: t.field({
      type: CallEndReasonEnum,
      nullable: true,
      description: 'Why it ended, once it has.',
      resolve: (event) => (event.data as unknown as EventData).endReason,
    }),
    occurredAt: t.field({
      type: 'DateTime',
      description: 'When it happened; for what Ultravox reports, by its clock.',
      resolve: (event) => event.createdAt,
    }),
    callId: t.id({
      description: 'The `cal_…` id, also after the call was deleted.',
      resolve: (event) => toPublicId('Call', event.callId ?? ''),
    }),
    call: t.field({
      type: CallNode,
      nullable: true,
      description:
        'The call as it is now, which may be further on than this event; null once deleted.',
      resolve: (event, _args, { app, execution }, info) =>
        info.operation.operation === OperationTypeNode.SUBSCRIPTION
          ? loadLiveCall(app, event)
          : loadCall(app, execution, event.callId ?? ''),
    }),
  }),
});

const CallEventConnection = connectionOf(CallEventType);

builder.prismaObjectField(CallNode, 'events', (t) =>
  t.connection(
    {
      type: CallEventType,
      description:
        'What happened to it, in order. The cursors are those of the subscription `callEvents`.',
      complexity: connectionCost,
      select: { id: true },
      resolve: (call, args, { app, execution }) => {
        checkPage(args);
        return resolveCursorConnection(
          {
            args,
            defaultSize: 50,
            maxSize: 100,
            toCursor: (event) => String((event as Event).cursor),
          },
          ({ after, before, limit, inverted }) =>
            loadEventPage(app, execution, call.id, {
              after: after === undefined ? null : readCursor(after),
              before: before === undefined ? null : readCursor(before),
              limit,
              inverted,
            }),
        ).then((connection) => ({
          ...connection,
          args,
          totalCount: () => loadEventCount(app, execution, call.id),
        })) as never;
      },
    },
    CallEventConnection,
  ),
);

builder.subscriptionField('callEvents', (t) =>
  t.withAuth({ readCall: true }).field({
    type: CallEventType,
    description:
      'Everything that happens to your calls, each event once and in order. With `after` first everything since that cursor, then what is live: nothing is lost across reconnects, restarts or network failures.',
    args: {
      callId: t.arg.id({ description: 'Only this call, a `cal_…` id. Also one that was deleted.' }),
      agentId: t.arg.id({ description: 'Only the calls of this agent, an `agt_…` id.' }),
      campaignId: t.arg.id({
        description: 'Only the calls of this campaign, a `cmp_…` id. Also one that was deleted.',
      }),
      types: t.arg({ type: [CallEventTypeEnum], description: 'Only these types. Empty: all.' }),
      after: t.arg({
        type: 'Cursor',
        description:
          'The last cursor you have seen, or the one of `eventCursor`. Absent: from now on. `"0"`: from the beginning of what is kept. Older than that: the error CURSOR_EXPIRED.',
      }),
    },
    subscribe: async (_root: unknown, args, { app, feed, viewer }) => {
      const after = readCursor(args.after);
      const callId = args.callId ? requireId('Call', args.callId) : null;
      const agentId = args.agentId ? requireId('Agent', args.agentId) : null;
      const campaignId = args.campaignId ? requireId('Campaign', args.campaignId) : null;
      await checkWatched(app, viewer, { callId, agentId, campaignId });
      return feed.subscribe(
        viewer.organizationId,
        after,
        callEventFilter({
          // A token for one call or campaign sees only that, also when it does not ask for it.
          callId: viewer.onlyCallId ?? callId,
          agentId,
          campaignId: viewer.onlyCampaignId ?? campaignId,
          types: args.types ?? null,
        }),
      );
    },
    resolve: (event) => event,
  }),
);

builder.queryField('eventCursor', (t) =>
  t.withAuth({ readCall: true }).field({
    type: 'Cursor',
    description:
      'Where the event log stands. Ask for it before or together with a snapshot, then subscribe with `after`: whatever changes in between arrives as an event.',
    resolve: async (_root, _args, { app, viewer, snapshotCursor }) =>
      String(snapshotCursor ?? (await currentCursor(app, viewer.organizationId))),
  }),
);
