/** The simulation behind forecasts: examples, and properties of generated campaigns. */

import { setImmediate as nextIteration } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { windowsFor } from '../../../src/campaigns/schedule/calling-window.ts';
import { runCooperatively } from '../../../src/campaigns/schedule/cooperative-loop.ts';
import type { SimulationInput } from '../../../src/campaigns/schedule/simulation.ts';
import { DEPTH, minutes, runs } from './clocks.ts';
import { at, campaigns, dateIn, friday, OFFICE } from './plan-support.ts';
import { openings, simulate } from './without-yielding.ts';

// Many cases on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 * Math.max(1, DEPTH) });

describe('runCooperatively', () => {
  it('runs no more than one slice in each iteration of the event loop, for any number of computations', async () => {
    let iteration = 0;
    let over = false;
    const iterations = (async () => {
      for (; !over; iteration += 1) await nextIteration();
    })();
    const slices: { of: number; iteration: number }[] = [];
    /** A computation of three slices. */
    function* long(of: number) {
      for (let slice = 0; slice < 3; slice += 1) {
        slices.push({ of, iteration });
        for (const until = performance.now() + 21; performance.now() < until; );
        yield;
      }
    }
    await Promise.all([1, 2, 3].map((of) => runCooperatively(long(of))));
    over = true;
    await iterations;
    expect(slices.map(({ of }) => of)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
    expect(new Set(slices.map(({ iteration }) => iteration)).size).toBe(slices.length);
  });
});

describe('simulate', () => {
  const input: SimulationInput = {
    window: OFFICE,
    startAt: friday,
    maxCallsPerDay: null,
    contacts: 100,
    maxConcurrentCalls: 10,
    callSeconds: 120,
  };
  const hours = (more: Partial<SimulationInput>) =>
    simulate({ ...input, ...more }).hours.map(({ from, calls }) => `${from} ${calls}`);

  it('returns the calls and contacts of each hour, and the end of the last call', () => {
    const result = simulate({ ...input, contacts: 700 });
    expect(result.hours).toEqual([
      {
        from: at('2026-11-20T11:00Z'),
        calls: 300,
        contacts: [{ timezone: null, first: 0, count: 300 }],
      },
      {
        from: at('2026-11-20T12:00Z'),
        calls: 300,
        contacts: [{ timezone: null, first: 300, count: 300 }],
      },
      {
        from: at('2026-11-20T13:00Z'),
        calls: 100,
        contacts: [{ timezone: null, first: 600, count: 100 }],
      },
    ]);
    expect(result).toMatchObject({ fits: true, calls: 700, problems: [] });
    expect(result.firstCallAt).toEqual(friday);
    expect(result.lastCallAt).toEqual(at('2026-11-20T13:18Z'));
    expect(result.endsAt).toEqual(at('2026-11-20T13:20Z'));
  });

  it('keeps to the maximum number of new calls per minute', () => {
    expect(hours({ contacts: 200, callsPerMinute: 2 })).toEqual([
      '2026-11-20T11:00:00Z 120',
      '2026-11-20T12:00:00Z 80',
    ]);
  });

  it('warns of a window that is too short, with the estimated end', () => {
    const result = simulate({ ...input, contacts: 1600 });
    expect(result).toMatchObject({ fits: false, calls: 1600 });
    expect(result.hours.at(-1)?.from).toEqual(at('2026-11-23T08:00Z'));
    expect(result.endsAt).toEqual(at('2026-11-23T08:20Z'));
    expect(result.problems).toMatchObject([
      { code: 'SPILLS_OVER', severity: 'WARNING', contacts: 100 },
    ]);
    expect(result.problems[0]?.message).toContain('2026-11-23');
  });

  it('warns of more planned calls than fit in a day, and keeps to the daily limit', () => {
    const result = simulate({
      ...input,
      contacts: 400,
      maxCallsPerDay: 200,
      maxConcurrentCalls: 1,
    });
    expect(result.problems).toMatchObject([{ code: 'SPILLS_OVER', severity: 'WARNING' }]);
    const perDay = Map.groupBy(result.hours, ({ from }) => dateIn(OFFICE.timezone, from));
    for (const list of perDay.values()) {
      expect(list.reduce((sum, { calls }) => sum + calls, 0)).toBeLessThanOrEqual(200);
    }
    expect(result.calls).toBe(400);
  });

  it('skips days whose limit is already reached', () => {
    const result = simulate({
      ...input,
      contacts: 2,
      maxCallsPerDay: 2,
      maxConcurrentCalls: 1,
      callSeconds: 6 * 3600,
      alreadyPerDay: new Map([['2026-11-23', 2]]),
    });
    expect(result.hours.map(({ from }) => String(from))).toEqual([
      '2026-11-20T11:00:00Z',
      '2026-11-24T08:00:00Z',
    ]);
  });

  it('reports contacts that would be called after five years, with the estimated end', () => {
    const result = simulate({ ...input, contacts: 100_000, maxCallsPerDay: 10 });
    expect(result.fits).toBe(false);
    expect(result.problems).toMatchObject([{ code: 'TOO_LATE', severity: 'ERROR' }]);
    expect(result.endsAt?.toZonedDateTimeISO('UTC').year).toBe(2065);
    expect(result.problems[0]?.message).toContain('2065');
  });

  it('reports contacts that could never be called', () => {
    const result = simulate({ ...input, contacts: [{ timezone: 'Australia/Brisbane', count: 5 }] });
    expect(result).toMatchObject({
      fits: false,
      calls: 0,
      firstCallAt: null,
      endsAt: null,
      hours: [],
    });
    expect(result.problems).toMatchObject([{ code: 'NEVER_OPEN', severity: 'ERROR', contacts: 5 }]);
  });

  it('calls each contact once, within the windows and the daily limit', () => {
    fc.assert(
      fc.property(
        campaigns,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3600 }),
        ({ input: campaign, zones }, maxConcurrentCalls, callSeconds) => {
          const { window, maxCallsPerDay, alreadyPerDay } = campaign;
          const result = simulate({ ...campaign, maxConcurrentCalls, callSeconds });
          const called = new Map<string | null, number[]>();
          const perDay = new Map<string, number>();
          for (const hour of result.hours) {
            const date = dateIn(window.timezone, hour.from);
            perDay.set(date, (perDay.get(date) ?? 0) + hour.calls);
            expect(hour.contacts.reduce((sum, { count }) => sum + count, 0)).toBe(hour.calls);
            for (const { timezone, first, count } of hour.contacts) {
              const both = windowsFor(window, timezone);
              expect(openings(both, hour.from, minutes(hour.from, 60))).not.toEqual([]);
              const list = called.get(timezone) ?? [];
              called.set(timezone, list);
              for (let i = 0; i < count; i++) list.push(first + i);
            }
          }
          for (const [date, count] of perDay) {
            if (maxCallsPerDay === null) continue;
            const already = alreadyPerDay.get(date) ?? 0;
            expect(count).toBeLessThanOrEqual(Math.max(0, maxCallsPerDay - already));
          }
          for (const list of called.values()) expect(list).toEqual(list.map((_, i) => i));
          const missing = result.problems
            .filter(({ severity }) => severity === 'ERROR')
            .reduce((sum, { contacts }) => sum + contacts, 0);
          expect(result.calls + missing).toBe(zones.length);
        },
      ),
      runs(300),
    );
  });
});
