/** Cost of a dispatch cycle, which released calls it takes, and when the next one follows. No worker runs here. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dispatchCalls } from '../../../src/campaigns/dispatch/dispatch-cycle.ts';
import { recordOutcomes } from '../../../src/campaigns/outcomes/record-outcomes.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import {
  brokenRules,
  createCampaign,
  type Operator,
  people,
  prepareOperator,
  uuidOf,
} from '../support.ts';

let server: TestServer;
let operator: Operator;

beforeEach(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
  operator = await prepareOperator(server.client);
});
afterEach(() => server?.close());

async function start(
  contacts: number,
  input: Record<string, unknown> = {},
  by: Operator = operator,
): Promise<string> {
  const { id } = await createCampaign(by, {
    contacts: people(contacts),
    scheduleType: 'IMMEDIATE',
    ...input,
  });
  return uuidOf(id);
}

/** Ends all active calls as answered. */
async function endCalls(): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE calls SET status = 'COMPLETED', end_reason = 'HANGUP', placement = 'ACCEPTED',
      ultravox_id = id, ringing_at = claimed_at, answered_at = claimed_at, ended_at = now()
    WHERE placement = 'CLAIMED'`;
}

/** One dispatch cycle, and one recording of the outcomes after its calls have ended. */
async function cycle() {
  const { app } = server;
  let claimed = 0;
  const dispatching = await recordStatements(app, async () => {
    claimed = (await dispatchCalls(app)).callIds.length;
  });
  await endCalls();
  let recorded = 0;
  const recording = await recordStatements(app, async () => {
    recorded = (await recordOutcomes(app)).calls;
  });
  expect(recorded).toBe(claimed);
  return { claimed, dispatching: dispatching.length, recording: recording.length };
}

describe('statements of a dispatch cycle', () => {
  it('are as many for 50 campaigns as for two', async () => {
    for (let made = 0; made < 2; made += 1) await start(10);
    const few = await cycle();
    expect(few.claimed).toBe(20);
    for (let made = 0; made < 50; made += 1) await start(1);
    const many = await cycle();
    expect(many).toEqual({ ...few, claimed: 50 });
    expect(await brokenRules(server)).toEqual([]);
  });

  it('are as many for three organizations as for one', async () => {
    await start(3);
    const one = await cycle();
    await start(1);
    for (let made = 0; made < 2; made += 1) {
      const { client } = await server.newOrganization();
      await start(1, {}, await prepareOperator(client));
    }
    expect(await cycle()).toEqual(one);
  });
});

describe('released calls', () => {
  it('of an organization at its limit do not delay those of others, however many they are', async () => {
    const { app } = server;
    const { db } = app;
    const withLimit = (ORGANIZATION_MAX_CONCURRENT_CALLS: number) => ({
      ...app,
      config: { ...app.config, ORGANIZATION_MAX_CONCURRENT_CALLS },
    });
    const limit = 20;
    for (let made = 0; made < 3; made += 1) await start(80, { maxConcurrentCalls: 80 });
    while ((await dispatchCalls(withLimit(1_000))).callIds.length > 0);
    await db.$executeRaw`
      UPDATE calls SET placement = 'QUEUED', claimed_at = NULL WHERE id IN (
        SELECT id FROM calls ORDER BY id DESC OFFSET ${limit})`;
    const { client } = await server.newOrganization();
    await start(1, {}, await prepareOperator(client));
    const { callIds } = await dispatchCalls(withLimit(limit));
    expect(callIds).toHaveLength(1);
    await db.$executeRaw`
      UPDATE calls SET placement = 'QUEUED', claimed_at = NULL WHERE id = ${callIds[0]}::uuid`;
    expect((await dispatchCalls(withLimit(limit))).callIds).toEqual(callIds);
  });
});

describe('another dispatch cycle', () => {
  it('follows a cycle that found its maximum number of campaigns without due contacts', async () => {
    const id = await start(1);
    // These campaigns were dispatched least recently and have no due contacts.
    await server.app.db.$executeRaw`
      INSERT INTO campaigns SELECT (jsonb_populate_record(c, jsonb_build_object('id', new_id(),
        'total_count', 0, 'pending_count', 0,
        'next_dispatch_at', c.next_dispatch_at - interval '1 minute'))).*
      FROM campaigns c CROSS JOIN generate_series(1, 250) WHERE c.id = ${id}::uuid`;
    const claimed: number[] = [];
    for (let again = true; again; ) {
      const result = await dispatchCalls(server.app);
      claimed.push(result.callIds.length);
      again = result.mayHaveMore;
    }
    expect(claimed.slice(0, 3)).toEqual([0, 0, 1]);
    expect(claimed.length).toBeLessThanOrEqual(4);
  });

  it('does not follow a cycle that found an organization without free slots', async () => {
    // One campaign has no free slot either, the other has.
    await start(2, { maxConcurrentCalls: 2 });
    await start(3, { maxConcurrentCalls: 5 });
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(5);
    // Each has a released call, and the organization has more active calls than its limit.
    const given = await server.app.db.$executeRaw`
      UPDATE calls SET placement = 'QUEUED', claimed_at = NULL
      WHERE id IN (SELECT DISTINCT ON (campaign_id) id FROM calls ORDER BY campaign_id, id)`;
    expect(given).toBe(2);
    const strict = await startTestServer({
      beside: server,
      settings: { ROLE: 'api', ORGANIZATION_MAX_CONCURRENT_CALLS: '1' },
    });
    try {
      expect(await dispatchCalls(strict.app)).toMatchObject({ callIds: [], mayHaveMore: false });
    } finally {
      await strict.close();
    }
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(2);
  });
});
