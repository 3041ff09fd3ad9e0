/** A process with many subscribers, whose deliveries are counted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { endWithUs, ROOT } from './processes.ts';

const TIMEOUT_MS = 120_000;

interface Counts {
  open: number;
  received: number;
  failed: number;
  elapsedMs: number;
}

export interface Subscribers {
  /** Time that opening them took. */
  openedMs: number;
  /** Waits until that many results have been received. @throws Error after two minutes */
  until(received: number): Promise<void>;
  /** Results received once no more have come for a moment. */
  settled(): Promise<number>;
  /** Results received after `ms`. */
  receivedWithin(ms: number): Promise<number>;
  stop(): Promise<void>;
}

/** @throws Error when one of them cannot be opened, or ends */
export async function startSubscribers(options: {
  url: string;
  count: number;
  transport: 'ws' | 'sse';
  headers: Record<string, string>;
  query: string;
  variables?: Record<string, unknown>;
}): Promise<Subscribers> {
  const { url, count, transport, headers, query, variables = {} } = options;
  const child = spawn(
    process.execPath,
    ['bench/peers/subscribers.ts', url, String(count), transport],
    { cwd: ROOT, env: { PATH: process.env.PATH }, stdio: ['pipe', 'pipe', 'inherit'] },
  );
  endWithUs(child);
  child.stdin.end(JSON.stringify({ headers, query, variables }));
  let counts: Counts = { open: 0, received: 0, failed: 0, elapsedMs: 0 };
  createInterface({ input: child.stdout }).on('line', (line) => {
    counts = JSON.parse(line) as Counts;
  });
  const waitFor = async (isDone: () => boolean): Promise<void> => {
    const end = Date.now() + TIMEOUT_MS;
    while (!isDone()) {
      if (counts.failed > 0) throw new Error(`${counts.failed} subscribers failed`);
      if (Date.now() > end) throw new Error(`Gave up waiting: ${JSON.stringify(counts)}`);
      await pause(20);
    }
  };
  await waitFor(() => counts.open >= count);
  return {
    openedMs: counts.elapsedMs,
    until: (received) => waitFor(() => counts.received >= received),
    async settled() {
      for (let last = -1; last !== counts.received; await pause(300)) last = counts.received;
      return counts.received;
    },
    async receivedWithin(ms) {
      await pause(ms);
      return counts.received;
    },
    async stop() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}
