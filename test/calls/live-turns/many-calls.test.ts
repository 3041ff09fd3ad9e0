/** More watched calls than are read concurrently. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { watchTurns } from '../../../src/calls/live-turns/watcher.ts';
import { newId } from '../../../src/infra/ids.ts';
import { accepted } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { makeAgent, uuidOf } from '../support.ts';

const CALLS = 1_010;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
});
afterAll(() => server.close());

/** Live calls of a new agent. */
async function liveCalls(count: number): Promise<{ agentId: string; ids: string[] }> {
  const { organizationId } = server;
  const agentId = uuidOf(await makeAgent(server));
  const ids = Array.from({ length: count }, () => newId());
  await server.app.db.call.createMany({
    data: ids.map((id) => ({
      id,
      organizationId,
      agentId,
      direction: 'OUTBOUND' as const,
      medium: 'SIP' as const,
      status: 'IN_PROGRESS' as const,
      ...accepted(),
      ultravoxId: id,
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
    })),
  });
  return { agentId, ids };
}

/** A process that adds the calls that it reads. */
function processThat(read: Set<string>): App {
  const { ultravox } = server.app;
  const moreMessages = async (id: string) => {
    read.add(id);
    return { messages: [], page: null, before: 0 };
  };
  const calls = { ...ultravox.calls, moreMessages } as typeof ultravox.calls;
  return { ...server.app, ultravox: { ...ultravox, calls } };
}

it('callEvents reads every call that somebody watches, and no other', async () => {
  const { organizationId } = server;
  const { agentId, ids } = await liveCalls(CALLS + 1);
  const read = new Set<string>();
  const app = processThat(read);
  const nobody = { organizationId, callId: null, agentId: null, campaignId: null };
  const unwatch = [
    ...ids.slice(0, CALLS).map((callId) => watchTurns(app, { ...nobody, callId })),
    // Of another organization.
    watchTurns(app, { ...nobody, organizationId: newId(), callId: ids.at(-1)! }),
    watchTurns(app, { ...nobody, agentId, campaignId: newId() }),
  ];
  await until('all to be read', () => read.size >= CALLS, 120_000);
  expect(read).toEqual(new Set(ids.slice(0, CALLS)));
  for (const leave of unwatch) leave();
});

it('callEvents reads calls behind many that another process reads', async () => {
  const { organizationId } = server;
  const { agentId, ids } = await liveCalls(60);
  const free = new Set([ids[0]!, ids[30]!, ids[59]!]);
  await server.app.db.callTurnWatch.createMany({
    data: ids
      .filter((id) => !free.has(id))
      .map((callId) => ({
        callId,
        organizationId,
        leaseId: newId(),
        leaseUntil: new Date(Date.now() + 3_600_000),
      })),
  });
  const read = new Set<string>();
  const app = processThat(read);
  const leave = watchTurns(app, { organizationId, agentId, callId: null, campaignId: null });
  try {
    await until('all of them to be read', () => read.size === free.size, 15_000);
    expect(read).toEqual(free);
  } finally {
    leave();
  }
});
