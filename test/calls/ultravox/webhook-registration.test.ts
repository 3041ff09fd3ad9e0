/** The registration of our webhook at Ultravox, by processes that start at the same time, and after changes there. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { App } from '../../../src/app.ts';
import {
  CONFIRM_SECONDS,
  checkUltravoxWebhook,
  ensureUltravoxWebhook,
} from '../../../src/calls/ultravox/webhook-registration.ts';
import { type Simulator, startSimulator } from '../../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';

let simulator: Simulator;
let database: TestDatabase;
const servers: TestServer[] = [];

beforeAll(async () => {
  simulator = await startSimulator({ speed: 50 });
  database = await createTestDatabase();
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
  await simulator.close();
  await database.drop();
});

async function startServer(publicUrl: string): Promise<TestServer> {
  const settings = { ROLE: 'api', PUBLIC_URL: publicUrl, LOG_LEVEL: 'silent' };
  const server = await startTestServer({ database, ultravox: simulator, settings });
  servers.push(server);
  return server;
}

async function hooksAt(app: App, publicUrl: string) {
  const hooks = await Array.fromAsync(app.ultravox.webhooks.listAll());
  return hooks.filter(({ url }) => url.startsWith(publicUrl));
}

/** A process that has listed the webhooks, and goes on when `others` have too. */
function listingWith(app: App, others: Promise<unknown>, listed: () => void): App {
  const { webhooks } = app.ultravox;
  let isFirst = true;
  async function* listAll() {
    const hooks = await Array.fromAsync(webhooks.listAll());
    listed();
    if (isFirst) await others;
    isFirst = false;
    yield* hooks;
  }
  return { ...app, ultravox: { ...app.ultravox, webhooks: { ...webhooks, listAll } } };
}

describe('the webhook at Ultravox', () => {
  it('is registered while another process waits for Ultravox', async () => {
    const publicUrl = 'https://one.example.com';
    const path = '^/api/webhooks$';
    simulator.setFaults([{ kind: 'slow', ms: 60_000, method: 'GET', path, count: 1 }]);
    await startServer(publicUrl);
    await until('the first process to wait', () => simulator.faults()[0]?.count === 0);
    const { app } = await startServer(publicUrl);
    const registered = async () => (await hooksAt(app, publicUrl)).length === 1;
    await until('the webhook', registered, 10_000);
  });

  it('is registered once by processes that find none at the same time', async () => {
    const publicUrl = 'https://two.example.com';
    const { app } = await startServer('https://three.example.com');
    const listed = [0, 1, 2].map(() => Promise.withResolvers<void>());
    const all = Promise.all(listed.map(({ promise }) => promise));
    await Promise.all(
      listed.map(({ resolve }) => ensureUltravoxWebhook(listingWith(app, all, resolve), publicUrl)),
    );
    const [hook] = await hooksAt(app, publicUrl);
    expect(await hooksAt(app, publicUrl)).toEqual([hook]);
    await ensureUltravoxWebhook(app, publicUrl);
    expect(await hooksAt(app, publicUrl)).toEqual([hook]);
  });

  it('is removed from a former address once no process has confirmed it for a while', async () => {
    const [former, other, current] = ['former', 'other', 'current'].map(
      (name) => `https://${name}.example.com`,
    ) as [string, string, string];
    const registered = (app: App, publicUrl: string) =>
      until(`the webhook to ${publicUrl}`, async () => (await hooksAt(app, publicUrl))[0]);
    const { app: oldApp } = await startServer(former);
    const { secrets, events } = await registered(oldApp, former);
    const path = '/webhooks/ultravox';
    await oldApp.ultravox.webhooks.create({ url: `${other}${path}`, events, secrets });
    const { app } = await startServer(current);
    await registered(app, current);
    const recorded = () => app.db.webhookRegistration.count({ where: { url: current + path } });
    await until('the start to be over', async () => (await recorded()) === 1);
    const start = Date.now();
    /** The periodic check of a process, so long after the start. Returns the number of webhooks at the former address. */
    const checkAfter = async (minutes: number, by: App) => {
      vi.spyOn(by, 'now').mockImplementation(() => new Date(start + minutes * 60_000));
      await checkUltravoxWebhook(by).finally(() => vi.restoreAllMocks());
      return (await hooksAt(by, former)).length;
    };
    // While processes with both addresses run, as during a rolling change.
    expect(await checkAfter(5, app)).toBe(1);
    expect(await checkAfter(10, oldApp)).toBe(1);
    expect(await checkAfter(20, app)).toBe(1);
    // The last process with the former address has been stopped, or seems to be.
    expect(await checkAfter(26, app)).toBe(0);
    expect(await checkAfter(27, oldApp)).toBe(1);
    expect(await checkAfter(43, app)).toBe(0);
    expect(await hooksAt(app, other)).toHaveLength(1);
    // One that somebody has taken over, with another secret, is forgotten.
    const { webhookId } = await registered(app, current);
    await app.ultravox.webhooks.update(webhookId, { secrets: ['theirs'] });
    expect(await checkAfter(60, oldApp)).toBe(1);
    expect(await recorded()).toBe(0);
    expect(await hooksAt(app, current)).toMatchObject([{ webhookId, secrets: ['theirs'] }]);
  });

  it('is checked regularly by a process without a worker', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const publicUrl = 'https://regular.example.com';
      const { app } = await startServer(publicUrl);
      const hook = await until('the webhook', async () => (await hooksAt(app, publicUrl))[0]);
      await app.ultravox.webhooks.delete(hook.webhookId);
      vi.advanceTimersByTime(CONFIRM_SECONDS * 1000);
      await until('the webhook again', async () => (await hooksAt(app, publicUrl))[0]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is registered again after it was deleted or its secret was replaced', async () => {
    const publicUrl = 'https://four.example.com';
    const { app } = await startServer(publicUrl);
    const [hook] = await until('the webhook', async () => {
      const hooks = await hooksAt(app, publicUrl);
      return hooks.length === 1 ? hooks : null;
    });
    await app.ultravox.webhooks.delete(hook!.webhookId);
    await checkUltravoxWebhook(app);
    const [created] = await hooksAt(app, publicUrl);
    expect(created?.secrets).toEqual(hook!.secrets);
    await app.ultravox.webhooks.update(created!.webhookId, { secrets: ['replaced'] });
    await checkUltravoxWebhook(app);
    expect(await hooksAt(app, publicUrl)).toMatchObject([{ ...created }]);
  });

  it('is checked after a bad signature, but not after each of many', async () => {
    const publicUrl = 'https://five.example.com';
    const { app, url } = await startServer(publicUrl);
    const hook = await until('the webhook', async () => (await hooksAt(app, publicUrl))[0]);
    await app.ultravox.webhooks.update(hook.webhookId, { secrets: ['replaced'] });
    const requestsOf = (method: string) =>
      simulator
        .requests()
        .filter((one) => one.method === method && one.path.startsWith('/api/webhooks')).length;
    const [lists, updates] = [requestsOf('GET'), requestsOf('PATCH')];
    const headers = {
      'x-ultravox-webhook-timestamp': new Date().toISOString(),
      'x-ultravox-webhook-signature': 'bad',
    };
    for (let count = 0; count < 20; count += 1) {
      const { status } = await fetch(`${url}/webhooks/ultravox`, {
        method: 'POST',
        headers,
        body: '{}',
      });
      expect(status).toBe(401);
    }
    await until('the secret to be restored', () => requestsOf('PATCH') > updates);
    expect(requestsOf('GET') - lists).toBe(1);
    expect(await hooksAt(app, publicUrl)).toMatchObject([{ secrets: hook.secrets }]);
  });
});
