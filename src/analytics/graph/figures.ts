/** Figures of calls, also as fields of agents and campaigns. */
import { AgentNode } from '../../agents/graph/agent.ts';
import { MoneyType } from '../../calls/graph/call.ts';
import { CampaignNode } from '../../campaigns/graph/campaign.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { batched, readerOf } from '../../graphql/reading/batched.ts';
import type { AnalyticsRange } from '../query.ts';
import { checkQuery, type Figures, groupsOf, MAX_DAYS, mediansOf, totalOf } from '../service.ts';

const DAY_MS = 86_400_000;

export interface FiguresShape extends Figures {
  /** Reads the median, which is computed only if requested. */
  median: () => Promise<number | null>;
}

export const FiguresType = builder.objectRef<FiguresShape>('CallFigures').implement({
  description:
    'Figures of calls, up to the present moment. A call counts in the period in which it was created. Deleted calls are not counted.',
  authScopes: { readCampaign: true },
  fields: (t) => ({
    callCount: t.exposeInt('calls', { description: 'Number of calls, including live ones.' }),
    calls: t.exposeInt('calls', {
      description: 'Number of calls, including live ones.',
      deprecationReason: useInstead('callCount'),
    }),
    answeredCount: t.exposeInt('answered', { description: 'Number of calls that were answered.' }),
    answered: t.exposeInt('answered', {
      description: 'Number of calls that were answered.',
      deprecationReason: useInstead('answeredCount'),
    }),
    answerRate: t.float({
      nullable: true,
      description: 'Share of calls that were answered, 0 to 1. Null if there are no calls.',
      resolve: ({ answered, calls }) => ratio(answered, calls),
    }),
    successfulCount: t.exposeInt('successful', {
      description: 'Number of calls whose outcome is a success by the criteria of the agent.',
    }),
    successful: t.exposeInt('successful', {
      description: 'Number of calls whose outcome is a success by the criteria of the agent.',
      deprecationReason: useInstead('successfulCount'),
    }),
    successRate: t.float({
      nullable: true,
      description:
        'Share of calls with an outcome that are successful, 0 to 1. Null if no call has an outcome.',
      resolve: ({ successful, judged }) => ratio(successful, judged),
    }),
    averageHandleSeconds: t.float({
      nullable: true,
      description:
        'Average time from answer to end, in seconds, of the answered calls that have ended. Null if there are no such calls.',
      resolve: ({ handleMs, handled }) => ratio(handleMs / 1000, handled),
    }),
    medianHandleSeconds: t.float({
      nullable: true,
      description:
        'Median time from answer to end, in seconds, with each call rounded to a tenth of a second. Null if there are no such calls. Counted only if selected.',
      resolve: ({ median }) => median(),
    }),
    totalHandleSeconds: t.float({
      description: 'Total time from answer to end, in seconds.',
      resolve: ({ handleMs }) => handleMs / 1000,
    }),
    cost: t.field({
      type: MoneyType,
      description:
        'Total cost of the billed calls. Calls billed in another currency, before a change of the server’s settings, are not included.',
      resolve: ({ costMicros }, _args, { app }) => ({
        amount: decimal(costMicros),
        currency: app.config.PRICE_CURRENCY,
      }),
    }),
    tokens: t.float({
      description:
        'Number of tokens that the language model used for the last analysis of each call, input and output together.',
      resolve: ({ tokens }) => tokens,
    }),
  }),
});

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

function decimal(micros: bigint): string {
  const digits = micros.toString().padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, '') || '0';
}

export const RangeInput = builder.inputType('AnalyticsRange', {
  description: `Range of creation times, at most ${MAX_DAYS} days.`,
  fields: (t) => ({
    from: t.field({
      type: 'DateTime',
      required: true,
      description: 'Start of the range, inclusive.',
    }),
    to: t.field({ type: 'DateTime', required: true, description: 'End of the range, exclusive.' }),
  }),
});

interface OwnerKey {
  by: 'AGENT' | 'CAMPAIGN';
  id: string;
  range: AnalyticsRange;
}

/** Loads the figures of any number of agents or campaigns, with one statement per range. */
const loadFigures = batched<OwnerKey, FiguresShape>(async ({ app, viewer }, keys) => {
  const sets = Map.groupBy(keys, ({ by, range }) => `${by}/${+range.from}/${+range.to}`);
  const found = new Map<OwnerKey, FiguresShape>();
  for (const set of sets.values()) {
    const { by, range } = set[0] as OwnerKey;
    const ids = [...new Set(set.map(({ id }) => id))];
    const filter = by === 'AGENT' ? { agentIds: ids } : { campaignIds: ids };
    const query = { range, timezone: 'UTC', filter, groupBy: [by] };
    const groups = await groupsOf(app, viewer, query);
    let medians: ReturnType<typeof mediansOf> | undefined;
    for (const key of set) {
      const own = groups.filter(
        ({ agentId, campaignId }) => (by === 'AGENT' ? agentId : campaignId) === key.id,
      );
      const median = async (): Promise<number | null> => {
        medians ??= mediansOf(app, viewer, query);
        return (await medians).get(own[0]?.key ?? '') ?? null;
      };
      found.set(key, { ...totalOf(own), median });
    }
  }
  return keys.map((key) => found.get(key) as FiguresShape);
});

builder.prismaObjectField(AgentNode, 'figures', (t) =>
  t.field({
    type: FiguresType,
    authScopes: { read: true },
    description: 'Figures of the calls of the agent.',
    complexity: 10,
    args: {
      range: t.arg({
        type: RangeInput,
        description: 'Range of creation times. Default: the last 30 days.',
      }),
    },
    select: { id: true },
    resolve: ({ id }, { range }, context) =>
      loadFigures(readerOf(context), {
        by: 'AGENT',
        id,
        range: checkedRange(range) ?? lastDays(context.app.now(), 30),
      }),
  }),
);

builder.prismaObjectField(CampaignNode, 'figures', (t) =>
  t.field({
    type: FiguresType,
    description: 'Figures of the calls of the campaign.',
    complexity: 10,
    args: {
      range: t.arg({
        type: RangeInput,
        description: `Range of creation times. Default: since the creation of the campaign, at most the last ${MAX_DAYS} days.`,
      }),
    },
    select: { id: true },
    resolve: ({ id }, { range }, context) =>
      loadFigures(readerOf(context), {
        by: 'CAMPAIGN',
        id,
        range: checkedRange(range) ?? lastDays(context.app.now(), MAX_DAYS),
      }),
  }),
);

function checkedRange(range: AnalyticsRange | null | undefined): AnalyticsRange | null {
  if (!range) return null;
  checkQuery({ range, groupBy: [] });
  return range;
}

/** Returns a range that ends with the current hour, so that many fields of an operation share one statement. */
function lastDays(now: Date, days: number): AnalyticsRange {
  const to = new Date((Math.floor(now.getTime() / 3_600_000) + 1) * 3_600_000);
  return { from: new Date(to.getTime() - days * DAY_MS), to };
}
