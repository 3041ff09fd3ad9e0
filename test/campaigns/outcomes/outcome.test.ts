/** Table tests for the effects of a call's end on contact and campaign, without a database. */
import { describe, expect, it } from 'vitest';
import { campaignOutcome } from '../../../src/campaigns/outcomes/campaign-outcome.ts';
import { type EndedCall, outcomeOf } from '../../../src/campaigns/outcomes/outcome.ts';
import type { Campaign } from '../../../src/generated/prisma/client.ts';
import type { CallStatus, CampaignContactStatus } from '../../../src/generated/prisma/enums.ts';
import { campaignOf, dueContact, later, NOW } from '../dispatch/cycles.ts';

const AT = { now: NOW, marginSeconds: 0 };
const RETRIES = { retryFailed: true, maxRetryAttempts: 2, retryDelaySeconds: 600 };

function callOf(columns: Partial<EndedCall> = {}): EndedCall {
  const ended = { status: 'COMPLETED', endReason: 'HANGUP' } as const;
  return {
    ...{ id: 'k1', placement: 'ACCEPTED', failureCode: null, failure: null, answeredBy: null },
    ...{ finality: 'OPEN' as const },
    ...ended,
    ...columns,
  };
}

const HUMAN = { answeredBy: 'HUMAN', finality: 'FINAL' } as const;
const VOICEMAIL = { answeredBy: 'VOICEMAIL', finality: 'VOICEMAIL' } as const;
const failed = (endReason: EndedCall['endReason']) => callOf({ status: 'FAILED', endReason });
const NEVER_CREATED = callOf({
  status: 'FAILED',
  endReason: 'SYSTEM_ERROR',
  placement: 'NOT_CREATED',
});
/** Answered, and then lost its connection. */
const cutOff = (columns: Partial<EndedCall>) =>
  callOf({ status: 'FAILED', endReason: 'CONNECTION_ERROR', ...columns });
const calling = { status: 'CALLING', attempts: 1 } as const;

describe('outcomeOf with a margin', () => {
  it('puts a retry off that would come in the last seconds of the window', () => {
    // Noon; the window closes at five.
    const campaign = campaignOf({ ...RETRIES, retryDelaySeconds: 5 * 3600 - 1 });
    const outcome = (marginSeconds: number) =>
      outcomeOf(campaign, dueContact(calling), failed('BUSY'), { now: NOW, marginSeconds });
    expect(outcome(0)).toMatchObject({ move: { nextEligibleAt: later(5 * 3600 - 1) } });
    const opens = new Date('2037-06-03T09:00:00Z');
    expect(outcome(2)).toMatchObject({ move: { nextEligibleAt: opens } });
  });
});

describe('outcomeOf', () => {
  it.each<[string, EndedCall, Partial<Campaign>, object]>([
    ['completes an answered call', callOf(), {}, { status: 'COMPLETED', reason: 'CALL_ENDED' }],
    [
      'cancels the contact of a cancelled call',
      callOf({ status: 'CANCELLED', endReason: 'CANCELLED' }),
      RETRIES,
      { status: 'CANCELLED', reason: 'CALL_ENDED' },
    ],
    [
      'completes a call that a voicemail answered',
      callOf(VOICEMAIL),
      RETRIES,
      { status: 'COMPLETED', reason: 'CALL_ENDED' },
    ],
    [
      'retries a call that a voicemail answered if the campaign says so',
      callOf(VOICEMAIL),
      { ...RETRIES, retryVoicemail: true },
      { status: 'SCHEDULED', reason: 'CALL_ENDED', nextEligibleAt: later(600) },
    ],
    [
      'fails a call that a voicemail answered after the last retry',
      callOf(VOICEMAIL),
      { ...RETRIES, retryVoicemail: true, maxRetryAttempts: 0 },
      { status: 'FAILED', reason: 'RETRIES_USED_UP' },
    ],
    [
      'completes a call that a person answered, whatever becomes of voicemails',
      callOf(HUMAN),
      { ...RETRIES, retryVoicemail: true },
      { status: 'COMPLETED', reason: 'CALL_ENDED' },
    ],
    [
      'retries after the delay',
      failed('NO_ANSWER'),
      RETRIES,
      { status: 'SCHEDULED', reason: 'CALL_ENDED', nextEligibleAt: later(600) },
    ],
    [
      'retries when the window opens again',
      failed('BUSY'),
      { ...RETRIES, retryDelaySeconds: 6 * 3600 },
      { status: 'SCHEDULED', nextEligibleAt: new Date('2037-06-03T09:00:00Z') },
    ],
    ['fails with retries off', failed('BUSY'), {}, { status: 'FAILED', reason: 'RETRIES_OFF' }],
    [
      'fails after the last retry',
      failed('BUSY'),
      { ...RETRIES, maxRetryAttempts: 0 },
      { status: 'FAILED', reason: 'RETRIES_USED_UP' },
    ],
    [
      'retries a connection lost before the answer',
      failed('CONNECTION_ERROR'),
      RETRIES,
      { status: 'SCHEDULED', reason: 'CALL_ENDED' },
    ],
    [
      'retries a connection lost before anything was heard',
      cutOff({ answeredBy: 'UNKNOWN' }),
      RETRIES,
      { status: 'SCHEDULED', reason: 'CALL_ENDED' },
    ],
    [
      'never retries a connection lost in a conversation',
      cutOff(HUMAN),
      { ...RETRIES, retryVoicemail: true },
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'never retries a connection lost in a call without a transcript',
      cutOff({ finality: 'FINAL' }),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'retries a connection lost to a voicemail only if the campaign retries voicemails',
      cutOff(VOICEMAIL),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'retries a connection lost to a voicemail if the campaign retries voicemails',
      cutOff(VOICEMAIL),
      { ...RETRIES, retryVoicemail: true },
      { status: 'SCHEDULED', reason: 'CALL_ENDED' },
    ],
    [
      'never retries a person who asked not to be called, whatever the end',
      callOf({ status: 'FAILED', endReason: 'NO_ANSWER', finality: 'FINAL' }),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'never retries a busy line when the end of the call was requested',
      callOf({ status: 'FAILED', endReason: 'BUSY', finality: 'FINAL' }),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'never retries a rejection',
      failed('REJECTED'),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'never retries a fault of Ultravox',
      failed('SYSTEM_ERROR'),
      RETRIES,
      { status: 'FAILED', reason: 'NOT_RETRIED' },
    ],
    [
      'retries a call that was never created',
      NEVER_CREATED,
      RETRIES,
      { status: 'SCHEDULED', reason: 'CALL_ENDED', nextEligibleAt: later(600) },
    ],
    [
      'fails a call that was never created after the last retry',
      NEVER_CREATED,
      { ...RETRIES, maxRetryAttempts: 0 },
      { status: 'FAILED', reason: 'RETRIES_USED_UP' },
    ],
    [
      'retries nothing in a campaign that has ended',
      failed('BUSY'),
      { ...RETRIES, status: 'CANCELLED' },
      { status: 'FAILED', reason: 'CAMPAIGN_OVER' },
    ],
  ])('%s', (_title, call, columns, move) => {
    expect(outcomeOf(campaignOf(columns), dueContact(calling), call, AT)).toMatchObject({
      transition: 'END',
      move: { id: 'p1', callId: 'k1', endReason: call.endReason, ...move },
    });
  });

  it.each<[string, string, Partial<Campaign>, object]>([
    [
      'skips a contact that is on the do-not-call list',
      'DO_NOT_CALL',
      {},
      { status: 'SKIPPED', skipReason: 'DO_NOT_CALL' },
    ],
    [
      'keeps the attempt when credit is missing',
      'PAYMENT_REQUIRED',
      {},
      { status: 'SCHEDULED', reason: 'ULTRAVOX_WAITS' },
    ],
    [
      'keeps the attempt when the API key is rejected',
      'ULTRAVOX_UNAVAILABLE',
      {},
      { status: 'SCHEDULED' },
    ],
  ])('%s', (_title, failureCode, columns, move) => {
    const call = callOf({ status: 'FAILED', endReason: 'SYSTEM_ERROR', failureCode });
    expect(outcomeOf(campaignOf(columns), dueContact(calling), call, AT)).toMatchObject({
      transition: 'RELEASE',
      move: { id: 'p1', callId: 'k1', ...move },
      rejection: failureCode === 'DO_NOT_CALL' ? null : expect.stringContaining('Ultravox rejects'),
    });
  });

  it.each<CampaignContactStatus>([
    'SCHEDULED',
    'COMPLETED',
    'FAILED',
    'SKIPPED',
    'CANCELLED',
  ])('ignores a call for which a %s contact does not wait', (status) => {
    expect(outcomeOf(campaignOf(), dueContact({ status }), callOf(), AT)).toBeNull();
  });
});

describe('campaignOutcome', () => {
  const outcomesOf = (calls: readonly EndedCall[], campaign: Campaign) =>
    calls.map((call) => ({
      call,
      outcome: outcomeOf(campaign, dueContact(calling), call, AT)!,
    }));
  const ends = (failures: number, completed: number): CallStatus[] => [
    ...Array<CallStatus>(failures).fill('FAILED'),
    ...Array<CallStatus>(completed).fill('COMPLETED'),
  ];

  it.each<[string, Partial<Campaign>, EndedCall[], string | null]>([
    ['leaves half of 20 calls alone', { recentEnds: ends(9, 10) }, [failed('REJECTED')], null],
    [
      'pauses above half of 20 calls',
      { recentEnds: ends(10, 9) },
      [failed('REJECTED')],
      'TOO_MANY_FAILURES',
    ],
    ['waits for 20 calls', { recentEnds: ends(18, 0) }, [failed('REJECTED')], null],
    [
      'does not count what is retried',
      { ...RETRIES, recentEnds: ends(10, 9) },
      [failed('NO_ANSWER')],
      null,
    ],
    [
      'pauses when Ultravox rejects every call',
      {},
      [callOf({ status: 'FAILED', endReason: 'SYSTEM_ERROR', failureCode: 'PAYMENT_REQUIRED' })],
      'CAMPAIGN_PAUSED',
    ],
    [
      'completes instead when nobody is left',
      { recentEnds: ends(20, 0), pendingCount: 0, callingCount: 1 },
      [failed('REJECTED')],
      null,
    ],
    [
      'pauses no campaign twice',
      { status: 'PAUSED', recentEnds: ends(20, 0) },
      [failed('REJECTED')],
      null,
    ],
  ])('%s', (_title, columns, calls, reason) => {
    const campaign = campaignOf({ callingCount: 5, ...columns });
    const result = campaignOutcome(campaign, outcomesOf(calls, campaign));
    expect(result.pauses).toBe(reason !== null);
    expect(result.decision?.reason ?? null).toBe(reason);
    expect(result.campaign.status).toBe(reason ? 'PAUSED' : campaign.status);
  });

  it('keeps the newest 20 ends first', () => {
    const campaign = campaignOf({ recentEnds: ends(0, 20) });
    const calls = [callOf(), failed('REJECTED')];
    const { recentEnds } = campaignOutcome(campaign, outcomesOf(calls, campaign)).campaign;
    expect(recentEnds).toEqual(['FAILED', ...ends(0, 19)]);
  });
});
