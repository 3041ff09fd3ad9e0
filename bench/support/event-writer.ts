/** A process that appends events of one organization, each in its own transaction, as fast as possible. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { type App, createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { inUtc } from '../../src/infra/database/connections.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { ROOT } from './processes.ts';

export interface WriterOptions {
  databaseUrl: string;
  redisUrl: string;
  organizationId: string;
  agentId: string;
  /** Identifies the writer in its events. */
  index: number;
  /** Number of concurrent transactions. */
  connections: number;
  /** Whether to insert the same rows into a bare table instead. */
  bare: boolean;
}

export interface Written {
  /** CPU milliseconds of the process. */
  cpuMs: number;
  /** Time at which the commit of each event was known, in milliseconds since 1970, by the event's number. */
  committedAt: number[];
}

export interface Writer {
  write(seconds: number): Promise<Written>;
  stop(): Promise<void>;
}

/** The members of an event's data by which a reader recognizes it. */
export interface EventMark {
  writer: number;
  /** 0, 1, 2, … across all connections of the writer. */
  number: number;
  connection: number;
}

export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Creates an app for a process that serves no requests. */
export async function startBenchApp(databaseUrl: string, redisUrl: string): Promise<App> {
  const encryptionKey = 'a key for benchmarks, of at least 32 characters';
  // Never called.
  const ultravox = {
    baseUrl: 'http://127.0.0.1:1',
    apiKey: 'Unusable.0123456789abcdefghijklmnopqrstuv',
  };
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    REDIS_URL: redisUrl,
    ENCRYPTION_KEY: encryptionKey,
    ULTRAVOX_BASE_URL: ultravox.baseUrl,
    ULTRAVOX_API_KEY: ultravox.apiKey,
    PUBLIC_URL: ultravox.baseUrl,
    ROLE: 'api',
  });
  return createApp({
    config,
    databaseUrl,
    encryptionKey,
    ultravox,
    languageModel: null,
    jobDefinitions: [],
    log: createLogger({ level: 'warn' }),
  });
}

/** Starts a writer process. Resolves when it has connected and can write immediately. */
export async function startWriter(script: string, options: WriterOptions): Promise<Writer> {
  const child = spawn(process.execPath, [script, 'writer', JSON.stringify(options)], {
    cwd: ROOT,
    env: { PATH: process.env.PATH },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new Error('A writer has ended');
    return value;
  };
  await line();
  return {
    async write(seconds) {
      child.stdin.write(`${seconds}\n`);
      return JSON.parse(await line()) as Written;
    },
    async stop() {
      process.off('exit', kill);
      const exit = once(child, 'exit');
      child.stdin.end();
      await exit;
    },
  };
}

/** Main function of the process: for each line of its input, writes for that many seconds. */
export async function runWriter(json: string): Promise<void> {
  const options = JSON.parse(json) as WriterOptions;
  const { append, close } = options.bare ? await bareAppend(options) : await ownAppend(options);
  process.stdout.write('ready\n');
  for await (const seconds of createInterface({ input: process.stdin })) {
    const written = await writeFor(Number(seconds), options, append);
    process.stdout.write(`${JSON.stringify(written)}\n`);
  }
  await close();
  process.exit(0);
}

type Append = (mark: EventMark) => Promise<void>;

async function writeFor(
  seconds: number,
  { index, connections }: WriterOptions,
  append: Append,
): Promise<Written> {
  const committedAt: number[] = [];
  let number = 0;
  const [cpu, end] = [process.cpuUsage(), nowMs() + seconds * 1_000];
  await Promise.all(
    Array.from({ length: connections }, async (_, connection) => {
      while (nowMs() < end) {
        const own = number;
        number += 1;
        await append({ writer: index, number: own, connection });
        committedAt[own] = nowMs();
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return { cpuMs: (user + system) / 1_000, committedAt };
}

async function ownAppend(
  options: WriterOptions,
): Promise<{ append: Append; close: () => Promise<void> }> {
  const { databaseUrl, redisUrl, organizationId, agentId } = options;
  const app = await startBenchApp(databaseUrl, redisUrl);
  return {
    append: async (mark) => {
      const event = { type: 'AGENT_UPDATED', agentId, data: { ...mark } } as const;
      await app.db.$transaction((tx) => appendEvents(tx, organizationId, [event]));
      announceEvents(app, organizationId);
    },
    close: app.close,
  };
}

async function bareAppend({
  databaseUrl,
  connections,
  organizationId,
  agentId,
}: WriterOptions): Promise<{ append: Append; close: () => Promise<void> }> {
  const pool = new pg.Pool({ connectionString: inUtc(databaseUrl), max: connections });
  return {
    append: async (mark) => {
      await pool.query({
        name: 'insert',
        text: `INSERT INTO bare_events (organization_id, type, agent_id, data)
          VALUES ($1, 'AGENT_UPDATED', $2, $3)`,
        values: [organizationId, agentId, JSON.stringify(mark)],
      });
    },
    close: () => pool.end(),
  };
}
