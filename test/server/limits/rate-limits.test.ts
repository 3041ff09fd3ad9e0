import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { createConcurrencyLimits } from '../../../src/server/limits/concurrency-limits.ts';
import { connectLimitStore, type LimitStore } from '../../../src/server/limits/limit-store.ts';
import { createRateLimits } from '../../../src/server/limits/rate-limits.ts';
import {
  redisAvailable,
  startRedis,
  startRedisCluster,
  type TestRedis,
} from '../../support/servers/redis.ts';
import { startRelay } from '../../support/servers/relay.ts';
import { until } from '../../support/wait.ts';

const app = {
  config: { MAX_SUBSCRIPTIONS: 10, MAX_UPLOADS: 1 },
  failures: { record: () => undefined, recorder: () => () => undefined },
} as unknown as App;
const viewer = (organizationId: string, apiKeyId: string) => ({
  ...{ organizationId, apiKeyId, scopes: new Set<never>() },
});

describe('createConcurrencyLimits', () => {
  it('limits the open subscriptions of an organization and of each of its keys', async () => {
    const limits = createConcurrencyLimits(app);
    const ends = await Promise.all(
      Array.from({ length: 5 }, () => limits.openSubscription(viewer('a', 'a1'))),
    );
    await expect(limits.openSubscription(viewer('a', 'a1'))).rejects.toThrow(
      'An API key may have at most 5 open subscriptions',
    );
    for (let index = 0; index < 5; index += 1)
      await limits.openSubscription(viewer('a', `other${index}`));
    await expect(limits.openSubscription(viewer('a', 'a2'))).rejects.toThrow(
      'An organization may have at most 10 open subscriptions',
    );
    await limits.openSubscription(viewer('b', 'b1'));
    ends[0]?.();
    ends[0]?.();
    await limits.openSubscription(viewer('a', 'a2'));
    await expect(limits.openSubscription(viewer('a', 'a2'))).rejects.toThrow(
      'at most 10 open subscriptions',
    );
  });

  it('limits the uploads of an organization, whatever keys it uses', () => {
    const config = { ...app.config, MAX_UPLOADS: 5 };
    const limits = createConcurrencyLimits({ ...app, config } as App);
    for (let index = 0; index < 4; index += 1) limits.beginUpload(viewer('a', `key${index}`));
    expect(() => limits.beginUpload(viewer('a', 'another'))).toThrow(
      'An organization may have at most 4 concurrent uploads',
    );
    limits.beginUpload(viewer('b', 'b1'));
  });

  it('limits sockets without a credential by network, and others by organization', () => {
    const limits = createConcurrencyLimits(app);
    for (let index = 0; index < 200; index += 1) limits.openSocket(`2001:db8::${index}`);
    expect(() => limits.openSocket('2001:db8::ffff')).toThrow('at most 200 WebSockets');
    limits.openSocket('2001:db8:0:1::1');

    const ends = Array.from({ length: 20_000 }, (_, index) =>
      limits.openAuthenticatedSocket(viewer('a', `key${index}`)),
    );
    const more = () => limits.openAuthenticatedSocket(viewer('a', 'another'));
    expect(more).toThrow('at most 20,000 WebSockets');
    limits.openAuthenticatedSocket(viewer('b', 'b1'));
    ends[0]?.();
    more();
  });
});

async function connect(url: string): Promise<LimitStore> {
  const { failures } = app;
  const store = connectLimitStore({ config: { REDIS_URL: url }, failures } as unknown as App);
  if (!store) throw new Error('There is no REDIS_URL');
  await until('Redis', () => store.connection() !== null);
  return store;
}

const available = redisAvailable();
if (!available) process.stderr.write('No redis-server here: limits over processes are skipped\n');

describe.skipIf(!available)('createConcurrencyLimits with Redis', () => {
  /** Longer than a busy machine keeps a process from renewing its counts. */
  const LIFETIME_MS = 3_000;
  let server: TestRedis;
  const stores: LimitStore[] = [];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(async () => {
    for (const store of stores) store.close();
    await server?.stop();
  });

  /** The limits of one process. */
  async function startProcess() {
    const store = await connect(server.url);
    stores.push(store);
    return { store, limits: createConcurrencyLimits(app, { store, lifetimeMs: LIFETIME_MS }) };
  }
  const opens = (limits: ReturnType<typeof createConcurrencyLimits>, organization: string) =>
    limits.openSubscription(viewer(organization, 'key')).then(
      () => true,
      () => false,
    );

  it('counts the subscriptions of all processes, also after a lifetime', async () => {
    const [a, b] = await Promise.all([startProcess(), startProcess()]);
    const ends = await Promise.all(
      [a, b, a, b, a].map(({ limits }) => limits.openSubscription(viewer('o', 'key'))),
    );
    await expect(b.limits.openSubscription(viewer('o', 'key'))).rejects.toThrow('at most 5');
    await expect(a.limits.openSubscription(viewer('o', 'other'))).resolves.toBeTypeOf('function');
    const end = Date.now() + 2 * LIFETIME_MS;
    let hasOpened = false;
    await until('two lifetimes', async () => {
      hasOpened ||= await opens(b.limits, 'o');
      return hasOpened || Date.now() > end;
    });
    expect(hasOpened).toBe(false);
    ends[0]?.();
    await until('the place to be free', () => opens(b.limits, 'o'));
  });

  it('admits no more than the limit when many subscribe at once', async () => {
    const processes = await Promise.all([startProcess(), startProcess(), startProcess()]);
    const opened = await Promise.all(
      Array.from({ length: 30 }, (_, index) => opens(processes[index % 3]!.limits, 'burst')),
    );
    expect(opened.filter(Boolean)).toHaveLength(5);
  });

  it('frees the places of a process that was killed', async () => {
    const [dead, alive] = await Promise.all([startProcess(), startProcess()]);
    for (let index = 0; index < 5; index += 1) expect(await opens(dead.limits, 'k')).toBe(true);
    expect(await opens(alive.limits, 'k')).toBe(false);
    dead.store.close();
    await until('the places to be free', () => opens(alive.limits, 'k'));
  });

  it('counts for itself while Redis is away, and together again afterwards', async () => {
    const [a, b] = await Promise.all([startProcess(), startProcess()]);
    for (let index = 0; index < 4; index += 1) expect(await opens(a.limits, 'r')).toBe(true);
    await server.kill();
    await until('the loss to be seen', () => b.store.connection() === null);
    for (let index = 0; index < 3; index += 1) expect(await opens(b.limits, 'r')).toBe(true);
    await server.restart();
    await until('the counts to be back', async () => {
      const entries = await b.store.connection()?.hgetall('truedy:open:{r}');
      return Object.keys(entries ?? {}).length === 2;
    });
    expect(await opens(b.limits, 'r')).toBe(false);
  });

  it('counts operations that are sent together with the first health check', async () => {
    const store = await connect(server.url);
    stores.push(store);
    const config = { ...app.config, RATE_LIMIT_PER_MINUTE: 10 };
    const limits = createRateLimits({ ...app, config } as App, store);
    const check = store.connection()?.ping();
    const caller = { viewer: viewer('first', 'key'), address: null };
    await Promise.all([1, 2, 3].map(() => limits.charge(caller, 'operations', 1)));
    expect(await check).toBe('PONG');
    expect(await store.connection()?.get('truedy:rate:operations:first')).toBe('3');
  });

  it('gives the connection up while the network stands still, and counts for itself', async () => {
    const relay = await startRelay(Number(new URL(server.url).port));
    const store = await connect(`redis://127.0.0.1:${relay.port}`);
    stores.push(store);
    const limits = createConcurrencyLimits(app, { store, lifetimeMs: LIFETIME_MS });
    const stillOpen = relay.freeze();
    await until('the loss to be seen', () => stillOpen() === 0);
    for (let index = 0; index < 5; index += 1) expect(await opens(limits, 'frozen')).toBe(true);
    expect(await opens(limits, 'frozen')).toBe(false);
    await until('another connection', () => store.connection() !== null);
    await relay.close();
  });
});

describe.skipIf(!available)('limits over processes with a Redis Cluster', () => {
  const ORGANIZATIONS = Array.from({ length: 8 }, (_, index) => `organization-${index}`);
  let cluster: TestRedis;
  let stores: LimitStore[];
  beforeAll(async () => {
    cluster = await startRedisCluster(2);
    stores = await Promise.all([connect(cluster.url), connect(cluster.url)]);
  });
  afterAll(async () => {
    for (const store of stores ?? []) store.close();
    await cluster?.stop();
  });

  it('has keys on both nodes', async () => {
    const connection = stores[0]?.connection();
    const slots = await Promise.all(
      ORGANIZATIONS.map((id) => connection?.cluster('KEYSLOT', `truedy:open:{${id}}`)),
    );
    expect(new Set(slots.map((slot) => Number(slot) < 8_192))).toEqual(new Set([true, false]));
  });

  it('counts the subscriptions of all processes', async () => {
    const [a, b] = stores.map((store) => createConcurrencyLimits(app, { store }));
    for (const id of ORGANIZATIONS) {
      for (const limits of [a, b, a, b, a]) await limits?.openSubscription(viewer(id, 'key'));
      await expect(b?.openSubscription(viewer(id, 'key'))).rejects.toThrow('at most 5');
    }
    await Promise.all([a?.close(), b?.close()]);
  });

  it('counts the operations of all processes', async () => {
    const config = { ...app.config, RATE_LIMIT_PER_MINUTE: 10 };
    const [a, b] = stores.map((store) => createRateLimits({ ...app, config } as App, store));
    for (const id of ORGANIZATIONS) {
      const caller = { viewer: viewer(id, 'key'), address: null };
      await a?.charge(caller, 'operations', 6);
      await b?.charge(caller, 'operations', 4);
      await expect(a?.charge(caller, 'operations', 1)).rejects.toThrow('10 operations');
    }
  });
});
