/** State machine of a campaign contact's status: every change of status is one of these transitions. */
import type {
  CampaignContactStatus,
  CampaignDecisionOutcome,
} from '../../generated/prisma/enums.ts';

interface Transition {
  from: readonly CampaignContactStatus[];
  /** Target statuses, each with the outcome of the recorded decision; null records none. */
  to: Partial<Record<CampaignContactStatus, CampaignDecisionOutcome | null>>;
}

const TRANSITIONS = {
  /** The planner assigns a time to the contact, or finds none. */
  PLAN: { from: ['PENDING', 'SCHEDULED'], to: { SCHEDULED: null, SKIPPED: 'SKIPPED' } },
  /** A new schedule may fit a contact that was skipped as NEVER_OPEN. */
  REOPEN: { from: ['SKIPPED'], to: { PENDING: null, SCHEDULED: null } },
  /** A new schedule moves the retry of a contact. */
  RESCHEDULE: { from: ['SCHEDULED'], to: { SCHEDULED: null } },
  DIAL: { from: ['SCHEDULED'], to: { CALLING: 'DIALED' } },
  /** A due contact waits until the window opens in its own time zone. */
  DEFER: { from: ['SCHEDULED'], to: { SCHEDULED: 'WAITS' } },
  SKIP: { from: ['SCHEDULED'], to: { SKIPPED: 'SKIPPED' } },
  /** The campaign would no longer call the contact again: its settings, or what is known of a call, have changed. */
  DROP_RETRY: { from: ['SCHEDULED'], to: { COMPLETED: 'COMPLETED', FAILED: 'FAILED' } },
  /** The attempt was certainly not dialed and does not count. */
  RELEASE: {
    from: ['CALLING'],
    to: {
      SCHEDULED: 'WAITS',
      SKIPPED: 'SKIPPED',
      CANCELLED: 'CANCELLED',
      COMPLETED: 'COMPLETED',
      FAILED: 'FAILED',
    },
  },
  /** The call of the current attempt has ended. */
  END: {
    from: ['CALLING'],
    to: { SCHEDULED: 'RETRIES', COMPLETED: 'COMPLETED', FAILED: 'FAILED', CANCELLED: 'CANCELLED' },
  },
  /** The campaign has ended. One decision about the whole campaign is recorded by the caller. */
  CANCEL: { from: ['PENDING', 'SCHEDULED'], to: { CANCELLED: null } },
} as const satisfies Record<string, Transition>;

export type ContactTransition = keyof typeof TRANSITIONS;

/** Statuses to which `transition` leads. */
export type TargetOf<T extends ContactTransition> = keyof (typeof TRANSITIONS)[T]['to'] &
  CampaignContactStatus;

export const CONTACT_TRANSITIONS: Record<ContactTransition, Transition> = TRANSITIONS;

/** Statuses with a `finishedAt`. Only REOPEN leads out of one of them. */
export const FINISHED_STATUSES = [
  'COMPLETED',
  'FAILED',
  'SKIPPED',
  'CANCELLED',
] as const satisfies readonly CampaignContactStatus[];

/** Campaign counter that counts the contacts in each status. */
export const CONTACT_COUNTERS = {
  PENDING: 'pending_count',
  SCHEDULED: 'pending_count',
  CALLING: 'calling_count',
  COMPLETED: 'completed_count',
  FAILED: 'failed_count',
  SKIPPED: 'skipped_count',
  CANCELLED: 'cancelled_count',
} as const satisfies Record<CampaignContactStatus, string>;
