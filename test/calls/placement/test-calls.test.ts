/** Test calls that are claimed at the moment at which their requests give up. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { holdCreations } from '../../../src/calls/placement/creation-hold.ts';
import { placeClaimedCalls } from '../../../src/calls/placement/placement.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { type Caller, newCaller, resumeCreations, run } from '../support.ts';

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  // Without a worker, which may claim the call too.
  server = await startTestServer({ settings: { ROLE: 'api' } });
  caller = await newCaller(server);
});
afterAll(() => server.close());

it('returns the join URL of a call that is claimed while its request gives it up', async () => {
  const { db } = server.app;
  await holdCreations(server.app, 2);
  const started = run(caller.client, 'startTestCall', { agentId: caller.agentId });
  const { id } = await until('the call to wait', () =>
    db.call.findFirst({ where: { placement: 'QUEUED' } }),
  );
  await db.$transaction(async (tx) => {
    await tx.$queryRaw`SELECT FROM calls WHERE id = ${id}::uuid FOR UPDATE`;
    await holdCreations(server.app, 60);
    await until('the request to give up', async () => {
      const waiting = await db.$queryRaw<unknown[]>`
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      return waiting.length > 0;
    });
    await tx.call.update({ where: { id }, data: { placement: 'CLAIMED', claimedAt: new Date() } });
  });
  await resumeCreations(server);
  await placeClaimedCalls(server.app, [id]);
  expect(await started).toMatchObject({ userErrors: [], joinUrl: expect.stringMatching(/^ws:/) });
});
