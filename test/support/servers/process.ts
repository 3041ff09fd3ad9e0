/** Runs the server as users do, in its own process, which tests kill and restart. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../../src/config.ts';
import { waitUntil } from '../../../src/infra/wait-until.ts';
import type { Simulator } from '../../../src/simulator/simulator.ts';
import { freePort } from './redis.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const MAX_OUTPUT = 20_000;
/** Compiled code of earlier processes, with which processes start faster. */
const COMPILE_CACHE = path.join(root, 'node_modules/.cache/node');

/**
 * Compiles the code of the server for `startServerProcess`, unless already done. Node.js stores compiled code when
 * a process exits normally, which processes killed by tests do not.
 */
export async function compileServer(): Promise<void> {
  if (existsSync(COMPILE_CACHE)) return;
  const child = spawn(process.execPath, ['--eval', "import('./src/start.ts')"], {
    cwd: root,
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE },
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`The server does not load: exit code ${code}`);
}

export interface ServerProcess {
  /** Does not change with a restart. */
  url: string;
  /** API key in the banner, if this start created the first organization. */
  firstKey: string | null;
  /** The latest output, for messages of failed tests. */
  output(): string;
  /** Kills the process (`kill -9`) and resolves when it has exited. */
  kill(): Promise<void>;
  /** Starts the process again with the same settings, killing it first if it is running. */
  restart(): Promise<void>;
  /** Stops the process gracefully and returns the exit code. */
  stop(): Promise<number | null>;
}

export interface ServerProcessOptions {
  databaseUrl: string;
  simulator: Pick<Simulator, 'url' | 'apiKey'>;
  settings?: Partial<Record<keyof Config, string>>;
  /** File with the milliseconds by which the clock is ahead of the system clock. */
  clockFile?: string;
  /** Receives all output of the process. */
  onOutput?: (text: string) => void;
}

/** High limits, and short delays before another process continues the work of a dead one. */
const DEFAULTS: Partial<Record<keyof Config, string>> = {
  ENCRYPTION_KEY: 'a key for tests, of at least 32 characters',
  // Few, since opening a connection costs the client and the server more than a dozen statements.
  DATABASE_CONNECTIONS: '16',
  ULTRAVOX_MAX_CALLS_PER_SECOND: '10000',
  ULTRAVOX_MAX_CALLS_PER_MINUTE: '100000',
  ULTRAVOX_MAX_CONCURRENT_CALLS: '100000',
  ULTRAVOX_TIMEOUT_SECONDS: '2',
  CALL_CHECK_SECONDS: '1',
  CALL_LOST_AFTER_SECONDS: '5',
  CALL_REFUSED_AFTER_SECONDS: '3',
  EVENT_POLL_SECONDS: '1',
  RUN_INTERVAL_SECONDS: '0.1',
  RATE_LIMIT_PER_MINUTE: '0',
  LOG_LEVEL: 'warn',
};

/** Resolves when the process serves requests. The simulator belongs to the caller and outlives the process. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const directory = await mkdtemp(path.join(tmpdir(), 'truedy-process-'));
  const environment = {
    PATH: process.env.PATH,
    ...DEFAULTS,
    PORT: String(port),
    PUBLIC_URL: url,
    DATA_DIR: directory,
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    DATABASE_URL: options.databaseUrl,
    ULTRAVOX_API_KEY: options.simulator.apiKey,
    ULTRAVOX_BASE_URL: options.simulator.url,
    ...options.settings,
    ...(options.clockFile ? { CLOCK_FILE: options.clockFile } : {}),
  };
  const entry = options.clockFile ? 'test/support/servers/moved-clock-server.ts' : 'src/main.ts';
  let firstKey: string | null = null;
  let output = '';
  let child: ChildProcess | null = null;
  let stopped = false;

  async function launch(): Promise<void> {
    if (stopped) throw new Error('The server was stopped');
    let banner = '';
    const started = spawn(process.execPath, [entry], {
      cwd: root,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    const endWithUs = (): void => void started.kill('SIGKILL');
    process.once('exit', endWithUs);
    started.once('exit', () => process.off('exit', endWithUs));
    for (const stream of [started.stdout, started.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = `${output}${chunk}`.slice(-MAX_OUTPUT);
        options.onOutput?.(String(chunk));
        if (stream === started.stdout) banner += chunk;
      });
    }
    const up = (): boolean => /^ {2}Ultravox .*\n(?:[\s\S]*\n)?\n$/m.test(banner);
    // Takes seconds, except on a very busy machine.
    await waitUntil(() => hasEnded(started) || up(), 150_000);
    if (hasEnded(started) || !up()) {
      started.kill('SIGKILL');
      throw new Error(`The server did not start:\n${output}`);
    }
    firstKey ??= /API key\s+(truedy_\w{32})/.exec(banner)?.[1] ?? null;
  }

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    if (!child || hasEnded(child)) return child?.exitCode ?? null;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
    return child.exitCode;
  }

  await launch();
  return {
    url,
    get firstKey() {
      return firstKey;
    },
    output: () => output,
    async kill() {
      await end('SIGKILL');
    },
    async restart() {
      await end('SIGKILL');
      await launch();
    },
    async stop() {
      stopped = true;
      const code = await end('SIGTERM');
      await rm(directory, { recursive: true, force: true });
      return code;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
