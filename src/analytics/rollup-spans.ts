/** Determines which parts of a range can be read from rollups, and which must be counted call by call. Pure. */

const DAY_MS = 86_400_000;

/** Start inclusive, end exclusive, in milliseconds. */
export interface Span {
  from: number;
  to: number;
}

/**
 * Splits a range. A rollup is used if its day is rolled up, and if it lies within the range and within one period.
 *
 * `days` are the starts (UTC) of the days that are rolled up, `starts` those of the periods; both ascending.
 */
export function splitRange(
  range: Span,
  {
    starts,
    days,
    rollupMs,
  }: { starts: readonly number[]; days: readonly number[]; rollupMs: number },
): { rolled: Span[]; rest: Span[] } {
  const first = Math.ceil(range.from / rollupMs) * rollupMs;
  const last = Math.floor(range.to / rollupMs) * rollupMs;
  const cut = new Set(
    starts
      .filter((start) => start % rollupMs !== 0)
      .map((start) => Math.floor(start / rollupMs) * rollupMs),
  );
  const rolled: Span[] = [];
  for (const day of days) {
    const end = Math.min(day + DAY_MS, last);
    for (let from = Math.max(day, first); from < end; from += rollupMs) {
      if (cut.has(from)) continue;
      const previous = rolled.at(-1);
      if (previous?.to === from) previous.to += rollupMs;
      else rolled.push({ from, to: from + rollupMs });
    }
  }
  const rest: Span[] = [];
  let from = range.from;
  for (const span of [...rolled, { from: range.to, to: range.to }]) {
    if (span.from > from) rest.push({ from, to: span.from });
    from = span.to;
  }
  return { rolled, rest };
}
