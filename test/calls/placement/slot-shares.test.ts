/** Free slots that organizations share: those of waiting calls, and those left to campaigns. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { claimWaitingCalls } from '../../../src/calls/placement/claims.ts';
import { recordRefusal } from '../../../src/calls/placement/creation-hold.ts';
import { HAS_WAITING_CALLS, MAX_WAITING_CALLS } from '../../../src/calls/placement/limits.ts';
import { hasReleasedCallsOf } from '../../../src/calls/placement/owned-calls.ts';
import { CALL_OWNER } from '../../../src/campaigns/calls.ts';
import { variantOf } from '../../../src/infra/per-instance.ts';
import { act, createCampaign, prepareOperator } from '../../campaigns/support.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { type Caller, done, newCaller, newPerson, resumeCreations, run } from '../support.ts';
import { insertWaiting } from './waiting-calls.ts';

describe('claimWaitingCalls', () => {
  let server: TestServer;
  let caller: Caller;
  beforeAll(async () => {
    // Without a worker, which would claim calls of campaigns.
    server = await startTestServer({ settings: { SIMULATOR_SPEED: '200', ROLE: 'api' } });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  /** Claims calls with this limit, and returns their organizations. */
  async function claimNext(ULTRAVOX_MAX_CONCURRENT_CALLS: number): Promise<string[]> {
    const config = { ...server.app.config, ULTRAVOX_MAX_CONCURRENT_CALLS };
    const { ids } = await claimWaitingCalls(variantOf(server.app, { config }));
    const calls = await server.app.db.call.findMany({ where: { id: { in: ids } } });
    return calls.map(({ organizationId }) => organizationId);
  }

  it('shares slots evenly between organizations, even if only one is ever free', async () => {
    const { db } = server.app;
    const { id: otherId, client } = await server.newOrganization();
    const other = await newCaller(server, { client, organizationId: otherId });
    await insertWaiting(server, caller.agentId, { count: 1, minutesAgo: 10 });
    await endWaiting();
    await insertWaiting(server, caller.agentId, { count: 4, minutesAgo: 10 });
    await insertWaiting(server, other.agentId, { count: 1, minutesAgo: 1 });
    try {
      await db.call.updateMany({
        where: { claimedAt: { not: null } },
        data: { claimedAt: new Date(0) },
      });
      // The other organization has had no call yet.
      expect(await claimNext(1)).toEqual([otherId]);
      await db.call.updateMany({
        where: { placement: 'CLAIMED' },
        data: { ...ended(), placement: 'REFUSED', sentAt: new Date() },
      });
      await insertWaiting(server, other.agentId, { count: 1, minutesAgo: 20 });
      // The other organization has the older call, but also had one in the last minute.
      expect(await claimNext(1)).toEqual([server.organizationId]);
      // It still had, but this organization has an active call.
      expect(await claimNext(2)).toEqual([otherId]);
      await db.call.updateMany({
        where: { placement: 'CLAIMED' },
        data: { ...ended(), placement: 'REFUSED', sentAt: new Date(), claimedAt: new Date(0) },
      });
      await insertWaiting(server, other.agentId, { count: 1, minutesAgo: 20 });
      await db.call.updateMany({
        where: { organizationId: otherId, endedAt: { not: null } },
        data: { endedAt: new Date(Date.now() - 60_000), claimedAt: new Date(0) },
      });
      // Neither had a call in the last minute, and that of the other organization ended earlier.
      expect(await claimNext(1)).toEqual([otherId]);
    } finally {
      await endWaiting();
    }
  });

  it('leaves a slot to a campaign of another organization, but not for ever', async () => {
    const other = await prepareOperator((await server.newOrganization()).client);
    const campaign = await createCampaign(other, {
      contacts: [{ phoneNumber: newPerson() }],
      scheduleType: 'IMMEDIATE',
    });
    await insertWaiting(server, caller.agentId, { count: 1, minutesAgo: 1 });
    await claimAll();
    await insertWaiting(server, caller.agentId, { count: 4, minutesAgo: 1 });
    const later = (seconds: number) =>
      vi.spyOn(server.app, 'now').mockImplementation(() => new Date(Date.now() + seconds * 1000));
    try {
      expect(await claimNext(2)).toEqual([]);
      expect(await claimNext(3)).toEqual([server.organizationId]);
      expect(await claimNext(3)).toEqual([]);
      // No worker runs, so nothing uses it. Meanwhile no slot is free for a moment.
      later(10);
      expect(await claimNext(2)).toEqual([]);
      expect(await claimNext(3)).toEqual([server.organizationId]);
      later(30);
      expect(await claimNext(4)).toEqual([server.organizationId]);
      // A worker may run again. It could not claim a call while others took every slot.
      later(60);
      expect(await claimNext(5)).toEqual([]);
      later(70);
      expect(await claimNext(5)).toEqual([server.organizationId]);
    } finally {
      vi.restoreAllMocks();
      await endWaiting();
      await act(other, 'cancelCampaign', campaign.id);
    }
  });

  it('leaves no slot that a test call needs', async () => {
    const { db } = server.app;
    const other = await prepareOperator((await server.newOrganization()).client);
    // As many calls as may be claimed at once, and more of the own organization.
    const campaign = await createCampaign(other, {
      contacts: Array.from({ length: 50 }, () => ({ phoneNumber: newPerson() })),
      scheduleType: 'IMMEDIATE',
      maxConcurrentCalls: 50,
    });
    await insertWaiting(server, caller.agentId, { count: 60, minutesAgo: 1 });
    await claimAll();
    await insertWaiting(server, caller.agentId, { count: 3, minutesAgo: 1 });
    try {
      const { call } = await done(caller.client, 'startTestCall', { agentId: caller.agentId });
      expect(call.medium).toBe('WEBRTC');
      expect(await db.call.count({ where: { placement: 'QUEUED' } })).toBe(3);
      await done(caller.client, 'endCall', { id: call.id });
    } finally {
      await endWaiting();
      await act(other, 'cancelCampaign', campaign.id);
    }
  });

  it('refuses calls when too many of an organization are waiting, and claims the first of them', async () => {
    await insertWaiting(server, caller.agentId, { count: MAX_WAITING_CALLS, minutesAgo: 1 });
    try {
      for (const [name, more] of [
        ['createCall', { phoneNumber: newPerson() }],
        ['startTestCall', {}],
      ] as const) {
        const { userErrors } = await run(caller.client, name, { agentId: caller.agentId, ...more });
        expect(userErrors).toMatchObject([
          { code: 'CAPACITY_EXCEEDED', retryAt: expect.any(String) },
        ]);
      }
      const { ids } = await claimWaitingCalls(server.app);
      expect(ids.length).toBeGreaterThan(0);
    } finally {
      await endWaiting();
    }
  });

  it('refuses calls that would exceed the maximum together with others created at the same time', async () => {
    await recordRefusal(server.app, 60);
    await insertWaiting(server, caller.agentId, { count: MAX_WAITING_CALLS - 2, minutesAgo: 1 });
    try {
      const payloads = await Promise.all(
        Array.from({ length: 8 }, () =>
          run(caller.client, 'createCall', { agentId: caller.agentId, phoneNumber: newPerson() }),
        ),
      );
      expect(payloads.filter(({ call }) => call !== null)).toHaveLength(2);
      const waiting = await server.app.db.call.count({ where: { placement: 'QUEUED' } });
      expect(waiting).toBe(MAX_WAITING_CALLS);
    } finally {
      await endWaiting();
      await resumeCreations(server);
    }
  });

  it('finds out by an index whether calls wait, also after a backlog', async () => {
    const { db } = server.app;
    await insertWaiting(server, caller.agentId, { count: 5_000, minutesAgo: 1 });
    await db.$executeRaw`ANALYZE calls`;
    await endWaiting();
    const plans = await Promise.all(
      [HAS_WAITING_CALLS, hasReleasedCallsOf(CALL_OWNER)].map(async (condition) => {
        const plan = await db.$queryRaw`EXPLAIN (FORMAT JSON) SELECT ${condition}`;
        return JSON.stringify(plan);
      }),
    );
    expect(plans[0]).toContain('"calls_waiting"');
    expect(plans[1]).toContain('"calls_released"');
    for (const plan of plans) expect(plan).not.toContain('Seq Scan');
    await db.$executeRaw`ANALYZE calls`;
  });

  /** Claims all waiting calls, whatever the limits. */
  async function claimAll(): Promise<void> {
    await server.app.db.call.updateMany({
      where: { placement: 'QUEUED' },
      data: { placement: 'CLAIMED', claimedAt: new Date() },
    });
  }

  const ended = () => ({ status: 'FAILED', endedAt: new Date(), nextCheckAt: null }) as const;

  /** Ends all calls that were not sent. */
  async function endWaiting(): Promise<void> {
    await server.app.db.call.updateMany({
      where: { placement: { in: ['QUEUED', 'CLAIMED'] } },
      data: { ...ended(), placement: 'WITHDRAWN', claimedAt: null },
    });
  }
});
