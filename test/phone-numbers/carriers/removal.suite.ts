/** Removing accounts with their last number, and accounts while Ultravox is unreachable. */
import { describe, expect, it } from 'vitest';
import { importPhoneNumber } from '../../../src/phone-numbers/import.ts';
import { chooseOutboundNumber } from '../../../src/phone-numbers/service.ts';
import { untilRetried } from '../../support/jobs.ts';
import { sessionOf, untilBlocked } from '../../support/locks.ts';
import { until } from '../../support/wait.ts';
import {
  codes,
  done,
  dyingBeforeSync,
  find,
  imported,
  importOf,
  newAgent,
  newNumber,
  TRUNK,
  TWILIO,
  viewerOf,
} from '../support.ts';
import { atUltravox, config, failWrites, other, server } from './server.ts';

export function removalSuite(): void {
  describe('releasePhoneNumber of the last number of an account', () => {
    it('removes the account when the last two numbers are released concurrently', async () => {
      const ids = [
        (await imported(server.client, { twilio: TWILIO })).id,
        (await imported(server.client, { twilio: {} })).id,
      ];
      const released = await server.app.db.$transaction(async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM telephony_configs FOR UPDATE`;
        const both = ids.map((id) => done(server.client, 'releasePhoneNumber', { id }));
        const statement = '%FROM telephony_configs WHERE provider%FOR UPDATE';
        await untilBlocked(server.app.db, { holder: await sessionOf(tx), statement, count: 2 });
        return { both };
      });
      await Promise.all(released.both);
      await expect(atUltravox()).rejects.toMatchObject({ kind: 'not_found' });
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
    });

    it('keeps the account when it is imported again while Ultravox removes it', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      const path = 'telephony_configs';
      server.simulator.setFaults([{ kind: 'slow', method: 'DELETE', path, ms: 3_000, count: 1 }]);
      const before = server.simulator.requests().length;
      const release = done(server.client, 'releasePhoneNumber', { id });
      await until('the removal to be on its way', () =>
        server.simulator
          .requests()
          .slice(before)
          .some(({ method }) => method === 'DELETE'),
      );
      expect((await imported(server.client, { twilio: TWILIO })).status).toBe('ACTIVE');
      await release;
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    });

    it('keeps the account when another number is imported concurrently', async () => {
      let { id } = await imported(server.client, { twilio: TWILIO });
      for (let round = 0; round < 5; round += 1) {
        const [, next] = await Promise.all([
          done(server.client, 'releasePhoneNumber', { id }),
          imported(server.client, { twilio: TWILIO }),
        ]);
        id = next.id;
        await until('the account to be there', async () => {
          const { status, syncedRevision, revision, deletedAt } = await config();
          return status === 'ACTIVE' && syncedRevision === revision && deletedAt === null;
        });
        expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
      }
    });
  });

  describe('carrier accounts while Ultravox is unreachable', () => {
    it('keep the number as DRAFT and are sent later', async () => {
      failWrites({ status: 502 });
      const number = await imported(server.client, { twilio: TWILIO });
      expect(number.status).toBe('DRAFT');
      expect(number.syncError).toEqual(expect.any(String));
      server.simulator.clearFaults();
      await untilRetried(server, 'the account to be there', async () => {
        const { status, syncError } = await find(server.client, number.id);
        return status === 'ACTIVE' && syncError === null;
      });
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    });

    it('are not used for calls while there is another number', async () => {
      failWrites({ status: 502 });
      const draft = await imported(server.client, { twilio: TWILIO });
      const ready = await imported(server.client, { sip: TRUNK });
      const agent = await newAgent(server, server.organizationId);
      const assign = ({ id }: { id: string }) =>
        done(server.client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
      await assign(draft);
      const choose = async () =>
        (await chooseOutboundNumber(server.app.db, server, agent.uuid)).phoneNumber;
      expect(await choose()).toBe(draft.phoneNumber);
      await assign(ready);
      expect(await choose()).toBe(ready.phoneNumber);
    });

    it('are removed later, after the last number was released', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 502 });
      const released = await done(server.client, 'releasePhoneNumber', { id });
      expect(released.releasedAt).not.toBeNull();
      const early = await importOf(other.client, { twilio: TWILIO });
      expect(codes(early)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      const without = await importOf(server.client, { twilio: {} });
      expect(codes(without)).toContain('REQUIRED provider.twilio.authToken');
      server.simulator.clearFaults();
      await untilRetried(server, 'the account to be removed', async () =>
        atUltravox().then(
          () => false,
          (error) => error.kind === 'not_found',
        ),
      );
    });

    it('are kept when they are imported again before their removal', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 502 });
      await done(server.client, 'releasePhoneNumber', { id });
      const number = await imported(server.client, { twilio: TWILIO });
      expect(number.status).not.toBe('ACTIVE');
      server.simulator.clearFaults();
      await untilRetried(server, 'the account to be there', async () => {
        return (await find(server.client, number.id)).status === 'ACTIVE';
      });
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    });

    it('are sent when the process of the import died after its commit', async () => {
      const viewer = viewerOf(server);
      const phoneNumber = newNumber();
      const input = { phoneNumber, provider: { twilio: TWILIO } };
      // The import succeeded although sending failed: the number and the job exist.
      const number = await importPhoneNumber(dyingBeforeSync(server.app), viewer, input);
      expect(number.phoneNumber).toBe(phoneNumber);
      await untilRetried(
        server,
        'the account to be there',
        async () => (await config()).status === 'ACTIVE',
      );
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    });
  });
}
