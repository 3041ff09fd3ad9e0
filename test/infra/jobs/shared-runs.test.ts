import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Bus, createInProcessBus, type Json } from '../../../src/infra/bus.ts';
import { createFailures } from '../../../src/infra/failures.ts';
import { requestRun, startSharedRuns } from '../../../src/infra/jobs/shared-runs.ts';
import { createLogger } from '../../../src/infra/logger.ts';

const TOPIC = 'work';
const INTERVAL_MS = 1_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The buses of processes that receive each other's messages after `transitMs`, and the messages that they sent. */
function connectedBuses(names: readonly string[], transitMs: number) {
  const failures = createFailures({ log: createLogger({ level: 'silent' }) });
  const local = new Map(names.map((name) => [name, createInProcessBus(failures)]));
  const sent: Json[] = [];
  const buses = names.map((name): readonly [string, Bus] => {
    const publish: Bus['publish'] = (topic, message) => {
      sent.push(message);
      for (const [receiver, bus] of local) {
        if (receiver === name || transitMs === 0) bus.publish(topic, message);
        else setTimeout(() => bus.publish(topic, message), transitMs);
      }
    };
    return [name, { ...local.get(name)!, publish, kind: 'redis' }];
  });
  return { buses: new Map(buses), sent };
}

/** Connected processes, which note who ran. */
function processes(names: readonly string[], transitMs = 0) {
  const { buses, sent } = connectedBuses([...names, 'client'], transitMs);
  const ran: string[] = [];
  const stop = new Map<string, () => void>();
  const runs = new Map(
    names.map((name) => {
      const bus = buses.get(name)!;
      const controller = new AbortController();
      stop.set(name, () => controller.abort());
      const own = startSharedRuns(
        {
          bus,
          closing: controller.signal,
          background: (_name, work) => {
            void work();
          },
        },
        {
          topic: TOPIC,
          intervalMs: INTERVAL_MS,
          run: () => {
            own.announceStart();
            ran.push(name);
            return Promise.resolve();
          },
        },
      );
      return [name, own];
    }),
  );
  return {
    ran,
    sent,
    request: (delayMs?: number, from = 'client') => requestRun(buses.get(from)!, TOPIC, delayMs),
    runsOf: (name: string) => runs.get(name)!,
    stop: (name: string) => stop.get(name)?.(),
  };
}

describe('shared runs', () => {
  it('are made by one process, and by the same one as long as it lives', async () => {
    const { ran, request, stop } = processes(['a', 'b', 'c']);
    for (let run = 0; run < 5; run += 1) {
      request();
      await vi.advanceTimersByTimeAsync(5_000);
    }
    expect(ran).toHaveLength(5);
    const [first] = ran;
    expect(new Set(ran)).toEqual(new Set([first]));
    stop(first!);
    request();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(ran).toHaveLength(6);
    expect(ran[5]).not.toBe(first);
  });

  it('begin at once after a quiet time, and then an interval apart for all requests of the meantime', async () => {
    const { ran, request } = processes(['a', 'b']);
    request();
    await vi.advanceTimersByTimeAsync(5_000);
    request();
    await vi.advanceTimersByTimeAsync(1);
    expect(ran).toHaveLength(2);
    for (let count = 0; count < 100; count += 1) {
      request();
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(ran).toHaveLength(2 + 5);
  });

  it('come after the delay of the earliest request', async () => {
    const { ran, request, runsOf } = processes(['a']);
    runsOf('a').announceStart();
    request(3_000);
    request(1_500);
    request(2_000);
    await vi.advanceTimersByTimeAsync(1_499);
    expect(ran).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ran).toEqual(['a']);
  });

  it('are made by another process when the one that does them has no room', async () => {
    const { ran, request, runsOf } = processes(['a', 'b']);
    runsOf('a').announceStart();
    await vi.advanceTimersByTimeAsync(5_000);
    request();
    await vi.advanceTimersByTimeAsync(1);
    runsOf('a').handOver();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(ran).toEqual(['a', 'b']);
  });

  it('are requested once by processes that know that one is due', async () => {
    const { ran, sent, request, runsOf } = processes(['a', 'b'], 5);
    runsOf('a').announceStart();
    await vi.advanceTimersByTimeAsync(100);
    for (let count = 0; count < 10; count += 1) {
      request(0, 'a');
      request(0, 'b');
      await vi.advanceTimersByTimeAsync(50);
    }
    await vi.advanceTimersByTimeAsync(5_000);
    expect(ran).toEqual(['a']);
    // The start, a request of each process before it knew of the other's, and the start.
    expect(sent).toHaveLength(4);
  });

  it('are requested again if the one that was due had begun before', async () => {
    const { ran, request, runsOf } = processes(['a', 'b'], 50);
    runsOf('a').announceStart();
    await vi.advanceTimersByTimeAsync(100);
    request(0, 'a');
    await vi.advanceTimersByTimeAsync(INTERVAL_MS - 100 + 10);
    expect(ran).toEqual(['a']);
    request(0, 'b');
    await vi.advanceTimersByTimeAsync(5_000);
    expect(ran).toEqual(['a', 'a']);
  });
});
