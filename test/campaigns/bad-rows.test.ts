/** A row that cannot be written does not block other campaigns, contacts or calls. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  createCampaign,
  dialedTwice,
  dialsOf,
  ended,
  glance,
  type Operator,
  people,
  prepareOperator,
  uuidOf,
} from './support.ts';

const PATIENCE_MS = 120_000;

let server: TestServer;
let operator: Operator;

beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  operator = await prepareOperator(server.client);
});
afterAll(() => server?.close());

/** Makes the database refuse a change of a table until the returned function is called. */
async function refuse(name: string, change: string, message: string): Promise<() => Promise<void>> {
  const { db } = server.app;
  await db.$executeRawUnsafe(`CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '${message}'; END $$`);
  await db.$executeRawUnsafe(`CREATE TRIGGER ${name} BEFORE ${change} EXECUTE FUNCTION ${name}()`);
  return async () => {
    await db.$executeRawUnsafe(`DROP FUNCTION ${name} CASCADE`);
  };
}

async function startCampaign(contacts: object[]): Promise<string> {
  const input = { contacts, scheduleType: 'IMMEDIATE', maxConcurrentCalls: 5, retryFailed: false };
  return (await createCampaign(operator, input)).id;
}

let series = 20;
const contacts = () => people(4, { series: series++ });

const FAILURES = [
  ['is refused', 'Refused by the test'],
  // As when its statements take longer than a transaction may.
  [
    'takes too long',
    'Transaction already closed: A query cannot be executed on an expired transaction',
  ],
] as const;

describe('a contact whose outcome cannot be recorded', () => {
  it.each(
    FAILURES,
  )('waits when that %s, while the outcomes of others are recorded', async (_, message) => {
    const [bad, ...good] = contacts();
    const allow = await refuse(
      'refuse_outcome',
      `UPDATE ON campaign_contacts FOR EACH ROW WHEN (OLD.status = 'CALLING'
         AND NEW.status <> 'CALLING' AND NEW.phone_number = '${bad!.phoneNumber}')`,
      message,
    );
    const id = await startCampaign([bad!, ...good]);
    const other = await startCampaign(contacts());
    expect((await ended(operator, other, PATIENCE_MS)).status).toBe('COMPLETED');
    await until(
      'the other contacts',
      async () => (await glance(operator, id)).counts.completed === good.length,
      PATIENCE_MS,
    );
    expect((await glance(operator, id)).counts.calling).toBe(1);
    await allow();
    expect((await ended(operator, id, PATIENCE_MS)).counts).toMatchObject({ completed: 4 });
    expect(dialsOf(server, id)).toHaveLength(4);
    expect(dialedTwice(server)).toEqual([]);
  });
});

describe('a campaign that cannot be dispatched', () => {
  it.each(FAILURES)('waits when that %s, while other campaigns call', async (_, message) => {
    const bad = contacts();
    const allow = await refuse(
      'refuse_call',
      `INSERT ON calls FOR EACH ROW WHEN (NEW.phone_number = '${bad[0]!.phoneNumber}')`,
      message,
    );
    const id = await startCampaign(bad);
    const other = await startCampaign(contacts());
    expect((await ended(operator, other, PATIENCE_MS)).counts).toMatchObject({ completed: 4 });
    expect(dialsOf(server, id)).toEqual([]);
    await allow();
    expect((await ended(operator, id, PATIENCE_MS)).counts).toMatchObject({ completed: 4 });
    expect(dialsOf(server, id)).toHaveLength(4);
    expect(dialedTwice(server)).toEqual([]);
  });
});

describe('a deleted campaign whose contacts take long to cancel', () => {
  it('keeps no other campaign from calling, and its contacts are not called', async () => {
    const { db } = server.app;
    await db.$executeRawUnsafe(`CREATE FUNCTION slow_cancel() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER slow_cancel BEFORE UPDATE ON campaign_contacts
      FOR EACH ROW WHEN (NEW.status = 'CANCELLED') EXECUTE FUNCTION slow_cancel()`);
    const input = {
      contacts: people(12, { series: series++ }),
      scheduledAt: '2040-03-05T08:00:00Z',
    };
    const { id } = await createCampaign(operator, input);
    await makeDueAt(id);
    await runMutation(operator.client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');
    const other = await startCampaign(contacts());
    expect((await ended(operator, other, PATIENCE_MS)).counts).toMatchObject({ completed: 4 });
    const counts = async () =>
      db.campaign.findUniqueOrThrow({
        where: { id: uuidOf(id) },
        select: { pendingCount: true, cancelledCount: true },
      });
    expect(await counts()).toMatchObject({ pendingCount: 12 });
    await until('the cancellation', async () => (await counts()).cancelledCount === 12, 60_000);
    expect(dialsOf(server, id)).toEqual([]);
  });
});

/** Makes all contacts of a campaign due, long before its start. */
async function makeDueAt(id: string): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE campaign_contacts SET next_eligible_at = now() WHERE campaign_id = ${uuidOf(id)}::uuid`;
}
