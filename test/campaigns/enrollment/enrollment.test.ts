/** Contacts added to a running campaign, in steps that the tests pause. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BATCH_ROWS, resumeEnrollments } from '../../../src/campaigns/enrollment/enrollment.ts';
import { publicId } from '../../../src/ids.ts';
import { runMutation } from '../../support/calling.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { createClient } from '../../support/graphql.ts';
import { startServerProcess } from '../../support/servers/process.ts';
import type { TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { closeCampaignServer, startCampaignServer } from '../campaign-server.ts';
import { callsOf, start } from '../engine-support.ts';
import {
  act,
  brokenRules,
  dialedTwice,
  dialsOf,
  ENDINGS,
  glance,
  type Operator,
  people,
  uuidOf,
} from '../support.ts';

let server: TestServer;
let operator: Operator;

beforeAll(async () => {
  ({ server, operator } = await startCampaignServer({ settings: { CALL_CHECK_SECONDS: '1' } }));
});
afterEach(async () => {
  expect(await brokenRules(server)).toEqual([]);
  expect(dialedTwice(server)).toEqual([]);
});
afterAll(() => closeCampaignServer(server));

const ADD = `mutation ($input: AddCampaignContactsInput!) {
  addCampaignContacts(input: $input) { addedCount duplicateCount campaign { status } userErrors { code message } } }`;
const COUNT = 2 * BATCH_ROWS + 200;

/** Takes the lock of the campaign's steps when its turn comes. */
function holdSteps(campaignId: string): { held: Promise<void>; release: () => void } {
  const held = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  server.app.db
    .$transaction(
      async (tx) => {
        await tx.$queryRaw`
          SELECT pg_advisory_xact_lock(hashtextextended(${uuidOf(campaignId)}, 0))::text`;
        held.resolve();
        await released.promise;
      },
      { timeout: 60_000 },
    )
    .catch(held.reject);
  return { held: held.promise, release: released.resolve };
}

/** Waits until so many transactions wait for the lock of the campaign's steps. */
const waiting = (campaignId: string, locks: number) =>
  until(`${locks} steps to wait`, async () => {
    const [row] = await server.app.db.$queryRaw<[{ count: number }]>`
      SELECT count(*)::int AS count FROM pg_locks
      WHERE locktype = 'advisory' AND NOT granted
        AND (classid::bigint::bit(32) || objid::bigint::bit(32))::bit(64)::bigint
          = hashtextextended(${uuidOf(campaignId)}, 0)`;
    return row.count >= locks;
  });

/** Adds contacts, and returns when the first step has joined and the next one is held up. */
async function addOneStep(
  campaignId: string,
  contacts: object[],
  client: GraphQLClient,
  headers: Record<string, string> = {},
) {
  const before = holdSteps(campaignId);
  await before.held;
  const answer = client.send(ADD, { input: { campaignId, contacts } }, { headers });
  answer.catch(() => undefined);
  await waiting(campaignId, 1);
  const after = holdSteps(campaignId);
  await waiting(campaignId, 2);
  before.release();
  await after.held;
  return { answer, release: after.release };
}

let series = 20;
/** People whom no other test calls. */
function strangers(count = COUNT): { phoneNumber: string }[] {
  series += 10;
  return people(count, { series });
}

/** A campaign that stays active, because its only contact does not answer and is called again later. */
const startOpen = () =>
  start(operator, {
    contacts: people(1, { series, ending: ENDINGS.noAnswer }),
    maxConcurrentCalls: 5,
    retryFailed: true,
    maxRetryAttempts: 1,
  });

describe('addCampaignContacts', () => {
  it('lets the campaign call and record outcomes while contacts are being added', async () => {
    const id = await startOpen();
    const contacts = strangers();
    const adding = await addOneStep(id, [...contacts, contacts[0]!], operator.client);
    expect((await glance(operator, id)).counts.total).toBe(1 + BATCH_ROWS);
    await until('outcomes of added contacts', async () => {
      const { counts } = await glance(operator, id);
      return counts.completed >= 8;
    });
    expect((await glance(operator, id)).counts.total).toBe(1 + BATCH_ROWS);
    adding.release();
    expect((await adding.answer).data.addCampaignContacts).toMatchObject({
      ...{ addedCount: COUNT, duplicateCount: 1, campaign: { status: 'ACTIVE' } },
      userErrors: [],
    });
    const { counts } = await act(operator, 'cancelCampaign', id);
    expect(counts.total).toBe(1 + COUNT);
    await until('the end of calls', async () => (await glance(operator, id)).counts.calling === 0);
  });

  it('keeps a campaign from completing before all contacts have joined', async () => {
    // The first call lasts until the test ends it.
    const contacts = people(1, { series, ending: '0008' });
    const id = await start(operator, { contacts, maxConcurrentCalls: 1 });
    const call = await until('the first call', async () => {
      const [row] = await callsOf(server, id);
      return row?.status === 'IN_PROGRESS' && row;
    });
    const before = holdSteps(id);
    await before.held;
    const answer = operator.client.send(ADD, {
      input: { campaignId: id, contacts: strangers(1) },
    });
    await waiting(id, 1);
    await runMutation(operator.client, 'endCall', { id: publicId('Call', call.id) }, 'call { id }');
    await until('its end', async () => (await glance(operator, id)).counts.completed === 1);
    expect((await glance(operator, id)).status).toBe('ACTIVE');
    before.release();
    expect((await answer).data.addCampaignContacts.addedCount).toBe(1);
    await until('completion', async () => (await glance(operator, id)).status === 'COMPLETED');
    expect((await glance(operator, id)).counts).toMatchObject({ total: 2, completed: 2 });
  });

  it('stops when the campaign is cancelled meanwhile', async () => {
    const id = await startOpen();
    const contacts = strangers();
    const key = 'stopped';
    const headers = { 'x-idempotency-key': key };
    const adding = await addOneStep(id, contacts, operator.client, headers);
    await act(operator, 'cancelCampaign', id);
    adding.release();
    const rejected = { addedCount: null, userErrors: [{ code: 'INVALID_STATE' }] };
    expect((await adding.answer).data.addCampaignContacts).toMatchObject(rejected);
    // A run that was interrupted before its result was stored is repeated.
    const { db } = server.app;
    await db.idempotencyKey.updateMany({ where: { key }, data: { response: null } });
    const variables = { input: { campaignId: id, contacts } };
    const { data } = await operator.client.send(ADD, variables, { headers });
    expect(data.addCampaignContacts).toMatchObject(rejected);
    await until('the end of contacts', async () => {
      const { counts } = await glance(operator, id);
      return counts.pending === 0 && counts.calling === 0;
    });
    expect((await glance(operator, id)).counts.total).toBe(1 + BATCH_ROWS);
    const where = { campaignId: uuidOf(id) };
    expect(await db.campaignEnrollment.findMany({ where })).toMatchObject([
      { status: 'CANCELLED' },
    ]);
    expect(await db.campaignEnrollmentRow.count({ where: { enrollment: where } })).toBe(0);
  });

  it('plans the rest by a schedule that changes meanwhile', async () => {
    const far = new Date(Date.now() + 30 * 86_400_000);
    const id = await start(operator, {
      contacts: strangers(1),
      scheduledAt: far.toISOString(),
      scheduleType: 'SCHEDULED',
    });
    const adding = await addOneStep(id, strangers(), operator.client);
    const later = new Date(far.getTime() + 86_400_000);
    await act(operator, 'updateCampaign', id, { scheduledAt: later.toISOString() });
    adding.release();
    expect((await adding.answer).data.addCampaignContacts.userErrors).toEqual([]);
    const contacts = await server.app.db.campaignContact.findMany({
      where: { campaignId: uuidOf(id) },
    });
    expect(contacts).toHaveLength(1 + COUNT);
    for (const { scheduledAt } of contacts) {
      expect(scheduledAt!.getTime()).toBeGreaterThanOrEqual(later.getTime());
    }
    await act(operator, 'cancelCampaign', id);
  });

  it('is completed by another process after kill -9, with every contact once', async () => {
    const id = await startOpen();
    const { url, kill, stop } = await startServerProcess({
      databaseUrl: server.database.url,
      simulator: server.simulator,
      settings: { ROLE: 'api' },
    });
    const contacts = strangers();
    const client = createClient(url, server.key);
    const adding = await addOneStep(id, contacts, client);
    await kill();
    adding.release();
    await expect(adding.answer).rejects.toThrow();
    expect((await glance(operator, id)).counts.total).toBeLessThan(1 + COUNT);
    await server.app.db.$executeRaw`
      UPDATE campaign_enrollments SET updated_at = now() - interval '1 minute'
      WHERE status = 'JOINING'`;
    await Promise.all([resumeEnrollments(server.app), resumeEnrollments(server.app)]);
    await until(
      'all contacts',
      async () => (await glance(operator, id)).counts.total === 1 + COUNT,
    );
    const { data } = await operator.client.send(ADD, { input: { campaignId: id, contacts } });
    expect(data.addCampaignContacts).toMatchObject({ addedCount: 0, duplicateCount: COUNT });
    await act(operator, 'cancelCampaign', id);
    await until('the end of calls', async () => (await glance(operator, id)).counts.calling === 0);
    const dialed = new Set(dialsOf(server, id).map(({ to }) => to));
    expect(dialed.size).toBe(dialsOf(server, id).length);
    await stop();
  });
});
