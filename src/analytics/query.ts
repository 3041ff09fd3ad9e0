/** Types of analytics queries. */
import type { AnsweredBy, CallEndReason } from '../generated/prisma/client.ts';
import type { TimeUnit } from './periods.ts';

export interface AnalyticsRange {
  from: Date;
  to: Date;
}

/** Dimensions that are columns, both of calls and of rollups. */
export const COLUMNS = {
  AGENT: 'agent_id',
  CAMPAIGN: 'campaign_id',
  PHONE_NUMBER: 'phone_number_id',
  END_REASON: 'end_reason',
  ANSWERED_BY: 'answered_by',
} as const;

export type Column = keyof typeof COLUMNS;
export type Grouping = Column | TimeUnit;

export interface AnalyticsFilter {
  agentIds?: readonly string[];
  campaignIds?: readonly string[];
  phoneNumberIds?: readonly string[];
  endReasons?: readonly CallEndReason[];
  answeredBy?: readonly AnsweredBy[];
}

export interface AnalyticsQuery {
  range: AnalyticsRange;
  timezone: string;
  filter: AnalyticsFilter;
  groupBy: readonly Grouping[];
}

export function isTimeUnit(grouping: Grouping): grouping is TimeUnit {
  return !(grouping in COLUMNS);
}
