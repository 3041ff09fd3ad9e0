import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { waitUntil } from '../../../src/infra/wait-until.ts';

export interface TestRedis {
  url: string;
  /** Kills the server. */
  kill(): Promise<void>;
  /** Starts the server again, empty and at the same address. Kills it first if it is running. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether this machine has `redis-server`. Suites that need it are skipped otherwise. */
export function redisAvailable(): boolean {
  return spawnSync('redis-server', ['--version']).status === 0;
}

/** @param options `cluster`: whether to form a cluster of this single server. */
export async function startRedis({ cluster = false } = {}): Promise<TestRedis> {
  const server = await startServer(cluster);
  if (cluster) await formCluster([server.port]);
  return server;
}

/** Starts a cluster of this many servers. Its address is that of the first server. */
export async function startRedisCluster(nodes: number): Promise<TestRedis> {
  const servers = await Promise.all(Array.from({ length: nodes }, () => startServer(true)));
  await formCluster(servers.map(({ port }) => port));
  const each = (act: (server: TestRedis) => Promise<void>) => async () => {
    await Promise.all(servers.map(act));
  };
  return {
    url: `redis://127.0.0.1:${servers[0]?.port}`,
    kill: each((server) => server.kill()),
    restart: each((server) => server.restart()),
    stop: each((server) => server.stop()),
  };
}

/** Another process may take a free port before the server does. */
const START_TRIES = 3;

async function startServer(cluster: boolean): Promise<TestRedis & { port: number }> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryToStart(cluster);
    } catch (error) {
      if (tries === START_TRIES) throw error;
    }
  }
}

async function tryToStart(cluster: boolean): Promise<TestRedis & { port: number }> {
  const port = await freePort();
  const directory = await mkdtemp(path.join(tmpdir(), 'truedy-redis-'));
  const more = cluster
    ? {
        'cluster-enabled': 'yes',
        'cluster-announce-ip': '127.0.0.1',
        'cluster-port': await freePort(),
      }
    : {};
  const start = () => launch(port, directory, more);
  let server = await start();
  const end = async (signal: NodeJS.Signals) => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exit = once(server, 'exit');
    server.kill(signal);
    await exit;
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    kill: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGKILL');
      server = await start();
    },
    stop: async () => {
      await end('SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const SLOTS = 16_384;

/** Distributes the slots over the servers, which store them in their node files. */
async function formCluster(ports: readonly number[]): Promise<void> {
  const nodes = ports.map((port) => new Redis(port, '127.0.0.1'));
  try {
    const first = (index: number): number => Math.floor((SLOTS * index) / nodes.length);
    await Promise.all(
      nodes.map((node, index) =>
        node.call('CLUSTER', 'ADDSLOTSRANGE', first(index), first(index + 1) - 1),
      ),
    );
    for (const node of nodes.slice(1)) {
      const [address, bus] = [nodes[0]?.options.port ?? 0, await busPortOf(nodes[0])];
      await node.call('CLUSTER', 'MEET', '127.0.0.1', address, bus);
    }
    const isFormed = async () => {
      const each = await Promise.all(nodes.map((node) => node.cluster('INFO')));
      return each.every(
        (info) =>
          String(info).includes('cluster_state:ok') &&
          String(info).includes(`cluster_known_nodes:${nodes.length}`),
      );
    };
    if (!(await waitUntil(isFormed, 10_000))) throw new Error('The cluster is not ready');
  } finally {
    for (const node of nodes) node.disconnect();
  }
}

async function busPortOf(node: Redis | undefined): Promise<number> {
  const [, port] = (await node?.config('GET', 'cluster-port')) as [string, string];
  return Number(port);
}

async function launch(
  port: number,
  directory: string,
  more: Record<string, string | number>,
): Promise<ChildProcess> {
  const options = { port, bind: '127.0.0.1', save: '', appendonly: 'no', dir: directory, ...more };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = spawn('redis-server', args, { cwd: directory, stdio: 'ignore' });
  const endWithUs = () => server.kill('SIGKILL');
  process.once('exit', endWithUs);
  server.once('exit', () => process.off('exit', endWithUs));
  await once(server, 'spawn');
  const ready = await waitUntil(() => server.exitCode !== null || answers(port), 60_000);
  if (!ready || server.exitCode !== null) {
    server.kill('SIGKILL');
    throw new Error(`redis-server did not start on port ${port}`);
  }
  return server;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')));
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [reply] = (await once(socket, 'data')) as [Buffer];
    return reply.toString().startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * A free port for a server that is stopped and started again. It is outside the range that the
 * system assigns to other servers and connections, which could take it meanwhile.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
