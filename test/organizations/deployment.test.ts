/** Checks of the database's Ultravox account, the demo, and processes that start at the same time. */

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Config, readConfig } from '../../src/config.ts';
import { DEMO_PEOPLE } from '../../src/demo/demo.ts';
import { withStartLock } from '../../src/deployment/deployment.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { createOrganization } from '../../src/organizations/service.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Running, type StartOptions, start } from '../../src/start.ts';
import { createClient } from '../support/graphql.ts';
import { asQueryable, untilBlocked } from '../support/locks.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { freePort } from '../support/servers/redis.ts';
import { until } from '../support/wait.ts';

const DEMO_KEY = `truedy_${'0'.repeat(32)}`;
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

/** Ultravox as far as a start needs it, at an address that does not count as a simulator. */
async function startAccounts() {
  let failure: number | null = null;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const key = String(request.headers['x-api-key']);
    const known = request.url === '/api/accounts/me';
    if (known) asked.push(key);
    response.statusCode = known ? (failure ?? 200) : 404;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ accountId: `00000000-0000-0000-0000-00000000000${key[1]}` }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    asked,
    fail: (status: number | null) => {
      failure = status;
    },
    key: (account: number, name: string): Settings => ({
      ULTRAVOX_API_KEY: `k${account}${name.repeat(6)}.${'a'.repeat(32)}`,
      ULTRAVOX_BASE_URL: `http://0.0.0.0:${port}`,
      PUBLIC_URL: 'http://127.0.0.1:1',
    }),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function begin(settings: Settings = {}, options: StartOptions = {}): Promise<Running> {
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
  return start(config, createLogger({ level: 'silent' }), options);
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

describe('a database at startup', () => {
  it('is rejected for the demo when it belongs to an Ultravox account, unless allowed', async () => {
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

  it('is accepted with another key of the same account, and rejected with a key of another one', async () => {
    const ultravox = await startAccounts();
    const asks = ultravox.asked.length;
    const [first, rotated, other] = [
      ultravox.key(1, 'a'),
      ultravox.key(1, 'b'),
      ultravox.key(2, 'c'),
    ];
    try {
      await during(first, async () => undefined);
      await during(rotated, async () => undefined);
      await expect(begin(other)).rejects.toThrow(
        /belongs to another Ultravox account.*ALLOW_ULTRAVOX_CHANGE=true/,
      );
      await during(rotated, async () => undefined);
      await during(first, async () => undefined);
      expect(ultravox.asked.length - asks).toBe(4);
      await during({ ...other, ALLOW_ULTRAVOX_CHANGE: 'true' }, async () => undefined);
      await expect(begin(first)).rejects.toThrow('belongs to another Ultravox account');
    } finally {
      await ultravox.close();
    }
  });

  it('is accepted with another key only when the accounts of both are known', async () => {
    const ultravox = await startAccounts();
    const [known, rotated] = [ultravox.key(1, 'a'), ultravox.key(1, 'b')];
    try {
      ultravox.fail(503);
      await during(known, async () => undefined);
      ultravox.fail(null);
      // The account was not recorded, as in a database of an earlier version.
      await expect(begin(rotated)).rejects.toThrow(
        /Start once with the former key.*ALLOW_ULTRAVOX_CHANGE=true/,
      );
      await during(known, async () => undefined);
      ultravox.fail(503);
      await expect(begin(rotated)).rejects.toThrow(
        /could not be reached.*ALLOW_ULTRAVOX_CHANGE=true/,
      );
      await during(known, async () => undefined);
      ultravox.fail(401);
      await expect(begin(rotated)).rejects.toThrow(/refuses the key/);
      ultravox.fail(null);
      await during(rotated, async () => undefined);
      // An account that is not known replaces none that is.
      ultravox.fail(503);
      const other = ultravox.key(2, 'c');
      await during({ ...other, ALLOW_ULTRAVOX_CHANGE: 'true' }, async () => undefined);
      ultravox.fail(null);
      await expect(begin(rotated)).rejects.toThrow('ALLOW_ULTRAVOX_CHANGE=true');
    } finally {
      await ultravox.close();
    }
  });

  it('is accepted by a separate simulator when it belongs to the simulator', async () => {
    await during({}, async (first) => {
      expect(first.demoKey).toMatch(/^truedy_/);
      await during(nearby(), async ({ firstKey }) => expect(firstKey).toBeNull());
    });
    await expect(begin(real)).rejects.toThrow('belongs to the simulator');
  });

  it('is named by its setting when it cannot be reached', async () => {
    const wrong = new URL(database.url);
    wrong.pathname = '/not_there';
    await expect(begin({ DATABASE_URL: wrong.href })).rejects.toThrow(
      /- DATABASE_URL cannot be used: .*not_there/,
    );
    await expect(
      begin({ DATABASE_URL: 'postgres://127.0.0.1:1/x', DATABASE_WAIT_SECONDS: '0' }),
    ).rejects.toThrow(/- DATABASE_URL cannot be used: .*ECONNREFUSED/);
  });
});

describe('the demo organization', () => {
  it('accepts only an API key of its own', async () => {
    await during(nearby(), async (running) => {
      await createOrganization(running.app, { name: 'Older' });
    });
    await during({}, async (running) => {
      const { name } = await organizationOf(running, running.demoKey);
      expect(name).toBe('Demo organization');
    });
  });

  it('gets a new API key when the stored one was revoked', async () => {
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

  it('does not expose the data of the simulator', async () => {
    const file = path.join(directory, 'simulator.db');
    await writeFile(file, '', { mode: 0o644 });
    await during({}, async () => {
      for (const suffix of ['', '-wal'])
        expect((await stat(`${file}${suffix}`)).mode & 0o777).toBe(0o600);
    });
  });
});

/** Held back until all of them have come to where only one may go on. */
async function together(settings: readonly Settings[]): Promise<Running[]> {
  const observer = new Client({ connectionString: database.url });
  await observer.connect();
  try {
    const started = await withStartLock(database.url, async () => {
      const { rows } = await observer.query<{ pid: number }>(
        `SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND datname = current_database()`,
      );
      expect(rows).toHaveLength(1);
      const starting = settings.map((each) => begin(each));
      const statement = 'SELECT pg_advisory_lock%';
      const waiting = { holder: rows[0]!.pid, statement, count: settings.length };
      await untilBlocked(asQueryable(observer), waiting);
      return { starting };
    });
    return await Promise.all(started.starting);
  } finally {
    await observer.end();
  }
}

/** Starts a server on a port that is in use, which fails. */
async function beginInVain(settings: Settings): Promise<void> {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const { port } = blocker.address() as { port: number };
  await expect(begin({ ...settings, PORT: String(port) })).rejects.toThrow(/EADDRINUSE/);
  await new Promise<void>((resolve) => blocker.close(() => resolve()));
}

describe('a start that fails', () => {
  it('does not create the first organization, whose key would never be shown', async () => {
    await beginInVain(nearby());
    await during(nearby(), async (running) => {
      expect(await organizationOf(running, running.firstKey)).toBeTruthy();
    });
  });

  it('or is interrupted leaves the demo data to the next start, which completes it', async () => {
    const settings = { DEMO_DATA: 'true', DATA_DIR: path.join(directory, 'interrupted') };
    await beginInVain(settings);
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query('ALTER TABLE contact_folders ADD CONSTRAINT refused CHECK (false)');
      const ofDemo = { metadata: { path: ['list'], equals: 'demo' } };
      const counts = async ({ app: { db } }: Running) => ({
        calls: await db.call.count(),
        others: await Promise.all([
          db.agent.count(),
          db.tool.count(),
          db.knowledgeSource.count(),
          db.phoneNumber.count(),
          db.webhookEndpoint.count(),
          db.callAnalysis.count({ where: { model: 'demo' } }),
        ]),
      });
      const interrupted = await during(settings, async (running) => {
        await until('the last demo call', () =>
          running.app.db.call.count({ where: { phoneNumber: DEMO_PEOPLE.alsoAnswers, ...ofDemo } }),
        );
        return counts(running);
      });
      await client.query('ALTER TABLE contact_folders DROP CONSTRAINT refused');
      await during(settings, async (running) => {
        await until('the demo campaign', () => running.app.db.campaign.count());
        expect(await counts(running)).toEqual(interrupted);
      });
    } finally {
      await client.end();
    }
  });
});

describe('demo data', () => {
  it('stays incomplete when one of its objects was deleted meanwhile, or without DEMO_DATA', async () => {
    const settings = { DEMO_DATA: 'true', DATA_DIR: path.join(directory, 'deleted') };
    const client = new Client({ connectionString: database.url });
    await beginInVain(settings);
    await client.connect();
    try {
      const isMissing = async () =>
        (await client.query(`SELECT 1 FROM settings WHERE name = 'demo_data_missing'`)).rowCount;
      await client.query('ALTER TABLE contact_folders ADD CONSTRAINT refused CHECK (false)');
      await during(settings, async ({ app }) => {
        await until('the last demo call', () =>
          app.db.call.count({ where: { phoneNumber: DEMO_PEOPLE.alsoAnswers } }),
        );
      });
      await client.query('ALTER TABLE contact_folders DROP CONSTRAINT refused');
      await during({ ...settings, DEMO_DATA: 'false' }, async () => undefined);
      expect(await isMissing()).toBe(1);
      await client.query('UPDATE agents SET deleted_at = now()');
      await during(settings, async () => {
        await until('the end of the demo data', async () => !(await isMissing()));
      });
      await during(settings, async ({ app }) => expect(app.failures.counts()).toEqual([]));
    } finally {
      await client.end();
    }
  });
});

describe('processes that start at the same time', () => {
  it('create one first organization, and workers none', async () => {
    await during({ ...nearby(), ROLE: 'worker' }, async ({ app, firstKey }) => {
      expect(firstKey).toBeNull();
      expect(await app.db.organization.count()).toBe(0);
    });
    const started = await together([nearby(), nearby(), nearby()]);
    try {
      expect(await started[0]!.app.db.organization.count()).toBe(1);
      expect(started.filter(({ firstKey }) => firstKey)).toHaveLength(1);
    } finally {
      await Promise.all(started.map((running) => running.close()));
    }
  });

  it('create one demo organization', async () => {
    const started = await together([
      { DEMO_API_KEY: DEMO_KEY, DATA_DIR: path.join(directory, 'first') },
      { DEMO_API_KEY: DEMO_KEY, DATA_DIR: path.join(directory, 'second') },
    ]);
    try {
      expect(await started[0]!.app.db.organization.count()).toBe(1);
    } finally {
      await Promise.all(started.map((running) => running.close()));
    }
  });
});

describe('a second server on a machine', () => {
  it('uses free ports, and is rejected in the data directory of the first', async () => {
    await during({ SIMULATOR_PORT: String(await freePort()) }, async (first) => {
      const ports = {
        PORT: new URL(first.server!.url).port,
        SIMULATOR_PORT: new URL(first.simulator!.url).port,
      };
      await expect(begin(ports, { otherPort: true })).rejects.toThrow(
        /DATA_DIR .* is in use by another server\. .*DATA_DIR=.*second npm start/,
      );
      const own = { ...ports, DATA_DIR: path.join(directory, 'own'), DEMO_API_KEY: first.demoKey! };
      await expect(begin(own)).rejects.toThrow(/EADDRINUSE/);
      const second = await begin(own, { otherPort: true });
      try {
        for (const { server, simulator } of [first, second]) {
          expect((await fetch(`${server!.url}/health`)).status).toBe(200);
          const headers = { 'x-api-key': simulator!.apiKey };
          const account = await fetch(`${simulator!.url}/api/accounts/me`, { headers });
          expect(account.status).toBe(200);
        }
        expect(second.simulator!.url).not.toBe(first.simulator!.url);
      } finally {
        await second.close();
      }
    });
  });
});
