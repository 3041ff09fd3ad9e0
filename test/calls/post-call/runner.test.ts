/** Number of post-call steps that run concurrently, and limits per organization. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runPostCallSteps, startPostCallRunner } from '../../../src/calls/post-call/runner.ts';
import type { StepHandlers } from '../../../src/calls/post-call/steps.ts';
import { newId } from '../../../src/infra/ids.ts';
import { accepted } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { makeAgent, uuidOf } from '../support.ts';

/** Of one organization, and in all, in a process. */
const MOST = 8;

let server: TestServer;
beforeAll(async () => {
  // No worker runs steps beside the test.
  server = await startTestServer({ settings: { ROLE: 'api' } });
});
afterAll(() => server.close());

/** Analyses that are due, in the given order among those of all organizations. */
async function addSteps(
  { organizationId, agentId }: { organizationId: string; agentId: string },
  count: number,
  dueAt: number,
): Promise<void> {
  const ids = Array.from({ length: count }, () => newId());
  await server.app.db.call.createMany({
    data: ids.map((id) => ({
      id,
      organizationId,
      agentId,
      direction: 'OUTBOUND' as const,
      medium: 'SIP' as const,
      status: 'COMPLETED' as const,
      endReason: 'HANGUP' as const,
      ...accepted(),
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      endedAt: new Date(0),
    })),
  });
  await server.app.db.postCallStep.createMany({
    data: ids.map((callId) => ({
      callId,
      organizationId,
      kind: 'ANALYSIS' as const,
      nextAttemptAt: new Date(dueAt),
    })),
  });
}

it('analyses of one organization never exceed its limit, nor keep those of another waiting', async () => {
  const other = await server.newOrganization();
  const owner = async (client: TestServer['client'], organizationId: string) => ({
    organizationId,
    agentId: uuidOf(await makeAgent(server, { client, organizationId })),
  });
  const many = await owner(server.client, server.organizationId);
  const few = await owner(other.client, other.id);
  const running: string[] = [];
  const ends: (() => void)[] = [];
  const run: StepHandlers['ANALYSIS']['run'] = async (_app, { organizationId }) => {
    running.push(organizationId);
    await new Promise<void>((resolve) => ends.push(resolve));
    return { status: 'DONE' };
  };
  const handlers = { ANALYSIS: { run } } as unknown as StepHandlers;
  const runningOf = ({ organizationId }: { organizationId: string }) =>
    running.filter((id) => id === organizationId).length;

  await addSteps(many, MOST - 1, 1_000);
  await runPostCallSteps(server.app, handlers);
  await until('them to run', () => runningOf(many) === MOST - 1);
  // The other organization is behind more than are looked at.
  await addSteps(many, 600, 2_000);
  await addSteps(few, 3, 3_000);
  await runPostCallSteps(server.app, handlers);
  await until('those of the other organization to run', () => runningOf(few) === 3);
  expect(runningOf(many)).toBe(MOST);
  for (const end of ends) end();
});

it('hands over to another process what it has no room for', async () => {
  await server.app.db.postCallStep.deleteMany();
  const owner = await server.newOrganization();
  const { id: organizationId, client } = owner;
  const agentId = uuidOf(await makeAgent(server, { client, organizationId }));
  const processes = [{ ...server.app }, { ...server.app }];
  const ends: (() => void)[] = [];
  const runningIn = processes.map((app) => {
    const running = { count: 0 };
    const run: StepHandlers['ANALYSIS']['run'] = async () => {
      running.count += 1;
      await new Promise<void>((resolve) => ends.push(resolve));
      return { status: 'DONE' };
    };
    const handlers = { ANALYSIS: { run } } as unknown as StepHandlers;
    startPostCallRunner(app, handlers);
    return { running, handlers };
  });
  await addSteps({ organizationId, agentId }, 2 * MOST, 1_000);
  await runPostCallSteps(processes[0]!, runningIn[0]!.handlers);
  try {
    await until(
      'both to run as many as they may',
      () => runningIn.every(({ running }) => running.count === MOST),
      10_000,
    );
  } finally {
    for (const end of ends) end();
  }
});
