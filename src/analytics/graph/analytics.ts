/** The query `analytics`: figures of calls over a range, by groups. */
import { AgentNode } from '../../agents/graph/agent.ts';
import { AnsweredByEnum, CallEndReasonEnum } from '../../calls/graph/call-enums.ts';
import { CampaignNode } from '../../campaigns/graph/campaign.ts';
import { builder } from '../../graphql/builder.ts';
import { filterCondition } from '../../graphql/lists/filter-condition.ts';
import { rowLoader } from '../../graphql/reading/row-loader.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { PhoneNumberNode } from '../../phone-numbers/graph/phone-number.ts';
import { ownedAndNotDeleted, ownedBy } from '../../viewer.ts';
import type { AnalyticsQuery, Grouping } from '../query.ts';
import { analyticsFilter } from '../search.ts';
import {
  checkQuery,
  type Group,
  groupsOf,
  MAX_DAYS,
  MAX_GROUPS,
  maxGroups,
  mediansOf,
  readTimeZone,
  totalOf,
} from '../service.ts';
import { type FiguresShape, FiguresType, RangeInput } from './figures.ts';

const MAX_IDS = 100;

const GROUPINGS: Record<Grouping, string> = {
  AGENT: 'By agent.',
  CAMPAIGN: 'By campaign. Calls outside campaigns form a group.',
  PHONE_NUMBER: 'By phone number of the organization. Calls without one form a group.',
  END_REASON: 'By reason for the end. Calls that have not ended form a group.',
  ANSWERED_BY: 'By who answered. Calls for which this is unknown form a group.',
  HOUR: 'By hour of local time. An hour that a clock change repeats forms two groups.',
  DAY: 'By calendar day.',
  WEEK: 'By week, beginning on Monday.',
  MONTH: 'By calendar month.',
  HOUR_OF_WEEK: 'By day of the week and hour of local time: up to 168 groups.',
};

const GroupByEnum = builder.enumType('AnalyticsGroupBy', {
  description:
    'Dimensions by which figures can be grouped. Units of time are in the `timezone` of the query.',
  values: Object.fromEntries(
    Object.entries(GROUPINGS).map(([name, description]) => [name, { description }]),
  ) as Record<Grouping, { description: string }>,
});

const FilterInput = builder.inputType('AnalyticsFilter', {
  description:
    'Filters for the calls that are counted. All of them must match. An empty list matches all.',
  fields: (t) => ({
    agentId: t.idList({ maxItems: MAX_IDS, description: 'IDs of agents (`agt_…`).' }),
    campaignId: t.idList({ maxItems: MAX_IDS, description: 'IDs of campaigns (`cmp_…`).' }),
    phoneNumberId: t.idList({
      maxItems: MAX_IDS,
      description: 'IDs of phone numbers of the organization (`num_…`).',
    }),
    endReason: t.field({ type: [CallEndReasonEnum], description: 'Reasons for the end.' }),
    answeredBy: t.field({ type: [AnsweredByEnum], description: 'Who answered.' }),
  }),
});

interface GroupShape extends Group {
  median: () => Promise<number | null>;
}

const loadAgent = rowLoader('Agent', ownedBy);
const loadCampaign = rowLoader('Campaign', ownedAndNotDeleted);
const loadNumber = rowLoader('PhoneNumber', ownedBy);

const GroupType = builder.objectRef<GroupShape>('AnalyticsGroup').implement({
  description:
    'Calls with equal values of the `groupBy` fields. Fields that are not grouped by are null.',
  authScopes: { read: true },
  fields: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'Agent of the calls.',
      resolve: ({ agentId }, _args, context, info) =>
        agentId ? loadAgent(context, info, agentId) : null,
    }),
    campaign: t.field({
      type: CampaignNode,
      nullable: true,
      description:
        'Campaign of the calls. Null also for calls outside campaigns and for deleted campaigns.',
      resolve: ({ campaignId }, _args, context, info) =>
        campaignId ? loadCampaign(context, info, campaignId) : null,
    }),
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description: 'Phone number of the organization. Null also for calls without one.',
      resolve: ({ phoneNumberId }, _args, context, info) =>
        phoneNumberId ? loadNumber(context, info, phoneNumberId) : null,
    }),
    endReason: t.field({
      type: CallEndReasonEnum,
      nullable: true,
      description: 'Reason for the end. Null also for calls that have not ended.',
      resolve: ({ endReason }) => endReason,
    }),
    answeredBy: t.field({
      type: AnsweredByEnum,
      nullable: true,
      description: 'Who answered. Null also if unknown.',
      resolve: ({ answeredBy }) => answeredBy,
    }),
    start: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Start of the hour, day, week or month. May be before the start of the range. Null if grouped by HOUR_OF_WEEK.',
      resolve: ({ period }) => period?.start ?? null,
    }),
    weekday: t.int({
      nullable: true,
      description:
        'Day of the week, 1 (Monday) to 7 (Sunday). Null unless grouped by HOUR_OF_WEEK.',
      resolve: ({ period }) => period?.weekday ?? null,
    }),
    hour: t.int({
      nullable: true,
      description: 'Hour of local time, 0 to 23. Null unless grouped by HOUR_OF_WEEK.',
      resolve: ({ period }) => period?.hour ?? null,
    }),
    figures: t.field({
      type: FiguresType,
      description: 'Figures of the calls.',
      resolve: ({ figures, median }): FiguresShape => ({ ...figures, median }),
    }),
  }),
});

interface AnalyticsShape {
  groups: GroupShape[];
  total: FiguresShape;
}

const AnalyticsType = builder.objectRef<AnalyticsShape>('Analytics').implement({
  description: 'Figures of calls, in groups and in total.',
  authScopes: { read: true },
  fields: (t) => ({
    total: t.field({
      type: FiguresType,
      description: 'Figures of all groups together.',
      resolve: ({ total }) => total,
    }),
    groups: t.field({
      type: [GroupType],
      description: `Groups that have calls, at most ${formatNumber(MAX_GROUPS)}. Groups of a unit of time are in chronological order. Without \`groupBy\`, there is one group.`,
      resolve: ({ groups }) => groups,
    }),
  }),
});

/** A query aggregates all calls of the range, of which there may be millions. */
const ANALYTICS_COST = 50;

builder.queryField('analytics', (t) =>
  t.withAuth({ read: true }).field({
    type: AnalyticsType,
    description: `Figures of the calls of the organization, up to the present moment. Fails for a range of more than ${MAX_DAYS} days, and for more than ${formatNumber(MAX_GROUPS)} groups.`,
    complexity: ({ range, filter, groupBy }) => ({
      field: ANALYTICS_COST,
      // Arguments of the wrong type are undefined here; the operation is refused later.
      multiplier: range
        ? maxGroups({ range, filter: readFilter(filter), groupBy: groupBy ?? [] })
        : 1,
    }),
    args: {
      range: t.arg({
        type: RangeInput,
        required: true,
        description: `Range of creation times, at most ${MAX_DAYS} days.`,
      }),
      timezone: t.arg.string({
        description: 'IANA time zone for units of time, such as `Europe/Berlin`. Default: `UTC`.',
      }),
      filter: t.arg({ type: FilterInput, description: 'Calls to count. Default: all.' }),
      groupBy: t.arg({
        type: [GroupByEnum],
        description: `Dimensions to group by, at most one of them a unit of time, into at most ${formatNumber(MAX_GROUPS)} groups. Default: no groups.`,
      }),
    },
    resolve: async (_root, { range, timezone, filter, groupBy }, { app, viewer }) => {
      const query: AnalyticsQuery = {
        range,
        timezone: readTimeZone(timezone ?? 'UTC'),
        filter: readFilter(filter),
        groupBy: groupBy ?? [],
      };
      checkQuery(query);
      const groups = await groupsOf(app, viewer, query);
      const read = once(() => mediansOf(app, viewer, query));
      const readTotal = once(() => mediansOf(app, viewer, { ...query, groupBy: [] }));
      return {
        groups: groups.map((group) => ({
          ...group,
          median: async () => (await read()).get(group.key) ?? null,
        })),
        total: {
          ...totalOf(groups),
          median: async () => [...(await readTotal()).values()][0] ?? null,
        },
      };
    },
  }),
);

function once<T>(read: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= read();
    return result;
  };
}

/** @throws UserInputError */
function readFilter(filter: Partial<typeof FilterInput.$inferInput> | null | undefined) {
  return filterCondition((checks, path) => analyticsFilter(checks, filter ?? {}, path));
}
