/** Mutations of the status of a campaign that are sent again, after a double click or a lost response. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidOf } from '../../calls/support.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { type CampaignFixture, createCampaignFixture, problemsOf } from '../campaign-fixture.ts';
import { done, run } from './graph-support.ts';

let server: TestServer;
let client: GraphQLClient;
let inStatus: CampaignFixture['inStatus'];

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  ({ inStatus } = await createCampaignFixture(server));
});

afterAll(() => server?.close());

describe('a repeated change of the status of a campaign', () => {
  /** What a repetition could change: the rows, the events, which become webhooks, and jobs. */
  async function everythingOf(id: string) {
    const { db } = server.app;
    const campaignId = uuidOf(id);
    return {
      campaign: await db.campaign.findUniqueOrThrow({ where: { id: campaignId } }),
      contacts: await db.campaignContact.findMany({
        where: { campaignId },
        orderBy: { position: 'asc' },
      }),
      events: await db.event.count({ where: { campaignId } }),
      decisions: await db.campaignDecision.count({ where: { campaignId } }),
    };
  }

  it.each<[string, string]>([
    ['scheduleCampaign', 'SCHEDULED'],
    ['pauseCampaign', 'PAUSED'],
    ['resumeCampaign', 'SCHEDULED'],
    ['cancelCampaign', 'CANCELLED'],
  ])('succeeds without any effect: %s when %s', async (name, state) => {
    const id = await inStatus(state);
    const before = await everythingOf(id);
    for (let again = 0; again < 2; again += 1) {
      const { campaign, userErrors } = await run(client, name, { id });
      expect([campaign.id, campaign.status, userErrors]).toEqual([id, state, []]);
    }
    expect(await everythingOf(id)).toEqual(before);
  });

  it('succeeds for a campaign that runs', async () => {
    const id = await inStatus('ACTIVE');
    const { db } = server.app;
    const events = () => db.event.count({ where: { campaignId: uuidOf(id) } });
    const before = await events();
    for (const name of ['resumeCampaign', 'scheduleCampaign'])
      expect((await done(client, name, { id })).campaign).toMatchObject({ id, status: 'ACTIVE' });
    expect(await events()).toBe(before);
  });

  it('is rejected when it asks for another start or time zone', async () => {
    const id = await inStatus('SCHEDULED');
    const { scheduledAt, timezone } = await server.app.db.campaign.findUniqueOrThrow({
      where: { id: uuidOf(id) },
    });
    const same = { id, scheduledAt: scheduledAt!.toISOString(), timezone };
    expect((await done(client, 'scheduleCampaign', same)).campaign.status).toBe('SCHEDULED');
    for (const other of [
      { scheduledAt: '2041-03-05T08:00:00Z' },
      { scheduledAt: null },
      { timezone: 'Asia/Tokyo' },
    ]) {
      const payload = await run(client, 'scheduleCampaign', { ...same, ...other });
      expect(problemsOf(payload)).toEqual(['INVALID_STATE id']);
    }
  });
});
