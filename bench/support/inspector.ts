/** Reads the memory and CPU time of a server that was started with `--inspect`, through its inspector. */
import { once } from 'node:events';
import { WebSocket } from 'ws';

export interface Memory {
  /** Resident memory in bytes. */
  rss: number;
  /** Live JavaScript objects and the memory that they hold outside the heap, in bytes. */
  live: number;
}

export interface Inspector {
  /** Collects garbage, then measures. */
  memory(): Promise<Memory>;
  /** CPU seconds of the process since its start, to the microsecond. */
  cpuSeconds(): Promise<number>;
  close(): void;
}

/** @throws Error if the process has no inspector on that port */
export async function openInspector(port: number): Promise<Inspector> {
  const answer = await fetch(`http://127.0.0.1:${port}/json/list`);
  const [target] = (await answer.json()) as { webSocketDebuggerUrl: string }[];
  if (!target) throw new Error(`Nothing to inspect at port ${port}`);
  const socket = new WebSocket(target.webSocketDebuggerUrl, { perMessageDeflate: false });
  await once(socket, 'open');
  const waiting = new Map<number, (result: unknown) => void>();
  socket.on('message', (data: Buffer) => {
    const { id, result } = JSON.parse(data.toString()) as { id: number; result: unknown };
    waiting.get(id)?.(result);
    waiting.delete(id);
  });
  let last = 0;
  const call = (method: string, params = {}): Promise<unknown> => {
    last += 1;
    const id = last;
    return new Promise((resolve) => {
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  };
  /** Evaluates an expression in the server. */
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result } = (await call('Runtime.evaluate', {
      expression: `JSON.stringify(${expression})`,
    })) as { result: { value: string } };
    return JSON.parse(result.value);
  };
  return {
    async memory() {
      // Objects that one collection releases may have kept others alive.
      for (let round = 0; round < 3; round += 1) await call('HeapProfiler.collectGarbage');
      const usage = await evaluate('process.memoryUsage()');
      const { rss, heapUsed, external } = usage as NodeJS.MemoryUsage;
      return { rss, live: heapUsed + external };
    },
    async cpuSeconds() {
      const { user, system } = (await evaluate('process.cpuUsage()')) as NodeJS.CpuUsage;
      return (user + system) / 1_000_000;
    },
    close: () => socket.close(),
  };
}
