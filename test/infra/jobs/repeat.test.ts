import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { repeat } from '../../../src/infra/jobs/repeat.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('repeat', () => {
  it('skips the turns that come while the work has not ended, and goes on after it', async () => {
    const ends: (() => void)[] = [];
    const stop = repeat(100, () => new Promise<void>((resolve) => ends.push(resolve)));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ends).toHaveLength(1);
    ends[0]!();
    await vi.advanceTimersByTimeAsync(100);
    expect(ends).toHaveLength(2);
    ends[1]!();
    stop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ends).toHaveLength(2);
  });
});
