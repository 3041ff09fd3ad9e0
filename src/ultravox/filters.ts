/** Filters of the lists of Ultravox. */
import type { OpenEnum, Ownership } from './wire.ts';

export interface PageFilter {
  cursor?: string | undefined;
  pageSize?: number | undefined;
}

export interface AgentFilter extends PageFilter {
  search?: string | undefined;
  sort?: string | undefined;
}

export interface CallFilter extends PageFilter {
  agentIds?: readonly string[] | undefined;
  /** Earliest creation time; a date or a timestamp, inclusive. */
  fromDate?: string | undefined;
  toDate?: string | undefined;
  /** `HH:MM:SS`. */
  timeOfDayStart?: string | undefined;
  timeOfDayEnd?: string | undefined;
  /** Such as `300s`. */
  durationMin?: string | undefined;
  durationMax?: string | undefined;
  voiceId?: string | undefined;
  search?: string | undefined;
  /** All pairs must match. */
  metadata?: Readonly<Record<string, string>> | undefined;
  sort?: OpenEnum<'created' | '-created'> | undefined;
}

export interface ToolFilter extends PageFilter {
  ownership?: Ownership | undefined;
  search?: string | undefined;
  sortOrder?:
    | OpenEnum<
        | 'default'
        | 'display'
        | 'alphabetic'
        | 'reverseAlphabetic'
        | 'chronologic'
        | 'reverseChronologic'
      >
    | undefined;
}

export interface VoiceFilter extends PageFilter {
  ownership?: Ownership | undefined;
  billingStyle?: string | undefined;
  primaryLanguage?: string | undefined;
  provider?: readonly string[] | undefined;
  search?: string | undefined;
}

export interface WebhookFilter extends PageFilter {
  agentId?: string | undefined;
}
