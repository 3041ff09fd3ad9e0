/** Every transition of a campaign contact, from every status, on a real database. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../../src/app.ts';
import {
  CONTACT_COUNTERS,
  CONTACT_TRANSITIONS,
  type ContactTransition,
  FINISHED_STATUSES,
} from '../../../src/campaigns/contacts/contact-status.ts';
import {
  type ContactMove,
  moveContacts,
} from '../../../src/campaigns/contacts/contact-transitions.ts';
import type { CampaignContact } from '../../../src/generated/prisma/client.ts';
import type { CallEndReason, CampaignContactStatus } from '../../../src/generated/prisma/enums.ts';
import { newId } from '../../../src/infra/ids.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { brokenRules, createCampaign, people, prepareOperator, uuidOf } from '../support.ts';

const STATUSES = Object.keys(CONTACT_COUNTERS) as CampaignContactStatus[];
const NOW = new Date('2037-06-02T12:00:00Z');
const LATER = new Date('2037-06-03T09:00:00Z');

/** Transitions from PENDING to each status. */
const PATHS: Record<CampaignContactStatus, [ContactTransition, CampaignContactStatus][]> = {
  PENDING: [],
  SCHEDULED: [['PLAN', 'SCHEDULED']],
  CALLING: [
    ['PLAN', 'SCHEDULED'],
    ['DIAL', 'CALLING'],
  ],
  COMPLETED: [
    ['PLAN', 'SCHEDULED'],
    ['DIAL', 'CALLING'],
    ['END', 'COMPLETED'],
  ],
  FAILED: [
    ['PLAN', 'SCHEDULED'],
    ['DIAL', 'CALLING'],
    ['END', 'FAILED'],
  ],
  SKIPPED: [['PLAN', 'SKIPPED']],
  CANCELLED: [['CANCEL', 'CANCELLED']],
};

let server: TestServer;
let campaignId: string;
let agentId: string;

beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
  const operator = await prepareOperator(server.client);
  const { id } = await createCampaign(operator, { contacts: people(1) });
  campaignId = uuidOf(id);
  agentId = uuidOf(operator.caller.agentId);
});
afterAll(() => server?.close());

/** Rolls back whatever `work` does. */
async function inTransaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
  const rollback = new Error('rollback');
  let result: Result | undefined;
  await server.app.db
    .$transaction(async (tx) => {
      result = await work(tx);
      throw rollback;
    })
    .catch((error) => {
      if (error !== rollback) throw error;
    });
  return result as Result;
}

async function callTo(tx: Tx, contact: CampaignContact): Promise<string> {
  const call = await tx.call.create({
    data: {
      id: newId(),
      organizationId: contact.organizationId,
      agentId,
      campaignId,
      campaignContactId: contact.id,
      owner: 'campaigns',
      direction: 'OUTBOUND',
      medium: 'SIP',
      status: 'FAILED',
      placement: 'WITHDRAWN',
      phoneNumber: contact.phoneNumber,
      recordingEnabled: false,
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      endedAt: NOW,
    },
  });
  return call.id;
}

async function move(
  tx: Tx,
  transition: ContactTransition,
  status: CampaignContactStatus,
  endReason: CallEndReason = 'HANGUP',
) {
  const contact = await tx.campaignContact.findFirstOrThrow({ where: { campaignId } });
  const attempt = await tx.campaignAttempt.findFirst({
    where: { campaignId, ...(transition === 'DIAL' ? { outcomeRecordedAt: null } : {}) },
    orderBy: { attempt: 'desc' },
  });
  const callId = attempt?.callId ?? (transition === 'DIAL' ? await callTo(tx, contact) : newId());
  const columns = {
    id: contact.id,
    status,
    callId,
    nextEligibleAt: LATER,
    skipReason: 'NEVER_OPEN' as const,
    reason: 'CALL_ENDED' as const,
    attemptDay: '2037-06-02',
    endReason,
  };
  await moveContacts(tx, transition, [columns as ContactMove<typeof transition>], NOW);
  if (transition === 'END') {
    await tx.campaignAttempt.updateMany({ data: { outcomeRecordedAt: NOW } });
  }
}

const CASES = (Object.keys(CONTACT_TRANSITIONS) as ContactTransition[]).flatMap((transition) =>
  (Object.keys(CONTACT_TRANSITIONS[transition].to) as CampaignContactStatus[]).flatMap((to) =>
    STATUSES.map((from) => [transition, from, to] as const),
  ),
);

describe('moveContacts', () => {
  it.each(
    CASES,
  )('moves contacts with %s from %s to %s, or rejects it', async (transition, from, to) => {
    const allowed = CONTACT_TRANSITIONS[transition].from.includes(from);
    await inTransaction(async (tx) => {
      for (const [step, status] of PATHS[from]) await move(tx, step, status);
      if (transition === 'DROP_RETRY' && allowed) {
        await move(tx, 'DIAL', 'CALLING');
        await move(tx, 'END', 'SCHEDULED');
      }
      const decisions = await tx.campaignDecision.count();
      if (!allowed) {
        await expect(move(tx, transition, to)).rejects.toThrow('1 of 1 contacts cannot move');
        return;
      }
      await move(tx, transition, to);
      const contact = await tx.campaignContact.findFirstOrThrow({ where: { campaignId } });
      expect(contact.status).toBe(to);
      expect(contact.nextEligibleAt !== null).toBe(to === 'SCHEDULED');
      expect(contact.finishedAt !== null).toBe(FINISHED_STATUSES.some((one) => one === to));
      expect(contact.skipReason).toBe(to === 'SKIPPED' ? 'NEVER_OPEN' : null);
      expect(await brokenRules((sql) => tx.$queryRawUnsafe(sql))).toEqual([]);
      const outcome = CONTACT_TRANSITIONS[transition].to[to];
      const [newest] = await tx.campaignDecision.findMany({ orderBy: { id: 'desc' }, take: 1 });
      expect(await tx.campaignDecision.count()).toBe(decisions + (outcome ? 1 : 0));
      if (outcome) expect(newest).toMatchObject({ outcome, campaignContactId: contact.id });
    });
  });

  it('counts each contact by the end reason of its last attempt', async () => {
    await inTransaction(async (tx) => {
      const counts = () =>
        tx.campaignEndReason.findMany({
          where: { contacts: { not: 0 } },
          select: { endReason: true, contacts: true },
        });
      for (const [step, status] of PATHS.CALLING) await move(tx, step, status);
      expect(await counts()).toEqual([]);
      await move(tx, 'END', 'SCHEDULED', 'BUSY');
      expect(await counts()).toEqual([{ endReason: 'BUSY', contacts: 1 }]);
      await move(tx, 'DIAL', 'CALLING');
      await move(tx, 'END', 'SCHEDULED', 'BUSY');
      expect(await counts()).toEqual([{ endReason: 'BUSY', contacts: 1 }]);
      await move(tx, 'DIAL', 'CALLING');
      await move(tx, 'END', 'COMPLETED', 'HANGUP');
      expect(await counts()).toEqual([{ endReason: 'HANGUP', contacts: 1 }]);
      expect(await brokenRules((sql) => tx.$queryRawUnsafe(sql))).toEqual([]);
    });
  });

  it('does not count an attempt that was not dialed', async () => {
    await inTransaction(async (tx) => {
      for (const [step, status] of PATHS.CALLING) await move(tx, step, status);
      const days = () => tx.campaignDay.findMany({ select: { attempts: true } });
      expect(await days()).toEqual([{ attempts: 1 }]);
      await move(tx, 'RELEASE', 'SCHEDULED');
      expect(await days()).toEqual([{ attempts: 0 }]);
      const contact = await tx.campaignContact.findFirstOrThrow({ where: { campaignId } });
      expect(contact).toMatchObject({ attempts: 0, calledAt: null });
    });
  });
});

describe('constraints of the database', () => {
  it.each([
    ['a SCHEDULED contact without a time', `UPDATE campaign_contacts SET status = 'SCHEDULED'`],
    ['a waiting contact that has finished', 'UPDATE campaign_contacts SET finished_at = now()'],
    [
      'a COMPLETED contact that has not finished',
      `UPDATE campaign_contacts SET status = 'COMPLETED', finished_at = NULL`,
    ],
    ['a skip reason without a skip', `UPDATE campaign_contacts SET skip_reason = 'NEVER_OPEN'`],
    ['a CALLING contact without an attempt', `UPDATE campaign_contacts SET status = 'CALLING'`],
    ['negative attempts', 'UPDATE campaign_contacts SET attempts = -1'],
    [
      'a negative counter',
      'UPDATE campaigns SET pending_count = pending_count + 1, failed_count = -1',
    ],
    ['counters that do not add up', 'UPDATE campaigns SET completed_count = completed_count + 1'],
  ])('reject %s', async (_title, statement) => {
    await expect(inTransaction((tx) => tx.$executeRawUnsafe(statement))).rejects.toThrow(
      'violates check constraint',
    );
  });
});

describe('the source code', () => {
  it('writes campaign contacts only in contact-transitions.ts, and erases them in erasure.ts', () => {
    const root = new URL('../../../src/', import.meta.url);
    const writers = readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.startsWith('generated'))
      .filter((file) =>
        /(INSERT INTO|UPDATE|DELETE FROM) campaign_contacts\b|\.campaignContact\.(create|update|upsert|delete)/.test(
          readFileSync(new URL(file, root), 'utf8'),
        ),
      );
    expect(writers.sort()).toEqual([
      'campaigns/contacts/contact-transitions.ts',
      'campaigns/contacts/erasure.ts',
    ]);
  });
});
