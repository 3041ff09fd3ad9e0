/** A process with many subscribers, whose deliveries are counted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT, stopWithThisProcess } from './processes.ts';

const TIMEOUT_MS = 120_000;

/** Counts as printed by `bench/peers/subscribers.ts`. */
interface Counts {
  round: number;
  open: number;
  received: number;
  failed: number;
  closed: number;
  served: number;
  servedMs: number;
}

export interface Subscribers {
  /** Milliseconds from the first connection until every subscriber had its first result. */
  served(): Promise<number>;
  /** Waits until this many results have been received. @throws Error after two minutes */
  until(received: number): Promise<void>;
  /** Number of results received, once no more have arrived for a moment. */
  settled(): Promise<number>;
  /** Number of results received after `ms`. */
  receivedWithin(ms: number): Promise<number>;
  /** Waits until the server has closed all connections. */
  disconnected(): Promise<void>;
  /**
   * Reconnects all subscribers. Each subscribes after the last cursor that it has seen.
   *
   * @returns milliseconds from the first connection until every subscriber had this many results.
   */
  reconnect(url: string, results: number): Promise<number>;
  stop(): Promise<void>;
}

/** @throws Error if a subscription cannot be opened, or ends */
export async function startSubscribers(options: {
  url: string;
  count: number;
  transport: 'ws' | 'sse';
  headers: Record<string, string>;
  query: string;
  /** With `after`, the subscribers can reconnect. */
  variables?: { after?: string };
}): Promise<Subscribers> {
  const { count, variables = {} } = options;
  const child = spawn(process.execPath, ['bench/peers/subscribers.ts'], {
    cwd: ROOT,
    env: { PATH: process.env.PATH },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  stopWithThisProcess(child);
  child.stdin.write(`${JSON.stringify({ ...options, variables, results: 1 })}\n`);
  let round = 1;
  let counts: Counts = {
    round,
    open: 0,
    received: 0,
    failed: 0,
    closed: 0,
    served: 0,
    servedMs: 0,
  };
  const lines = createInterface({ input: child.stdout }).on('line', (line) => {
    counts = JSON.parse(line) as Counts;
  });
  const fail = (message: string): never => {
    child.kill('SIGKILL');
    throw new Error(message);
  };
  const waitFor = async (isDone: () => boolean, mayClose = false): Promise<void> => {
    const end = Date.now() + TIMEOUT_MS;
    for (;;) {
      if (counts.round === round) {
        if (isDone()) return;
        const { failed, closed } = counts;
        if (failed > 0) fail(`${failed} subscribers failed`);
        if (closed > 0 && !mayClose) fail(`${closed} subscribers were disconnected`);
      }
      if (Date.now() > end) fail(`Gave up waiting: ${JSON.stringify(counts)}`);
      await once(lines, 'line', { signal: AbortSignal.timeout(TIMEOUT_MS) });
    }
  };
  const served = async (): Promise<number> => {
    await waitFor(() => counts.served >= count);
    return counts.servedMs;
  };
  await waitFor(() => counts.open >= count);
  return {
    served,
    until: (received) => waitFor(() => counts.received >= received),
    async settled() {
      for (let last = -1; last !== counts.received; await pause(300)) last = counts.received;
      return counts.received;
    },
    async receivedWithin(ms) {
      await pause(ms);
      return counts.received;
    },
    disconnected: () => waitFor(() => counts.closed >= count, true),
    reconnect(url, results) {
      round += 1;
      child.stdin.write(`${JSON.stringify({ url, results })}\n`);
      return served();
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}
