/** The subscription `agentUpdated`. */
import type { Event } from '../../generated/prisma/client.ts';
import { EventType } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { optionalId } from '../../graphql/ids.ts';
import { publicId } from '../../ids.ts';
import { readEventCursor } from '../../live/cursor.ts';
import { AFTER } from '../../live/graph/after-argument.ts';
import { ownedBy } from '../../viewer.ts';
import { checkWatchedAgent } from '../watched-agent.ts';
import { AgentNode } from './agent.ts';

const AGENT_EVENTS = [
  EventType.AGENT_CREATED,
  EventType.AGENT_UPDATED,
  EventType.AGENT_SYNCED,
  EventType.AGENT_FAILED,
  EventType.AGENT_SYNC_DELAYED,
  EventType.AGENT_DELETED,
];

const AgentUpdateTypeEnum = builder.enumType('AgentUpdateType', {
  description: 'Kind of change of an agent.',
  values: {
    CREATED: { value: EventType.AGENT_CREATED, description: 'The agent was created.' },
    UPDATED: {
      value: EventType.AGENT_UPDATED,
      description: 'The agent was changed. SYNCED, FAILED or SYNC_DELAYED follows.',
    },
    SYNCED: {
      value: EventType.AGENT_SYNCED,
      description: 'A newer revision of the agent is at Ultravox.',
    },
    FAILED: {
      value: EventType.AGENT_FAILED,
      description: 'Ultravox refused the agent; `agent.syncError` gives the reason.',
    },
    SYNC_DELAYED: {
      value: EventType.AGENT_SYNC_DELAYED,
      description:
        'The agent could not be sent to Ultravox and is sent again automatically; `agent.syncError` gives the reason. Not repeated while retries fail for the same reason.',
    },
    DELETED: {
      value: EventType.AGENT_DELETED,
      description: 'The agent was deleted; `agent` is null.',
    },
  } as const,
});

const AgentUpdateType = builder.objectRef<Event>('AgentUpdate').implement({
  description: 'Change of an agent.',
  fields: (t) => ({
    type: t.field({
      type: AgentUpdateTypeEnum,
      description: 'Kind of change.',
      resolve: ({ type }) => type as (typeof AGENT_EVENTS)[number] as 'AGENT_CREATED',
    }),
    agent: t.prismaField({
      type: AgentNode,
      nullable: true,
      description:
        'Agent as it is when the event is delivered, which may be newer than the event. Null once it is deleted.',
      resolve: (query, event, _args, { app, viewer }) =>
        app.db.agent.findFirst({
          ...query,
          where: { ...ownedBy(viewer!), id: event.agentId!, deletedAt: null },
        }),
    }),
    agentId: t.id({
      description: 'ID of the agent (`agt_…`), also after its deletion.',
      resolve: (event) => publicId('Agent', event.agentId!),
    }),
    cursor: t.field({
      type: 'Cursor',
      description:
        'Position of the event in the event log. Pass it as `after` to continue from here.',
      resolve: (event) => String(event.cursor),
    }),
    occurredAt: t.field({
      type: 'DateTime',
      description: 'Time of the change.',
      resolve: (event) => event.createdAt,
    }),
  }),
});

builder.subscriptionField('agentUpdated', (t) =>
  t.withAuth({ read: true }).field({
    type: AgentUpdateType,
    description:
      'Changes of one agent or of all agents, each exactly once and in order. With `after`, all changes since that cursor come first and live ones follow.',
    args: {
      agentId: t.arg.id({ description: 'ID of the agent (`agt_…`). Default: all agents.' }),
      after: t.arg({ type: 'Cursor', description: AFTER }),
    },
    subscribe: async (_root, args, { app, feed, viewer }) => {
      const agentId = optionalId('Agent', args.agentId);
      if (agentId) await checkWatchedAgent(app, viewer, agentId);
      return feed.subscribe(viewer.organizationId, readEventCursor(args.after), {
        where: { type: { in: AGENT_EVENTS }, ...(agentId ? { agentId } : {}) },
        isRare: true,
        matches: (event) =>
          (AGENT_EVENTS as EventType[]).includes(event.type) &&
          (agentId === null || event.agentId === agentId),
      });
    },
    resolve: (event) => event,
  }),
);
