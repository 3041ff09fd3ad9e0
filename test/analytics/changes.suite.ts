/** Changes of calls at any time, and the limits of a query. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../src/infra/ids.ts';
import { prepareCaller } from '../support/calling.ts';
import { until } from '../support/wait.ts';
import { analytics, calls, expectUnit, RANGE, rollUp, server } from './server.ts';

export function changesSuite(): void {
  describe('analytics', () => {
    it('agree with a count by hand when changed days are rolled up again', async () => {
      const { callRollupChange } = server.app.db;
      // Of a day that is not rolled up.
      await callRollupChange.create({ data: { organizationId: newId(), day: new Date(0) } });
      await rollUp();
      expect(await callRollupChange.count()).toBe(0);
      await expectUnit('WEEK', 'UTC', RANGE);
    });

    it('count a change that is committed while its day is rolled up', async () => {
      await rollUp();
      const { db } = server.app;
      const [call] = calls.filter(({ endedAt }) => endedAt);
      await db.$transaction(async (tx) => {
        Object.assign(call!, { costAmount: '9.000000', costCurrency: 'USD' });
        const data = { costAmount: '9', costCurrency: 'USD' };
        await tx.call.update({ where: { id: call!.id! }, data });
        // Skips the day, whose change is not committed.
        await rollUp();
      });
      await expectUnit('DAY', 'UTC', RANGE);
      await rollUp();
      await expectUnit('DAY', 'UTC', RANGE);
    });

    it('costs as many objects as it can have groups', async () => {
      const month = { from: '2026-03-01T00:00:00Z', to: '2026-03-31T00:00:00Z' };
      const costOf = (groupBy: string, groups = 'groups { start figures { calls } }') =>
        server.client
          .send(
            `query ($range: AnalyticsRange!) {
            ${Array.from({ length: 60 }, (_, n) => `a${n}: analytics(range: $range, groupBy: ${groupBy}) { ${groups} }`).join(' ')} }`,
            { range: month },
          )
          .then(({ errors }) => errors?.[0]?.extensions.cost as number | undefined);
      expect(await costOf('[END_REASON, DAY]')).toBeUndefined();
      // 720 hours with 13 end reasons, two objects each, and three fields with a selection.
      expect(await costOf('[END_REASON, HOUR]')).toBe(60 * (50 + 2 * 720 * 13 + 3 * 5));
      expect(await costOf('[AGENT]')).toBe(60 * (50 + 2 * 10_000 + 3 * 5));
    });

    it('refuses a range over two years, too many groups and a zone that is none, with the number', async () => {
      const years = { from: '2020-01-01T00:00:00Z', to: '2023-01-01T00:00:00Z' };
      await expect(analytics({}, years)).rejects.toThrow('1096 days; at most 731');
      const long = { from: '2025-01-01T00:00:00Z', to: '2026-12-31T00:00:00Z' };
      await expect(analytics({ groupBy: ['HOUR'] }, long)).rejects.toThrow('17,496 rows');
      await expect(analytics({ groupBy: ['DAY', 'MONTH'] })).rejects.toThrow('one unit of time');
      await expect(analytics({ timezone: 'Mars/Base' })).rejects.toThrow('Mars/Base');
      await expect(analytics({}, { from: RANGE.to, to: RANGE.from })).rejects.toThrow('after');
    });

    it('has each change of a call at once, and forgets a deleted one', async () => {
      const other = await server.newOrganization();
      const caller = await prepareCaller(other.client);
      const range = {
        from: new Date(Date.now() - 3_600_000),
        to: new Date(Date.now() + 3_600_000),
      };
      const query = `query ($range: AnalyticsRange!, $id: ID!) {
      analytics(range: $range) { total { calls answered cost { amount } } }
      agent(id: $id) { figures { calls answered totalHandleSeconds cost { amount } } } }`;
      const look = async () => {
        return (await other.client.send(query, { range, id: caller.agentId })).data;
      };
      expect((await look()).analytics.total).toMatchObject({ calls: 0 });
      const { id } = await caller.call();
      expect((await look()).analytics.total).toMatchObject({ calls: 1 });
      const call = await until('the bill', async () => {
        const { data } = await other.client.send(
          `{ call(id: "${id}") { billingStatus durationSeconds cost { amount } } }`,
        );
        return data.call.billingStatus === 'BILLED' && data.call;
      });
      const seen = await look();
      expect(seen.agent.figures).toEqual({
        calls: 1,
        answered: 1,
        totalHandleSeconds: call.durationSeconds,
        cost: { amount: expect.any(String) },
      });
      expect(Number(seen.agent.figures.cost.amount)).toBe(Number(call.cost.amount));
      expect(Number(seen.analytics.total.cost.amount)).toBe(Number(call.cost.amount));
      await other.client.send(
        `mutation { deleteCalls(input: { ids: ["${id}"] }) { deletedCallIds } }`,
      );
      expect((await look()).analytics.total).toMatchObject({ calls: 0 });
    });
  });
}
