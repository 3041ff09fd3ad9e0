/** Chooses the sources of figures: rows of single calls, rollups, or both, each for its part of the range. */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Viewer } from '../viewer.ts';
import type { Periods } from './periods.ts';
import { type AnalyticsQuery, COLUMNS, type Grouping, isTimeUnit } from './query.ts';
import { type Span, splitRange } from './rollup-spans.ts';
import { type Grain, ROLLUP_MS, rolledUpDays } from './rollups.ts';

type Database = Pick<Tx, '$queryRaw'>;

export const FIGURE_NAMES = [
  ...(['calls', 'answered', 'judged', 'successful'] as const),
  ...(['handled', 'handle_ms', 'tokens', 'cost_micros'] as const),
];
export type FigureName = (typeof FIGURE_NAMES)[number];

/** SQL of one source. All sources have the same columns with the same names. */
export interface Source {
  /** Expressions of the groups, each followed by a comma. */
  keys: Prisma.Sql;
  figures: (currency: string) => Prisma.Sql;
  /** Table and conditions. */
  from: Prisma.Sql;
}

interface Request {
  query: AnalyticsQuery;
  periods: Periods | null;
}

/** If rollups cover less than this share of the range, all calls are counted one by one. */
const MIN_SHARE = 0.5;
const MAX_WAIT_MS = 10_000;
const TIMEOUT_MS = 60_000;

/**
 * Calls `read` with the sources of a query and a database snapshot from which to read all of them.
 */
export function withSources<T>(
  app: App,
  viewer: Pick<Viewer, 'organizationId'>,
  request: Request,
  read: (db: Database, sources: readonly Source[]) => Promise<T>,
): Promise<T> {
  const { organizationId } = viewer;
  return readInTransaction(app, async (tx) => {
    const days = await rolledUpDays(tx, organizationId, request.query.range);
    return read(tx, sourcesOf(organizationId, request, days));
  });
}

/** Same as `withSources`, but only with the rows of single calls. */
export function withCalls<T>(
  app: App,
  { organizationId }: Pick<Viewer, 'organizationId'>,
  request: Request,
  read: (db: Database, source: Source) => Promise<T>,
): Promise<T> {
  return readInTransaction(app, (tx) => read(tx, callSource(organizationId, request)));
}

function readInTransaction<T>(app: App, read: (db: Database) => Promise<T>): Promise<T> {
  return app.db.$transaction(
    async (tx) => {
      // JIT compilation takes longer than it saves.
      await tx.$executeRaw`SET LOCAL jit = off`;
      return read(tx);
    },
    { isolationLevel: 'RepeatableRead', maxWait: MAX_WAIT_MS, timeout: TIMEOUT_MS },
  );
}

function sourcesOf(organizationId: string, request: Request, days: number[]): Source[] {
  const { query, periods } = request;
  const range = { from: query.range.from.getTime(), to: query.range.to.getTime() };
  const grain = grainOf(query);
  const starts = (periods?.starts ?? []).map((start) => start.getTime());
  const { rolled, rest } = splitRange(range, { starts, days, rollupMs: ROLLUP_MS[grain] });
  const share = totalLength(rolled) / totalLength([range]);
  if (share < MIN_SHARE) return [callSource(organizationId, request)];
  return [
    rollupSource(organizationId, request, { grain, spans: rolled }),
    ...(rest.length > 0 ? [callSource(organizationId, request, rest)] : []),
  ];
}

/** Quarter-hours fit the clock of every time zone, but do not distinguish agents, campaigns and numbers. */
function grainOf({ groupBy, filter }: AnalyticsQuery): Grain {
  const { agentIds, campaignIds, phoneNumberIds } = filter;
  const needsDay =
    agentIds ||
    campaignIds ||
    phoneNumberIds ||
    groupBy.some((name) => name === 'AGENT' || name === 'CAMPAIGN' || name === 'PHONE_NUMBER');
  return needsDay ? 'DAY' : 'QUARTER_HOUR';
}

function totalLength(spans: readonly Span[]): number {
  return spans.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** Rows of single calls, in the whole range or in parts of it. */
function callSource(
  organizationId: string,
  { query, periods }: Request,
  spans?: readonly Span[],
): Source {
  const { range, filter } = query;
  const where = Prisma.sql`organization_id = ${organizationId}::uuid ${filterSql(filter)}`;
  const from = spans
    ? withinSpans(spans, {
        table: Prisma.sql`call_facts`,
        instant: Prisma.sql`created_at`,
        where,
      })
    : Prisma.sql`call_facts
        WHERE ${where} AND created_at >= ${range.from} AND created_at < ${range.to}`;
  return {
    keys: keysSql(query.groupBy, periods, Prisma.sql`created_at`),
    figures: (currency) => Prisma.sql`
      count(*) AS calls, count(*) FILTER (WHERE answered) AS answered, count(success) AS judged,
      count(*) FILTER (WHERE success) AS successful, count(handle_ms) AS handled,
      coalesce(sum(handle_ms), 0)::bigint AS handle_ms, coalesce(sum(tokens), 0)::bigint AS tokens,
      coalesce(sum(cost_micros) FILTER (WHERE cost_currency = ${currency}), 0)::bigint AS cost_micros`,
    from,
  };
}

function rollupSource(
  organizationId: string,
  { query, periods }: Request,
  { grain, spans }: { grain: Grain; spans: readonly Span[] },
): Source {
  const from = withinSpans(spans, {
    table: Prisma.sql`call_rollups`,
    instant: Prisma.sql`starts_at`,
    where: Prisma.sql`organization_id = ${organizationId}::uuid
      AND grain = ${grain}::"CallRollupGrain" ${filterSql(query.filter)}`,
  });
  const sum = (name: string) => Prisma.raw(`coalesce(sum(${name}), 0)::bigint AS ${name}`);
  return {
    keys: keysSql(query.groupBy, periods, Prisma.sql`starts_at`),
    figures: (currency) => Prisma.sql`
      ${Prisma.join(FIGURE_NAMES.slice(0, -1).map(sum))},
      coalesce(sum(cost_micros) FILTER (WHERE cost_currency = ${currency}), 0)::bigint AS cost_micros`,
    from,
  };
}

/** The rows of each span. `OFFSET` makes PostgreSQL read span by span, using the index on the instant. */
function withinSpans(
  spans: readonly Span[],
  { table, instant, where }: Record<'table' | 'instant' | 'where', Prisma.Sql>,
): Prisma.Sql {
  const starts = spans.map(({ from }) => new Date(from));
  const ends = spans.map(({ to }) => new Date(to));
  return Prisma.sql`unnest(${starts}::timestamptz[], ${ends}::timestamptz[]) AS span(first, last)
    CROSS JOIN LATERAL (SELECT * FROM ${table} WHERE ${where}
      AND ${instant} >= span.first AND ${instant} < span.last OFFSET 0) AS part_of_span`;
}

function filterSql({
  agentIds,
  campaignIds,
  phoneNumberIds,
  endReasons,
  answeredBy,
}: AnalyticsQuery['filter']): Prisma.Sql {
  const conditions = [
    ...(agentIds ? [Prisma.sql`AND agent_id = ANY(${[...agentIds]}::uuid[])`] : []),
    ...(campaignIds ? [Prisma.sql`AND campaign_id = ANY(${[...campaignIds]}::uuid[])`] : []),
    ...(phoneNumberIds
      ? [Prisma.sql`AND phone_number_id = ANY(${[...phoneNumberIds]}::uuid[])`]
      : []),
    ...(endReasons
      ? [Prisma.sql`AND end_reason = ANY(${[...endReasons]}::"CallEndReason"[])`]
      : []),
    ...(answeredBy ? [Prisma.sql`AND answered_by = ANY(${[...answeredBy]}::"AnsweredBy"[])`] : []),
  ];
  return conditions.length > 0 ? Prisma.join(conditions, ' ') : Prisma.empty;
}

/** Expressions of the groups. The period comes first, so that groups are in chronological order. */
function keysSql(
  groupBy: readonly Grouping[],
  periods: Periods | null,
  instant: Prisma.Sql,
): Prisma.Sql {
  const columns = columnsOf(groupBy).map((name) => Prisma.raw(name));
  const keys = periods
    ? [
        Prisma.sql`(${periods.labels}::int[])[width_bucket(${instant}, ${periods.starts}::timestamptz[])] AS period`,
        ...columns,
      ]
    : columns;
  return keys.length > 0 ? Prisma.sql`${Prisma.join(keys)},` : Prisma.empty;
}

/** Clauses over the groups, for any source. */
export function groupingOf(groupBy: readonly Grouping[], periods: Periods | null) {
  const names = [...(periods ? ['period'] : []), ...columnsOf(groupBy)];
  const numbers = names.map((_, index) => index + 1).join(', ');
  const clause = (words: string, list: string): Prisma.Sql =>
    names.length > 0 ? Prisma.raw(`${words} ${list}`) : Prisma.empty;
  return {
    count: names.length,
    /** Each followed by a comma. */
    names: names.length > 0 ? Prisma.raw(`${names.join(', ')},`) : Prisma.empty,
    grouped: clause('GROUP BY', numbers),
    sorted: clause('ORDER BY', numbers),
    partition: clause('PARTITION BY', names.join(', ')),
  };
}

function columnsOf(groupBy: readonly Grouping[]): string[] {
  return [...new Set(groupBy)].flatMap((name) => (isTimeUnit(name) ? [] : [COLUMNS[name]]));
}
