/** The state machine of a call, and the cost of a call, without a server. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { billedSeconds, billingStatusOf, compareBills, costOf } from '../../src/calls/billing.ts';
import {
  type CallState,
  endOfLostCall,
  isEnded,
  type Observation,
  stepsTowards,
} from '../../src/calls/status.ts';
import {
  CallBillingStatus,
  CallDirection,
  type CallEndReason,
  CallMedium,
  CallStatus,
} from '../../src/generated/prisma/enums.ts';

const at = (seconds: number): Date => new Date(Date.UTC(2026, 10, 20, 12, 0, seconds));
const NOTHING: Observation = {
  joinedAt: null,
  endedAt: null,
  endReason: null,
  terminationReason: null,
  rangFullTime: false,
};

const RANK: Record<CallStatus, number> = {
  CREATED: 0,
  RINGING: 1,
  IN_PROGRESS: 2,
  COMPLETED: 3,
  FAILED: 3,
  CANCELLED: 3,
};

/** What Ultravox could have said of one call at each moment of its life, oldest first. */
const history = fc
  .record({
    joined: fc.boolean(),
    endReason: fc.constantFrom(
      'unjoined',
      'hangup',
      'agent_hangup',
      'timeout',
      'connection_error',
      'system_error',
      'something new',
    ),
    terminationReason: fc.constantFrom(
      null,
      'SIP_TERMINATION_NORMAL',
      'SIP_TERMINATION_BUSY',
      'SIP_TERMINATION_REJECTED',
      'SIP_TERMINATION_TIMEOUT',
      'SIP_TERMINATION_CANCELED',
      'SIP_TERMINATION_INVALID_NUMBER',
      'SIP_TERMINATION_DESTINATION_UNAVAILABLE',
      'SIP_TERMINATION_UNKNOWN',
    ),
  })
  .map(({ joined, endReason, terminationReason }): Observation[] => {
    const answered = { ...NOTHING, joinedAt: joined ? at(5) : null };
    return [
      NOTHING,
      ...(joined ? [answered] : []),
      { ...answered, endedAt: at(60), endReason, terminationReason },
    ];
  });

interface Life extends CallState {
  endReason: CallEndReason | null;
  passed: CallStatus[];
}

const fresh = fc.record({
  direction: fc.constantFrom(...Object.values(CallDirection)),
  medium: fc.constantFrom(...Object.values(CallMedium)),
  endRequested: fc.boolean(),
});

function live(start: Omit<CallState, 'status'>, seen: readonly Observation[]): Life {
  const life: Life = { ...start, status: 'CREATED', endReason: null, passed: ['CREATED'] };
  for (const observation of seen) {
    for (const step of stepsTowards(life, observation)) {
      life.status = step.status;
      life.endReason = step.endReason;
      life.passed.push(step.status);
    }
  }
  return life;
}

describe('stepsTowards', () => {
  it('ends in the same state for any order, repetition or loss of updates', () => {
    fc.assert(
      fc.property(
        fresh,
        history.chain((moments) =>
          fc.record({
            moments: fc.constant(moments),
            order: fc.array(fc.nat({ max: moments.length - 1 }), { minLength: 1, maxLength: 12 }),
          }),
        ),
        (start, { moments, order }) => {
          const newest = moments[Math.max(...order)]!;
          const all = live(
            start,
            order.map((index) => moments[index]!),
          );
          const alone = live(start, [newest]);
          expect(all.status).toBe(alone.status);
          expect(all.endReason).toBe(alone.endReason);
          expect(all.passed).toEqual(alone.passed);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('never goes back to an earlier status, and takes none twice', () => {
    const anything = fc.record({
      joinedAt: fc.option(fc.constant(at(5))),
      endedAt: fc.option(fc.constant(at(60))),
      endReason: fc.option(fc.constantFrom('hangup', 'unjoined', 'timeout', 'system_error')),
      terminationReason: fc.option(fc.constantFrom('SIP_TERMINATION_BUSY', 'nonsense')),
      rangFullTime: fc.boolean(),
    });
    fc.assert(
      fc.property(fresh, fc.array(anything, { maxLength: 10 }), (start, seen) => {
        const ranks = live(start, seen).passed.map((status) => RANK[status]);
        expect(ranks).toEqual([...new Set(ranks)].sort());
      }),
      { numRuns: 2_000 },
    );
  });

  it('passes every status of a call that was reported only at its end', () => {
    const state = { status: 'CREATED', direction: 'OUTBOUND', medium: 'SIP' } as const;
    const ended = { ...NOTHING, joinedAt: at(5), endedAt: at(60), endReason: 'hangup' };
    expect(stepsTowards({ ...state, endRequested: false }, ended)).toEqual([
      { status: 'RINGING', at: at(5), endReason: null },
      { status: 'IN_PROGRESS', at: at(5), endReason: null },
      { status: 'COMPLETED', at: at(60), endReason: 'HANGUP' },
    ]);
  });

  it('does not let a browser call ring', () => {
    const browser = { direction: 'INBOUND', medium: 'WEBRTC', endRequested: false } as const;
    expect(live(browser, [NOTHING]).passed).toEqual(['CREATED']);
    expect(live(browser, [{ ...NOTHING, joinedAt: at(1) }]).passed).toEqual([
      'CREATED',
      'IN_PROGRESS',
    ]);
  });

  it.each([
    ['hangup', 'COMPLETED', 'HANGUP'],
    ['agent_hangup', 'COMPLETED', 'AGENT_HANGUP'],
    ['timeout', 'COMPLETED', 'MAX_DURATION'],
    ['connection_error', 'FAILED', 'CONNECTION_ERROR'],
    ['system_error', 'FAILED', 'SYSTEM_ERROR'],
    ['a reason of the future', 'COMPLETED', 'UNKNOWN'],
    [null, 'COMPLETED', 'UNKNOWN'],
  ])('ends an answered call with reason %s as %s %s', (endReason, status, reason) => {
    const seen = { ...NOTHING, joinedAt: at(5), endedAt: at(60), endReason };
    for (const endRequested of [false, true]) {
      const life = live({ direction: 'OUTBOUND', medium: 'SIP', endRequested }, [seen]);
      expect([life.status, life.endReason]).toEqual([status, reason]);
    }
  });

  it.each([
    ['SIP_TERMINATION_BUSY', 'FAILED', 'BUSY'],
    ['SIP_TERMINATION_REJECTED', 'FAILED', 'REJECTED'],
    ['SIP_TERMINATION_INVALID_NUMBER', 'FAILED', 'INVALID_NUMBER'],
    ['SIP_TERMINATION_DESTINATION_UNAVAILABLE', 'FAILED', 'UNREACHABLE'],
    ['SIP_TERMINATION_TIMEOUT', 'FAILED', 'NO_ANSWER'],
    ['SIP_TERMINATION_CANCELED', 'CANCELLED', 'CANCELLED'],
    [null, 'FAILED', 'NO_ANSWER'],
  ])('ends an unanswered call with SIP termination %s as %s %s', (terminationReason, status, reason) => {
    const seen = { ...NOTHING, endedAt: at(60), endReason: 'unjoined', terminationReason };
    const start = { direction: 'OUTBOUND', medium: 'SIP', endRequested: false } as const;
    const life = live(start, [seen]);
    expect([life.status, life.endReason]).toEqual([status, reason]);
  });

  it('ends a call that Ultravox canceled after ringing the full time as unanswered', () => {
    const start = { direction: 'OUTBOUND', medium: 'SIP' } as const;
    const seen = {
      ...NOTHING,
      endedAt: at(60),
      endReason: 'unjoined',
      terminationReason: 'SIP_TERMINATION_CANCELED',
      rangFullTime: true,
    };
    const endOf = (endRequested: boolean) => live({ ...start, endRequested }, [seen]);
    expect(endOf(false)).toMatchObject({ status: 'FAILED', endReason: 'NO_ANSWER' });
    expect(endOf(true)).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED' });
  });

  it('cancels an unanswered call whose end was requested, unless the line reports a reason', () => {
    const start = { direction: 'OUTBOUND', medium: 'SIP', endRequested: true } as const;
    const seen = { ...NOTHING, endedAt: at(60), endReason: 'unjoined' };
    for (const reason of ['SIP_TERMINATION_TIMEOUT', 'SIP_TERMINATION_CANCELED', null]) {
      expect(live(start, [{ ...seen, terminationReason: reason }])).toMatchObject({
        status: 'CANCELLED',
        endReason: 'CANCELLED',
      });
    }
    expect(live(start, [{ ...seen, terminationReason: 'SIP_TERMINATION_BUSY' }])).toMatchObject({
      status: 'FAILED',
      endReason: 'BUSY',
    });
  });

  it('reports a fault before the answer as a fault, not as a missing answer', () => {
    const start = { direction: 'OUTBOUND', medium: 'TWILIO', endRequested: false } as const;
    const seen = { ...NOTHING, endedAt: at(60), endReason: 'connection_error' };
    expect(live(start, [seen])).toMatchObject({ status: 'FAILED', endReason: 'CONNECTION_ERROR' });
  });

  it('ends a lost call by its last known status', () => {
    expect(endOfLostCall('IN_PROGRESS')).toEqual({ status: 'COMPLETED', endReason: 'UNKNOWN' });
    for (const status of ['CREATED', 'RINGING'] as const) {
      expect(endOfLostCall(status)).toEqual({ status: 'FAILED', endReason: 'UNKNOWN' });
    }
    expect(Object.values(CallStatus).filter(isEnded).sort()).toEqual([
      'CANCELLED',
      'COMPLETED',
      'FAILED',
    ]);
  });
});

describe('billing', () => {
  it.each([
    [60, '0.05', '0.050000'],
    [6, '0.05', '0.005000'],
    [42, '0.05', '0.035000'],
    [0, '0.05', '0.000000'],
    [1, '0.000001', '0.000000'],
    [30, '0.000001', '0.000001'],
    [29, '0.000001', '0.000000'],
    [7, '0.05', '0.005833'],
    [8, '0.05', '0.006667'],
    [3600, '0.1', '6.000000'],
    [86_400, '12', '17280.000000'],
    [60, '0', '0.000000'],
    // As much as the column holds.
    [60, '999999.999999', '999999.999999'],
    [24 * 86_400, '999999.999999', '999999.999999'],
  ])('bills %i seconds at %s per minute as %s', (seconds, price, cost) => {
    expect(costOf(seconds, price)).toBe(cost);
  });

  it('rounds the cost half up to millionths', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 100_000 }),
        fc.nat({ max: 500 }),
        fc.stringMatching(/^[0-9]{1,6}$/),
        (seconds, whole, fraction) => {
          const cost = costOf(seconds, `${whole}.${fraction}`);
          expect(cost).toMatch(/^\d+\.\d{6}$/);
          const price = BigInt(`${whole}${fraction.padEnd(6, '0')}`);
          const error = BigInt(cost.replace('.', '')) * 60n - price * BigInt(seconds);
          expect(error > -30n && error <= 30n).toBe(true);
        },
      ),
    );
  });

  it.each([
    ['42s', 42],
    ['6s', 6],
    ['0s', 0],
    ['5.2s', 6],
    [null, 0],
    ['-6s', 0],
    ['a while', 0],
  ])('reads a billed duration of %s as %i seconds', (text, seconds) => {
    expect(billedSeconds(text)).toBe(seconds);
  });

  it.each([
    ['BILLING_STATUS_BILLED', 'BILLED'],
    ['BILLING_STATUS_REFUNDED', 'REFUNDED'],
    ['BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION', 'FREE'],
    ['BILLING_STATUS_FREE_SYSTEM_ERROR', 'FREE'],
    ['BILLING_STATUS_PENDING', 'PENDING'],
    ['BILLING_STATUS_UNSPECIFIED', 'PENDING'],
    [null, 'PENDING'],
  ])('maps the billing status %s to %s', (status, expected) => {
    expect(billingStatusOf(status)).toBe(expected);
  });

  it('takes an unknown billing status for free in a final bill only', () => {
    expect(billingStatusOf('BILLING_STATUS_COMPED')).toBe('PENDING');
    expect(billingStatusOf('BILLING_STATUS_COMPED', { isFinal: true })).toBe('FREE');
    expect(billingStatusOf('BILLING_STATUS_PENDING', { isFinal: true })).toBe('PENDING');
  });

  it('lets a look-up decide between different bills, and a refund never be undone', () => {
    const bills = Object.values(CallBillingStatus).flatMap((status) =>
      [6, 60].map((seconds) => ({ status, seconds })),
    );
    const verdicts = bills.flatMap((known) =>
      bills.map((seen) => {
        const change = known.seconds === seen.seconds ? '' : ' of another duration';
        return `${known.status} ${seen.status}${change}: ${compareBills(known, seen)}`;
      }),
    );
    const acted = verdicts.filter((verdict) => !verdict.endsWith('IGNORED'));
    expect([...new Set(acted)].sort()).toEqual([
      'BILLED BILLED of another duration: LOOK_UP',
      'BILLED FREE of another duration: LOOK_UP',
      'BILLED FREE: LOOK_UP',
      'BILLED REFUNDED of another duration: REPLACES',
      'BILLED REFUNDED: REPLACES',
      'FREE BILLED of another duration: LOOK_UP',
      'FREE BILLED: LOOK_UP',
      'FREE FREE of another duration: LOOK_UP',
      'FREE REFUNDED of another duration: REPLACES',
      'FREE REFUNDED: REPLACES',
      ...['BILLED', 'FREE', 'REFUNDED'].flatMap((seen) => [
        `PENDING ${seen} of another duration: REPLACES`,
        `PENDING ${seen}: REPLACES`,
      ]),
    ]);
  });
});
