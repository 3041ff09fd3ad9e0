/** Lists of campaigns and of their contacts. */
import { beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../../src/ids.ts';
import { newId } from '../../../../src/infra/ids.ts';
import { createFolder } from '../../../contacts/support.ts';
import { newAgent, newNumber } from '../../../phone-numbers/support.ts';
import type { GraphQLClient } from '../../../support/graphql.ts';
import { uuidOf } from '../../support.ts';
import { plant } from '../graph-support.ts';
import { agentId, cmp, read, server } from './server.ts';

const LIST = `query ($filter: CampaignFilter, $orderBy: CampaignOrder, $first: Int, $after: String) {
  campaigns(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    totalCount nodes { id name } pageInfo { hasNextPage endCursor } } }`;

const CONTACTS = `query ($id: ID!, $filter: CampaignContactFilter, $orderBy: CampaignContactOrder, $first: Int, $after: String) {
  campaign(id: $id) {
    contacts(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
      totalCount
      nodes { position status }
      pageInfo { hasNextPage endCursor }
    }
  }
}`;

export function listsSuite(): void {
  describe('Query.campaigns', () => {
    let client: GraphQLClient;
    let agents: string[];

    beforeAll(async () => {
      const organization = await server.newOrganization();
      client = organization.client;
      const made = [
        await newAgent(server, organization.id),
        await newAgent(server, organization.id),
      ];
      agents = made.map(({ id }) => id);
      const later = (days: number) => new Date(Date.now() + days * 86_400_000);
      const names = ['Autumn', 'spring', 'Spring 50%', 'Gone'];
      for (const [index, name] of names.entries()) {
        await plant(server, organization.id, made[index % 2]!.uuid, {
          contacts: 0,
          name,
          status: index === 0 ? 'DRAFT' : 'PAUSED',
          scheduledAt: index === 1 ? null : later(10 - index),
          createdAt: later(index - 20),
          deletedAt: name === 'Gone' ? new Date() : null,
        });
      }
    });

    async function names(variables: object = {}): Promise<string[]> {
      const { campaigns } = await read(LIST, variables, client);
      expect(campaigns.totalCount).toBe(campaigns.nodes.length);
      return campaigns.nodes.map(({ name }: { name: string }) => name);
    }

    it('lists campaigns newest first, without deleted ones', async () => {
      expect(await names()).toEqual(['Spring 50%', 'spring', 'Autumn']);
    });

    it('filters by status, agent and part of the name', async () => {
      expect(await names({ filter: { status: ['DRAFT', 'ACTIVE'] } })).toEqual(['Autumn']);
      expect(await names({ filter: { agentId: agents[1] } })).toEqual(['spring']);
      expect(await names({ filter: { name: 'SPRING' } })).toEqual(['Spring 50%', 'spring']);
      expect(await names({ filter: { name: '0%' } })).toEqual(['Spring 50%']);
      expect(await names({ filter: { name: '_pring' } })).toEqual([]);
    });

    it('filters by phone number and contact folder', async () => {
      const { db } = server.app;
      const folder = await createFolder(client);
      const { id, organizationId } = await db.campaign.findFirstOrThrow({
        where: { agent: { id: uuidOf(agents[0]!) }, name: 'Autumn' },
      });
      const phoneNumber = await db.phoneNumber.create({
        data: { id: newId(), organizationId, phoneNumber: newNumber(), provider: 'SIP' },
      });
      const number = publicId('PhoneNumber', phoneNumber.id);
      await db.campaign.update({
        where: { id },
        data: {
          contactFolderId: uuidOf(folder),
          phoneNumbers: { create: { phoneNumberId: phoneNumber.id, position: 0 } },
        },
      });
      expect(await names({ filter: { phoneNumberId: number } })).toEqual(['Autumn']);
      expect(await names({ filter: { contactFolderId: folder } })).toEqual(['Autumn']);
      expect(await names({ filter: { contactFolderId: folder, name: 'spring' } })).toEqual([]);
      const { errors } = await client.send(LIST, { filter: { phoneNumberId: folder } });
      expect(errors?.[0]?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        problems: [{ code: 'INVALID_ID', path: ['filter', 'phoneNumberId'] }],
      });
    });

    it('filters by time of creation and of the start', async () => {
      const day = (days: number) => new Date(Date.now() + days * 86_400_000 + 60_000).toISOString();
      expect(await names({ filter: { createdFrom: day(-20) } })).toEqual(['Spring 50%', 'spring']);
      expect(await names({ filter: { createdBefore: day(-19) } })).toEqual(['spring', 'Autumn']);
      expect(await names({ filter: { createdFrom: day(-20), createdBefore: day(-19) } })).toEqual([
        'spring',
      ]);
      expect(await names({ filter: { scheduledFrom: day(8) } })).toEqual(['Autumn']);
      expect(await names({ filter: { scheduledBefore: day(8) } })).toEqual(['Spring 50%']);
      expect(await names({ filter: { scheduledBefore: day(20), scheduledFrom: day(1) } })).toEqual([
        'Spring 50%',
        'Autumn',
      ]);
    });

    it('sorts by name and by start, with campaigns without a start last on all pages', async () => {
      const by = async (field: string, direction: string) => {
        const seen: string[] = [];
        let after: string | null = null;
        do {
          const orderBy = { field, direction };
          const { campaigns }: Awaited<ReturnType<typeof read>> = await read(
            LIST,
            { orderBy, first: 1, after },
            client,
          );
          expect(campaigns.totalCount).toBe(3);
          seen.push(...campaigns.nodes.map(({ name }: { name: string }) => name));
          after = campaigns.pageInfo.hasNextPage ? campaigns.pageInfo.endCursor : null;
        } while (after);
        return seen;
      };
      expect(await by('SCHEDULED_AT', 'ASC')).toEqual(['Spring 50%', 'Autumn', 'spring']);
      expect(await by('SCHEDULED_AT', 'DESC')).toEqual(['Autumn', 'Spring 50%', 'spring']);
      expect(await by('CREATED_AT', 'ASC')).toEqual(['Autumn', 'spring', 'Spring 50%']);
      expect((await by('NAME', 'ASC')).sort()).toEqual(['Autumn', 'Spring 50%', 'spring']);
    });

    it('is also a field of the agent', async () => {
      const { agent } = await read(
        'query ($id: ID!) { agent(id: $id) { campaigns(filter: { name: "autumn" }) { totalCount nodes { name } } } }',
        { id: agents[0] },
        client,
      );
      expect(agent.campaigns).toEqual({ totalCount: 1, nodes: [{ name: 'Autumn' }] });
    });

    it('rejects IDs of other types and pages of more than 100 items', async () => {
      for (const variables of [{ filter: { agentId: cmp(newId()) } }, { first: 101 }]) {
        const answer = await client.send(LIST, variables);
        expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
      }
    });
  });

  describe('a deleted campaign', () => {
    it('cannot be queried, and is null on its calls', async () => {
      const planted = await plant(server, server.organizationId, agentId, {
        contacts: 1,
        calls: 1,
      });
      const ask = () =>
        read(
          `query ($campaign: ID!, $contact: ID!, $call: ID!) {
          campaign(id: $campaign) { id }
          nodes(ids: [$campaign, $contact]) { id }
          call(id: $call) { attempt campaign { id } campaignContact { id } }
        }`,
          {
            campaign: cmp(planted.campaign.id),
            contact: publicId('CampaignContact', planted.contactIds[0]!),
            call: publicId('Call', planted.callIds[0]!),
          },
        );
      const [id] = [cmp(planted.campaign.id)];
      expect(await ask()).toMatchObject({
        campaign: { id },
        nodes: [{ id }, { id: publicId('CampaignContact', planted.contactIds[0]!) }],
        call: { attempt: 1, campaign: { id }, campaignContact: { id: expect.any(String) } },
      });
      await server.app.db.campaign.update({
        where: { id: planted.campaign.id },
        data: { deletedAt: new Date() },
      });
      expect(await ask()).toEqual({
        campaign: null,
        nodes: [null, null],
        call: { attempt: 1, campaign: null, campaignContact: null },
      });
    });
  });

  describe('Campaign.contacts', () => {
    const STATUSES = [
      'SCHEDULED',
      'SKIPPED',
      'COMPLETED',
      'SKIPPED',
      'SCHEDULED',
      'FAILED',
    ] as const;
    let id: string;
    let numbers: string[];

    beforeAll(async () => {
      const soon = Date.now() + 1_000_000;
      const planted = await plant(server, server.organizationId, agentId, {
        contacts: 6,
        calls: 0,
        status: 'ACTIVE',
        contact: (index) => ({
          status: STATUSES[index]!,
          skipReason: index === 1 ? 'DO_NOT_CALL' : index === 3 ? 'NEVER_OPEN' : null,
          nextEligibleAt: STATUSES[index] === 'SCHEDULED' ? new Date(soon - index * 1000) : null,
          ...(index === 2 ? { clientId: 'two', identity: 'id:two' } : {}),
        }),
      });
      id = cmp(planted.campaign.id);
      const rows = await server.app.db.campaignContact.findMany({
        where: { campaignId: planted.campaign.id },
        orderBy: { position: 'asc' },
      });
      numbers = rows.map(({ phoneNumber }) => phoneNumber);
    });

    async function positions(variables: object = {}): Promise<number[]> {
      const { contacts } = (await read(CONTACTS, { id, ...variables })).campaign;
      expect(contacts.totalCount).toBe(contacts.nodes.length);
      return contacts.nodes.map(({ position }: { position: number }) => position);
    }

    it('lists contacts by position, and filters by status, skip reason, client ID and phone number', async () => {
      expect(await positions()).toEqual([0, 1, 2, 3, 4, 5]);
      expect(await positions({ orderBy: { field: 'POSITION', direction: 'DESC' } })).toEqual([
        5, 4, 3, 2, 1, 0,
      ]);
      expect(await positions({ filter: { status: ['COMPLETED', 'FAILED'] } })).toEqual([2, 5]);
      expect(await positions({ filter: { skipReason: 'NEVER_OPEN' } })).toEqual([3]);
      expect(await positions({ filter: { skipReason: 'NEVER_OPEN', status: ['FAILED'] } })).toEqual(
        [],
      );
      expect(await positions({ filter: { clientId: ' two ' } })).toEqual([2]);
      // With a client ID and without one.
      expect(await positions({ filter: { phoneNumber: numbers[2] } })).toEqual([2]);
      expect(await positions({ filter: { phoneNumber: numbers[4] } })).toEqual([4]);
    });

    it('lists waiting contacts first when sorted by NEXT_ELIGIBLE_AT', async () => {
      const orderBy = { field: 'NEXT_ELIGIBLE_AT', direction: 'ASC' };
      expect(await positions({ orderBy })).toEqual([4, 0, 1, 2, 3, 5]);
      expect(await positions({ orderBy: { ...orderBy, direction: 'DESC' } })).toEqual([
        0, 4, 5, 3, 2, 1,
      ]);
      expect(await positions({ orderBy, filter: { status: ['FAILED'] } })).toEqual([5]);
    });

    it('returns every contact once over all pages', async () => {
      const seen: number[] = [];
      let after: string | null = null;
      do {
        const data: Awaited<ReturnType<typeof read>> = await read(CONTACTS, {
          id,
          first: 4,
          after,
        });
        const { contacts } = data.campaign;
        expect(contacts.totalCount).toBe(6);
        seen.push(...contacts.nodes.map(({ position }: { position: number }) => position));
        after = contacts.pageInfo.hasNextPage ? contacts.pageInfo.endCursor : null;
      } while (after);
      expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
    });

    it('rejects an invalid phone number in the filter', async () => {
      const answer = await server.client.send(CONTACTS, { id, filter: { phoneNumber: '0171' } });
      expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    });
  });
}
