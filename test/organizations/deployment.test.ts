/** Whose database it is, the demo, and processes that start together. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Config, readConfig } from '../../src/config.ts';
import { oneAtATime } from '../../src/deployment.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { createOrganization } from '../../src/organizations/service.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Running, start } from '../../src/start.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createClient } from '../support/graphql.ts';
import { until } from '../support/wait.ts';

let directory: string;
let simulator: Simulator;
let database: TestDatabase;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-deployment-'));
  simulator = await startSimulator({ port: 0, speed: 50 });
});
beforeEach(async () => {
  await rm(path.join(directory, 'demo-api-key'), { force: true });
  database = await createTestDatabase();
  return () => database.drop();
});
afterAll(async () => {
  await simulator?.close();
  await rm(directory, { recursive: true, force: true });
});

type Settings = Partial<Record<keyof Config, string>>;
const nearby = (): Settings => ({
  ULTRAVOX_API_KEY: simulator.apiKey,
  ULTRAVOX_BASE_URL: simulator.url,
});
/** Nobody listens there; nothing that is looked at here needs an answer. */
const real: Settings = {
  ULTRAVOX_API_KEY: `abcdefgh.${'a'.repeat(32)}`,
  ULTRAVOX_BASE_URL: 'http://ultravox.invalid',
  PUBLIC_URL: 'http://127.0.0.1:1',
};

function begin(settings: Settings = {}): Promise<Running> {
  const config = readConfig({
    PORT: '0',
    SIMULATOR_PORT: '0',
    DATABASE_URL: database.url,
    ENCRYPTION_KEY: 'a key for tests, of at least 32 characters',
    DATA_DIR: directory,
    DEMO_DATA: 'false',
    LOG_LEVEL: 'silent',
    ...settings,
  });
  return start(config, createLogger({ level: 'silent' }));
}

async function during<T>(settings: Settings, look: (running: Running) => Promise<T>): Promise<T> {
  const running = await begin(settings);
  try {
    return await look(running);
  } finally {
    await running.close();
  }
}

const organizationOf = async (running: Running, key: string | null) => {
  const client = createClient(running.server!.url, key);
  return (await client.send('{ organization { id name } }')).data?.organization ?? null;
};

describe('a database', () => {
  it('of a real account is not taken for a demo, unless that is wanted', async () => {
    await during(real, async ({ demoKey, firstKey }) => {
      expect(demoKey).toBeNull();
      expect(firstKey).toMatch(/^truedy_/);
    });
    await expect(begin()).rejects.toThrow(/belongs to http:\/\/ultravox\.invalid, key abcdefgh/);
    await expect(begin(nearby())).rejects.toThrow('ALLOW_ULTRAVOX_CHANGE=true');
    const otherKey = { ...real, ULTRAVOX_API_KEY: `zbcdefgh.${'a'.repeat(32)}` };
    await expect(begin(otherKey)).rejects.toThrow('ALLOW_ULTRAVOX_CHANGE=true');
    await during(real, async () => undefined);
    await during({ ...otherKey, ALLOW_ULTRAVOX_CHANGE: 'true' }, async () => undefined);
    await during(otherKey, async () => undefined);
  });

  it('of the simulator may be shared with a simulator that is started by itself', async () => {
    await during({}, async (first) => {
      expect(first.demoKey).toMatch(/^truedy_/);
      await during(nearby(), async ({ firstKey }) => expect(firstKey).toBeNull());
    });
    await expect(begin(real)).rejects.toThrow('belongs to the simulator');
  });

  it('that cannot be reached is told with the name of the setting', async () => {
    const wrong = new URL(database.url);
    wrong.pathname = '/not_there';
    await expect(begin({ DATABASE_URL: wrong.href })).rejects.toThrow(
      /- DATABASE_URL cannot be used: .*not_there/,
    );
    await expect(begin({ DATABASE_URL: 'postgres://127.0.0.1:1/x' })).rejects.toThrow(
      /- DATABASE_URL cannot be used: .*ECONNREFUSED/,
    );
  });
});

describe('the demo', () => {
  it('has a key of its own organization and of no other', async () => {
    await during(nearby(), async (running) => {
      await createOrganization(running.app, { name: 'Older' });
    });
    await during({}, async (running) => {
      const { name } = await organizationOf(running, running.demoKey);
      expect(name).toBe('Demo organization');
    });
  });

  it('gets a new key when the one it keeps was revoked', async () => {
    const first = await during({}, async ({ app, demoKey }) => {
      await app.db.apiKey.updateMany({ data: { revokedAt: new Date() } });
      return demoKey;
    });
    const second = await during({}, async (running) => {
      expect(await organizationOf(running, first)).toBeNull();
      expect((await organizationOf(running, running.demoKey)).name).toBe('Demo organization');
      return running.demoKey;
    });
    expect(second).not.toBe(first);
    const file = path.join(directory, 'demo-api-key');
    expect(await readFile(file, 'utf8')).toBe(second);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await expect(begin({ DEMO_API_KEY: first! })).rejects.toThrow('DEMO_API_KEY was revoked');
  });

  it('keeps what the simulator knows to ourselves', async () => {
    const file = path.join(directory, 'simulator.db');
    await writeFile(file, '', { mode: 0o644 });
    await during({}, async () => {
      for (const suffix of ['', '-wal', '-shm'])
        expect((await stat(`${file}${suffix}`)).mode & 0o777).toBe(0o600);
    });
  });
});

/** Held back until all of them have come to where only one may go on. */
async function together(count: number, settings: Settings = {}): Promise<Running[]> {
  const observer = new Client({ connectionString: database.url });
  await observer.connect();
  try {
    const started = await oneAtATime(database.url, 'start', async () => {
      const starting = Array.from({ length: count }, () => begin(settings));
      await until('all of them to wait', async () => {
        const { rows } = await observer.query(
          `SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
           WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`,
        );
        return rows.length === count;
      });
      return { starting };
    });
    return await Promise.all(started.starting);
  } finally {
    await observer.end();
  }
}

describe('processes that start together', () => {
  it('make one first organization, and workers none', async () => {
    await during({ ...nearby(), ROLE: 'worker' }, async ({ app, firstKey }) => {
      expect(firstKey).toBeNull();
      expect(await app.db.organization.count()).toBe(0);
    });
    const started = await together(3, nearby());
    try {
      expect(await started[0]!.app.db.organization.count()).toBe(1);
      expect(started.filter(({ firstKey }) => firstKey)).toHaveLength(1);
    } finally {
      await Promise.all(started.map((running) => running.close()));
    }
  });

  it('make one demo', async () => {
    const started = await together(2);
    try {
      expect(await started[0]!.app.db.organization.count()).toBe(1);
    } finally {
      await Promise.all(started.map((running) => running.close()));
    }
  });
});
