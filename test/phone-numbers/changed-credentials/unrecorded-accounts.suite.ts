/** Accounts that exist at Ultravox otherwise than the server recorded them. */
import { describe, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { importPhoneNumber } from '../../../src/phone-numbers/import.ts';
import { untilRetried } from '../../support/jobs.ts';
import {
  codes,
  done,
  find,
  imported,
  importOf,
  newNumber,
  TELNYX,
  TWILIO,
  viewerOf,
} from '../support.ts';
import { ANOTHER, accounts, other, server, twilioAtUltravox } from './server.ts';

export function unrecordedAccountsSuite(): void {
  describe('importPhoneNumber while Ultravox holds an account that was configured by hand', () => {
    it('refuses another Twilio account and leaves the one there as it is', async () => {
      const before = await accounts().create('twilio', ANOTHER);
      for (const client of [server.client, other.client]) {
        const answer = await importOf(client, { twilio: TWILIO });
        expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
        expect(answer.phoneNumber).toBeNull();
      }
      expect(await twilioAtUltravox()).toEqual(before);
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
      expect(await server.app.db.phoneNumber.count({ where: { releasedAt: null } })).toBe(0);
    });

    it('refuses another Telnyx account, and the same one with another public key', async () => {
      const account = { ...TELNYX, publicKey: 'by-hand-key' };
      const before = await accounts().create('telnyx', account);
      const answers = [
        await importOf(server.client, { telnyx: { ...account, accountSid: 'another-account' } }),
        await importOf(server.client, { telnyx: TELNYX }),
      ];
      for (const answer of answers) {
        expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.telnyx']);
      }
      expect(await accounts().get('telnyx')).toEqual(before);
    });

    it('refuses a caller that knows the SID but not the token, in later attempts too', async () => {
      const before = await accounts().create('twilio', ANOTHER);
      const twilio = { ...ANOTHER, authToken: 'guessed-token' };
      const phoneNumber = newNumber();
      server.simulator.setFaults([{ kind: 'status', status: 502, path: 'telephony_configs' }]);
      const number = await done(server.client, 'importPhoneNumber', {
        phoneNumber,
        provider: { twilio },
      });
      server.simulator.clearFaults();
      await untilRetried(server, 'the refusal', async () => {
        return (await find(server.client, number.id)).status === 'FAILED';
      });
      expect((await find(server.client, number.id)).syncError).toMatch(/another one is in use/);
      const again = await importOf(server.client, { twilio });
      expect(codes(again)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      expect(await twilioAtUltravox()).toEqual(before);
    });

    it('uses the same account, which stays there when its last number is released', async () => {
      await accounts().create('twilio', ANOTHER);
      const { id, status } = await imported(server.client, { twilio: ANOTHER });
      expect(status).toBe('ACTIVE');
      expect(await twilioAtUltravox()).toMatchObject({ callCreationAllowAllAgents: true });
      const rotated = { ...ANOTHER, authToken: 'new-token' };
      const { id: second } = await imported(server.client, { twilio: rotated });
      await done(server.client, 'releasePhoneNumber', { id });
      await done(server.client, 'releasePhoneNumber', { id: second });
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
      expect(await twilioAtUltravox()).toMatchObject({
        accountSid: ANOTHER.accountSid,
        authTokenPrefix: { prefix: 'new-' },
      });
    });
  });

  describe('an imported account that was replaced by hand at Ultravox', () => {
    it('is neither sent again nor removed with its last number', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      await accounts().update('twilio', ANOTHER);
      const answer = await importOf(server.client, {
        twilio: { ...TWILIO, authToken: 'new-token' },
      });
      expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      await done(server.client, 'releasePhoneNumber', { id });
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
      expect(await twilioAtUltravox()).toMatchObject({
        accountSid: ANOTHER.accountSid,
        authTokenPrefix: { prefix: 'by-h' },
      });
    });
  });

  describe('an account that the server created at Ultravox without recording it', () => {
    const creations = () =>
      server.simulator
        .requests()
        .filter(({ method, path }) => method === 'POST' && path.includes('telephony_configs'))
        .length;

    it('is its own after a response that was lost', async () => {
      const before = creations();
      const path = 'telephony_configs';
      server.simulator.setFaults([{ kind: 'dropAfter', method: 'POST', path, count: 1 }]);
      const { id } = await imported(server.client, { twilio: TWILIO });
      await untilRetried(server, 'the account to be recorded', async () => {
        return (await find(server.client, id)).status === 'ACTIVE';
      });
      expect(creations()).toBe(before + 1);
      await done(server.client, 'releasePhoneNumber', { id });
      await expect(twilioAtUltravox()).rejects.toMatchObject({ kind: 'not_found' });
    });

    it('is its own after a crash, also when the import is repeated', async () => {
      const before = creations();
      const { app } = server;
      let transactions = 0;
      const db = new Proxy(app.db, {
        get(target, name) {
          // The first transaction is the import, the second records what was sent.
          if (name === '$transaction') {
            transactions += 1;
            if (transactions > 1) throw new Error('The process died');
          }
          return Reflect.get(target, name);
        },
      });
      await importPhoneNumber(
        { ...app, db, closing: AbortSignal.abort() } as App,
        viewerOf(server),
        {
          phoneNumber: newNumber(),
          provider: { twilio: TWILIO },
        },
      );
      expect(await app.db.telephonyConfig.findFirst()).toMatchObject({ remoteId: null });
      expect((await twilioAtUltravox()).accountSid).toBe(TWILIO.accountSid);

      // The lease of the process that died has expired.
      await app.db.$executeRaw`UPDATE telephony_configs SET sync_lease_until = now()`;
      const repeated = await imported(server.client, { twilio: TWILIO });
      expect(repeated).toMatchObject({ status: 'ACTIVE', syncError: null });
      expect(creations()).toBe(before + 1);
      const { data } = await server.client.send('{ phoneNumbers { nodes { id } } }');
      for (const { id } of data.phoneNumbers.nodes) {
        await done(server.client, 'releasePhoneNumber', { id });
      }
      await expect(twilioAtUltravox()).rejects.toMatchObject({ kind: 'not_found' });
    });
  });
}
