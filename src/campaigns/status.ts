/**
 * The lives of a campaign and of a contact in it, as pure state machines. What is refused is said
 * in words meant for the caller.
 */
import type {
  CallStatus,
  CampaignContactStatus,
  CampaignStatus,
} from '../generated/prisma/enums.ts';

export type CampaignAction =
  /** By the operator. */
  | 'SCHEDULE'
  | 'PAUSE'
  | 'RESUME'
  | 'EDIT'
  | 'APPEND'
  | 'CANCEL'
  | 'DELETE'
  /** By the engine: the start has come, the last contact is terminal, it cannot go on. */
  | 'START'
  | 'COMPLETE'
  | 'FAIL';

/** `START_OF_SCHEDULE` is active if the start has come and scheduled if it is still ahead. */
type Target = CampaignStatus | 'START_OF_SCHEDULE' | 'SAME';

const CAMPAIGN: Record<CampaignAction, Partial<Record<CampaignStatus, Target>>> = {
  SCHEDULE: { DRAFT: 'START_OF_SCHEDULE' },
  PAUSE: { SCHEDULED: 'PAUSED', ACTIVE: 'PAUSED' },
  RESUME: { PAUSED: 'START_OF_SCHEDULE' },
  EDIT: { DRAFT: 'SAME', SCHEDULED: 'SAME', ACTIVE: 'SAME', PAUSED: 'SAME' },
  APPEND: { DRAFT: 'SAME', SCHEDULED: 'SAME', ACTIVE: 'SAME', PAUSED: 'SAME' },
  CANCEL: {
    DRAFT: 'CANCELLED',
    SCHEDULED: 'CANCELLED',
    ACTIVE: 'CANCELLED',
    PAUSED: 'CANCELLED',
  },
  DELETE: {
    DRAFT: 'SAME',
    SCHEDULED: 'SAME',
    PAUSED: 'SAME',
    COMPLETED: 'SAME',
    FAILED: 'SAME',
    CANCELLED: 'SAME',
  },
  START: { SCHEDULED: 'ACTIVE' },
  // The last running call of a paused campaign can end it as well.
  COMPLETE: { ACTIVE: 'COMPLETED', PAUSED: 'COMPLETED' },
  FAIL: { DRAFT: 'FAILED', SCHEDULED: 'FAILED', ACTIVE: 'FAILED', PAUSED: 'FAILED' },
};

const TERMINAL: readonly CampaignStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED'];

export function isCampaignTerminal(status: CampaignStatus): boolean {
  return TERMINAL.includes(status);
}

/** The states in which an action is allowed, for a `WHERE status IN (…)`. */
export function statesFor(action: CampaignAction): CampaignStatus[] {
  return Object.keys(CAMPAIGN[action]) as CampaignStatus[];
}

export type CampaignStep =
  | { allowed: true; status: CampaignStatus }
  | { allowed: false; message: string };

/** `startsLater`: the start of the schedule is still ahead. */
export function campaignAfter(
  status: CampaignStatus,
  action: CampaignAction,
  { startsLater = false }: { startsLater?: boolean } = {},
): CampaignStep {
  const target = CAMPAIGN[action][status];
  switch (target) {
    case undefined:
      return { allowed: false, message: refusal(status, action) };
    case 'SAME':
      return { allowed: true, status };
    case 'START_OF_SCHEDULE':
      return { allowed: true, status: startsLater ? 'SCHEDULED' : 'ACTIVE' };
    default:
      return { allowed: true, status: target };
  }
}

const PARTICIPLE: Record<CampaignAction, string> = {
  SCHEDULE: 'scheduled',
  PAUSE: 'paused',
  RESUME: 'resumed',
  EDIT: 'changed',
  APPEND: 'given more contacts',
  CANCEL: 'cancelled',
  DELETE: 'deleted',
  START: 'started',
  COMPLETE: 'completed',
  FAIL: 'failed',
};

function refusal(status: CampaignStatus, action: CampaignAction): string {
  const cannot = `The campaign is ${status} and cannot be ${PARTICIPLE[action]}`;
  if (action === 'DELETE') return `${cannot} while it places calls; cancel it first.`;
  if (isCampaignTerminal(status)) {
    return action === 'CANCEL'
      ? `${cannot}: it is over already.`
      : `${cannot}: it is over. Create another campaign for what is left to do.`;
  }
  switch (action) {
    case 'SCHEDULE':
      return status === 'PAUSED'
        ? `${cannot}; resume it.`
        : `${cannot} again; its schedule can be changed with updateCampaign.`;
    case 'PAUSE':
      return status === 'DRAFT'
        ? `${cannot}: it has not been scheduled.`
        : `${cannot}: it already is.`;
    case 'RESUME':
      return status === 'DRAFT'
        ? `${cannot}; schedule it.`
        : `${cannot}: only a PAUSED campaign can.`;
    default:
      return `${cannot}.`;
  }
}

const CONTACT: Record<CampaignContactStatus, readonly CampaignContactStatus[]> = {
  PENDING: ['SCHEDULED', 'SKIPPED', 'CANCELLED'],
  SCHEDULED: ['CALLING', 'SKIPPED', 'CANCELLED'],
  // To SCHEDULED for another attempt, or when the attempt was given up before it was dialled.
  CALLING: ['SCHEDULED', 'COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED'],
  COMPLETED: [],
  FAILED: [],
  SKIPPED: [],
  CANCELLED: [],
};

export function isContactTerminal(status: CampaignContactStatus): boolean {
  return CONTACT[status].length === 0;
}

export function canContactMove(from: CampaignContactStatus, to: CampaignContactStatus): boolean {
  return CONTACT[from].includes(to);
}

/**
 * Where a contact goes when its call has ended. Null when nothing is to be done: the call is not
 * over, or the contact does not wait for it (a message that came late or twice).
 */
export function contactAfterCall(
  status: CampaignContactStatus,
  call: CallStatus,
  { retry }: { retry: boolean },
): CampaignContactStatus | null {
  if (status !== 'CALLING') return null;
  switch (call) {
    case 'COMPLETED':
      return 'COMPLETED';
    case 'CANCELLED':
      return 'CANCELLED';
    case 'FAILED':
      return retry ? 'SCHEDULED' : 'FAILED';
    default:
      return null;
  }
}
