/** Dispatch cycles that hang, share few slots or meet a changed schedule. */
import { describe, expect, it } from 'vitest';
import type { Tx } from '../../../../src/app.ts';
import { placeClaimedCalls } from '../../../../src/calls/placement/placement.ts';
import { dispatchCalls } from '../../../../src/campaigns/dispatch/dispatch-cycle.ts';
import { recordOutcomes } from '../../../../src/campaigns/outcomes/record-outcomes.ts';
import { until } from '../../../support/wait.ts';
import { act, createCampaign, dialsOf, people, showCampaign, uuidOf } from '../../support.ts';
import { finish, operator, runOnce, server } from './server.ts';

export function cyclesSuite(): void {
  describe('a dispatch cycle', () => {
    it('loses its locks, the limits among them, when its process hangs for five seconds', async () => {
      const { id } = await createCampaign(operator, {
        contacts: people(1),
        scheduleType: 'IMMEDIATE',
      });
      let limit: unknown;
      const db = new Proxy(server.app.db, {
        get(target, name) {
          if (name !== '$transaction') return Reflect.get(target, name);
          return (run: (tx: Tx) => Promise<unknown>) =>
            target.$transaction(async (tx) => {
              const result = await run(tx);
              limit = await tx.$queryRaw`SHOW idle_in_transaction_session_timeout`;
              return result;
            });
        },
      });
      const { callIds } = await dispatchCalls({ ...server.app, db });
      expect(callIds).toHaveLength(1);
      expect(limit).toEqual([{ idle_in_transaction_session_timeout: '5s' }]);
      await finish(id, callIds);
    });

    it('calls contacts of the campaign that has waited longest, even with one slot for many', async () => {
      const ids: string[] = [];
      for (let index = 0; index < 4; index += 1) {
        const { id } = await createCampaign(operator, {
          contacts: people(10, { series: 50 + index }),
          scheduleType: 'IMMEDIATE',
          maxConcurrentCalls: 1,
        });
        ids.push(id);
      }
      const { config } = server.app;
      const one = { ...server.app, config: { ...config, ULTRAVOX_MAX_CONCURRENT_CALLS: 1 } };
      const lastChanges = async () => {
        const rows = await operator.client.send(
          'query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Campaign { updatedAt } } }',
          { ids },
        );
        return rows.data.nodes.map(({ updatedAt }: { updatedAt: string }) => updatedAt);
      };
      const made = await lastChanges();
      for (let call = 0; call < 12; call += 1) {
        const { callIds } = await dispatchCalls(one);
        expect(callIds).toHaveLength(1);
        // The cycle has also looked at the others.
        if (call === 0) expect((await lastChanges()).slice(1)).toEqual(made.slice(1));
        await placeClaimedCalls(server.app, callIds);
        await until('the end of the call', async () => {
          const row = await server.app.db.call.findUniqueOrThrow({ where: { id: callIds[0]! } });
          return row.endedAt !== null;
        });
        await recordOutcomes(server.app);
      }
      expect(ids.map((id) => dialsOf(server, id).length)).toEqual([3, 3, 3, 3]);
      for (const id of ids) await act(operator, 'cancelCampaign', id);
    });

    it('skips contacts in whose zone a changed window never opens', async () => {
      const { id } = await createCampaign(operator, {
        contacts: [{ ...people(1, { ending: '0003' })[0], timezone: 'Asia/Calcutta' }],
        retryFailed: true,
        maxRetryAttempts: 1,
        retryDelay: '1s',
        scheduleType: 'IMMEDIATE',
      });
      const { callIds } = await dispatchCalls(server.app);
      await placeClaimedCalls(server.app, callIds);
      await until('the retry', async () => {
        await recordOutcomes(server.app);
        const [row] = await server.app.db.campaignContact.findMany({
          where: { campaignId: uuidOf(id) },
        });
        return row?.status === 'SCHEDULED';
      });
      // Two hours in London are never the same two hours in India.
      const hour = (ahead: number) =>
        `${String((new Date().getUTCHours() + ahead + 24) % 24).padStart(2, '0')}:00`;
      await act(operator, 'updateCampaign', id, { startTime: hour(-1), endTime: hour(1) });
      const campaign = await until('the end', async () => {
        await runOnce();
        const shown = await showCampaign(operator, id);
        return shown.status === 'COMPLETED' ? shown : null;
      });
      expect(campaign.contacts.nodes[0]).toMatchObject({
        status: 'SKIPPED',
        skipReason: 'NEVER_OPEN',
        attempts: 1,
      });
    });
  });

  describe('a changed schedule', () => {
    it('reopens contacts that were skipped as NEVER_OPEN', async () => {
      const { id } = await createCampaign(operator, {
        contacts: [{ ...people(1)[0], timezone: 'Asia/Tokyo' }, people(2)[1]],
        timezone: 'America/New_York',
        startTime: '09:00',
        endTime: '22:00',
        scheduledAt: '2040-01-02T00:00:00Z',
      });
      await act(operator, 'updateCampaign', id, { endTime: '12:00' });
      expect((await showCampaign(operator, id)).counts).toMatchObject({ pending: 1, skipped: 1 });
      await act(operator, 'updateCampaign', id, { endTime: '22:00' });
      const campaign = await showCampaign(operator, id);
      expect(campaign.counts).toMatchObject({ pending: 2, skipped: 0 });
      expect(campaign.contacts.nodes[0]).toMatchObject({ status: 'SCHEDULED', skipReason: null });
      await act(operator, 'cancelCampaign', id);
    });

    it('makes retries due that waited for the old window', async () => {
      const hour = (ahead: number) =>
        `${String((new Date().getUTCHours() + ahead) % 24).padStart(2, '0')}:00`;
      const { id } = await createCampaign(operator, {
        contacts: people(1, { ending: '0003' }),
        retryFailed: true,
        maxRetryAttempts: 1,
        retryDelay: '1s',
        scheduleType: 'IMMEDIATE',
      });
      const { callIds } = await dispatchCalls(server.app);
      await placeClaimedCalls(server.app, callIds);
      await act(operator, 'updateCampaign', id, { startTime: hour(4), endTime: hour(6) });
      await until('the retry', async () => {
        await recordOutcomes(server.app);
        const [one] = (await showCampaign(operator, id)).contacts.nodes;
        return (
          one.status === 'SCHEDULED' && Date.parse(one.nextEligibleAt) > Date.now() + 3_600_000
        );
      });
      await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
      await until('the end', async () => {
        await runOnce();
        return (await showCampaign(operator, id)).status === 'COMPLETED';
      });
      expect(dialsOf(server, id)).toHaveLength(2);
    });
  });
}
