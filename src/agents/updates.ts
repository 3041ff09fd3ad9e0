/** What happens to agents, live. Imported beside `schema.ts`. */

import type { Event } from '../generated/prisma/client.ts';
import { EventType } from '../generated/prisma/enums.ts';
import { builder } from '../graphql/builder.ts';
import { readCursor } from '../graphql/cursor.ts';
import { requireId } from '../graphql/ids.ts';
import { publicId } from '../infra/ids.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { AgentNode } from './schema.ts';

const AGENT_EVENTS = [
  EventType.AGENT_CREATED,
  EventType.AGENT_UPDATED,
  EventType.AGENT_SYNCED,
  EventType.AGENT_FAILED,
  EventType.AGENT_DELETED,
];

const AgentUpdateTypeEnum = builder.enumType('AgentUpdateType', {
  description: 'What happened to an agent.',
  values: {
    CREATED: { value: EventType.AGENT_CREATED, description: 'It was made.' },
    UPDATED: {
      value: EventType.AGENT_UPDATED,
      description: 'It was changed here; SYNCED follows once Ultravox has the change.',
    },
    SYNCED: { value: EventType.AGENT_SYNCED, description: 'Ultravox has a newer state of it.' },
    FAILED: {
      value: EventType.AGENT_FAILED,
      description: 'Ultravox refused it; `agent.syncError` says why.',
    },
    DELETED: { value: EventType.AGENT_DELETED, description: 'It was deleted; `agent` is null.' },
  } as const,
});

const AgentUpdateType = builder.objectRef<Event>('AgentUpdate').implement({
  description: 'Something that happened to an agent.',
  fields: (t) => ({
    type: t.field({
      type: AgentUpdateTypeEnum,
      description: 'What happened.',
      resolve: ({ type }) => type as (typeof AGENT_EVENTS)[number] as 'AGENT_CREATED',
    }),
    agent: t.prismaField({
      type: AgentNode,
      nullable: true,
      description:
        'The agent as it is when this is sent, which may be later than the event; null once it is deleted.',
      resolve: (query, event, _args, { app, viewer }) =>
        app.db.agent.findFirst({
          ...query,
          where: { ...ownedBy(viewer!), id: event.agentId!, deletedAt: null },
        }),
    }),
    agentId: t.id({
      description: 'Its `agt_…` id, also when it is gone.',
      resolve: (event) => publicId('agt', event.agentId!),
    }),
    cursor: t.field({
      type: 'Cursor',
      description: 'Where it stands in the event log. Give it as `after` to go on from here.',
      resolve: (event) => String(event.cursor),
    }),
    occurredAt: t.field({
      type: 'DateTime',
      description: 'When it happened.',
      resolve: (event) => event.createdAt,
    }),
  }),
});

builder.subscriptionField('agentUpdated', (t) =>
  t.withAuth({ read: true }).field({
    type: AgentUpdateType,
    description:
      'Everything that happens to one agent or to all of them, in order and without gaps.',
    args: {
      agentId: t.arg.id({ description: 'Only this agent, `agt_…`. Absent: all.' }),
      after: t.arg({
        type: 'Cursor',
        description:
          'First everything since this cursor, then what is live. `"0"` is the beginning of what is kept; absent: only what is live.',
      }),
    },
    subscribe: (_root, args, { feed, viewer }) => {
      const agentId = args.agentId ? requireId('Agent', args.agentId) : null;
      return feed.subscribe(viewer.organizationId, readCursor(args.after), {
        where: { type: { in: AGENT_EVENTS }, ...(agentId ? { agentId } : {}) },
        matches: (event) =>
          (AGENT_EVENTS as EventType[]).includes(event.type) &&
          (agentId === null || event.agentId === agentId),
      });
    },
    resolve: (event) => event,
  }),
);
