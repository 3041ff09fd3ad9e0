/** Retries of failed calls, and the circuit breaker. */
import { describe, expect, it } from 'vitest';
import { setSimulator } from '../../calls/support.ts';
import { until } from '../../support/wait.ts';
import { decided, look, makeDue, start, strangers, timeOf } from '../engine-support.ts';
import { act, dialsOf, ENDINGS, ended, showCampaign, uuidOf } from '../support.ts';
import { operator, server } from './server.ts';

export function retriesSuite(): void {
  // Concurrent, since each test mostly waits.
  describe.concurrent('a running campaign', () => {
    describe('after a failed call', () => {
      const RETRIES = { retryFailed: true, maxRetryAttempts: 2, retryDelay: '1s' };

      it('is tried again when a voicemail answered only if the campaign says so', async () => {
        const once = await start(operator, { contacts: strangers(1, '0011'), ...RETRIES });
        const retried = await start(operator, {
          contacts: strangers(1, '0011'),
          ...RETRIES,
          maxRetryAttempts: 1,
          retryVoicemail: true,
        });
        const [reached] = (await ended(operator, once)).contacts.nodes;
        expect(reached).toMatchObject({ status: 'COMPLETED', attempts: 1 });
        const [unreached] = (await ended(operator, retried)).contacts.nodes;
        expect(unreached).toMatchObject({
          status: 'FAILED',
          attempts: 2,
          endReason: 'AGENT_HANGUP',
        });
        expect(decided(unreached)).toEqual([
          'DIALED/DUE',
          'RETRIES/CALL_ENDED',
          'DIALED/DUE',
          'FAILED/RETRIES_USED_UP',
        ]);
      });

      it.each([
        ['nobody answers', ENDINGS.noAnswer, 'NO_ANSWER'],
        ['the line is busy', ENDINGS.busy, 'BUSY'],
        ['the number cannot be reached', '0005', 'UNREACHABLE'],
      ])('retries with doubled delays until no retries are left when %s', async (_, ending, endReason) => {
        const id = await start(operator, { contacts: strangers(1, ending), ...RETRIES });
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { failed: 1, pending: 0 } });
        const [contact] = campaign.contacts.nodes;
        expect(contact).toMatchObject({ status: 'FAILED', attempts: 3, endReason });
        expect(decided(contact)).toEqual([
          'DIALED/DUE',
          'RETRIES/CALL_ENDED',
          'DIALED/DUE',
          'RETRIES/CALL_ENDED',
          'DIALED/DUE',
          'FAILED/RETRIES_USED_UP',
        ]);
        const calls = await server.app.db.call.findMany({
          where: { campaignId: uuidOf(id) },
          include: { campaignAttempt: true },
          orderBy: { campaignAttempt: { attempt: 'asc' } },
        });
        expect(calls.map(({ campaignAttempt }) => campaignAttempt?.attempt)).toEqual([1, 2, 3]);
        const retries = contact.decisions.nodes.filter(
          ({ outcome }: { outcome: string }) => outcome === 'RETRIES',
        );
        for (const [index, { at, until: due }] of retries.entries()) {
          expect(timeOf(due) - timeOf(at)).toBe(1_000 * 2 ** index);
          expect(calls[index + 1]!.claimedAt!.getTime()).toBeGreaterThanOrEqual(timeOf(due));
        }
        expect(dialsOf(server, id)).toHaveLength(3);
      });

      it('completes a contact whose retry is answered', async () => {
        const id = await start(operator, {
          contacts: [...strangers(2, ENDINGS.busy), ...strangers(2)],
          ...RETRIES,
          retryDelay: '3600s',
        });
        await until('the first attempts', async () => dialsOf(server, id).length === 4);
        // The busy contacts get numbers that answer.
        const waiting = await until('the retries', async () => {
          const { contacts } = await showCampaign(operator, id);
          const nodes = contacts.nodes.filter(
            ({ status }: { status: string }) => status === 'SCHEDULED',
          );
          return nodes.length === 2 && nodes;
        });
        await server.app.db.$executeRaw`
      UPDATE campaign_contacts SET phone_number = replace(phone_number, '0001', '4321')
      WHERE campaign_id = ${uuidOf(id)}::uuid AND status = 'SCHEDULED'`;
        for (const contact of waiting)
          expect(contact).toMatchObject({ attempts: 1, endReason: 'BUSY' });
        await makeDue(server, operator, id);
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 4, failed: 0 },
        });
        expect(dialsOf(server, id)).toHaveLength(6);
      });

      it.each([
        ['the call was rejected', ENDINGS.rejected, 'REJECTED'],
        ['there is no such number', '0004', 'INVALID_NUMBER'],
        ['the agent had a fault', '0007', 'SYSTEM_ERROR'],
      ])('does not retry when %s', async (_, ending, endReason) => {
        const id = await start(operator, { contacts: strangers(1, ending), ...RETRIES });
        const { contacts } = await ended(operator, id);
        expect(contacts.nodes[0]).toMatchObject({ status: 'FAILED', attempts: 1, endReason });
        expect(decided(contacts.nodes[0])).toEqual(['DIALED/DUE', 'FAILED/NOT_RETRIED']);
        expect(dialsOf(server, id)).toHaveLength(1);
      });

      it('does not retry a lost connection over which a person was heard', async () => {
        const id = await start(operator, { contacts: strangers(1, '0006'), ...RETRIES });
        const [contact] = (await ended(operator, id)).contacts.nodes;
        expect(contact).toMatchObject({
          status: 'FAILED',
          attempts: 1,
          endReason: 'CONNECTION_ERROR',
        });
        expect(decided(contact)).toEqual(['DIALED/DUE', 'FAILED/NOT_RETRIED']);
        expect(dialsOf(server, id)).toHaveLength(1);
      });

      it.each([
        ['a person was reached after all', { answeredBy: 'HUMAN' }, 'COMPLETED/CALL_ENDED'],
        [
          'the person asked not to be called',
          { dncQuote: 'Leave me alone.' },
          'FAILED/NOT_RETRIED',
        ],
      ] as const)('drops a planned retry once it is found that %s', async (_, found, end) => {
        const id = await start(operator, {
          contacts: strangers(1, '0011'),
          ...RETRIES,
          retryDelay: '3600s',
          retryVoicemail: true,
        });
        await until('the retry', async () => {
          const [{ status, attempts }] = (await showCampaign(operator, id)).contacts.nodes;
          return status === 'SCHEDULED' && attempts === 1;
        });
        // As a later analysis does.
        await server.app.db.call.updateMany({ where: { campaignId: uuidOf(id) }, data: found });
        await makeDue(server, operator, id);
        const [contact] = (await ended(operator, id)).contacts.nodes;
        expect(contact).toMatchObject({ status: end.split('/')[0], attempts: 1 });
        expect(decided(contact)).toEqual(['DIALED/DUE', 'RETRIES/CALL_ENDED', end]);
        expect(dialsOf(server, id)).toHaveLength(1);
      });

      it.each([
        ['off', { retryFailed: false, maxRetryAttempts: 2 }, 'RETRIES_OFF'],
        ['limited to 0', { retryFailed: true, maxRetryAttempts: 0 }, 'RETRIES_USED_UP'],
      ])('does not retry when retries are %s', async (_, settings, reason) => {
        const contacts = strangers(1, ENDINGS.noAnswer);
        const id = await start(operator, { contacts, retryDelay: '1s', ...settings });
        const campaign = await ended(operator, id);
        expect(decided(campaign.contacts.nodes[0])).toEqual(['DIALED/DUE', `FAILED/${reason}`]);
        expect(dialsOf(server, id)).toHaveLength(1);
      });
    });

    describe('the circuit breaker', () => {
      it('pauses a campaign when most of its calls fail, and starts counting again on resume', async () => {
        const id = await start(operator, {
          contacts: strangers(60, ENDINGS.rejected),
          maxConcurrentCalls: 2,
        });
        const paused = () =>
          look(operator, id, ({ status, counts }) => status === 'PAUSED' && counts.calling === 0);
        const first = await paused();
        expect(first.statusReason).toContain('20 of the last 20 calls failed');
        expect(first.counts.failed).toBeGreaterThanOrEqual(20);
        expect(first.counts.failed).toBeLessThanOrEqual(22);
        const waiting = first.contacts.nodes.at(-1);
        expect(waiting).toMatchObject({ status: 'SCHEDULED', waitingFor: 'CAMPAIGN_PAUSED' });
        expect(decided(waiting)).toEqual(['WAITS/TOO_MANY_FAILURES']);

        const resumed = await act(operator, 'resumeCampaign', id);
        expect(resumed).toMatchObject({ status: 'ACTIVE', statusReason: null });
        const second = await paused();
        expect(second.counts.failed - first.counts.failed).toBeGreaterThanOrEqual(20);
        expect(second.counts.failed - first.counts.failed).toBeLessThanOrEqual(22);
        expect(dialsOf(server, id)).toHaveLength(second.counts.failed);
        await act(operator, 'cancelCampaign', id);
      });

      it('does not pause a campaign when half of its calls fail', async () => {
        const [bad, good] = [strangers(11, ENDINGS.rejected), strangers(11)];
        const id = await start(operator, {
          contacts: bad.flatMap((row, index) => [row, good[index]!]),
          // One at a time, so that calls end in the order of the list.
          maxConcurrentCalls: 1,
        });
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { failed: 11, completed: 11 },
        });
      });
    });
  });
}

/** To be run alone: in the meantime nobody speaks in any call of the server. */
export function silentCallsSuite(): void {
  it('retries a lost connection over which nobody was heard', async () => {
    await setSimulator(server, { exchanges: 0 });
    try {
      const id = await start(operator, {
        contacts: strangers(1, '0006'),
        retryFailed: true,
        maxRetryAttempts: 2,
        retryDelay: '1s',
      });
      const [unheard] = (await ended(operator, id)).contacts.nodes;
      expect(unheard).toMatchObject({ attempts: 3, endReason: 'CONNECTION_ERROR' });
      expect(dialsOf(server, id)).toHaveLength(3);
    } finally {
      await setSimulator(server, { exchanges: null });
    }
  });
}
