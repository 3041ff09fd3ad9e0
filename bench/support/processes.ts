/** Starts servers of a benchmark as separate processes, and measures their CPU time and memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Server {
  name: string;
  url: string;
  pid: number;
  /** CPU seconds of the process since its start. */
  cpuSeconds(): Promise<number>;
  /** Resident memory in bytes. */
  memoryBytes(): Promise<number>;
  stop(): Promise<void>;
  /** Ends the process immediately, like a crash. */
  kill(): void;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (!address || typeof address === 'string') throw new Error('No free port');
  return address.port;
}

/**
 * Starts `node <args>` and resolves when its output matches `ready`.
 *
 * @throws Error with its output if it ends before that.
 */
export async function startServer(options: {
  name: string;
  args: readonly string[];
  env: Record<string, string>;
  ready: RegExp;
  port: number;
  /** Port of its inspector. */
  inspect?: number | undefined;
}): Promise<Server> {
  const flags = options.inspect ? [`--inspect=127.0.0.1:${options.inspect}`] : [];
  const child = spawn(process.execPath, [...flags, ...options.args], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, PORT: String(options.port), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  stopWithThisProcess(child);
  let output = '';
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = `${output}${chunk}`.slice(-10_000);
        if (options.ready.test(output)) resolve();
      });
    }
    child.once('exit', () => reject(new Error(`${options.name} did not start:\n${output}`)));
  });
  const pid = child.pid ?? 0;
  return {
    name: options.name,
    url: `http://127.0.0.1:${options.port}`,
    pid,
    cpuSeconds: () => cpuSeconds(pid),
    memoryBytes: () => memoryBytes(pid),
    kill: () => void child.kill('SIGKILL'),
    async stop() {
      await endOf(child);
    },
  };
}

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

// Without a listener, a signal ends the process without the event above.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** Kills the process when this one exits, if it is still running. */
export function stopWithThisProcess(child: ChildProcess): void {
  children.add(child);
  child.once('exit', () => children.delete(child));
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exit;
  clearTimeout(force);
}

/** User and system time from `/proc/<pid>/stat`, in clock ticks of 10 ms. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function memoryBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** Runs `node <args>` with `input` on its standard input. @returns its standard output. */
export async function run(
  args: readonly string[],
  input: string,
  env: Record<string, string> = {},
): Promise<string> {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`);
  return output;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
