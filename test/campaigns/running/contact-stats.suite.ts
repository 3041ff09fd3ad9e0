/** Statistics that campaign calls update on the original contacts. */
import { describe, expect, it } from 'vitest';
import { recordContactStats } from '../../../src/campaigns/outcomes/contact-stats.ts';
import { createFolder } from '../../contacts/support.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import { createCampaign, ENDINGS, ended, people } from '../support.ts';
import { operator, server } from './server.ts';

/** A number that no campaign of another suite calls. */
const numberOf = (ending: string, series = 200) => people(1, { ending, series })[0]!.phoneNumber;
const ANSWERED = numberOf(ENDINGS.answered);
const VOICEMAIL = numberOf('0011');
const BUSY = numberOf(ENDINGS.busy);
const SILENT = numberOf(ENDINGS.noAnswer);
const UNREACHABLE = numberOf('0005');
const REJECTED = numberOf(ENDINGS.rejected);
const NUMBERS = [ANSWERED, VOICEMAIL, BUSY, SILENT, UNREACHABLE, REJECTED];

interface Stats {
  id: string;
  phoneNumber: string;
  lastCallOutcome: string | null;
  callCount: number;
  lastCalledAt: string | null;
}

async function contactsWith(filter: Record<string, unknown>): Promise<Record<string, Stats>> {
  const answer = await server.client.send(
    `query ($filter: ContactFilter) { contacts(filter: $filter) {
      nodes { id phoneNumber lastCallOutcome callCount lastCalledAt } } }`,
    { filter },
  );
  expect(answer.errors).toBeUndefined();
  const nodes: Stats[] = answer.data.contacts.nodes;
  return Object.fromEntries(nodes.map((contact) => [contact.phoneNumber, contact]));
}

/** Calls all contacts of the folder in a campaign, and waits until each of them has this many calls. */
async function callAll(folderId: string, callCount: number): Promise<Record<string, Stats>> {
  const settings = { scheduleType: 'IMMEDIATE', retryFailed: false };
  const { id } = await createCampaign(operator, { contactFolderId: folderId, ...settings });
  const counted = await until('the calls to be counted', async () => {
    // Also between the end of a call and its transcript, which shows who answered.
    await recordContactStats(server.app);
    const contacts = await contactsWith({ folderId });
    return Object.values(contacts).every((one) => one.callCount === callCount) && contacts;
  });
  await ended(operator, id);
  return counted;
}

export function contactStatsSuite(): void {
  // Concurrent, since each test mostly waits.
  describe.concurrent('the statistics of a contact', () => {
    it('shows the outcome of the last call that has one, and filters by it', async () => {
      const folderId = await createFolder(server.client);
      const contacts = NUMBERS.map((phoneNumber) => ({ phoneNumber }));
      await runMutation(server.client, 'createContacts', { folderId, contacts }, '__typename');
      const called = await callAll(folderId, 1);
      const outcomes = NUMBERS.map((phoneNumber) => [
        phoneNumber,
        called[phoneNumber]?.lastCallOutcome,
      ]);
      expect(outcomes).toEqual([
        [ANSWERED, 'CONTACTED'],
        [VOICEMAIL, 'VOICEMAIL'],
        [BUSY, 'NO_ANSWER'],
        [SILENT, 'NO_ANSWER'],
        [UNREACHABLE, 'NO_ANSWER'],
        [REJECTED, null],
      ]);
      const reached = await contactsWith({ folderId, lastCallOutcome: ['CONTACTED', 'VOICEMAIL'] });
      expect(Object.keys(reached).sort()).toEqual([ANSWERED, VOICEMAIL].sort());

      const rejected = numberOf(ENDINGS.rejected, 201);
      const { id } = called[ANSWERED]!;
      await runMutation(
        server.client,
        'updateContact',
        { id, phoneNumber: rejected },
        '__typename',
      );
      const again = (await callAll(folderId, 2))[rejected]!;
      expect(again).toMatchObject({ id, lastCallOutcome: 'CONTACTED' });
      expect(Date.parse(again.lastCalledAt!)).toBeGreaterThan(
        Date.parse(called[ANSWERED]!.lastCalledAt!),
      );
    });

    it('counts no calls but those of campaigns that copied the contact', async () => {
      const folderId = await createFolder(server.client);
      const phoneNumber = numberOf(ENDINGS.answered, 202);
      await runMutation(
        server.client,
        'createContacts',
        { folderId, contacts: [{ phoneNumber }] },
        '__typename',
      );
      const call = { agentId: operator.caller.agentId, phoneNumber };
      await runMutation(server.client, 'createCall', call, 'call { id }');
      const settings = { scheduleType: 'IMMEDIATE', retryFailed: false };
      const { id } = await createCampaign(operator, { contacts: [{ phoneNumber }], ...settings });
      await ended(operator, id);
      expect(await callAll(folderId, 1)).toMatchObject({ [phoneNumber]: { callCount: 1 } });
    });
  });
}
