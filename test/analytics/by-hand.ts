/** Counts figures one call at a time, for comparison with those of the API. */
import { expect } from 'vitest';
import type { Prisma } from '../../src/generated/prisma/client.ts';

export type CountedCall = Prisma.CallCreateManyInput & {
  success: boolean | null;
  tokens: number | null;
};

function figuresByHand(some: readonly CountedCall[]) {
  const handled = some.filter(({ answeredAt, endedAt }) => answeredAt && endedAt);
  const times = handled
    .map(({ answeredAt, endedAt }) => Number(endedAt) - Number(answeredAt))
    .sort((a, b) => a - b);
  const total = times.reduce((sum, time) => sum + time, 0);
  const tenths = (index: number): number => Math.floor(((times[index] ?? 0) + 50) / 100);
  const half = times.length / 2;
  const median = (tenths(Math.ceil(half) - 1) + tenths(Math.floor(half))) / 20;
  const judged = some.filter(({ success }) => success !== null).length;
  const answered = some.filter(({ answeredAt }) => answeredAt).length;
  const successful = some.filter(({ success }) => success).length;
  const cost = some
    .filter(({ costCurrency }) => costCurrency === 'USD')
    .reduce((sum, call) => sum + Math.round(Number(call.costAmount ?? 0) * 1e6), 0);
  return {
    calls: some.length,
    answered,
    answerRate: some.length > 0 ? answered / some.length : null,
    successful,
    successRate: judged > 0 ? successful / judged : null,
    averageHandleSeconds: times.length > 0 ? total / 1000 / times.length : null,
    medianHandleSeconds: times.length > 0 ? median : null,
    totalHandleSeconds: total / 1000,
    cost: { amount: String(cost / 1e6), currency: 'USD' },
    tokens: some.reduce((sum, { tokens }) => sum + (tokens ?? 0), 0),
  };
}

/** The group that a calendar and a clock give a call, one call at a time. */
export function keyByHand(unit: string, timezone: string, { createdAt }: CountedCall): string {
  const clock = Temporal.Instant.fromEpochMilliseconds(Number(createdAt)).toZonedDateTimeISO(
    timezone,
  );
  const day = clock.toPlainDate();
  const first = (date: Temporal.PlainDate): string =>
    new Date(date.toZonedDateTime(timezone).epochMilliseconds).toISOString();
  switch (unit) {
    case 'DAY':
      return first(day);
    case 'WEEK':
      return first(day.subtract({ days: day.dayOfWeek - 1 }));
    case 'MONTH':
      return first(day.with({ day: 1 }));
    case 'HOUR_OF_WEEK':
      return `${clock.dayOfWeek}/${clock.hour}`;
    default: {
      // Back to the first minute with the same hour and offset.
      let start = clock.with({ minute: 0, second: 0, millisecond: 0 });
      for (let minute = 0; minute < 60; minute += 1) {
        const at = clock
          .round({ smallestUnit: 'minute', roundingMode: 'floor' })
          .subtract({ minutes: minute });
        if (at.hour !== clock.hour || at.offset !== clock.offset) break;
        start = at;
      }
      return new Date(start.epochMilliseconds).toISOString();
    }
  }
}

/** Compares the figures that the API shows with those of these calls. */
export function expectFigures(seen: object, some: readonly CountedCall[]): void {
  const expected = figuresByHand(some);
  for (const [name, value] of Object.entries(expected)) {
    const got = (seen as Record<string, unknown>)[name];
    if (typeof value === 'number') expect(got, name).toBeCloseTo(value, 6);
    else expect(got, name).toEqual(value);
  }
}
