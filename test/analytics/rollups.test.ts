/** Daily rollups do not block calls. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { rolledUpDays, rollUpCalls } from '../../src/analytics/rollups.ts';
import { uuidOf } from '../campaigns/support.ts';
import { prepareCaller } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let callId: string;
const DAY = new Date('2026-05-04');
const range = { from: new Date('2026-01-01'), to: new Date('2027-01-01') };

beforeAll(async () => {
  server = await startTestServer();
  const caller = await prepareCaller(server.client);
  const { id } = await caller.call();
  callId = uuidOf(id);
  await until('the bill', async () => {
    const call = await server.app.db.call.findUniqueOrThrow({ where: { id: callId } });
    return call.billingStatus === 'BILLED';
  });
  const createdAt = new Date(DAY.getTime() + 36_000_000);
  await server.app.db.call.update({ where: { id: callId }, data: { createdAt } });
});
afterAll(() => server?.close());

async function costOfMay(): Promise<string> {
  const { data } = await server.client.send(
    `{ analytics(range: { from: "2026-05-01T00:00:00Z", to: "2026-06-01T00:00:00Z" }) {
      total { calls cost { amount } } } }`,
  );
  const { calls, cost } = data.analytics.total;
  expect(calls).toBe(1);
  return cost.amount;
}

/** Rolls up all days, also those that were over before the call was moved there; the worker does so too. */
const untilRolledUp = () =>
  until('the day to be rolled up', async () => {
    await server.app.db.callRollupProgress.deleteMany();
    await rollUpCalls(server.app, { minCalls: 1 });
    const days = await rolledUpDays(server.app.db, server.organizationId, range);
    return days.includes(DAY.getTime());
  });

it('A call changes while its day is rolled up, and the figures follow', async () => {
  const { db } = server.app;
  const { organizationId } = server;
  const change = (costAmount: string) =>
    db.call.update({ where: { id: callId }, data: { costAmount, costCurrency: 'USD' } });
  /** Holds the lock of the day as a roll-up that takes long does. */
  const whileLocked = (work: () => Promise<unknown>) =>
    db.$transaction(async (tx) => {
      await tx.$queryRaw`
        SELECT 1 FROM (SELECT pg_advisory_xact_lock(
          call_rollup_lock(${organizationId}::uuid, ${DAY}::date))) AS locked`;
      await work();
    });
  await whileLocked(() => change('7.5'));
  expect(Number(await costOfMay())).toBe(7.5);
  await untilRolledUp();
  expect(Number(await costOfMay())).toBe(7.5);

  await whileLocked(() => change('8.5'));
  expect(Number(await costOfMay())).toBe(8.5);
  await untilRolledUp();
  expect(Number(await costOfMay())).toBe(8.5);
});
