/** Changing the credentials of an account or a SIP trunk. */
import { describe, expect, it } from 'vitest';
import { parsePublicId, publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { decryptSip, decryptTelnyx } from '../../../src/phone-numbers/credentials.ts';
import { updatePhoneNumber } from '../../../src/phone-numbers/update.ts';
import { untilRetried } from '../../support/jobs.ts';
import { until } from '../../support/wait.ts';
import {
  codes,
  done,
  dyingBeforeSync,
  expireAccountLease,
  find,
  imported,
  newAgent,
  run,
  SECRET,
  TELNYX,
  TRUNK,
  TWILIO,
  viewerOf,
} from '../support.ts';
import {
  ANOTHER,
  accounts,
  BAD_TOKEN,
  config,
  failWrites,
  NEW_TOKEN,
  other,
  prefixAtUltravox,
  server,
  storedToken,
  update,
} from './server.ts';

export function updateSuite(): void {
  describe('updatePhoneNumber with credentials of an account', () => {
    it('replaces them at Ultravox for all numbers of the account, and keeps the agents', async () => {
      const agent = await newAgent(server, server.organizationId);
      const { id, phoneNumber } = await imported(server.client, { twilio: TWILIO });
      const second = await imported(server.client, { twilio: {} });
      await done(server.client, 'assignPhoneNumber', {
        id,
        agentId: agent.id,
        direction: 'INBOUND',
      });
      const answer = await update(id, { twilio: NEW_TOKEN }, { name: 'Desk' });
      expect(answer).toMatchObject({
        phoneNumber: {
          id,
          phoneNumber,
          name: 'Desk',
          inboundAgent: { id: agent.id },
          status: 'ACTIVE',
          syncError: null,
        },
        userErrors: [],
      });
      expect(JSON.stringify(answer)).not.toMatch(SECRET);
      expect(await prefixAtUltravox()).toBe('rota');
      expect(await storedToken()).toBe(NEW_TOKEN.authToken);
      const rows = await server.app.db.$queryRaw`SELECT * FROM telephony_configs`;
      expect(JSON.stringify(rows)).not.toMatch(SECRET);
      expect(await find(server.client, second.id)).toMatchObject({ status: 'ACTIVE' });
      const { revision } = await config();
      expect(codes(await update(second.id, { twilio: NEW_TOKEN }))).toEqual([]);
      expect((await config()).revision).toBe(revision);
    });

    it('replaces all keys of a Telnyx account', async () => {
      const { id } = await imported(server.client, { telnyx: TELNYX });
      const telnyx = {
        ...TELNYX,
        apiKey: 'new-key',
        publicKey: 'new-public',
        applicationSid: '12',
      };
      expect(codes(await update(id, { telnyx }))).toEqual([]);
      const { accountSid: _sid, ...secrets } = telnyx;
      expect(decryptTelnyx(server.app, await config('TELNYX'))).toEqual(secrets);
      expect(await accounts().get('telnyx')).toMatchObject({ applicationSid: '12' });
    });

    it('changes nothing when Ultravox refuses them', async () => {
      const number = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 400, method: 'PATCH', count: 1 });
      const answer = await update(number.id, { twilio: BAD_TOKEN }, { name: 'Desk' });
      expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(answer.phoneNumber).toBeNull();
      expect(await find(server.client, number.id)).toEqual(number);
      expect(await storedToken()).toBe(TWILIO.authToken);
      expect(await prefixAtUltravox()).toBe('twil');
      expect((await config()).previousCredentials).toBeNull();
      expect(codes(await update(number.id, { twilio: NEW_TOKEN }))).toEqual([]);
      expect(await prefixAtUltravox()).toBe('rota');
    });

    it('sends them later while Ultravox is unreachable', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 502 });
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual([]);
      const { phoneNumber, userErrors } = await update(id, { twilio: NEW_TOKEN });
      expect(userErrors).toEqual([]);
      expect(phoneNumber.syncError).toEqual(expect.any(String));
      server.simulator.clearFaults();
      await untilRetried(
        server,
        'the new token',
        async () => (await prefixAtUltravox()) === 'rota',
      );
      await until('the result', async () => (await find(server.client, id)).syncError === null);
    });

    it('sends them when the process died after its commit, and undoes them if it is repeated after a refusal', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      const dying = dyingBeforeSync(server.app);
      const viewer = viewerOf(server);
      await updatePhoneNumber(dying, viewer, { id, provider: { twilio: NEW_TOKEN } });
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual([
        'INVALID_STATE provider.twilio',
      ]);
      await expireAccountLease(server);
      await untilRetried(
        server,
        'the new token',
        async () => (await prefixAtUltravox()) === 'rota',
      );

      failWrites({ status: 400, method: 'PATCH' });
      await updatePhoneNumber(dying, viewer, { id, provider: { twilio: BAD_TOKEN } });
      await expireAccountLease(server);
      await untilRetried(server, 'the refusal', async () => {
        return (await find(server.client, id)).syncError !== null;
      });
      failWrites({ status: 400, method: 'PATCH', count: 1 });
      const repeated = await update(id, { twilio: BAD_TOKEN });
      expect(codes(repeated)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(await storedToken()).toBe(NEW_TOKEN.authToken);
      expect(await find(server.client, id)).toMatchObject({ status: 'ACTIVE', syncError: null });
    });

    it('corrects the credentials of an account that Ultravox refused', async () => {
      failWrites({ status: 502 });
      const { id } = await imported(server.client, { twilio: BAD_TOKEN });
      failWrites({ status: 400 });
      await untilRetried(server, 'the refusal', async () => {
        return (await find(server.client, id)).status === 'FAILED';
      });
      // A refused change leaves the first ones, although those were refused as well.
      const refused = await update(id, { twilio: NEW_TOKEN });
      expect(codes(refused)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
      expect(await storedToken()).toBe(BAD_TOKEN.authToken);
      server.simulator.clearFaults();
      expect(await update(id, { twilio: TWILIO })).toMatchObject({
        phoneNumber: { status: 'ACTIVE', syncError: null },
      });
      expect(await prefixAtUltravox()).toBe('twil');
    });

    it('leaves an account that was replaced by hand at Ultravox as it is', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      await accounts().update('twilio', ANOTHER);
      const answer = await update(id, { twilio: NEW_TOKEN });
      expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      expect(await prefixAtUltravox()).toBe('by-h');
    });

    it('rejects another carrier, another account, missing credentials and numbers of others', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      const elsewhere = { ...TWILIO, accountSid: ANOTHER.accountSid };
      expect(codes(await update(id, { sip: TRUNK }))).toEqual(['INVALID_INPUT provider.sip']);
      expect(codes(await update(id, { telnyx: TELNYX }))).toEqual([
        'INVALID_INPUT provider.telnyx',
      ]);
      expect(codes(await update(id, { twilio: elsewhere }))).toEqual([
        'INVALID_INPUT provider.twilio.accountSid',
      ]);
      expect(codes(await update(id, { twilio: {} }))).toEqual([
        'REQUIRED provider.twilio.accountSid',
        'REQUIRED provider.twilio.authToken',
      ]);
      expect(codes(await update(id, null, { name: ' ' }))).toEqual([
        'REQUIRED name',
        'REQUIRED provider',
      ]);
      const theirs = await run(other.client, 'updatePhoneNumber', {
        id,
        provider: { twilio: { accountSid: 'SK1', authToken: 'x' } },
      });
      expect(codes(theirs)).toEqual(['INVALID_INPUT provider.twilio.accountSid', 'NOT_FOUND id']);
      const guessed = { id, provider: { twilio: BAD_TOKEN } };
      expect(codes(await run(other.client, 'updatePhoneNumber', guessed))).toEqual([
        'NOT_FOUND id',
      ]);
      await done(server.client, 'releasePhoneNumber', { id });
      expect(codes(await update(id, { twilio: NEW_TOKEN }))).toEqual(['NOT_FOUND id']);
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
    });
  });

  describe('updatePhoneNumber with a SIP trunk', () => {
    it('replaces the trunk of this number', async () => {
      const { id } = await imported(server.client, { sip: TRUNK });
      const second = await imported(server.client, { sip: TRUNK });
      const sip = {
        server: 'trunk.example.org',
        username: 'new',
        password: 'new-never-to-be-seen',
      };
      const answer = await update(id, { sip });
      expect(answer).toMatchObject({
        phoneNumber: { sipServer: sip.server, sipUsername: sip.username, status: 'ACTIVE' },
        userErrors: [],
      });
      expect(JSON.stringify(answer)).not.toMatch(SECRET);
      const row = (of: string) =>
        server.app.db.phoneNumber.findUniqueOrThrow({ where: { id: parsePublicId(of)!.uuid } });
      const { server: _server, ...credentials } = sip;
      const changed = await row(id);
      expect(JSON.stringify(changed)).not.toMatch(SECRET);
      expect(decryptSip(server.app, changed)).toEqual(credentials);
      expect(decryptSip(server.app, await row(second.id)).password).toBe(TRUNK.password);
    });

    it('reports all invalid fields at once, and rejects another carrier', async () => {
      const answer = await update(
        publicId('PhoneNumber', newId()),
        { sip: { server: 'https://sip.example.com', username: '', password: 'p'.repeat(201) } },
        { name: ' ' },
      );
      expect(codes(answer)).toEqual([
        'INVALID_INPUT provider.sip.password',
        'INVALID_INPUT provider.sip.server',
        'NOT_FOUND id',
        'REQUIRED name',
        'REQUIRED provider.sip.username',
      ]);
      const { id } = await imported(server.client, { sip: TRUNK });
      expect(codes(await update(id, { twilio: TWILIO }))).toEqual([
        'INVALID_INPUT provider.twilio',
      ]);
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
    });
  });
}
