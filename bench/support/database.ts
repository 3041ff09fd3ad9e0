/** A separate database for a benchmark, filled with the data that its queries read. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from 'pg';
import { prepareDatabase } from '../../src/deployment/deployment.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import { startEmbeddedPostgres } from '../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { prepareCounting } from './statements.ts';

export interface BenchDatabase {
  url: string;
  organizationId: string;
  agentId: string;
  client: Client;
  directory: string;
  stop(): Promise<void>;
}

export const AGENTS = 100;
const CALLS = 20_000;
const CONTACTS = 10_000;

interface Options {
  /** Whether the database counts its statements. */
  counting?: boolean;
  /** Inserts the rows. Not called if there are organizations. */
  fill?: (client: Client) => Promise<void>;
  /** Directory that keeps the database for further runs. Default: a temporary one. */
  keepIn?: string | undefined;
}

/** Starts a migrated and filled database. */
export async function startBenchDatabase({
  counting = false,
  fill = fillForReads,
  keepIn,
}: Options = {}): Promise<BenchDatabase> {
  const log = createLogger({ level: 'warn' });
  const directory = keepIn ?? (await mkdtemp(path.join(tmpdir(), 'truedy-bench-')));
  const place = { directory: path.join(directory, 'postgres'), log };
  let postgres = await startEmbeddedPostgres(place);
  if (counting) {
    const setUp = newClient(postgres.url);
    await setUp.connect();
    await prepareCounting(setUp);
    await setUp.end();
    await postgres.stop();
    postgres = await startEmbeddedPostgres(place);
  }
  // Before rows exist: those below are older than their ids, which would look like timestamps in another time zone.
  await prepareDatabase({ databaseUrl: postgres.url, waitSeconds: 0, log });
  const client = newClient(postgres.url);
  await client.connect();
  const isFilled = (await client.query('SELECT 1 FROM organizations LIMIT 1')).rowCount === 1;
  if (!isFilled) await fill(client);
  const first = async (table: string): Promise<string> =>
    (await client.query<{ id: string }>(`SELECT id FROM ${table} ORDER BY id LIMIT 1`)).rows[0]
      ?.id ?? '';
  const organizationId = await first('organizations');
  const agentId = await first('agents');
  return {
    url: postgres.url,
    organizationId,
    agentId,
    client,
    directory,
    async stop() {
      await client.end().catch(() => undefined);
      await postgres.stop();
      if (!keepIn) await rm(directory, { recursive: true, force: true });
    },
  };
}

/** CPU seconds of all PostgreSQL processes together, including those that have ended. */
export async function postgresCpuSeconds({ client }: BenchDatabase): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity');
  const statOf = async (pid: number): Promise<number[]> => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
  };
  const own = await Promise.all(rows.map(({ pid }) => statOf(pid)));
  const [, parent = 0] = own.find(([, ppid]) => ppid) ?? [];
  // For the first process, also the time of its children that have ended.
  const first = await statOf(parent);
  const ticks = own.map((fields) => (fields[11] ?? 0) + (fields[12] ?? 0));
  return [...ticks, ...first.slice(11, 15)].reduce((sum, each) => sum + each, 0) / 100;
}

/** Inserts one organization with agents, numbers, calls, campaigns and contacts. */
async function fillForReads(client: Client): Promise<void> {
  const one = async (text: string, values: unknown[] = []): Promise<string> => {
    const { rows } = await client.query<{ id: string }>(text, values);
    return rows[0]?.id ?? '';
  };
  const organizationId = await one(
    `INSERT INTO organizations (id, name, updated_at) VALUES (new_id(), 'Bench', now()) RETURNING id`,
  );
  const voice = await one(
    `INSERT INTO voices (id, organization_id, type, name, status, updated_at)
     VALUES (new_id(), $1, 'SYSTEM', 'Voice', 'ACTIVE', now()) RETURNING id`,
    [organizationId],
  );
  await client.query(
    `INSERT INTO agents (id, organization_id, name, voice_id, system_prompt, model, temperature,
       recording_enabled, remote_id, revision, synced_revision, status, created_at, updated_at)
     SELECT new_id(), $1, 'Agent ' || i, $2, repeat('You are Ada, the assistant of a bank. ', 40),
       'ultravox-v0.7', 0, false, gen_random_uuid()::text, 1, 1, 'ACTIVE',
       now() - i * interval '1 minute', now()
     FROM generate_series(1, $3) AS i`,
    [organizationId, voice, AGENTS],
  );
  await client.query(
    `INSERT INTO phone_numbers (id, organization_id, phone_number, name, provider,
       outbound_agent_id, created_at, updated_at)
     SELECT new_id(), $1, '+1415555' || (1000 + n), 'Line ' || n, 'SIP', id,
       now() - n * interval '1 minute', now()
     FROM (SELECT id, row_number() OVER (ORDER BY created_at) AS n FROM agents) a`,
    [organizationId],
  );
  await client.query(
    `INSERT INTO calls (id, organization_id, agent_id, phone_number_id, direction, medium, status,
       end_reason, phone_number, own_number, variables, metadata, max_duration_seconds,
       join_timeout_seconds, placement, ultravox_id, claimed_at, created_at, ringing_at, answered_at, ended_at, updated_at)
     SELECT new_id(), $1, outbound_agent_id, id, 'OUTBOUND', 'SIP', 'COMPLETED', 'HANGUP',
       '+1212' || (5000000 + i), phone_number, '{"first_name":"Ada"}', '{"source":"bench"}', 600, 60,
       'ACCEPTED', gen_random_uuid()::text, at, at, at, at, at + interval '1 minute', now()
     FROM (SELECT i, now() - i * interval '3 seconds' - interval '1 day' AS at
       FROM generate_series(1, $2) AS i) series
     JOIN (SELECT *, row_number() OVER (ORDER BY created_at) - 1 AS n FROM phone_numbers) p
       ON p.n = i % $3`,
    [organizationId, CALLS, AGENTS],
  );
  await client.query(
    `INSERT INTO campaigns (id, organization_id, name, agent_id, status, contact_source,
       phone_rotation_strategy, schedule_type, timezone, working_days, max_concurrent_calls, retry_failed,
       max_retry_attempts, retry_delay_seconds, total_count, pending_count, created_at, updated_at)
     SELECT new_id(), $1, 'Campaign ' || i, (SELECT id FROM agents LIMIT 1), 'DRAFT', 'MANUAL',
       'ROUND_ROBIN', 'IMMEDIATE', 'Europe/Berlin', '{1,2,3,4,5}', 10, true, 2, 900, 0, 0,
       now() - i * interval '1 hour', now()
     FROM generate_series(1, 20) AS i`,
    [organizationId],
  );
  await client.query(
    `INSERT INTO contact_folders (id, organization_id, name, created_at, updated_at)
     SELECT new_id(), $1, 'Folder ' || i, now() - i * interval '1 hour', now()
     FROM generate_series(1, 10) AS i`,
    [organizationId],
  );
  await client.query(
    `INSERT INTO contacts (id, organization_id, folder_id, phone_number, first_name, search_text,
       metadata, created_at, updated_at)
     SELECT new_id(), $1, (SELECT id FROM contact_folders LIMIT 1), '+1212' || (5000000 + i), 'Ada',
       'ada', '{}', now() - i * interval '1 second', now()
     FROM generate_series(1, $2) AS i`,
    [organizationId, CONTACTS],
  );
  // For PostGraphile, which cannot filter out deleted calls, as the partial indexes of this server require.
  await client.query('CREATE INDEX ON calls (organization_id, created_at, id)');
  await client.query('VACUUM ANALYZE');
}
