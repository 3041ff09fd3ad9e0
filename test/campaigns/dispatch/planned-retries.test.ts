/** Planned retries, and how changes of settings and schedules affect them. No worker runs here. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dispatchCalls } from '../../../src/campaigns/dispatch/dispatch-cycle.ts';
import { recordOutcomes } from '../../../src/campaigns/outcomes/record-outcomes.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { callsOf, decided, makeDue, start, strangers, timeOf } from '../engine-support.ts';
import { act, brokenRules, type Operator, prepareOperator, showCampaign } from '../support.ts';

const RETRIES = {
  retryFailed: true,
  retryVoicemail: true,
  maxRetryAttempts: 2,
  retryDelay: '3600s',
};

let server: TestServer;
let operator: Operator;

beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
  operator = await prepareOperator(server.client);
});
afterAll(() => server?.close());

const NO_ANSWER = Prisma.sql`status = 'FAILED', end_reason = 'NO_ANSWER'`;
const HEARD = Prisma.sql`answered_at = claimed_at, answered_by = 'VOICEMAIL'`;
const VOICEMAIL = Prisma.sql`status = 'COMPLETED', end_reason = 'HANGUP', ${HEARD}`;
const CUT_OFF = Prisma.sql`status = 'FAILED', end_reason = 'CONNECTION_ERROR', ${HEARD}`;

/** Ends all claimed calls in this way, and records their outcomes. */
async function endCalls(end: Prisma.Sql): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE calls SET placement = 'ACCEPTED', ultravox_id = id, ringing_at = claimed_at,
      ended_at = now(), ${end} WHERE placement = 'CLAIMED'`;
  await recordOutcomes(server.app);
}

/** A campaign with one contact whose retry is planned after calls that ended in these ways. */
async function withPlannedRetry(ends: readonly Prisma.Sql[]): Promise<string> {
  const id = await start(operator, { contacts: strangers(1), ...RETRIES });
  for (const [index, end] of ends.entries()) {
    if (index > 0) await makeDue(server, operator, id);
    await dispatchCalls(server.app);
    await endCalls(end);
  }
  expect((await contactOf(id)).status).toBe('SCHEDULED');
  return id;
}

const contactOf = async (id: string) => (await showCampaign(operator, id)).contacts.nodes[0];

const OFF = { retryFailed: false };
const NONE = { maxRetryAttempts: 0 };
const ONE = { maxRetryAttempts: 1 };
const NO_VOICEMAILS = { retryVoicemail: false };

const CASES: [string, Prisma.Sql[], Record<string, unknown>, string, string][] = [
  ['retries are off', [NO_ANSWER], OFF, 'FAILED', 'RETRIES_OFF'],
  ['no retry is left', [NO_ANSWER], NONE, 'FAILED', 'RETRIES_USED_UP'],
  ['no second retry is left', [NO_ANSWER, NO_ANSWER], ONE, 'FAILED', 'RETRIES_USED_UP'],
  ['voicemails are not retried', [VOICEMAIL], NO_VOICEMAILS, 'COMPLETED', 'CALL_ENDED'],
  ['a voicemail is not retried any more', [VOICEMAIL], NONE, 'FAILED', 'RETRIES_USED_UP'],
  ['an earlier voicemail counts', [VOICEMAIL, NO_ANSWER], NO_VOICEMAILS, 'FAILED', 'NOT_RETRIED'],
  ['a lost voicemail counts', [CUT_OFF], NO_VOICEMAILS, 'FAILED', 'NOT_RETRIED'],
];

describe('a planned retry that the changed campaign would not plan', () => {
  it.each(CASES)('is not made: %s', async (_, ends, ...expected) => {
    const [change, status, reason] = expected;
    const id = await withPlannedRetry(ends);
    await act(operator, 'updateCampaign', id, change);
    await makeDue(server, operator, id);
    await dispatchCalls(server.app);
    const contact = await contactOf(id);
    expect(contact).toMatchObject({ status, attempts: ends.length, nextEligibleAt: null });
    expect(decided(contact).at(-1)).toBe(`${status}/${reason}`);
    const { status: over, counts } = await showCampaign(operator, id);
    expect(over).toBe('COMPLETED');
    expect(counts).toMatchObject({ pending: 0, calling: 0, [status.toLowerCase()]: 1 });
    expect(await callsOf(server, id)).toHaveLength(ends.length);
    expect(await brokenRules(server)).toEqual([]);
  });

  it.each(CASES)('is not made after its claim was released: %s', async (_, ends, ...expected) => {
    const [change, status, reason] = expected;
    const id = await withPlannedRetry(ends);
    await makeDue(server, operator, id);
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(1);
    // The change revokes the claim.
    await act(operator, 'updateCampaign', id, change);
    await dispatchCalls(server.app);
    const contact = await contactOf(id);
    expect(contact).toMatchObject({ status, attempts: ends.length });
    expect(decided(contact).at(-1)).toBe(`${status}/${reason}`);
    const calls = await callsOf(server, id);
    expect(calls.at(-1)).toMatchObject({ status: 'CANCELLED', placement: 'WITHDRAWN' });
    expect(await brokenRules(server)).toEqual([]);
  });

  it('is made when the change is taken back before it is due', async () => {
    const id = await withPlannedRetry([NO_ANSWER]);
    await act(operator, 'updateCampaign', id, OFF);
    await act(operator, 'updateCampaign', id, { retryFailed: true });
    await makeDue(server, operator, id);
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(1);
    await endCalls(NO_ANSWER);
    await act(operator, 'cancelCampaign', id);
  });
});

describe('a new schedule', () => {
  it('keeps a retry at its delay after the last call that was made', async () => {
    const id = await withPlannedRetry([NO_ANSWER]);
    const planned = timeOf((await contactOf(id)).nextEligibleAt);
    await makeDue(server, operator, id);
    // The retry is claimed and withdrawn, so nobody is called.
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(1);
    await act(operator, 'pauseCampaign', id);
    await dispatchCalls(server.app);
    await act(operator, 'updateCampaign', id, { maxCallsPerDay: 1_000 });
    await act(operator, 'resumeCampaign', id);
    const contact = await contactOf(id);
    expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 1 });
    expect(timeOf(contact.nextEligibleAt)).toBe(planned);
  });
});

describe('a withdrawn call whose refused request may still be carried out', () => {
  it('is not followed by another until then', async () => {
    const id = await start(operator, { contacts: strangers(1) });
    const { callIds } = await dispatchCalls(server.app);
    const until = new Date(Date.now() + 60_000);
    await server.app.db.call.update({
      where: { id: callIds[0]! },
      data: { placement: 'QUEUED', claimedAt: null, refusedAt: new Date(), placeNotBefore: until },
    });
    await act(operator, 'pauseCampaign', id);
    await dispatchCalls(server.app);
    const [withdrawn] = await callsOf(server, id);
    expect(withdrawn).toMatchObject({ status: 'CANCELLED', placement: 'WITHDRAWN' });
    expect(withdrawn!.failure).toContain('may have been called');
    await act(operator, 'resumeCampaign', id);
    expect((await dispatchCalls(server.app)).callIds).toEqual([]);
    expect(timeOf((await contactOf(id)).nextEligibleAt)).toBe(until.getTime());
    await makeDue(server, operator, id);
    expect((await dispatchCalls(server.app)).callIds).toHaveLength(1);
    await act(operator, 'cancelCampaign', id);
    expect(await brokenRules(server)).toEqual([]);
  });
});
