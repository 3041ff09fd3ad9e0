import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BREAKER_CALLS,
  breakerTrips,
  decideRetry,
  RETRIED_REASONS,
  retryDelaySeconds,
} from '../../src/campaigns/retry.ts';
import { anyNumber, numberOfBlock, takeTurns } from '../../src/campaigns/rotation.ts';
import {
  type CampaignAction,
  campaignAfter,
  canContactMove,
  contactAfterCall,
  isCampaignTerminal,
  isContactTerminal,
  statesFor,
} from '../../src/campaigns/status.ts';
import type { Window } from '../../src/campaigns/window.ts';
import {
  CallEndReason,
  type CallStatus,
  type CampaignContactStatus,
  type CampaignStatus,
} from '../../src/generated/prisma/enums.ts';
import { runs } from './clocks.ts';

describe('rotation', () => {
  it('takes numbers in turn, however the calls are cut into batches and processes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.integer({ min: 0, max: 20 })),
        (numbers, batches) => {
          let next = 0;
          const taken = batches.flatMap((calls) => {
            const turn = takeTurns({ numbers, next, calls });
            next = turn.next;
            return turn.indexes;
          });
          expect(taken).toEqual(taken.map((_, call) => call % numbers));
          expect(next).toBe(taken.length % numbers);
        },
      ),
      runs(200),
    );
  });

  it('goes on in a pool that has become smaller', () => {
    expect(takeTurns({ numbers: 2, next: 3, calls: 3 })).toEqual({ indexes: [1, 0, 1], next: 0 });
  });

  it('gives each number one consecutive block, none larger than another by more than one', () => {
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

  it('by chance is even, and the same for the same seed', () => {
    for (const numbers of [1, 2, 3, 7]) {
      const counts = new Array<number>(numbers).fill(0);
      for (let i = 0; i < 21_000; i++) {
        const index = anyNumber({ numbers, seed: `attempt ${i}` });
        counts[index] = (counts[index] ?? 0) + 1;
        if (i % 1000 === 0) expect(anyNumber({ numbers, seed: `attempt ${i}` })).toBe(index);
      }
      expect(counts).toHaveLength(numbers);
      for (const count of counts)
        expect(Math.abs(count / (21_000 / numbers) - 1)).toBeLessThan(0.06);
    }
  });
});

describe('a retry', () => {
  const window: Window = {
    timezone: 'UTC',
    workingDays: [1, 2, 3, 4, 5],
    startMinute: 540,
    endMinute: 1020,
  };
  const failed = {
    endReason: 'BUSY' as CallEndReason,
    attempts: 1,
    endedAt: Temporal.Instant.from('2026-11-20T12:00Z'),
    retryFailed: true,
    maxRetryAttempts: 3,
    delaySeconds: 900,
    windows: window,
  };

  it('follows the reasons it is for, and no other', () => {
    expect([...RETRIED_REASONS].sort()).toEqual([
      'BUSY',
      'CONNECTION_ERROR',
      'NO_ANSWER',
      'UNREACHABLE',
    ]);
    for (const endReason of Object.values(CallEndReason)) {
      expect(decideRetry({ ...failed, endReason }).retry).toBe(RETRIED_REASONS.includes(endReason));
    }
  });

  it('waits twice as long each time, and then for the window', () => {
    const at = (attempts: number, endedAt = failed.endedAt) => {
      const decision = decideRetry({ ...failed, attempts, endedAt });
      return decision.retry ? decision.at.toString() : decision.because;
    };
    expect([at(1), at(2), at(3), at(4)]).toEqual([
      '2026-11-20T12:15:00Z',
      '2026-11-20T12:30:00Z',
      '2026-11-20T13:00:00Z',
      'ATTEMPTS_USED_UP',
    ]);
    expect(at(1, Temporal.Instant.from('2026-11-20T16:45Z'))).toBe('2026-11-23T09:00:00Z');
    expect(at(1, Temporal.Instant.from('2026-11-20T16:44:59Z'))).toBe('2026-11-20T16:59:59Z');
    expect(retryDelaySeconds(20, 900)).toBe(86_400);
    expect(retryDelaySeconds(3, 200_000)).toBe(200_000);
  });

  it('is not made when the campaign has none, or no time suits', () => {
    expect(decideRetry({ ...failed, retryFailed: false })).toEqual({
      retry: false,
      because: 'OFF',
    });
    expect(decideRetry({ ...failed, maxRetryAttempts: 0 })).toEqual({
      retry: false,
      because: 'ATTEMPTS_USED_UP',
    });
    expect(
      decideRetry({ ...failed, windows: [window, { ...window, timezone: 'Asia/Tokyo' }] }),
    ).toEqual({ retry: false, because: 'NEVER_OPEN' });
  });
});

describe('the breaker', () => {
  const ends = (failed: number, completed: number): CallStatus[] => [
    ...new Array<CallStatus>(failed).fill('FAILED'),
    ...new Array<CallStatus>(completed).fill('COMPLETED'),
  ];

  it('trips when more than half of the last 20 failed', () => {
    expect(breakerTrips(ends(10, 10))).toBe(false);
    expect(breakerTrips(ends(11, 9))).toBe(true);
    expect(breakerTrips([...ends(0, BREAKER_CALLS), ...ends(100, 0)])).toBe(false);
    expect(breakerTrips([...ends(11, 9), ...ends(0, 100)])).toBe(true);
  });

  it('waits for 20 calls, and does not count those that somebody cancelled', () => {
    expect(breakerTrips(ends(19, 0))).toBe(false);
    expect(breakerTrips(['CANCELLED', 'CANCELLED', ...ends(19, 0)])).toBe(false);
    expect(breakerTrips(['CANCELLED', ...ends(11, 8), 'COMPLETED'])).toBe(true);
  });
});

describe('a campaign', () => {
  const moved = (status: CampaignStatus, action: CampaignAction, startsLater = false) => {
    const step = campaignAfter(status, action, { startsLater });
    return step.allowed ? step.status : step.message;
  };

  it('moves as it is scheduled, started, paused, resumed and completed', () => {
    expect(moved('DRAFT', 'SCHEDULE', true)).toBe('SCHEDULED');
    expect(moved('DRAFT', 'SCHEDULE')).toBe('ACTIVE');
    expect(moved('SCHEDULED', 'START')).toBe('ACTIVE');
    expect(moved('SCHEDULED', 'PAUSE')).toBe('PAUSED');
    expect(moved('ACTIVE', 'PAUSE')).toBe('PAUSED');
    expect(moved('PAUSED', 'RESUME', true)).toBe('SCHEDULED');
    expect(moved('PAUSED', 'RESUME')).toBe('ACTIVE');
    expect(moved('ACTIVE', 'COMPLETE')).toBe('COMPLETED');
    expect(moved('PAUSED', 'EDIT')).toBe('PAUSED');
  });

  it('that is over never moves again', () => {
    for (const status of ['COMPLETED', 'FAILED', 'CANCELLED'] as const) {
      expect(isCampaignTerminal(status)).toBe(true);
      for (const action of ['SCHEDULE', 'PAUSE', 'RESUME', 'EDIT', 'APPEND', 'CANCEL'] as const) {
        expect(moved(status, action)).toMatch(
          new RegExp(`^The campaign is ${status} and cannot be .*over`),
        );
      }
      for (const action of ['START', 'COMPLETE', 'FAIL'] as const) {
        expect(campaignAfter(status, action).allowed).toBe(false);
      }
      expect(moved(status, 'DELETE')).toBe(status);
    }
  });

  it('says why it cannot', () => {
    expect(moved('PAUSED', 'PAUSE')).toBe(
      'The campaign is PAUSED and cannot be paused: it already is.',
    );
    expect(moved('DRAFT', 'PAUSE')).toBe(
      'The campaign is DRAFT and cannot be paused: it has not been scheduled.',
    );
    expect(moved('ACTIVE', 'RESUME')).toContain('only a PAUSED campaign can');
    expect(moved('DRAFT', 'RESUME')).toContain('schedule it');
    expect(moved('ACTIVE', 'SCHEDULE')).toContain('updateCampaign');
    expect(moved('PAUSED', 'SCHEDULE')).toContain('resume it');
    expect(moved('ACTIVE', 'DELETE')).toContain('cancel it first');
  });

  it('can be asked for the states of an action', () => {
    expect(statesFor('PAUSE')).toEqual(['SCHEDULED', 'ACTIVE']);
    expect(statesFor('RESUME')).toEqual(['PAUSED']);
  });
});

describe('a campaign contact', () => {
  it('follows its call, once', () => {
    expect(contactAfterCall('CALLING', 'COMPLETED', { retry: false })).toBe('COMPLETED');
    expect(contactAfterCall('CALLING', 'FAILED', { retry: false })).toBe('FAILED');
    expect(contactAfterCall('CALLING', 'FAILED', { retry: true })).toBe('SCHEDULED');
    expect(contactAfterCall('CALLING', 'CANCELLED', { retry: false })).toBe('CANCELLED');
    expect(contactAfterCall('CALLING', 'RINGING', { retry: false })).toBeNull();
    for (const status of ['SCHEDULED', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED'] as const) {
      expect(contactAfterCall(status, 'COMPLETED', { retry: false })).toBeNull();
    }
  });

  it('that is over never moves again', () => {
    const all: CampaignContactStatus[] = [
      'PENDING',
      'SCHEDULED',
      'CALLING',
      'COMPLETED',
      'FAILED',
      'SKIPPED',
      'CANCELLED',
    ];
    for (const status of all.slice(3)) {
      expect(isContactTerminal(status)).toBe(true);
      for (const to of all) expect(canContactMove(status, to)).toBe(false);
    }
    for (const status of all.slice(0, 3)) expect(isContactTerminal(status)).toBe(false);
    expect(canContactMove('PENDING', 'CALLING')).toBe(false);
    expect(canContactMove('SCHEDULED', 'CALLING')).toBe(true);
  });
});
