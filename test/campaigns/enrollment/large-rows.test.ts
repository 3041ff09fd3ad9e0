/** Files whose rows are as large as they may be. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCampaign, type Desk, openDesk } from '../lists.ts';

const MB = 2 ** 20;
const ROWS = 60;
const COLUMNS = Array.from({ length: 100 }, (_, index) => `Note ${index}`);

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
});
afterAll(() => desk?.server.close());

it('are staged in batches of 8 MB', async () => {
  const { server } = desk;
  const { campaign } = await createCampaign(desk, {});
  const cells = COLUMNS.map(() => 'n'.repeat(1_990)).join();
  const rows = Array.from({ length: ROWS }, (_, index) => `+1415555${1_000 + index},${cells}`);
  const form = new FormData();
  const query = `mutation ($input: AddCampaignContactsInput!) {
    addCampaignContacts(input: $input) { addedCount userErrors { message } } }`;
  const variables = { input: { campaignId: campaign.id, contactsFile: null } };
  form.set('operations', JSON.stringify({ query, variables }));
  form.set('map', JSON.stringify({ 0: ['variables.input.contactsFile'] }));
  form.set('0', new Blob([[`phone,${COLUMNS.join()}`, ...rows].join('\n')]), 'contacts.csv');
  const sizes: number[] = [];
  const prisma = server.app.db as unknown as {
    $on(event: 'query', listener: (event: { query: string; params: string }) => void): void;
  };
  prisma.$on('query', ({ query: sql, params }) => {
    if (/^\s*INSERT INTO campaign_enrollment_rows/.test(sql)) sizes.push(params.length);
  });
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.key}` },
    body: form,
  });
  expect(await response.json()).toEqual({
    data: { addCampaignContacts: { addedCount: ROWS, userErrors: [] } },
  });
  expect(sizes).toHaveLength(2);
  expect(Math.max(...sizes)).toBeLessThan(10 * MB);
}, 60_000);
