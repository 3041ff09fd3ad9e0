/** When a campaign contact is called next, and what was decided about it. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../../src/ids.ts';
import { plant } from '../graph-support.ts';
import { agentId, cmp, read, server } from './server.ts';

const DECISIONS = `query ($id: ID!, $first: Int, $last: Int, $after: String, $before: String) {
  node(id: $id) {
    ... on Campaign { decisions(first: $first, last: $last, after: $after, before: $before) { ...Page } }
    ... on CampaignContact { decisions(first: $first, last: $last, after: $after, before: $before) { ...Page } }
  }
}
fragment Page on CampaignDecisionConnection {
  totalCount
  nodes { outcome reason message until call { id } }
  edges { cursor }
  pageInfo { hasNextPage hasPreviousPage endCursor startCursor }
}`;

export function contactsSuite(): void {
  describe('CampaignContact.waitingFor and nextEligibleAt', () => {
    async function waiting(columns: Parameters<typeof plant>[3]) {
      const { campaign } = await plant(server, server.organizationId, agentId, {
        contacts: 1,
        calls: 0,
        ...columns,
      });
      const data = await read(
        'query ($id: ID!) { campaign(id: $id) { contacts { nodes { nextEligibleAt waitingFor } } } }',
        { id: cmp(campaign.id) },
      );
      return data.campaign.contacts.nodes[0];
    }
    const noon = new Date('2041-03-04T12:00:00Z');
    const one = new Date('2041-03-04T13:00:00Z');
    const own = (nextEligibleAt: Date) => () => ({ nextEligibleAt });

    it('returns the planned time without a reason while nothing holds the campaign', async () => {
      expect(await waiting({ status: 'ACTIVE', contact: own(noon) })).toEqual({
        nextEligibleAt: noon.toISOString(),
        waitingFor: null,
      });
    });

    it('returns the hold of the campaign, unless the planned time is later', async () => {
      const held = { status: 'ACTIVE', holdReason: 'DAILY_CAP_REACHED' } as const;
      expect(await waiting({ ...held, nextDispatchAt: one, contact: own(noon) })).toEqual({
        nextEligibleAt: one.toISOString(),
        waitingFor: 'DAILY_CAP_REACHED',
      });
      expect(await waiting({ ...held, nextDispatchAt: noon, contact: own(one) })).toEqual({
        nextEligibleAt: one.toISOString(),
        waitingFor: null,
      });
    });

    it('returns CAMPAIGN_PAUSED while the campaign is paused', async () => {
      expect(await waiting({ status: 'PAUSED', contact: own(noon) })).toEqual({
        nextEligibleAt: null,
        waitingFor: 'CAMPAIGN_PAUSED',
      });
    });

    it('returns nothing in a draft and for a finished contact', async () => {
      const nothing = { nextEligibleAt: null, waitingFor: null };
      expect(await waiting({ status: 'DRAFT', contact: own(noon) })).toEqual(nothing);
      const done = () => ({ status: 'COMPLETED', nextEligibleAt: null }) as const;
      expect(await waiting({ status: 'PAUSED', contact: done })).toEqual(nothing);
    });
  });

  describe('CampaignContact.decisions', () => {
    it('lists decisions about the contact, and about the campaign while the contact was waiting', async () => {
      const planted = await plant(server, server.organizationId, agentId, { contacts: 2 });
      const id = publicId('CampaignContact', planted.contactIds[0]!);
      const all = (await read(DECISIONS, { id })).node.decisions;
      // Without the window that closed while the contact was being called.
      expect(all.totalCount).toBe(3);
      expect(all.nodes.map(({ reason }: { reason: string }) => reason)).toEqual([
        'WINDOW_CLOSED',
        'DUE',
        'DUE',
      ]);
      expect(all.nodes[1]).toEqual({
        outcome: 'DIALED',
        reason: 'DUE',
        message: 'The contact is due: call placed.',
        until: null,
        call: { id: publicId('Call', planted.callIds[0]!) },
      });
      expect(all.nodes[0].message).toMatch(
        /^The calling window of the campaign is closed: waiting until \d{4}-\d\d-\d\d \d\d:\d\d \(Europe\/Berlin\)\.$/,
      );

      await server.app.db.campaignContact.update({
        where: { id: planted.contactIds[0]! },
        data: {
          status: 'FAILED',
          nextEligibleAt: null,
          finishedAt: planted.campaign.createdAt,
        },
      });
      expect((await read(DECISIONS, { id })).node.decisions.totalCount).toBe(2);
      const whole = (await read(DECISIONS, { id: cmp(planted.campaign.id) })).node.decisions;
      expect([whole.totalCount, whole.nodes.length]).toEqual([3, 3]);
    });

    it('pages in both directions', async () => {
      const planted = await plant(server, server.organizationId, agentId, {
        contacts: 1,
        calls: 4,
      });
      const id = publicId('CampaignContact', planted.contactIds[0]!);
      const all = (await read(DECISIONS, { id })).node.decisions;
      const cursors = all.edges.map(({ cursor }: { cursor: string }) => cursor);
      expect(new Set(cursors).size).toBe(5);
      const page = async (variables: object) => {
        const { decisions } = (await read(DECISIONS, { id, ...variables })).node;
        const { hasNextPage, hasPreviousPage } = decisions.pageInfo;
        const at = decisions.edges.map(({ cursor }: { cursor: string }) => cursors.indexOf(cursor));
        return { at, hasNextPage, hasPreviousPage };
      };
      expect(await page({ first: 2 })).toMatchObject({ at: [0, 1], hasNextPage: true });
      expect(await page({ first: 2, after: cursors[1] })).toMatchObject({ at: [2, 3] });
      expect(await page({ first: 2, after: cursors[3] })).toMatchObject({
        at: [4],
        hasNextPage: false,
      });
      expect(await page({ last: 2 })).toMatchObject({ at: [3, 4], hasPreviousPage: true });
      expect(await page({ last: 2, before: cursors[3] })).toMatchObject({ at: [1, 2] });
      const wrong = await server.client.send(DECISIONS, { id, after: 'nonsense' });
      expect(wrong.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    });
  });
}
