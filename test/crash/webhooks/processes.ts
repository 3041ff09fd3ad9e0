/** The processes that the suites in this folder kill, and what both wait for. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type Simulator, startSimulator } from '../../../src/simulator/simulator.ts';
import { type Caller, prepareCaller, runMutation } from '../../support/calling.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { randomFrom } from '../../support/random.ts';
import {
  startTestLanguageModel,
  type TestLanguageModel,
} from '../../support/servers/language-model.ts';
import { type ServerProcess, startServerProcess } from '../../support/servers/process.ts';
import { startRedis, type TestRedis } from '../../support/servers/redis.ts';
import {
  type RestartableDatabase,
  startRestartableDatabase,
} from '../../support/servers/restartable-database.ts';
import { until } from '../../support/wait.ts';
import { type Receiver, startReceiver } from '../../webhooks/receiver.ts';

export const SEED = Number(process.env.CRASH_SEED ?? 20261128);
export const WORKERS = 2;
export const CRM_SECRET = 'a secret of the CRM';

export const random = randomFrom(SEED);

export let directory: string;
export let clockFile: string;
export let database: RestartableDatabase;
export let redis: TestRedis;
export let simulator: Simulator;
export let receiver: Receiver;
export let model: TestLanguageModel;
export let api: ServerProcess;
export let workers: ServerProcess[] = [];
export let client: GraphQLClient;
export let caller: Caller;

export async function openDeliveries(): Promise<number> {
  const [row] = await database.query<{ open: string }>(
    `SELECT count(*) AS open FROM webhook_deliveries WHERE status <> 'DELIVERED'`,
  );
  return Number(row?.open);
}

/**
 * Resolves when all calls are finished, with all that follows their end, and the log has been read to its end.
 *
 * @throws what is still missing.
 */
export async function logIsComplete(): Promise<true> {
  const [row] = await database.query<{ complete: boolean }>(`
    SELECT calls = 0 AND steps = 0 AND events = 0 AND behind IS NULL AS complete, *
    FROM (SELECT
      -- Ultravox bills no call that it never got.
      (SELECT count(*) FROM calls WHERE ended_at IS NULL
        OR (billing_status = 'PENDING' AND ultravox_id IS NOT NULL)) AS calls,
      (SELECT count(*) FROM post_call_steps WHERE status = 'PENDING') AS steps,
      (SELECT count(*) FROM events WHERE cursor = 0) AS events,
      (SELECT json_agg(json_build_object('of', e.last_cursor, 'at', c.cursor))
        FROM event_counters e JOIN event_consumers c USING (organization_id)
        WHERE c.name = 'webhooks' AND c.cursor < e.last_cursor) AS behind) AS missing`);
  if (row?.complete !== true) throw new Error(`Not at the end of the log: ${JSON.stringify(row)}`);
  return true;
}

export function uuidOf(id: string | undefined): string | null {
  return id?.slice(id.indexOf('_') + 1) ?? null;
}

/** Starts all processes before the tests of the suite that calls this, and stops them after them. */
export function useProcesses(): void {
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'truedy-clock-'));
    clockFile = path.join(directory, 'ahead');
    await writeFile(clockFile, '0');
    // A crash that lost a commit would also lose an event that was sent.
    database = await startRestartableDatabase({ durable: true });
    redis = await startRedis();
    receiver = await startReceiver();
    model = await startTestLanguageModel();
    simulator = await startSimulator({ speed: 50, settings: { talkSeconds: 5 } });
    const settings = {
      REDIS_URL: redis.url,
      WEBHOOK_ALLOWED_URLS: receiver.url,
      WEBHOOK_TIMEOUT_SECONDS: '2',
      // Calls run on the real clock, so nothing checks them by the moved one.
      CALL_CHECK_SECONDS: '3600',
      ANALYSIS_BASE_URL: model.url,
      ANALYSIS_MODEL: 'judge',
      LOG_LEVEL: 'silent',
    };
    const shared = { databaseUrl: database.url, simulator, clockFile };
    api = await startServerProcess({ ...shared, settings: { ...settings, ROLE: 'api' } });
    workers = await Promise.all(
      Array.from({ length: WORKERS }, () =>
        startServerProcess({
          ...shared,
          settings: { ...settings, ROLE: 'worker', PUBLIC_URL: api.url },
        }),
      ),
    );
    client = createClient(api.url, api.firstKey);
    caller = await prepareCaller(client);
    const content = {
      recordingEnabled: true,
      successCriteria: 'They agree.',
      crmWebhookUrl: `${receiver.url}/crm`,
      crmWebhookSecret: CRM_SECRET,
    };
    await runMutation(client, 'updateAgent', { id: caller.agentId, ...content }, 'agent { id }');
    await until('the agent', async () => {
      const [agent] = await database.query(
        'SELECT revision = synced_revision AS synced FROM agents',
      );
      return agent.synced;
    });
  });
  afterAll(async () => {
    await Promise.all([api, ...workers].map((process) => process?.stop()));
    await receiver?.close();
    await model?.close();
    await simulator?.close();
    await redis?.stop();
    await database?.stop();
    await rm(directory, { recursive: true, force: true });
  });
}
