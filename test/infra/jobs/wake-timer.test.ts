/** A single timer for the earliest of several wake-ups. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createWakeTimer } from '../../../src/infra/jobs/wake-timer.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function setup(options: { minDelayMs?: number; maxDelayMs?: number } = {}) {
  const started = performance.now();
  const wakes: number[] = [];
  const closing = new AbortController();
  const timer = createWakeTimer({
    ...options,
    wake: () => wakes.push(performance.now() - started),
    signal: closing.signal,
  });
  return { timer, wakes, closing };
}

describe('createWakeTimer', () => {
  it('wakes once, at the earliest requested instant', () => {
    const { timer, wakes } = setup();
    timer.wakeAfter(500);
    timer.wakeAt(new Date(Date.now() + 200));
    timer.wakeAfter(900);
    vi.advanceTimersByTime(2_000);
    expect(wakes).toEqual([200]);
  });

  it('can be set again after a wake-up', () => {
    const { timer, wakes } = setup();
    timer.wakeAfter(100);
    vi.advanceTimersByTime(100);
    timer.wakeAfter(100);
    vi.advanceTimersByTime(100);
    expect(wakes).toEqual([100, 200]);
  });

  it('respects its minimum and maximum delay', () => {
    const { timer, wakes } = setup({ minDelayMs: 20, maxDelayMs: 60_000 });
    timer.wakeAfter(60_001);
    timer.wakeAt(new Date(0));
    vi.advanceTimersByTime(100_000);
    expect(wakes).toEqual([20]);
  });

  it('waits the maximum of setTimeout for an instant that is further away', () => {
    const { timer, wakes } = setup();
    timer.wakeAfter(1e12);
    vi.advanceTimersByTime(60_000);
    expect(wakes).toEqual([]);
  });

  it('does not wake once the signal is aborted', () => {
    const { timer, wakes, closing } = setup();
    timer.wakeAfter(100);
    closing.abort();
    timer.wakeAfter(200);
    vi.advanceTimersByTime(1_000);
    expect(wakes).toEqual([]);
  });
});
