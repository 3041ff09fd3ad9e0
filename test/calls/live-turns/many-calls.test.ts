/** More watched calls than are read at once. */
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

it('callEvents reads every call that somebody watches, and no other', async () => {
  const { organizationId } = server;
  const agentId = uuidOf(await makeAgent(server));
  const ids = Array.from({ length: CALLS + 1 }, () => newId());
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
  const read = new Set<string>();
  const { ultravox } = server.app;
  const moreMessages = async (id: string) => {
    read.add(id);
    return { messages: [], page: null, before: 0 };
  };
  const calls = { ...ultravox.calls, moreMessages } as typeof ultravox.calls;
  const app: App = { ...server.app, ultravox: { ...ultravox, calls } };
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
