/** Importing numbers with the account of their carrier. */
import { describe, expect, it } from 'vitest';
import { decryptTelnyx, decryptTwilio } from '../../../src/phone-numbers/credentials.ts';
import { importPhoneNumber } from '../../../src/phone-numbers/import.ts';
import { untilRetried } from '../../support/jobs.ts';
import { sessionOf, untilBlocked } from '../../support/locks.ts';
import {
  codes,
  done,
  dyingBeforeSync,
  expireAccountLease,
  find,
  imported,
  importOf,
  newAgent,
  newNumber,
  run,
  TELNYX,
  TWILIO,
  viewerOf,
} from '../support.ts';
import { atUltravox, config, failWrites, other, server } from './server.ts';

export function importSuite(): void {
  describe('importPhoneNumber with a Twilio account', () => {
    it('sends the account to Ultravox, for calls of any agent', async () => {
      const number = await imported(server.client, { twilio: TWILIO });
      expect(number).toMatchObject({ provider: 'TWILIO', status: 'ACTIVE', syncError: null });
      expect(await atUltravox()).toMatchObject({
        accountSid: TWILIO.accountSid,
        authTokenPrefix: { prefix: TWILIO.authToken.slice(0, 4) },
        callCreationAllowAllAgents: true,
        requestContextMapping: { From: 'from', To: 'to' },
      });
      const agent = await newAgent(server, server.organizationId);
      const input = { id: number.id, agentId: agent.id, direction: 'INBOUND' };
      expect(await done(server.client, 'assignPhoneNumber', input)).toMatchObject({
        inboundAddress: `${server.simulator.url}/api/agents/${agent.remoteId}/telephony_xml`,
      });
    });

    it('imports further numbers without credentials, and accepts a new token', async () => {
      const first = await imported(server.client, { twilio: TWILIO });
      const { revision } = await config();
      expect(await imported(server.client, { twilio: {} })).toMatchObject({ status: 'ACTIVE' });
      await imported(server.client, { twilio: TWILIO });
      expect((await config()).revision).toBe(revision);

      await imported(server.client, {
        twilio: { ...TWILIO, authToken: 'new-token-never-to-be-seen' },
      });
      expect((await atUltravox()).authTokenPrefix).toEqual({ prefix: 'new-' });
      expect(decryptTwilio(server.app, await config())).toEqual({
        authToken: 'new-token-never-to-be-seen',
      });
      expect(await find(server.client, first.id)).toMatchObject({ status: 'ACTIVE' });
    });

    it('requires all credentials with the first number, and always validates them', async () => {
      const without = await importOf(server.client, { twilio: {} });
      expect(codes(without)).toEqual([
        'REQUIRED provider.twilio.accountSid',
        'REQUIRED provider.twilio.authToken',
      ]);
      const half = await importOf(server.client, { twilio: { accountSid: 'SK1' } }, { name: '' });
      expect(codes(half)).toEqual([
        'INVALID_INPUT provider.twilio.accountSid',
        'REQUIRED name',
        'REQUIRED provider.twilio.authToken',
      ]);
      // A token in the wrong field must not be quoted in the error.
      const swapped = await importOf(server.client, {
        twilio: { accountSid: TWILIO.authToken, authToken: TWILIO.accountSid },
      });
      expect(codes(swapped)).toEqual(['INVALID_INPUT provider.twilio.accountSid']);
    });

    it('rejects other organizations without revealing the owner', async () => {
      await imported(server.client, { twilio: TWILIO });
      const elsewhere = { ...TWILIO, accountSid: `AC${'f'.repeat(32)}` };
      const answers = [
        await importOf(other.client, { twilio: TWILIO }),
        await importOf(other.client, { twilio: elsewhere }),
        await importOf(other.client, { twilio: {} }),
        await importOf(server.client, { twilio: elsewhere }),
      ];
      for (const answer of answers) {
        expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
        expect(answer.phoneNumber).toBeNull();
      }
      expect(new Set(answers.map((answer) => answer.userErrors[0].message)).size).toBe(1);
      expect(answers[0].userErrors[0].message).toMatch(/SIP/);
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
      expect(await importOf(other.client, { telnyx: TELNYX })).toMatchObject({ userErrors: [] });
    });

    it('lets one of two concurrent organizations import an account', async () => {
      const answers = await Promise.all(
        [server.client, other.client, server.client, other.client].map((client) =>
          importOf(client, { twilio: TWILIO }),
        ),
      );
      const owner = (await config()).organizationId;
      for (const [index, answer] of answers.entries()) {
        const mine = owner === (index % 2 === 0 ? server.organizationId : other.id);
        expect(codes(answer)).toEqual(mine ? [] : ['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      }
    });

    it('imports the account of a number while the account is being deleted', async () => {
      await imported(server.client, { twilio: TWILIO });
      const { importing } = await server.app.db.$transaction(async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM telephony_configs FOR UPDATE`;
        const importing = imported(server.client, { twilio: TWILIO });
        const statement = '%FROM telephony_configs WHERE provider%FOR UPDATE';
        await untilBlocked(server.app.db, { holder: await sessionOf(tx), statement, count: 1 });
        await server.app.ultravox.telephonyConfigs.delete('twilio');
        await tx.telephonyConfig.deleteMany();
        return { importing };
      });
      expect(await importing).toMatchObject({ status: 'ACTIVE' });
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    });

    it('reports a conflict together with invalid fields', async () => {
      await imported(server.client, { twilio: TWILIO });
      const answer = await importOf(other.client, { twilio: TWILIO }, { phoneNumber: '123' });
      expect(codes(answer)).toEqual([
        'CARRIER_ACCOUNT_CONFLICT provider.twilio',
        'INVALID_INPUT phoneNumber',
      ]);
    });

    it('frees the account for other organizations after its last number is released', async () => {
      const one = await imported(server.client, { twilio: TWILIO });
      const two = await imported(server.client, { twilio: {} });
      await done(server.client, 'releasePhoneNumber', { id: one.id });
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
      await done(server.client, 'releasePhoneNumber', { id: two.id });
      await expect(atUltravox()).rejects.toMatchObject({ kind: 'not_found' });
      expect(await importOf(other.client, { twilio: TWILIO })).toMatchObject({ userErrors: [] });
    });
  });

  describe('importPhoneNumber with a Telnyx account', () => {
    it('sends all four credentials to Ultravox', async () => {
      const number = await imported(server.client, { telnyx: TELNYX });
      expect(number).toMatchObject({ provider: 'TELNYX', status: 'ACTIVE' });
      expect(await server.app.ultravox.telephonyConfigs.get('telnyx')).toMatchObject({
        accountSid: TELNYX.accountSid,
        applicationSid: TELNYX.applicationSid,
        callCreationAllowAllAgents: true,
      });
      const { accountSid: _sid, ...secrets } = TELNYX;
      expect(decryptTelnyx(server.app, await config('TELNYX'))).toEqual(secrets);
    });

    it('requires all credentials or none', async () => {
      const answer = await importOf(server.client, {
        telnyx: { apiKey: TELNYX.apiKey, applicationSid: '1'.repeat(41) },
      });
      expect(codes(answer)).toEqual([
        'INVALID_INPUT provider.telnyx.applicationSid',
        'REQUIRED provider.telnyx.accountSid',
        'REQUIRED provider.telnyx.publicKey',
      ]);
    });
  });

  describe('importPhoneNumber of an account that Ultravox refuses', () => {
    it('imports nothing, gives the reason, and accepts corrected credentials', async () => {
      failWrites({ status: 400, method: 'POST' });
      const phoneNumber = newNumber();
      const input = { phoneNumber, provider: { twilio: TWILIO } };
      const answer = await run(server.client, 'importPhoneNumber', input);
      expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(answer.phoneNumber).toBeNull();
      expect(await server.app.db.phoneNumber.count({ where: { phoneNumber } })).toBe(0);
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
      server.simulator.clearFaults();
      expect(await done(server.client, 'importPhoneNumber', input)).toMatchObject({
        status: 'ACTIVE',
      });
    });

    it('keeps working credentials when new ones are refused', async () => {
      const first = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 400, method: 'PATCH', count: 1 });
      const answer = await importOf(server.client, {
        twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' },
      });
      expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
      expect(await find(server.client, first.id)).toMatchObject({
        status: 'ACTIVE',
        syncError: null,
      });
      expect((await atUltravox()).authTokenPrefix).toEqual({
        prefix: TWILIO.authToken.slice(0, 4),
      });
    });

    it('keeps working credentials when the import that changed them is repeated after a crash', async () => {
      const first = await imported(server.client, { twilio: TWILIO });
      const input = {
        phoneNumber: newNumber(),
        provider: { twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' } },
      };
      const viewer = {
        ...viewerOf(server),
        idempotency: {
          seed: newNumber(),
          at: new Date(),
          results: new Map(),
          committed: new Map(),
          commit: async () => {},
        },
      };
      failWrites({ status: 400, method: 'PATCH', count: 1 });
      await importPhoneNumber(dyingBeforeSync(server.app), viewer, input);
      await untilRetried(server, 'the refusal', async () => {
        const { revision, refusedRevision } = await config();
        return refusedRevision === revision;
      });
      await expireAccountLease(server);
      const repeated = importPhoneNumber(server.app, viewer, input);
      await expect(repeated).rejects.toMatchObject({ problems: [{ code: 'ULTRAVOX_REFUSED' }] });
      expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
      expect(await find(server.client, first.id)).toMatchObject({
        status: 'ACTIVE',
        syncError: null,
      });
      const { phoneNumber } = input;
      expect(await server.app.db.phoneNumber.count({ where: { phoneNumber } })).toBe(0);
      // Nothing is left to restore when the next credentials are refused later.
      expect((await config()).previousCredentials).toBeNull();
    });

    it('keeps the last working credentials when a change is refused that follows one never sent', async () => {
      await imported(server.client, { twilio: TWILIO });
      const viewer = viewerOf(server);
      failWrites({ status: 400, method: 'PATCH', count: 1 });
      await importPhoneNumber(dyingBeforeSync(server.app), viewer, {
        phoneNumber: newNumber(),
        provider: { twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' } },
      });
      await expireAccountLease(server);
      const answer = await importOf(server.client, {
        twilio: { ...TWILIO, authToken: 'worse-token-never-to-be-seen' },
      });
      expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
    });
  });
}
