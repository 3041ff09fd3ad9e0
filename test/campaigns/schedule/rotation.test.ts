/** Number rotation, retries and the circuit breaker, as pure functions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BREAKER_CALLS, breakerTrips } from '../../../src/campaigns/outcomes/circuit-breaker.ts';
import type { Window } from '../../../src/campaigns/schedule/calling-window.ts';
import {
  nextNumber,
  numberOfBlock,
  seededNumber,
} from '../../../src/campaigns/schedule/number-rotation.ts';
import {
  retryDelaySeconds,
  retryRefusal,
  retryTime,
} from '../../../src/campaigns/schedule/retry.ts';
import { CallEndReason, type CallStatus } from '../../../src/generated/prisma/enums.ts';
import { runs } from './clocks.ts';

describe('number rotation', () => {
  it('ROUND_ROBIN takes numbers in turn, also in a pool that has shrunk', () => {
    const taken = (numbers: number, first: number): number[] => {
      let next = first;
      return Array.from({ length: 5 }, () => {
        const turn = nextNumber({ numbers, next });
        next = turn.next;
        return turn.index;
      });
    };
    expect(taken(3, 0)).toEqual([0, 1, 2, 0, 1]);
    expect(taken(1, 0)).toEqual([0, 0, 0, 0, 0]);
    expect(taken(2, 3)).toEqual([1, 0, 1, 0, 1]);
  });

  it('SEQUENTIAL gives each number one consecutive block, of equal size within one contact', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 300 }),
        (numbers, contacts) => {
          const given = Array.from({ length: contacts }, (_, position) =>
            numberOfBlock({ numbers, position, contacts }),
          );
          expect(given).toEqual([...given].sort((a, b) => a - b));
          const sizes = Array.from(
            { length: numbers },
            (_, number) => given.filter((other) => other === number).length,
          );
          expect(sizes.reduce((sum, size) => sum + size)).toBe(contacts);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        },
      ),
      runs(200),
    );
  });

  it('RANDOM is uniform, and equal for equal seeds', () => {
    for (const numbers of [1, 2, 3, 7]) {
      const counts = new Array<number>(numbers).fill(0);
      for (let i = 0; i < 21_000; i++) {
        const index = seededNumber({ numbers, seed: `attempt ${i}` });
        counts[index] = (counts[index] ?? 0) + 1;
        if (i % 1000 === 0) expect(seededNumber({ numbers, seed: `attempt ${i}` })).toBe(index);
      }
      expect(counts).toHaveLength(numbers);
      for (const count of counts)
        expect(Math.abs(count / (21_000 / numbers) - 1)).toBeLessThan(0.06);
    }
  });
});

describe('retryRefusal', () => {
  const failed = {
    endReason: 'BUSY',
    attempts: 1,
    retryFailed: true,
    maxRetryAttempts: 3,
  } as const;

  it('lets NO_ANSWER, BUSY, UNREACHABLE and CONNECTION_ERROR be retried only', () => {
    const retried = ['BUSY', 'CONNECTION_ERROR', 'NO_ANSWER', 'UNREACHABLE'];
    for (const endReason of Object.values(CallEndReason)) {
      const refusal = retryRefusal({ ...failed, endReason });
      expect(refusal).toBe(retried.includes(endReason) ? null : 'NOT_RETRIED');
    }
  });

  it('says when retries are off or used up', () => {
    expect(retryRefusal({ ...failed, retryFailed: false })).toBe('OFF');
    expect(retryRefusal({ ...failed, maxRetryAttempts: 0 })).toBe('ATTEMPTS_USED_UP');
    expect(retryRefusal({ ...failed, attempts: 3 })).toBeNull();
    expect(retryRefusal({ ...failed, attempts: 4 })).toBe('ATTEMPTS_USED_UP');
  });
});

describe('retryTime', () => {
  const window: Window = {
    timezone: 'UTC',
    workingDays: [1, 2, 3, 4, 5],
    startMinute: 540,
    endMinute: 1020,
  };
  const failed = {
    attempts: 1,
    endedAt: Temporal.Instant.from('2026-11-20T12:00Z'),
    delaySeconds: 900,
    windows: window,
  };

  it('doubles the delay each time, then waits for the window', () => {
    const at = (attempts: number, endedAt = failed.endedAt) =>
      retryTime({ ...failed, attempts, endedAt })?.toString();
    expect([at(1), at(2), at(3)]).toEqual([
      '2026-11-20T12:15:00Z',
      '2026-11-20T12:30:00Z',
      '2026-11-20T13:00:00Z',
    ]);
    expect(at(1, Temporal.Instant.from('2026-11-20T16:45Z'))).toBe('2026-11-23T09:00:00Z');
    expect(at(1, Temporal.Instant.from('2026-11-20T16:44:59Z'))).toBe('2026-11-20T16:59:59Z');
    expect(retryDelaySeconds(20, 900)).toBe(86_400);
    expect(retryDelaySeconds(3, 200_000)).toBe(200_000);
  });

  it('is null when the window never opens', () => {
    const windows = [window, { ...window, timezone: 'Asia/Tokyo' }];
    expect(retryTime({ ...failed, windows })).toBeNull();
  });
});

describe('breakerTrips', () => {
  const ends = (failed: number, completed: number): CallStatus[] => [
    ...new Array<CallStatus>(failed).fill('FAILED'),
    ...new Array<CallStatus>(completed).fill('COMPLETED'),
  ];

  it('is true when more than half of the last 20 calls failed', () => {
    expect(breakerTrips(ends(10, 10))).toBe(false);
    expect(breakerTrips(ends(11, 9))).toBe(true);
    expect(breakerTrips([...ends(0, BREAKER_CALLS), ...ends(100, 0)])).toBe(false);
    expect(breakerTrips([...ends(11, 9), ...ends(0, 100)])).toBe(true);
  });

  it('is false with fewer than 20 calls, without counting canceled ones', () => {
    expect(breakerTrips(ends(19, 0))).toBe(false);
    expect(breakerTrips(['CANCELLED', 'CANCELLED', ...ends(19, 0)])).toBe(false);
    expect(breakerTrips(['CANCELLED', ...ends(11, 8), 'COMPLETED'])).toBe(true);
  });
});
