/** The window of a campaign's row. */
import type { Window } from './window.ts';

/** The columns as raw SQL gives them. */
export interface CampaignWindow {
  timezone: string;
  working_days: number[];
  start_minute: number | null;
  end_minute: number | null;
}

export function windowOf(row: CampaignWindow): Window {
  return {
    timezone: row.timezone,
    workingDays: row.working_days,
    startMinute: row.start_minute,
    endMinute: row.end_minute,
  };
}
