/** Analytics of four million calls in a year: through the API, compared with SQL over the calls. */
import type { Client } from 'pg';
import { type Section, table } from '../support/results.ts';
import type { Organizations } from './rows.ts';
import { type LargeServer, rounded } from './server.ts';

const ZONES = ['Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe'];
const RUNS = 3;
const DAY_MS = 86_400_000;
const LOCAL = `created_at AT TIME ZONE 'Europe/Berlin'`;
/** Groupings of the API, and the same in SQL. */
const GROUPINGS: [string[], string[]][] = [
  [[], []],
  [['AGENT'], ['agent_id']],
  [['CAMPAIGN'], ['campaign_id']],
  [['PHONE_NUMBER'], ['phone_number_id']],
  [['END_REASON'], ['end_reason']],
  [['ANSWERED_BY'], ['answered_by']],
  [['HOUR'], [`date_trunc('hour', ${LOCAL})`]],
  [['DAY'], [`date_trunc('day', ${LOCAL})`]],
  [['WEEK'], [`date_trunc('week', ${LOCAL})`]],
  [['MONTH'], [`date_trunc('month', ${LOCAL})`]],
  [['HOUR_OF_WEEK'], [`to_char(${LOCAL}, 'ID HH24')`]],
  [
    ['DAY', 'END_REASON'],
    [`date_trunc('day', ${LOCAL})`, 'end_reason'],
  ],
  [
    ['WEEK', 'AGENT'],
    [`date_trunc('week', ${LOCAL})`, 'agent_id'],
  ],
];
const FIGURES =
  'calls answered successful averageHandleSeconds totalHandleSeconds cost { amount } tokens';
const analyticsQuery = (figures: string) => `
  query ($range: AnalyticsRange!, $timezone: String, $groupBy: [AnalyticsGroupBy!], $filter: AnalyticsFilter) {
    analytics(range: $range, timezone: $timezone, groupBy: $groupBy, filter: $filter) {
      groups { start weekday hour figures { ${figures} } } } }`;
const SQL_FIGURES = `count(*), count(answered_at), avg(extract(epoch FROM ended_at - answered_at)),
  sum(extract(epoch FROM ended_at - answered_at)), sum(cost_amount)`;

export async function analyticsAtSize(
  server: LargeServer,
  client: Client,
  { large }: Organizations,
): Promise<Section> {
  const to = Math.ceil(Date.now() / DAY_MS) * DAY_MS;
  const range = { from: new Date(to - 365 * DAY_MS), to: new Date(to) };
  const rows: string[][] = [];
  for (const [groupBy, expressions] of GROUPINGS) {
    const times = [];
    for (const timezone of ZONES) {
      times.push(
        await server.times(RUNS, 'large', analyticsQuery(FIGURES), { range, timezone, groupBy }),
      );
    }
    const sql = await sqlMs(client, expressions, [large, range.from, range.to]);
    const p50 = times[0]?.p50 ?? Number.NaN;
    rows.push([
      groupBy.join(' and ') || 'total',
      ...times.map(({ p50, worst }) => `${rounded(p50)} (${rounded(worst)})`),
      rounded(sql),
      (p50 / sql).toFixed(2),
    ]);
  }
  rows.push(...(await others(server, range)));
  return {
    title: 'Analytics of 4 million calls',
    text: `Milliseconds for an API query over a year of an organization with 4 million calls, in a database with 5 million: the median of ${RUNS} runs and, in parentheses, the worst, in four time zones. The first time zone is compared with hand-written SQL over the calls for five of the figures.`,
    table: table(['grouped by', ...ZONES, 'SQL', 'ratio'], rows),
  };
}

async function sqlMs(client: Client, expressions: string[], values: unknown[]): Promise<number> {
  const keys = expressions.map((expression) => `${expression}, `).join('');
  const groups = expressions.map((_, index) => index + 1).join(', ');
  const text = `SELECT ${keys}${SQL_FIGURES} FROM calls WHERE organization_id = $1 AND created_at >= $2
    AND created_at < $3 AND deleted_at IS NULL ${groups ? `GROUP BY ${groups}` : ''}`;
  const startedAt = performance.now();
  await client.query(text, values);
  return performance.now() - startedAt;
}

/** Medians, a filter, and figures in lists. */
async function others(server: LargeServer, range: object): Promise<string[][]> {
  const { data } = await server.ask('large', '{ agents(first: 10) { nodes { id } } }');
  const agentId = data.agents.nodes.map(({ id }: { id: string }) => id);
  const list = (field: string) =>
    `query ($range: AnalyticsRange) { ${field}(first: 50) { nodes { figures(range: $range) { ${FIGURES} } } } }`;
  const median = analyticsQuery('medianHandleSeconds');
  const filter = { agentId };
  const asked: [string, string, object][] = [
    ['median of the total', median, { range, groupBy: [] }],
    ['median by AGENT', median, { range, groupBy: ['AGENT'] }],
    ['median by DAY', median, { range, groupBy: ['DAY'] }],
    ['DAY, of 10 agents', analyticsQuery(FIGURES), { range, groupBy: ['DAY'], filter }],
    ['figures of 50 agents', list('agents'), { range }],
    ['figures of 50 campaigns', list('campaigns'), { range }],
  ];
  const rows: string[][] = [];
  for (const [name, query, variables] of asked) {
    const { p50, worst } = await server.times(RUNS, 'large', query, variables);
    rows.push([
      name,
      `${rounded(p50)} (${rounded(worst)}) in UTC`,
      ...Array(ZONES.length + 1).fill(''),
    ]);
  }
  return rows;
}
