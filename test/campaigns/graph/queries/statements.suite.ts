/** The number of statements does not grow with the number of rows. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../../../src/infra/ids.ts';
import { newAgent } from '../../../phone-numbers/support.ts';
import { createClient } from '../../../support/graphql.ts';
import { countQueries } from '../../../support/queries.ts';
import { plant } from '../graph-support.ts';
import { agentId, api, cmp, read, server } from './server.ts';

export function statementsSuite(): void {
  describe('statements of a query', () => {
    const EVERYTHING = `query ($id: ID!) {
    campaign(id: $id) {
      counts { total }
      contactFolder { id }
      contacts {
        totalCount
        nodes {
          id nextEligibleAt waitingFor
          campaign { id name status agent { name } phoneNumbers { phoneNumber } }
          contact { id folder { name } }
          call { id attempt agent { name } campaign { name } }
          calls { totalCount nodes { id attempt agent { name } campaignContact { id } events { nodes { type } } } }
          decisions { totalCount nodes { message call { id } } }
        }
      }
    }
  }`;

    it('are as many for many campaign contacts as for few, with all nested fields', async () => {
      const folder = await server.app.db.contactFolder.create({
        data: { id: newId(), organizationId: server.organizationId, name: 'Leads' },
      });
      const counts: number[] = [];
      for (const contacts of [2, 12]) {
        const ids = Array.from({ length: contacts }, () => newId());
        await server.app.db.contact.createMany({
          data: ids.map((id, index) => ({
            id,
            organizationId: server.organizationId,
            folderId: folder.id,
            phoneNumber: `+1415${contacts + 10}0${String(index).padStart(4, '0')}`,
            searchText: '',
          })),
        });
        const planted = await plant(server, server.organizationId, agentId, {
          contacts,
          contactFolderId: folder.id,
          contact: (index) => ({ contactId: ids[index]! }),
        });
        const variables = { id: cmp(planted.campaign.id) };
        const { campaign } = await read(EVERYTHING, variables, api.client);
        expect(campaign.contacts.nodes).toHaveLength(contacts);
        for (const node of campaign.contacts.nodes) {
          expect(node.contact.folder.name).toBe('Leads');
          expect(node.calls.nodes.map(({ attempt }: { attempt: number }) => attempt)).toEqual([
            1, 2,
          ]);
          expect(node.call.id).toBe(node.calls.nodes[1].id);
          expect(node.decisions.totalCount).toBe(3);
        }
        counts.push(await countQueries(api.app, () => api.client.send(EVERYTHING, variables)));
      }
      expect(counts[1]).toBe(counts[0]);
      expect(counts[0]).toBeLessThan(20);
    });

    it('are as many for two aliases of a list, and for the contacts of a forecast', async () => {
      const query = `query ($id: ID!) {
      campaign(id: $id) {
        contacts { nodes { one: calls(first: 1) { nodes { id } } all: calls { nodes { id } } } }
        forecast { hours { nodes { contacts(first: 20) {
          campaignContact { campaign { name } calls { nodes { id } } } } } } }
      }
    }`;
      const counts: number[] = [];
      for (const contacts of [2, 12]) {
        const planted = await plant(server, server.organizationId, agentId, { contacts });
        const variables = { id: cmp(planted.campaign.id) };
        const { campaign } = await read(query, variables, api.client);
        const [first] = campaign.contacts.nodes;
        expect([first.one.nodes.length, first.all.nodes.length]).toEqual([1, 2]);
        const [hour] = campaign.forecast.hours.nodes;
        expect(hour.contacts[0].campaignContact.calls.nodes).toHaveLength(2);
        counts.push(await countQueries(api.app, () => api.client.send(query, variables)));
      }
      expect(counts[1]).toBe(counts[0]);
    });

    it('are as many for many campaigns with contacts and calls as for one', async () => {
      const organization = await server.newOrganization();
      const { uuid } = await newAgent(server, organization.id);
      const client = createClient(api.url, organization.key);
      const query = `{ campaigns { nodes {
      name counts { called } agent { name } contactFolder { name } phoneNumbers { phoneNumber }
      contacts(first: 2) { nodes { phoneNumber waitingFor } }
      calls(first: 2) { totalCount nodes { id phoneNumber } }
      decisions(first: 2) { totalCount nodes { message } } } } }`;
      const count = () => countQueries(api.app, () => read(query, {}, client));
      await plant(server, organization.id, uuid);
      const one = await count();
      for (let more = 0; more < 4; more += 1) await plant(server, organization.id, uuid);
      expect(await count()).toBe(one);
    });
  });
}
