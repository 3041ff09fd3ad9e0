/** State machine of a campaign's status. */
import type { CampaignStatus } from '../generated/prisma/enums.ts';

export type CampaignAction =
  /** Actions of mutations. */
  | 'SCHEDULE'
  | 'PAUSE'
  | 'RESUME'
  | 'EDIT'
  | 'APPEND'
  | 'CANCEL'
  | 'DELETE'
  /** Actions of the dispatcher: the start has come, the last contact has finished, or it cannot continue. */
  | 'START'
  | 'COMPLETE'
  | 'FAIL';

/** `START_OF_SCHEDULE`: SCHEDULED while the start is ahead, else ACTIVE. */
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
    DRAFT: 'CANCELLED',
    SCHEDULED: 'CANCELLED',
    PAUSED: 'CANCELLED',
    COMPLETED: 'SAME',
    FAILED: 'SAME',
    CANCELLED: 'SAME',
  },
  START: { SCHEDULED: 'ACTIVE' },
  // The end of the last call also completes a paused campaign.
  COMPLETE: { ACTIVE: 'COMPLETED', PAUSED: 'COMPLETED' },
  FAIL: { DRAFT: 'FAILED', SCHEDULED: 'FAILED', ACTIVE: 'FAILED', PAUSED: 'FAILED' },
};

const TERMINAL: readonly CampaignStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED'];

export function isCampaignTerminal(status: CampaignStatus): boolean {
  return TERMINAL.includes(status);
}

export type CampaignStep =
  | { allowed: true; status: CampaignStatus }
  | { allowed: false; message: string };

/** `startsLater`: whether the start is in the future. `message` is shown to the API caller. */
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

/** The statuses that the action turns into `target`. */
export function statusesBefore(action: CampaignAction, target: CampaignStatus): CampaignStatus[] {
  const before = Object.entries(CAMPAIGN[action]) as [CampaignStatus, Target][];
  return before.filter(([, after]) => after === target).map(([status]) => status);
}

const REPEATED = {
  PAUSE: ['PAUSED'],
  RESUME: ['SCHEDULED', 'ACTIVE'],
  CANCEL: ['CANCELLED'],
} as const satisfies Partial<Record<CampaignAction, readonly CampaignStatus[]>>;

export type RepeatableAction = keyof typeof REPEATED;

/** Whether the campaign already has the status that the mutation results in. The mutation then has no effect. */
export function isRepeated(status: CampaignStatus, action: RepeatableAction): boolean {
  return (REPEATED[action] as readonly CampaignStatus[]).includes(status);
}

const PARTICIPLE: Record<CampaignAction, string> = {
  SCHEDULE: 'scheduled',
  PAUSE: 'paused',
  RESUME: 'resumed',
  EDIT: 'changed',
  APPEND: 'given more contacts',
  CANCEL: 'canceled',
  DELETE: 'deleted',
  START: 'started',
  COMPLETE: 'completed',
  FAIL: 'failed',
};

function refusal(status: CampaignStatus, action: CampaignAction): string {
  const cannot = `The campaign is ${status} and cannot be ${PARTICIPLE[action]}`;
  if (action === 'DELETE') return `${cannot} while it places calls. Cancel it first.`;
  if (isCampaignTerminal(status)) {
    return action === 'CANCEL'
      ? `${cannot}: it has already ended.`
      : `${cannot}: it has ended. Create another campaign for the remaining contacts.`;
  }
  switch (action) {
    case 'SCHEDULE':
      return status === 'PAUSED'
        ? `${cannot}. Resume it instead.`
        : `${cannot} again. Change its schedule with \`updateCampaign\`.`;
    case 'PAUSE':
      return status === 'DRAFT'
        ? `${cannot}: it has not been scheduled.`
        : `${cannot}: it is already paused.`;
    case 'RESUME':
      return status === 'DRAFT'
        ? `${cannot}. Schedule it instead.`
        : `${cannot}: only a PAUSED campaign can be resumed.`;
    default:
      return `${cannot}.`;
  }
}
