/** Dispatch cycles built from plain values, for tests of decisions without a database. */
import { UNUSED } from '../../../src/calls/placement/slot-shares.ts';
import type {
  CampaignSlots,
  ReleasedCall,
} from '../../../src/campaigns/dispatch/campaign-slots.ts';
import {
  type DispatchCycle,
  eligibleCampaign,
} from '../../../src/campaigns/dispatch/cycle-input.ts';
import type { DueContact } from '../../../src/campaigns/dispatch/due-contacts.ts';
import type { Agent, Campaign } from '../../../src/generated/prisma/client.ts';
import type { CallerId } from '../../../src/phone-numbers/service.ts';

/** A Tuesday, at noon UTC. */
export const NOW = new Date('2037-06-02T12:00:00Z');

/** When the calling hours of that day end, and when those of the next day begin. */
export const CLOSES = new Date('2037-06-02T17:00:00Z');
export const NEXT_MORNING = new Date('2037-06-03T09:00:00Z');

/** A time zone where it is nine in the evening then. */
export const TOKYO = 'Asia/Tokyo';

export const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);

/** An ACTIVE campaign with room for ten calls, open every day from 9:00 to 17:00 UTC. */
export function campaignOf(columns: Partial<Campaign> = {}): Campaign {
  return {
    id: 'c1',
    organizationId: 'o1',
    agentId: 'a1',
    name: 'Autumn',
    status: 'ACTIVE',
    statusReason: null,
    contactSource: 'MANUAL',
    contactFolderId: null,
    phoneRotationStrategy: 'ROUND_ROBIN',
    rotationIndex: 0,
    scheduleType: 'IMMEDIATE',
    scheduledAt: null,
    timezone: 'UTC',
    startMinute: 9 * 60,
    endMinute: 17 * 60,
    workingDays: [1, 2, 3, 4, 5, 6, 7],
    maxConcurrentCalls: 10,
    maxCallsPerDay: null,
    retryFailed: false,
    maxRetryAttempts: 0,
    retryDelaySeconds: 900,
    retryVoicemail: false,
    totalCount: 100,
    pendingCount: 100,
    callingCount: 0,
    completedCount: 0,
    failedCount: 0,
    skippedCount: 0,
    cancelledCount: 0,
    recentEnds: [],
    nextDispatchAt: NOW,
    holdReason: null,
    startedAt: NOW,
    endedAt: null,
    deletedAt: null,
    contactsErasedAt: null,
    createdAt: NOW,
    updatedAt: NOW,
    ...columns,
  };
}

export const AGENT = { id: 'a1', status: 'ACTIVE', remoteId: 'r1', deletedAt: null } as Agent;

export const NUMBERS = ['n1', 'n2', 'n3'].map(
  (id, index) => ({ id, phoneNumber: `+1415555010${index}`, provider: 'SIP' }) as CallerId,
);

export function slotsOf(
  columns: Partial<Campaign> = {},
  {
    agent = AGENT,
    numbers = NUMBERS,
    hasOwnNumbers = false,
    attemptsToday = 0,
  }: Partial<CampaignSlots> = {},
): CampaignSlots {
  const campaign = campaignOf(columns);
  return { campaign, agent, numbers, hasOwnNumbers, day: '2037-06-02', attemptsToday };
}

export function cycleOf(
  slots: readonly CampaignSlots[],
  {
    released = [],
    free = 50,
    organizationMax = 100,
    activeCalls = {},
  }: {
    released?: readonly ReleasedCall[];
    free?: number;
    organizationMax?: number;
    activeCalls?: Record<string, number>;
  } = {},
): DispatchCycle {
  return {
    now: NOW,
    free,
    limitedBy: 'ACTIVE_CALLS',
    organizationMax,
    campaigns: new Map(slots.map((one) => [one.campaign.id, eligibleCampaign(one, NOW, 0)])),
    released,
    organizations: new Map(
      Object.entries(activeCalls).map(([id, active]) => [id, { ...UNUSED, active }]),
    ),
  };
}

export function releasedCall(columns: Partial<ReleasedCall> = {}): ReleasedCall {
  return {
    id: 'k1',
    campaignId: 'c1',
    campaignContactId: 'p1',
    organizationId: 'o1',
    phoneNumberId: 'n1',
    timezone: null,
    attemptDay: '2037-06-02',
    placeNotBefore: null,
    attemptsBefore: 0,
    lastCall: null,
    finalCalls: [],
    ...columns,
  };
}

export function dueContact(columns: Partial<DueContact> = {}): DueContact {
  return {
    id: 'p1',
    organizationId: 'o1',
    campaignId: 'c1',
    contactId: null,
    position: 0,
    clientId: null,
    identity: 'tel:+14155550199',
    phoneNumber: '+14155550199',
    firstName: 'Ada',
    lastName: null,
    email: null,
    companyName: null,
    industry: null,
    location: null,
    pinCode: null,
    keywords: null,
    timezone: null,
    metadata: {},
    status: 'SCHEDULED',
    skipReason: null,
    scheduledAt: NOW,
    nextEligibleAt: NOW,
    attempts: 0,
    attemptDay: null,
    endReason: null,
    calledAt: null,
    finishedAt: null,
    createdAt: NOW,
    updatedAt: NOW,
    onDoNotCallList: false,
    withdrawnNumberId: null,
    lastCall: null,
    finalCalls: [],
    ...columns,
  };
}
