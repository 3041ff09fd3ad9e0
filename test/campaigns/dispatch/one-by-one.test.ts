/** Dispatch cycles of single campaigns after a failed cycle, and contacts that a cycle skips. No worker runs here. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { App } from '../../../src/app.ts';
import { cancelRemainingContacts, hasContactsToCancel } from '../../../src/campaigns/completion.ts';
import { dispatchCalls } from '../../../src/campaigns/dispatch/dispatch-cycle.ts';
import { skipAhead } from '../../../src/campaigns/dispatch/skip-ahead.ts';
import { runMutation } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { callsOf, doNotCall, start, strangers } from '../engine-support.ts';
import { act, brokenRules, glance, type Operator, prepareOperator } from '../support.ts';

let server: TestServer;
let operator: Operator;

beforeEach(async () => {
  server = await startTestServer({ settings: { ROLE: 'api', LOG_LEVEL: 'silent' } });
  operator = await prepareOperator(server.client);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await server?.close();
});

/** Makes the database fail with this condition when a call to the number is inserted. */
async function failAt(name: string, phoneNumber: string, condition: string): Promise<void> {
  const { db } = server.app;
  await db.$executeRawUnsafe(`CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '${condition}', MESSAGE = 'By the test'; END $$`);
  await db.$executeRawUnsafe(`CREATE TRIGGER ${name} BEFORE INSERT ON calls
    FOR EACH ROW WHEN (NEW.phone_number = '${phoneNumber}') EXECUTE FUNCTION ${name}()`);
}

/** A process in which each transaction that fails has taken as long as one may. */
function withSlowFailures(): App {
  const now = performance.now.bind(performance);
  let lostMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now() + lostMs);
  const $transaction = async (...args: Parameters<App['db']['$transaction']>) => {
    try {
      return await server.app.db.$transaction(...args);
    } catch (error) {
      lostMs += 20_000;
      throw error;
    }
  };
  const db = new Proxy(server.app.db, {
    get: (target, key) => (key === '$transaction' ? $transaction : Reflect.get(target, key)),
  });
  return { ...server.app, db };
}

describe('dispatchCalls, after a cycle that failed', () => {
  it('begins to place the calls of each campaign before the next cycle', async () => {
    const bad = strangers(1);
    await failAt('fails', bad[0]!.phoneNumber, 'P0001');
    await start(operator, { contacts: bad });
    for (let made = 0; made < 2; made += 1) await start(operator, { contacts: strangers(2) });
    const placed: (readonly string[])[] = [];
    const { callIds } = await dispatchCalls(server.app, (ids) => placed.push(ids));
    expect(placed.map(({ length }) => length)).toEqual([2, 2]);
    expect(placed.flat()).toEqual(callIds);
  });

  it('returns what was done until the database went away', async () => {
    const [bad, last] = [strangers(1), strangers(1)];
    await failAt('fails', bad[0]!.phoneNumber, 'P0001');
    await failAt('goes_away', last[0]!.phoneNumber, '57P01');
    await start(operator, { contacts: bad });
    const good = await start(operator, { contacts: strangers(2) });
    await start(operator, { contacts: last });
    const { callIds } = await dispatchCalls(server.app);
    const calls = await callsOf(server, good);
    expect(callIds.sort()).toEqual(calls.map(({ id }) => id).sort());
    expect(calls).toHaveLength(2);
  });

  it('has a turn for others after campaigns that failed for as long as it goes on', async () => {
    for (let made = 0; made < 2; made += 1) {
      const [slow] = strangers(1);
      await failAt(`fails_${made}`, slow!.phoneNumber, 'P0001');
      await start(operator, { contacts: [slow!] });
    }
    const good = await start(operator, { contacts: strangers(1) });
    const app = withSlowFailures();
    await dispatchCalls(app).catch(() => undefined);
    const { callIds } = await dispatchCalls(app);
    expect(callIds).toEqual((await callsOf(server, good)).map(({ id }) => id));
    expect(callIds).toHaveLength(1);
  });
});

describe('due contacts on the do-not-call list', () => {
  it('are skipped in a cycle as far as it has loaded them, and then outside of it', async () => {
    const [listed, others] = [strangers(30), strangers(2)];
    const id = await start(operator, { contacts: [...listed, ...others] });
    await doNotCall(
      operator,
      listed.map(({ phoneNumber }) => phoneNumber),
    );
    const { callIds, uncalledCampaignIds, mayHaveMore } = await dispatchCalls(server.app);
    expect({ callIds, campaigns: uncalledCampaignIds.length, mayHaveMore }).toEqual({
      callIds: [],
      campaigns: 1,
      mayHaveMore: true,
    });
    const { maxConcurrentCalls } = await server.app.db.campaign.findFirstOrThrow();
    expect((await glance(operator, id)).counts.skipped).toBeLessThanOrEqual(maxConcurrentCalls);
    await skipAhead(server.app, uncalledCampaignIds);
    expect((await glance(operator, id)).counts).toMatchObject({ skipped: 30, pending: 2 });
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(2);
    expect(await brokenRules(server)).toEqual([]);
  });

  it('complete their campaign when nobody is left', async () => {
    const contacts = strangers(30);
    const id = await start(operator, { contacts });
    await doNotCall(
      operator,
      contacts.map(({ phoneNumber }) => phoneNumber),
    );
    await skipAhead(server.app, (await dispatchCalls(server.app)).uncalledCampaignIds);
    expect(await glance(operator, id)).toMatchObject({
      status: 'COMPLETED',
      counts: { skipped: 30, pending: 0 },
    });
  });
});

describe('cancelRemainingContacts', () => {
  it('cancels the contacts of deleted campaigns, none of whom is called until then', async () => {
    const id = await start(operator, { contacts: strangers(3) });
    await act(operator, 'pauseCampaign', id);
    await runMutation(operator.client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');
    expect((await dispatchCalls(server.app)).callIds).toEqual([]);
    const counts = () =>
      server.app.db.campaign.findFirstOrThrow({
        select: { pendingCount: true, cancelledCount: true },
      });
    expect(await counts()).toEqual({ pendingCount: 3, cancelledCount: 0 });
    await cancelRemainingContacts(server.app);
    expect(await counts()).toEqual({ pendingCount: 0, cancelledCount: 3 });
    expect(await brokenRules(server)).toEqual([]);
  });

  it.each([
    ['more', 1],
    ['fewer', -2],
  ])('counts the contacts of a campaign again that counts %s waiting ones than it has', async (_, more) => {
    const id = await start(operator, { contacts: strangers(3) });
    await act(operator, 'pauseCampaign', id);
    await server.app.db.$executeRaw`
      UPDATE campaigns SET status = 'FAILED', ended_at = now(),
        pending_count = pending_count + ${more}::int, total_count = total_count + ${more}::int`;
    const isLeft = async () => {
      const [row] = await server.app.db.$queryRaw<{ left: boolean }[]>`
        SELECT ${hasContactsToCancel()} AS left`;
      return row!.left;
    };
    for (let runs = 0; runs < 3 && (await isLeft()); runs += 1) {
      await cancelRemainingContacts(server.app);
    }
    expect((await glance(operator, id)).counts).toMatchObject({
      total: 3,
      pending: 0,
      cancelled: 3,
    });
    expect(await isLeft()).toBe(false);
    expect(await brokenRules(server)).toEqual([]);
  });

  it('goes on with other campaigns when one can neither be cancelled nor counted', async () => {
    const { db } = server.app;
    const ids: string[] = [];
    for (let made = 0; made < 2; made += 1) {
      const id = await start(operator, { contacts: strangers(2) });
      await act(operator, 'pauseCampaign', id);
      await runMutation(operator.client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');
      ids.push(id.slice(4));
    }
    const [broken, other] = ids as [string, string];
    await db.$executeRawUnsafe(
      `ALTER TABLE campaigns ADD CONSTRAINT broken CHECK (id <> '${broken}') NOT VALID`,
    );
    await cancelRemainingContacts(server.app);
    const { pendingCount } = await db.campaign.findUniqueOrThrow({ where: { id: other } });
    expect(pendingCount).toBe(0);
    await db.$executeRaw`ALTER TABLE campaigns DROP CONSTRAINT broken`;
  });
});
