/** An organization with an agent, a number and contacts, and campaigns in every status. */
import { expect } from 'vitest';
import { dataOf, uuidOf } from '../calls/support.ts';
import { makeFolder } from '../contacts/import/upload.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { TestServer } from '../support/servers/server.ts';
import { ALWAYS, done, people } from './graph/graph-support.ts';

/** A start so far in the future that no call is placed during a test. */
export const LATER = '2040-03-05T08:00:00.000Z';

export interface CampaignFixture {
  caller: Caller;
  /** ID of the outbound number of the agent. */
  numberId: string;
  folderId: string;
  /** The three contacts of the folder, whose time zone is Europe/Paris. */
  contactIds: string[];
  /** Creates a campaign, which is a draft unless the input has a schedule. */
  // biome-ignore lint/suspicious/noExplicitAny: the payload of `createCampaign`
  draft(input?: object): Promise<any>;
  /** Creates a campaign in the status, with two contacts. */
  inStatus(status: string): Promise<string>;
  // biome-ignore lint/suspicious/noExplicitAny: the fields of the query below
  contactsOf(campaignId: string): Promise<any[]>;
}

export async function createCampaignFixture(server: TestServer): Promise<CampaignFixture> {
  const { client } = server;
  const caller = await prepareCaller(client);
  const { data } = await client.send('{ phoneNumbers { nodes { id } } }');
  const folderId = await makeFolder(client, 'Leads');
  const contacts = people(3).map((person) => ({ ...person, timezone: 'Europe/Paris' }));
  const created = await runMutation(
    client,
    'createContacts',
    { folderId, contacts },
    'contacts { id }',
  );
  const draft = (input: object = {}) =>
    done(client, 'createCampaign', { name: 'Draft', agentId: caller.agentId, ...ALWAYS, ...input });
  return {
    caller,
    numberId: data.phoneNumbers.nodes[0].id,
    folderId,
    contactIds: created.contacts.map(({ id }: { id: string }) => id),
    draft,
    async inStatus(status) {
      const isDraft = status === 'DRAFT';
      const { campaign } = await draft({
        contacts: people(2),
        ...(isDraft ? {} : { scheduledAt: LATER }),
      });
      if (!isDraft) expect(campaign.status).toBe('SCHEDULED');
      if (status === 'PAUSED') await done(client, 'pauseCampaign', { id: campaign.id });
      if (status === 'CANCELLED') await done(client, 'cancelCampaign', { id: campaign.id });
      if (status === 'ACTIVE' || status === 'COMPLETED') {
        await server.app.db.campaign.update({
          where: { id: uuidOf(campaign.id) },
          // Without a next dispatch, so that no call is placed.
          data: { status, nextDispatchAt: null, startedAt: new Date() },
        });
      }
      return campaign.id;
    },
    async contactsOf(id) {
      const answer = await client.send(
        `query ($id: ID!) { campaign(id: $id) { contacts { nodes {
          position clientId phoneNumber firstName timezone metadata status scheduledAt nextEligibleAt
          contact { id } } } } }`,
        { id },
      );
      return dataOf(answer).campaign.contacts.nodes;
    },
  };
}

/** The user errors of a payload as `CODE path`, sorted. */
export function problemsOf(payload: { userErrors: { code: string; path: string[] }[] }): string[] {
  return payload.userErrors.map(({ code, path }) => `${code} ${path.join('.')}`.trim()).sort();
}
