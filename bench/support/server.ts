/** A server with its own database, the simulator and the demo organization, in the benchmark's process. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from 'pg';
import { readConfig } from '../../src/config.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import { startEmbeddedPostgres } from '../../src/infra/embedded-postgres/postgres.ts';
import { newId } from '../../src/infra/ids.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { type Running, start } from '../../src/start.ts';
import type { Viewer } from '../../src/viewer.ts';

export interface BenchServer extends Running {
  url: string;
  /** API key of the demo organization. */
  key: string;
  client: Client;
  viewer: Viewer;
}

/** Runs `work` with a server, and stops everything afterward. */
export async function withBenchServer(
  work: (server: BenchServer) => Promise<void>,
  settings: Record<string, string> = {},
): Promise<void> {
  const log = createLogger({ level: 'warn' });
  const directory = await mkdtemp(path.join(tmpdir(), 'truedy-bench-'));
  const postgres = await startEmbeddedPostgres({
    directory: path.join(directory, 'postgres'),
    log,
  });
  const config = readConfig({
    DATABASE_URL: postgres.url,
    ENCRYPTION_KEY: 'a key for benchmarks, of at least 32 characters',
    DATA_DIR: directory,
    PORT: '0',
    SIMULATOR_PORT: '0',
    RATE_LIMIT_PER_MINUTE: '0',
    ...settings,
  });
  const client = newClient(postgres.url);
  try {
    await client.connect();
    const running = await start(config, log);
    try {
      const { id: organizationId } = await running.app.db.organization.findFirstOrThrow();
      const viewer: Viewer = { organizationId, apiKeyId: newId(), scopes: new Set(['WRITE']) };
      await work({
        ...running,
        url: running.server!.url,
        key: running.demoKey!,
        client,
        viewer,
      });
    } finally {
      await running.close();
    }
  } finally {
    await client.end().catch(() => undefined);
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** The id of the demo agent, once all demo data exists; the campaign is created last. */
export async function demoAgent({ app }: Pick<BenchServer, 'app'>): Promise<string> {
  for (;;) {
    const campaign = await app.db.campaign.findFirst({ select: { agentId: true } });
    if (campaign) return campaign.agentId;
    await pause(100);
  }
}
