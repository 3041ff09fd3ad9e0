/** What becomes of a claimed call when something changes or a process dies. */
import { describe, expect, it } from 'vitest';
import type { App } from '../../../../src/app.ts';
import { placeClaimedCalls, releaseDeadClaims } from '../../../../src/calls/placement/placement.ts';
import { discoverCalls } from '../../../../src/calls/ultravox/discovery.ts';
import { checkCalls } from '../../../../src/calls/ultravox/reconciler.ts';
import { dispatchCalls } from '../../../../src/campaigns/dispatch/dispatch-cycle.ts';
import { recordOutcomes } from '../../../../src/campaigns/outcomes/record-outcomes.ts';
import { runMutation } from '../../../support/calling.ts';
import { until } from '../../../support/wait.ts';
import { act, createCampaign, dialsOf, people, showCampaign, uuidOf } from '../../support.ts';
import { finish, operator, runOnce, server, simulator } from './server.ts';

/** Creates a campaign with two contacts whose calls are claimed but not sent. */
async function claimedCampaign(input: Record<string, unknown> = {}) {
  const { id } = await createCampaign(operator, {
    contacts: people(2),
    scheduleType: 'IMMEDIATE',
    ...input,
  });
  const { callIds } = await dispatchCalls(server.app);
  expect(callIds).toHaveLength(2);
  return { id, callIds };
}

/** The app with a database that lets `pause` pass after each call was moved to SENDING. */
function appThat(pause: () => Promise<void>): App {
  const rows = new Proxy(server.app.rows, {
    get(target, name) {
      if (name !== '$queryRaw') return Reflect.get(target, name);
      return async (...args: Parameters<App['rows']['$queryRaw']>) => {
        const moved = await target.$queryRaw(...args);
        if (JSON.stringify(args).includes('sent_at = clock_timestamp()')) await pause();
        return moved;
      };
    },
  });
  return { ...server.app, rows };
}

const ONE_RETRY = { retryFailed: true, maxRetryAttempts: 1, retryDelay: '1s' };

/** Lets a call count as never created: its process died while it sent the request, long ago. */
async function loseRequest(callId: string): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE calls SET placement = 'SENDING', sent_at = now() - interval '1 hour',
      next_check_at = now() - interval '1 second', lost_at = now() + interval '1 hour'
    WHERE id = ${callId}::uuid`;
  await checkCalls(server.app);
  const lost = await server.app.db.call.findUniqueOrThrow({ where: { id: callId } });
  expect(lost).toMatchObject({ status: 'FAILED', placement: 'NOT_CREATED' });
  await recordOutcomes(server.app);
}

/** Lets the lost request of a call arrive at Ultravox after all. */
async function appearAtUltravox(
  campaignId: string,
  callId: string,
  notice: (app: App) => Promise<void> = discoverCalls,
): Promise<void> {
  const late = { include: { agent: true }, where: { id: callId } };
  const { agent } = await server.app.db.call.findUniqueOrThrow(late);
  await server.app.ultravox.agents.startCall(agent.remoteId!, {
    metadata: { callId: `cal_${callId}`, campaignId },
    medium: { sip: { outgoing: { to: 'sip:+14155550177@x.test', from: 'desk@x.test' } } },
  });
  await notice(server.app);
}

/** Runs a campaign of two contacts to its end, with this many dials. Returns the contact that failed. */
async function endIfNotRetried(id: string, dials = 2) {
  const campaign = await until('the end', async () => {
    await runOnce();
    const shown = await showCampaign(operator, id);
    return shown.status === 'COMPLETED' ? shown : null;
  });
  expect(campaign.counts).toMatchObject({ completed: 1, failed: 1 });
  const failed = campaign.contacts.nodes.find((one: { status: string }) => one.status === 'FAILED');
  expect(failed.decisions.nodes.map((one: { reason: string }) => one.reason)).toContain(
    'NOT_RETRIED',
  );
  expect(dialsOf(server, id)).toHaveLength(dials);
  return failed;
}

export function claimedCallsSuite(): void {
  describe('a claimed call', () => {
    it('is sent if nothing has changed', async () => {
      const { id, callIds } = await claimedCampaign();
      expect(await finish(id, callIds)).toMatchObject({ status: 'COMPLETED' });
      expect(dialsOf(server, id)).toHaveLength(2);
    });

    it.each([
      ['pauseCampaign', 'PAUSED', 'SCHEDULED'],
      ['cancelCampaign', 'CANCELLED', 'CANCELLED'],
    ])('is not sent after the response to %s', async (mutation, status, contact) => {
      const { id, callIds } = await claimedCampaign();
      await act(operator, mutation, id);
      const campaign = await finish(id, callIds);
      expect(dialsOf(server, id)).toEqual([]);
      expect(campaign.status).toBe(status);
      for (const one of campaign.contacts.nodes) {
        expect(one).toMatchObject({ status: contact, attempts: 0 });
      }
    });

    it('is not sent while a changed window is closed, but when it opens', async () => {
      const { id, callIds } = await claimedCampaign();
      const hour = (ahead: number) =>
        `${String((new Date().getUTCHours() + ahead) % 24).padStart(2, '0')}:00`;
      await act(operator, 'updateCampaign', id, { startTime: hour(4), endTime: hour(6) });
      const held = await finish(id, callIds);
      expect(dialsOf(server, id)).toEqual([]);
      expect(held).toMatchObject({ status: 'ACTIVE', holdReason: 'WINDOW_CLOSED' });
      await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
      await until('the end', async () => {
        await runOnce();
        return (await showCampaign(operator, id)).status === 'COMPLETED';
      });
      expect(dialsOf(server, id)).toHaveLength(2);
    });

    it('is not sent to a number that was added to the do-not-call list', async () => {
      const { id, callIds } = await claimedCampaign({ contacts: people(2, { series: 40 }) });
      const phoneNumber = people(1, { series: 40 })[0]!.phoneNumber;
      await runMutation(
        operator.client,
        'addToDoNotCall',
        { entries: [{ phoneNumber }] },
        'addedCount',
      );
      const campaign = await finish(id, callIds);
      expect(dialsOf(server, id).map(({ to }) => to)).not.toContain(phoneNumber);
      expect(campaign.counts).toMatchObject({ skipped: 1, completed: 1 });
    });

    it('of a crashed process is released and sent, using one attempt', async () => {
      const { id } = await claimedCampaign();
      await server.app.db.$executeRaw`
      UPDATE calls SET claimed_at = claimed_at - interval '1 minute'
      WHERE campaign_id = ${uuidOf(id)}::uuid`;
      await releaseDeadClaims(server.app);
      const campaign = await finish(id, []);
      const done = await until('the end', async () => {
        await runOnce();
        const shown = await showCampaign(operator, id);
        return shown.status === 'COMPLETED' ? shown : null;
      });
      expect(campaign.counts.total).toBe(2);
      expect(done.contacts.nodes.map(({ attempts }: { attempts: number }) => attempts)).toEqual([
        1, 1,
      ]);
      expect(dialsOf(server, id)).toHaveLength(2);
    });

    it('of a process that died while it sent the request is retried if Ultravox has no such call', async () => {
      const { id, callIds } = await claimedCampaign(ONE_RETRY);
      await loseRequest(callIds[0]!);
      await finish(id, callIds);
      const campaign = await until('the end', async () => {
        await runOnce();
        const shown = await showCampaign(operator, id);
        return shown.status === 'COMPLETED' ? shown : null;
      });
      expect(campaign.counts).toMatchObject({ completed: 2, failed: 0 });
      const attempts = campaign.contacts.nodes.map((one: { attempts: number }) => one.attempts);
      expect(attempts.sort()).toEqual([1, 2]);
      expect(dialsOf(server, id)).toHaveLength(2);
    });

    it('that appears at Ultravox after it counted as never created is not retried', async () => {
      const { id, callIds } = await claimedCampaign(ONE_RETRY);
      await loseRequest(callIds[0]!);
      await appearAtUltravox(id, callIds[0]!);
      await finish(id, [callIds[1]!]);
      const failed = await endIfNotRetried(id);
      expect(failed).toMatchObject({ attempts: 1, endReason: 'SYSTEM_ERROR' });
    });

    it.each([
      ['claimed', async () => undefined],
      [
        'about to be sent',
        async () => simulator.setFaults([{ kind: 'webhookLost' }]),
        async () => undefined,
      ],
      [
        'released',
        async (retry: string) => {
          simulator.setFaults([
            { kind: 'status', status: 429, retryAfterSeconds: 1, method: 'POST', path: '/calls$' },
          ]);
          await placeClaimedCalls(server.app, [retry]);
          simulator.clearFaults();
          await server.app.db.creationRefusal.deleteMany();
          const { placement } = await server.app.db.call.findUniqueOrThrow({
            where: { id: retry },
          });
          expect(placement).toBe('QUEUED');
        },
      ],
    ])('that appears at Ultravox while its retry is %s is not retried', async (_, prepare, notice?) => {
      const { id, callIds } = await claimedCampaign(ONE_RETRY);
      await loseRequest(callIds[0]!);
      await placeClaimedCalls(server.app, [callIds[1]!]);
      const retry = await until('the retry', async () => {
        const dispatched = await dispatchCalls(server.app);
        return dispatched.callIds[0];
      });
      await prepare(retry);
      await appearAtUltravox(id, callIds[0]!, notice);
      await placeClaimedCalls(server.app, [retry]);
      simulator.clearFaults();
      const failed = await endIfNotRetried(id);
      expect(failed).toMatchObject({ attempts: 1, endReason: 'SYSTEM_ERROR' });
      const { placement } = await server.app.db.call.findUniqueOrThrow({ where: { id: retry } });
      expect(placement).toBe('WITHDRAWN');
    });

    it('whose person is found to have asked for no more calls while its retry is claimed is not retried', async () => {
      const { id, callIds } = await claimedCampaign(ONE_RETRY);
      await loseRequest(callIds[0]!);
      await placeClaimedCalls(server.app, [callIds[1]!]);
      const retry = await until('the retry', async () => {
        const dispatched = await dispatchCalls(server.app);
        return dispatched.callIds[0];
      });
      await server.app.db.call.update({
        where: { id: callIds[0]! },
        data: { dncQuote: 'Leave me alone.' },
      });
      await placeClaimedCalls(server.app, [retry]);
      expect(await endIfNotRetried(id, 1)).toMatchObject({ attempts: 1 });
    });

    it('is not sent by a process that stood still until the call counted as never created', async () => {
      const retries = { retryFailed: true, maxRetryAttempts: 1, retryDelay: '1s' };
      const { id, callIds } = await claimedCampaign(retries);
      let stoodStillMs = 0;
      const process = appThat(async () => {
        stoodStillMs = 3_600_000;
        await server.app.db.$executeRaw`
        UPDATE calls SET sent_at = now() - interval '1 hour', next_check_at = now() - interval '1 second'
        WHERE placement = 'SENDING' AND id = ${callIds[0]}::uuid`;
        await checkCalls(server.app);
      });
      const now = () => new Date(Date.now() + stoodStillMs);
      await placeClaimedCalls({ ...process, now }, [callIds[0]!]);
      const lost = await server.app.db.call.findUniqueOrThrow({ where: { id: callIds[0]! } });
      expect(lost).toMatchObject({ status: 'FAILED', placement: 'NOT_CREATED' });
      await finish(id, [callIds[1]!]);
      await until('the end', async () => {
        await runOnce();
        return (await showCampaign(operator, id)).status === 'COMPLETED';
      });
      expect(dialsOf(server, id)).toHaveLength(2);
    });

    it('of a crashed process is canceled after endCall', async () => {
      const { id, callIds } = await claimedCampaign();
      await runMutation(operator.client, 'endCall', { id: `cal_${callIds[0]}` }, 'call { id }');
      await server.app.db.$executeRaw`
      UPDATE calls SET claimed_at = claimed_at - interval '1 minute'
      WHERE campaign_id = ${uuidOf(id)}::uuid`;
      await releaseDeadClaims(server.app);
      const campaign = await until('the end', async () => {
        await runOnce();
        const shown = await showCampaign(operator, id);
        return shown.status === 'COMPLETED' ? shown : null;
      });
      expect(campaign.counts).toMatchObject({ completed: 1, cancelled: 1 });
      expect(dialsOf(server, id)).toHaveLength(1);
    });

    it('is withdrawn when maxConcurrentCalls is lowered', async () => {
      const { id, callIds } = await claimedCampaign();
      simulator.setFaults([
        { kind: 'status', status: 429, retryAfterSeconds: 1, method: 'POST', path: '/calls$' },
      ]);
      await placeClaimedCalls(server.app, callIds);
      simulator.clearFaults();
      await act(operator, 'updateCampaign', id, { maxConcurrentCalls: 1 });
      const campaign = await until('one to be withdrawn', async () => {
        await runOnce();
        const shown = await showCampaign(operator, id);
        return shown.counts.calling < 2 ? shown : null;
      });
      expect(
        campaign.contacts.nodes.flatMap((one: { decisions: { nodes: { reason: string }[] } }) =>
          one.decisions.nodes.map(({ reason }) => reason),
        ),
      ).toContain('CONCURRENCY_REACHED');
      await until('the end', async () => {
        await runOnce();
        return (await showCampaign(operator, id)).status === 'COMPLETED';
      });
      expect(dialsOf(server, id)).toHaveLength(2);
    });
  });
}
