/** Call events in the graph: the list of a call, the subscription, and the cursor of the event log. */
import { OperationTypeNode } from 'graphql';
import type { Event } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { optionalId } from '../../graphql/ids.ts';
import { connectionOf } from '../../graphql/lists/connections.ts';
import {
  type Connection,
  connectionCost,
  connectionOfPage,
  type PageArgs,
  readPage,
  sourceOfPage,
} from '../../graphql/lists/page.ts';
import { type Reader, readerOf } from '../../graphql/reading/batched.ts';
import { rowSelection } from '../../graphql/reading/row-selection.ts';
import { publicId } from '../../ids.ts';
import { readEventCursor } from '../../live/cursor.ts';
import { AFTER } from '../../live/graph/after-argument.ts';
import { currentCursor } from '../../live/log.ts';
import { ownedBy } from '../../viewer.ts';
import {
  CALL_EVENT_TYPES,
  type CallEventTypeName,
  callEventFilter,
  callEventTypeOf,
  checkWatched,
  KNOWN_TYPES,
} from '../events.ts';
import { turnOf } from '../live-turns/turn-events.ts';
import { watchTurns } from '../live-turns/watcher.ts';
import { CallNode } from './call.ts';
import { CallEndReasonEnum, CallStatusEnum } from './call-enums.ts';
import { loadCall, loadEventCount, loadEventPage, loadLiveCall } from './loaders.ts';
import { TranscriptTurn } from './transcript.ts';

const DESCRIPTIONS: Record<CallEventTypeName, string> = {
  CREATED: 'The call was created, or an inbound call arrived.',
  RINGING: 'The phone began to ring.',
  IN_PROGRESS: 'The call was answered.',
  COMPLETED: 'The call was answered and has ended.',
  FAILED: 'The call ended without a conversation, or by a fault.',
  CANCELLED: 'The call was canceled before it was answered.',
  BILLED:
    'The call was billed or refunded, or its bill has changed. Not sent for calls that were never placed.',
  DELETED: 'The call was deleted. `call` is null on all its events.',
  ANALYZED:
    'Transcript, summary and analysis of an answered call are finished, or were given up. Sent again after another analysis. The recording has events of its own, and so has a summary that Ultravox writes later than two minutes after the end.',
  SUMMARIZED: 'Ultravox wrote the summary, or changed it, after the event ANALYZED.',
  RECORDING_READY: 'The recording can be played.',
  RECORDING_FAILED:
    'There will be no recording, although the call was answered and recording was enabled.',
  RECORDING_EXPIRED:
    'Ultravox no longer has the recording, as was found when a link to it was followed.',
  END_REQUESTED:
    'The end of the call was requested, for example with `endCall`. Another event follows when it has ended.',
  TRANSCRIPT_TURN:
    'The person or the agent spoke, or a tool returned a result; see `turn`. Sent only while a subscription asks for this type: it receives the turns of the live calls it covers as they are spoken, from the beginning of each call.',
};

const CallEventTypeEnum = builder.enumType('CallEventType', {
  description: 'Type of a call event.',
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
  description: 'Change of a call. Events are kept for 30 days by default.',
  authScopes: { readCall: true },
  fields: (t) => ({
    cursor: t.field({
      type: 'Cursor',
      description:
        'Position of the event in the event log. Pass it as `after` to `callEvents` to continue from here.',
      resolve: (event) => String(event.cursor),
    }),
    sequence: t.int({
      description: 'Number of the event within the call, starting at 1, without gaps.',
      resolve: (event) => event.sequence ?? 0,
    }),
    type: t.field({
      type: CallEventTypeEnum,
      description: 'Type of the event.',
      resolve: callEventTypeOf,
    }),
    status: t.field({
      type: CallStatusEnum,
      description: 'Status of the call right after the event.',
      resolve: (event) => (event.data as unknown as EventData).status,
    }),
    endReason: t.field({
      type: CallEndReasonEnum,
      nullable: true,
      description: 'Reason for the end of the call. Null until it has ended.',
      resolve: (event) => (event.data as unknown as EventData).endReason,
    }),
    turn: t.field({
      type: TranscriptTurn,
      nullable: true,
      description:
        'Turn of a TRANSCRIPT_TURN event, as known at the time of the event. Null on other events, and after the transcript was removed. `Call.transcript` has the final text.',
      resolve: (event) => turnOf(event),
    }),
    occurredAt: t.field({
      type: 'DateTime',
      description:
        'Time of the change. For changes that Ultravox reports, by the clock of Ultravox.',
      resolve: (event) => event.createdAt,
    }),
    callId: t.id({
      description: 'ID of the call (`cal_…`), also after the call was deleted.',
      resolve: (event) => publicId('Call', event.callId ?? ''),
    }),
    call: t.field({
      type: CallNode,
      nullable: true,
      description:
        'The call in its current state, which may be newer than the event. Null if the call was deleted.',
      resolve: (event, _args, context, info) =>
        info.operation.operation === OperationTypeNode.SUBSCRIPTION
          ? loadLiveCall(context.app, event, rowSelection({ context, info, select: { id: true } }))
          : loadCall(context, info, event.callId ?? ''),
    }),
  }),
});

const CallEventConnection = connectionOf(CallEventType);

builder.prismaObjectField(CallNode, 'events', (t) =>
  t.connection(
    {
      type: CallEventType,
      description:
        'Events of the call, oldest first. Their cursors are valid for the subscription `callEvents`.',
      complexity: connectionCost,
      args: {
        types: t.arg({
          type: [CallEventTypeEnum],
          description: 'Types of events. Default, and with an empty list: all.',
        }),
      },
      select: { id: true, createdAt: true },
      resolve: (call, args, context) => eventsOf(call, args, readerOf(context)) as never,
    },
    CallEventConnection,
  ),
);

function eventsOf(
  call: { id: string; createdAt: Date },
  args: PageArgs & { types?: readonly CallEventTypeName[] | null | undefined },
  reader: Reader,
): Connection<Event> {
  const types = args.types?.length ? args.types.map((type) => CALL_EVENT_TYPES[type]) : KNOWN_TYPES;
  const page = readPage(args, ({ value }) => readEventCursor(value) ?? 0n);
  return connectionOfPage(page, {
    ...sourceOfPage(page, (query) => loadEventPage(reader, { call, types, query })),
    cursorOf: (event) => String(event.cursor),
    totalCount: () => loadEventCount(reader, { call, types }),
  });
}

builder.subscriptionField('callEvents', (t) =>
  t.withAuth({ readCall: true }).field({
    type: CallEventType,
    description:
      'Events of calls, each exactly once and in order. With `after`, all events since that cursor come first and live events follow, so no event is lost across reconnects and restarts.',
    args: {
      callId: t.arg.id({ description: 'ID of a call (`cal_…`). Deleted calls are allowed.' }),
      agentId: t.arg.id({ description: 'ID of an agent (`agt_…`).' }),
      campaignId: t.arg.id({
        description: 'ID of a campaign (`cmp_…`). Deleted campaigns are allowed.',
      }),
      types: t.arg({
        type: [CallEventTypeEnum],
        description:
          'Types of events. Default, and with an empty list: all types except TRANSCRIPT_TURN.',
      }),
      after: t.arg({
        type: 'Cursor',
        description: AFTER,
      }),
    },
    subscribe: async (_root: unknown, args, { app, feed, viewer }) => {
      const after = readEventCursor(args.after);
      const callId = optionalId('Call', args.callId);
      const agentId = optionalId('Agent', args.agentId);
      const campaignId = optionalId('Campaign', args.campaignId);
      await checkWatched(app, viewer, { callId, agentId, campaignId });
      const watched = {
        // A token for one call or campaign sees only that, even if the client does not ask for it.
        callId: viewer.onlyCallId ?? callId,
        agentId,
        campaignId: viewer.onlyCampaignId ?? campaignId,
      };
      const types = args.types ?? null;
      const filter = callEventFilter({ ...watched, types });
      const events = await feed.subscribe(viewer.organizationId, after, filter);
      if (types?.includes('TRANSCRIPT_TURN'))
        events.onEnd(watchTurns(app, { ...watched, ...ownedBy(viewer) }));
      return events;
    },
    resolve: (event) => event,
  }),
);

builder.queryField('eventCursor', (t) =>
  t.withAuth({ readCall: true }).field({
    type: 'Cursor',
    description:
      'Cursor of the newest event of the organization. Read it before or together with other data, then subscribe with `after` to receive every change since.',
    resolve: async (_root, _args, { app, viewer, snapshotCursor }) =>
      String(snapshotCursor ?? (await currentCursor(app, viewer.organizationId))),
  }),
);
