/** The lists of calls, campaigns and the objects that belong to them. */
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { utcDay } from '../../../src/live/partitions.ts';
import {
  at,
  CAMPAIGN,
  callRow,
  campaignContactRow,
  type ListCase,
  named,
  type RowSeed,
  uuid,
  type World,
} from './list-cases.ts';

/** The two forms of one number. */
const NUMBERS = ['+5491123456789', '+541123456789'];

const CALL_PARENTS: Record<string, (world: World) => string | undefined | Promise<string>> = {
  'Query.calls': () => undefined,
  'Agent.calls': ({ agentId }) => publicId('Agent', agentId),
  'PhoneNumber.calls': ({ numberId }) => publicId('PhoneNumber', numberId),
  'Campaign.calls': ({ campaignId }) => publicId('Campaign', campaignId),
  'CampaignContact.calls': ({ campaignContactId }) =>
    publicId('CampaignContact', campaignContactId),
  async 'Contact.calls'({ app, organizationId, folderId }) {
    const phoneNumber = NUMBERS[0]!;
    const { id } = await app.db.contact.upsert({
      where: { folderId_phoneNumber: { folderId, phoneNumber } },
      create: { id: newId(), organizationId, folderId, phoneNumber, searchText: '' },
      update: {},
    });
    return publicId('Contact', id);
  },
};

/** The other sorts of the other lists differ in nothing. */
function sortsOf(list: string): string[] {
  return list === 'Query.calls'
    ? ['CREATED_AT', 'DURATION', 'COST', 'ENDED_AT']
    : ['Campaign.calls', 'Contact.calls'].includes(list)
      ? ['CREATED_AT', 'COST']
      : ['CREATED_AT'];
}

/** With `b` of 0 a call was not answered and has no cost. */
function callValues({ a, b }: RowSeed) {
  return {
    createdAt: at(a),
    answeredAt: b === 0 ? null : at(0),
    endedAt: at(b + 1),
    costAmount: b === 0 ? null : `0.0${a}`,
  };
}

/** Only a scheduled contact has a time; null is a value to sort by, too. */
function plannedTime({ a, b }: RowSeed) {
  return b === 0
    ? { status: 'PENDING' as const, nextEligibleAt: null }
    : { status: 'SCHEDULED' as const, nextEligibleAt: at(a) };
}

/** Decisions have no id: each has an instant of its own in `until`. */
const untilOf = (index: number): Date => new Date(Date.UTC(2027, 0, 1) + index);

export const CALL_CASES: ListCase[] = [
  ...Object.entries(CALL_PARENTS).map(
    ([list, parentOf]): ListCase => ({
      list,
      sort: sortsOf(list),
      async fill(world, rows) {
        const { db } = world.app;
        const { campaignContactId } = world;
        await db.call.deleteMany({ where: { id: { not: world.callId } } });
        await db.call.createMany({
          data: rows.map((seed, index) => ({
            id: newId(),
            ...callRow(world),
            campaignContactId,
            phoneNumber: NUMBERS[index % 2]!,
            ...callValues(seed),
          })),
        });
        return parentOf(world);
      },
      isFixed: ({ callId }, id) => uuid(id) === callId,
      remove: ({ db }, id) =>
        db.call.update({ where: { id: uuid(id) }, data: { deletedAt: new Date() } }),
      move: ({ db }, id, seed) =>
        db.call.update({ where: { id: uuid(id) }, data: callValues(seed) }),
    }),
  ),
  {
    list: 'Call.events',
    identity: 'cursor',
    async fill({ app, organizationId, callId }, rows) {
      await app.db.event.deleteMany({ where: { callId } });
      await app.db.event.createMany({
        data: rows.map((_seed, index) => ({
          organizationId,
          callId,
          cursor: 1_000_000 + index,
          loggedOn: new Date(utcDay(new Date())),
          sequence: index + 1,
          type: 'CALL_RINGING' as const,
          data: { status: 'RINGING', endReason: null },
        })),
      });
      return publicId('Call', callId);
    },
    remove: ({ db }, cursor) => db.event.deleteMany({ where: { cursor: Number(cursor) } }),
  },
  {
    list: 'Call.transcript',
    identity: 'position',
    async fill({ app, organizationId, callId }, rows) {
      await app.db.callTurn.deleteMany({ where: { callId } });
      await app.db.callTurn.createMany({
        data: rows.map((_seed, index) => ({
          organizationId,
          callId,
          position: 2 * index,
          speaker: 'AGENT' as const,
          text: 'Hello',
          stage: 1,
        })),
      });
      return publicId('Call', callId);
    },
    remove: ({ db }, position) => db.callTurn.deleteMany({ where: { position: Number(position) } }),
  },
  ...['Query.campaigns', 'Agent.campaigns'].map(
    (list): ListCase => ({
      list,
      sort: ['CREATED_AT', 'NAME', 'SCHEDULED_AT'],
      async fill(world, rows) {
        const { db } = world.app;
        const { organizationId, agentId } = world;
        await db.campaign.deleteMany({ where: { id: { not: world.campaignId } } });
        await db.campaign.createMany({
          data: rows.map((seed) => ({
            id: newId(),
            organizationId,
            agentId,
            ...CAMPAIGN,
            ...campaignValues(seed),
          })),
        });
        return publicId('Agent', agentId);
      },
      isFixed: ({ campaignId }, id) => uuid(id) === campaignId,
      remove: ({ db }, id) => db.campaign.delete({ where: { id: uuid(id) } }),
      move: ({ db }, id, seed) =>
        db.campaign.update({ where: { id: uuid(id) }, data: campaignValues(seed) }),
    }),
  ),
  {
    list: 'Campaign.contacts',
    sort: ['POSITION', 'NEXT_ELIGIBLE_AT'],
    async fill(world, rows) {
      const { db } = world.app;
      await db.campaignContact.deleteMany({ where: { id: { not: world.campaignContactId } } });
      await db.campaignContact.createMany({
        data: rows.map((seed, index) => ({
          id: newId(),
          ...campaignContactRow(world, index),
          ...plannedTime(seed),
        })),
      });
      return publicId('Campaign', world.campaignId);
    },
    isFixed: ({ campaignContactId }, id) => uuid(id) === campaignContactId,
    remove: ({ db }, id) => db.campaignContact.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, seed) =>
      db.campaignContact.update({ where: { id: uuid(id) }, data: plannedTime(seed) }),
  },
  ...['Campaign.decisions', 'CampaignContact.decisions'].map(
    (list): ListCase => ({
      list,
      identity: 'until',
      async fill({ app, organizationId, campaignId, campaignContactId }, rows) {
        const ofContact = list === 'CampaignContact.decisions';
        await app.db.campaignDecision.deleteMany({});
        await app.db.campaignDecision.createMany({
          data: rows.map(({ a, b }, index) => ({
            id: newId(),
            organizationId,
            campaignId,
            campaignContactId: ofContact && b > 0 ? campaignContactId : null,
            outcome: 'WAITS' as const,
            reason: 'WINDOW_CLOSED' as const,
            at: at(a),
            until: untilOf(index),
          })),
        });
        return ofContact
          ? publicId('CampaignContact', campaignContactId)
          : publicId('Campaign', campaignId);
      },
      remove: ({ db }, until) => db.campaignDecision.deleteMany({ where: { until } }),
    }),
  ),
  {
    list: 'CampaignForecast.hours',
    identity: 'from',
    within: {
      document: (list) =>
        `{ campaignForecast(input: { contactCount: 400, maxConcurrentCalls: 1, scheduledAt: "2030-01-07T09:00:00Z" }) { ${list} } }`,
      path: ['campaignForecast', 'hours'],
    },
    fill: async () => undefined,
    // Computed from its arguments.
    isFixed: () => true,
    remove: async () => undefined,
  },
];

function campaignValues(seed: RowSeed) {
  return { ...named(seed), scheduledAt: seed.b === 0 ? null : at(seed.a) };
}
