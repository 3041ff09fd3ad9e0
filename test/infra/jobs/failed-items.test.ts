/** Items that fail are skipped for a while. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FailedItems } from '../../../src/infra/jobs/failed-items.ts';

afterEach(() => void vi.useRealTimers());

describe('FailedItems', () => {
  it('tries an item again after a minute at most, also when the clock was set back', () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const items = new FailedItems();
    items.add('one');
    expect(items.ids()).toEqual(['one']);
    vi.setSystemTime(Date.now() - 86_400_000);
    vi.advanceTimersByTime(60_000);
    expect(items.ids()).toEqual([]);
  });
});
