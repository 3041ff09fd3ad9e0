/** Computes figures of calls over a range, by group. */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { AnsweredBy, CallEndReason, Prisma } from '../generated/prisma/client.ts';
import { formatNumber } from '../infra/format-number.ts';
import { canonicalTimeZone } from '../infra/time-zone.ts';
import type { Viewer } from '../viewer.ts';
import { type PeriodGroup, type Periods, periodCount, periodsOf } from './periods.ts';
import { type AnalyticsQuery, type COLUMNS, type Column, isTimeUnit } from './query.ts';
import { FIGURE_NAMES, type FigureName, groupingOf, withCalls, withSources } from './sources.ts';

const DAY_MS = 86_400_000;
export const MAX_DAYS = 731;
export const MAX_GROUPS = 10_000;

export interface Figures {
  calls: number;
  answered: number;
  /** Number of calls with a verdict; `successful` of them met the criteria. */
  judged: number;
  successful: number;
  /** Number of calls that were answered and have ended; `handleMs` is their total time from answer to end. */
  handled: number;
  handleMs: number;
  costMicros: bigint;
  tokens: number;
}

export interface Group {
  figures: Figures;
  agentId: string | null;
  campaignId: string | null;
  phoneNumberId: string | null;
  endReason: CallEndReason | null;
  answeredBy: AnsweredBy | null;
  period: PeriodGroup | null;
  /** Distinguishes the group from others in the same query. */
  key: string;
}

type Row = Record<FigureName, bigint> & {
  period: number | null;
} & Partial<Record<(typeof COLUMNS)[Column], string | null>>;

const SUMS = Prisma.raw(FIGURE_NAMES.map((name) => `sum(${name})::bigint AS ${name}`).join(', '));

/**
 * Returns the canonical name of a time zone, under which its periods are cached.
 *
 * @throws RequestError BAD_USER_INPUT
 */
export function readTimeZone(name: string): string {
  const canonical = canonicalTimeZone(name);
  if (canonical) return canonical;
  throw badInput(`${JSON.stringify(name.slice(0, 60))} is not an IANA time zone.`);
}

/** @throws RequestError BAD_USER_INPUT if the range is invalid, or there are too many groups. */
export function checkQuery({ range, groupBy }: Pick<AnalyticsQuery, 'range' | 'groupBy'>): void {
  if (range.to <= range.from) throw badInput('`range.to` must be after `range.from`.');
  const days = (range.to.getTime() - range.from.getTime()) / DAY_MS;
  if (days > MAX_DAYS + 1 / 24) {
    throw badInput(`The range has ${Math.ceil(days)} days; at most ${MAX_DAYS} are allowed.`);
  }
  const units = groupBy.filter(isTimeUnit);
  if (units.length > 1) {
    throw badInput(`\`groupBy\` may have one unit of time; it has ${units.join(', ')}.`);
  }
  const [unit] = units;
  const count = unit ? periodCount(unit, range.from, range.to) : 0;
  if (count > MAX_GROUPS) throw tooManyGroups(count);
}

/** Maximum number of groups of a query, as far as its arguments tell. */
export function maxGroups({ groupBy, range, filter }: Omit<AnalyticsQuery, 'timezone'>): number {
  const sizes = [...new Set(groupBy)].map((name) => {
    switch (name) {
      case 'AGENT':
        return filter.agentIds?.length ?? MAX_GROUPS;
      case 'CAMPAIGN':
        return filter.campaignIds?.length ?? MAX_GROUPS;
      case 'PHONE_NUMBER':
        return filter.phoneNumberIds?.length ?? MAX_GROUPS;
      case 'END_REASON':
        return filter.endReasons?.length ?? Object.keys(CallEndReason).length + 1;
      case 'ANSWERED_BY':
        return filter.answeredBy?.length ?? Object.keys(AnsweredBy).length + 1;
      default:
        return Math.max(1, periodCount(name, range.from, range.to));
    }
  });
  return Math.min(
    MAX_GROUPS,
    sizes.reduce((product, size) => product * size, 1),
  );
}

/** Returns the figures of each group that has calls, in group order. */
export async function groupsOf(
  app: App,
  viewer: Pick<Viewer, 'organizationId'>,
  query: AnalyticsQuery,
): Promise<Group[]> {
  const periods = periodsIn(query);
  const { names, grouped, sorted } = groupingOf(query.groupBy, periods);
  const currency = app.config.PRICE_CURRENCY;
  return withSources(app, viewer, { query, periods }, async (db, sources) => {
    const parts = sources.map(
      ({ keys, figures, from }) =>
        Prisma.sql`(SELECT ${keys} ${figures(currency)} FROM ${from} ${grouped})`,
    );
    const [first] = parts;
    const rows = await db.$queryRaw<Row[]>`
      ${parts.length === 1 ? first : Prisma.sql`SELECT ${names} ${SUMS} FROM (${Prisma.join(parts, ' UNION ALL ')}) AS part ${grouped}`}
      ${sorted} LIMIT ${MAX_GROUPS + 1}`;
    if (rows.length > MAX_GROUPS) {
      const all = sources.map(
        ({ keys, from }) => Prisma.sql`(SELECT ${keys} 1 FROM ${from} ${grouped})`,
      );
      const [counted] = await db.$queryRaw<{ count: bigint }[]>`
        SELECT count(*) FROM (${Prisma.join(all, ' UNION ')}) AS g`;
      throw tooManyGroups(Number(counted?.count ?? rows.length));
    }
    return rows.map((row) => toGroup(row, periods));
  });
}

/**
 * Returns the median handle time of each group in seconds, by group key. Times are first rounded to tenths of a second.
 */
export async function mediansOf(
  app: App,
  viewer: Pick<Viewer, 'organizationId'>,
  query: AnalyticsQuery,
): Promise<Map<string, number>> {
  const periods = periodsIn(query);
  const { names, grouped, partition, count } = groupingOf(query.groupBy, periods);
  const byTenth = Prisma.raw(Array.from({ length: count + 1 }, (_, index) => index + 1).join(', '));
  const rows = await withCalls(app, viewer, { query, periods }, (db, { keys, from }) => {
    return db.$queryRaw<(Row & { median: number | null })[]>`
      WITH histogram AS (
        SELECT ${keys} (handle_ms + 50) / 100 AS tenth, count(*) AS n
        FROM ${from} AND handle_ms IS NOT NULL GROUP BY ${byTenth}),
      counted AS (
        SELECT *, sum(n) OVER (${partition} ORDER BY tenth) AS upto,
          sum(n) OVER (${partition}) AS total FROM histogram)
      SELECT ${names} (min(tenth) FILTER (WHERE upto >= div(total + 1, 2))
        + min(tenth) FILTER (WHERE upto >= div(total, 2) + 1)) / 20.0::float8 AS median
      FROM counted ${grouped}`;
  });
  return new Map(
    rows.flatMap(({ median, ...row }) =>
      median === null ? [] : [[keyOf(row as Row), median] as const],
    ),
  );
}

/** Returns the sum of the groups' figures. */
export function totalOf(groups: readonly Group[]): Figures {
  const total: Figures = { ...NO_FIGURES };
  for (const { figures } of groups) {
    total.calls += figures.calls;
    total.answered += figures.answered;
    total.judged += figures.judged;
    total.successful += figures.successful;
    total.handled += figures.handled;
    total.handleMs += figures.handleMs;
    total.costMicros += figures.costMicros;
    total.tokens += figures.tokens;
  }
  return total;
}

const NO_FIGURES: Figures = {
  calls: 0,
  answered: 0,
  judged: 0,
  successful: 0,
  handled: 0,
  handleMs: 0,
  costMicros: 0n,
  tokens: 0,
};

function periodsIn({ groupBy, timezone, range }: AnalyticsQuery): Periods | null {
  const unit = groupBy.find(isTimeUnit);
  return unit ? periodsOf(unit, timezone, range.from, range.to) : null;
}

function toGroup(row: Row, periods: Periods | null): Group {
  return {
    key: keyOf(row),
    agentId: row.agent_id ?? null,
    campaignId: row.campaign_id ?? null,
    phoneNumberId: row.phone_number_id ?? null,
    endReason: (row.end_reason ?? null) as CallEndReason | null,
    answeredBy: (row.answered_by ?? null) as AnsweredBy | null,
    period: periods && typeof row.period === 'number' ? (periods.groups[row.period] ?? null) : null,
    figures: {
      calls: Number(row.calls),
      answered: Number(row.answered),
      judged: Number(row.judged),
      successful: Number(row.successful),
      handled: Number(row.handled),
      handleMs: Number(row.handle_ms),
      costMicros: BigInt(row.cost_micros),
      tokens: Number(row.tokens),
    },
  };
}

function keyOf({ period, agent_id, campaign_id, phone_number_id, end_reason, answered_by }: Row) {
  return [period, agent_id, campaign_id, phone_number_id, end_reason, answered_by].join('/');
}

function badInput(message: string): RequestError {
  return new RequestError('BAD_USER_INPUT', message);
}

function tooManyGroups(count: number): RequestError {
  return badInput(
    `The grouping has ${formatNumber(count)} rows; at most ${formatNumber(MAX_GROUPS)} are allowed. Narrow the range or the filter, or group by a larger unit.`,
  );
}
