/** The server that the suites in this folder share, and ways to add contacts. */
import { afterAll, beforeAll, expect } from 'vitest';
import { runMutation } from '../../../support/calling.ts';
import type { TestServer } from '../../../support/servers/server.ts';
import { createCampaign, type Desk, openDesk } from '../../lists.ts';

export let server: TestServer;
export let desk: Desk;

export const ADDED = `addedCount duplicateCount problemCount problems { row phoneNumber reason }
  rowWarningCount rowWarnings { row phoneNumber reason }`;

export async function contactsOf(id: string, fields = 'phoneNumber') {
  const { data, errors } = await server.client.send(
    `query ($id: ID!) { campaign(id: $id) { contactSource counts { total pending }
      contacts(first: 100) { nodes { position ${fields} } } } }`,
    { id },
  );
  if (errors) throw new Error(JSON.stringify(errors));
  const { nodes } = data.campaign.contacts;
  expect(nodes.map((node: { position: number }) => node.position)).toEqual([...nodes.keys()]);
  return { ...data.campaign, contacts: nodes };
}

export async function addTo(campaignId: string, input: Record<string, unknown>) {
  return runMutation(server.client, 'addCampaignContacts', { campaignId, ...input }, ADDED);
}

export const draft = async (input: Record<string, unknown> = {}): Promise<string> =>
  (await createCampaign(desk, input)).campaign.id;

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useDesk(): void {
  beforeAll(async () => {
    desk = await openDesk();
    server = desk.server;
  });
  afterAll(() => server.close());
}
