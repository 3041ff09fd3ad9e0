/** What a pass of the dispatcher costs, and when it is worth another. No worker runs here. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dispatchCalls } from '../../src/campaigns/dispatch.ts';
import { settleEndedCalls } from '../../src/campaigns/settle.ts';
import { statementsOf } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import {
  brokenRules,
  createCampaign,
  type Operator,
  people,
  prepareOperator,
  uuidOf,
} from './support.ts';

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

/** All calls that are under way have been talked through. */
async function endCalls(): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE calls SET status = 'COMPLETED', end_reason = 'HANGUP', ultravox_id = id,
      ringing_at = placing_at, answered_at = placing_at, ended_at = now()
    WHERE placing_at IS NOT NULL AND ended_at IS NULL`;
}

/** One pass that claims calls and, once they have ended, one that settles them. */
async function pass() {
  const { app } = server;
  let claimed = 0;
  const dispatching = await statementsOf(app, async () => {
    claimed = (await dispatchCalls(app)).callIds.length;
  });
  await endCalls();
  let settled = 0;
  const settling = await statementsOf(app, async () => {
    settled = (await settleEndedCalls(app)).calls;
  });
  expect(settled).toBe(claimed);
  return { claimed, dispatching: dispatching.length, settling: settling.length };
}

describe('the statements of a pass', () => {
  it('are as many for fifty campaigns as for two', async () => {
    for (let made = 0; made < 2; made += 1) await start(10);
    const few = await pass();
    expect(few.claimed).toBe(20);
    for (let made = 0; made < 50; made += 1) await start(1);
    const many = await pass();
    expect(many).toEqual({ ...few, claimed: 50 });
    expect(await brokenRules(server)).toEqual([]);
  });

  it('are as many for three organizations as for one', async () => {
    await start(3);
    const one = await pass();
    await start(1);
    for (let made = 0; made < 2; made += 1) {
      const { client } = await server.newOrganization();
      await start(1, {}, await prepareOperator(client));
    }
    expect(await pass()).toEqual(one);
  });
});

describe('another pass', () => {
  it('follows one that found nobody due in as many campaigns as it looks at', async () => {
    const id = await start(1);
    // They have been looked at longer ago, and nobody is in them.
    await server.app.db.$executeRaw`
      INSERT INTO campaigns SELECT (jsonb_populate_record(c, jsonb_build_object('id', new_id(),
        'total_count', 0, 'pending_count', 0,
        'next_dispatch_at', c.next_dispatch_at - interval '1 minute'))).*
      FROM campaigns c CROSS JOIN generate_series(1, 250) WHERE c.id = ${id}::uuid`;
    const claimed: number[] = [];
    for (let again = true; again; ) {
      const result = await dispatchCalls(server.app);
      claimed.push(result.callIds.length);
      again = result.again;
    }
    expect(claimed.slice(0, 3)).toEqual([0, 0, 1]);
    expect(claimed.length).toBeLessThanOrEqual(4);
  });

  it('does not follow one that found an organization without room', async () => {
    // One campaign is full as well, the other would have room.
    await start(2, { maxConcurrentCalls: 2 });
    await start(3, { maxConcurrentCalls: 5 });
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(5);
    // Of each, one call was given back, and the organization may have fewer calls than it has.
    const given = await server.app.db.$executeRaw`
      UPDATE calls SET placing_at = NULL
      WHERE id IN (SELECT DISTINCT ON (campaign_id) id FROM calls ORDER BY campaign_id, id)`;
    expect(given).toBe(2);
    const strict = await startTestServer({
      beside: server,
      settings: { ROLE: 'api', ORGANIZATION_MAX_CONCURRENT_CALLS: '1' },
    });
    try {
      expect(await dispatchCalls(strict.app)).toMatchObject({ callIds: [], again: false });
    } finally {
      await strict.close();
    }
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(2);
  });
});
