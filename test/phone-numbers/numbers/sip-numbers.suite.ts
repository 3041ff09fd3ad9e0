/** Importing numbers of a SIP trunk, and renaming numbers. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { until } from '../../support/wait.ts';
import { codes, done, find, newNumber, run, TRUNK } from '../support.ts';
import { importSip, other, server } from './server.ts';

export function sipNumbersSuite(): void {
  describe('importPhoneNumber over SIP', () => {
    it('creates a number that is ready immediately, and allows SIP calls at Ultravox', async () => {
      const phoneNumber = newNumber();
      const number = await importSip(server.client, { phoneNumber, name: 'Reception' });
      expect(number).toMatchObject({
        phoneNumber,
        name: 'Reception',
        provider: 'SIP',
        sipServer: TRUNK.server,
        sipUsername: TRUNK.username,
        status: 'ACTIVE',
        syncError: null,
        inboundAgent: null,
        outboundAgent: null,
        inboundAddress: null,
        releasedAt: null,
      });
      expect(await find(server.client, number.id)).toEqual(number);
      await until('SIP calls to be allowed', async () => {
        const { allowAllAgents } = await server.app.ultravox.sip.get();
        return allowAllAgents;
      });
    });

    it('reports all invalid fields at once', async () => {
      const existing = await importSip();
      const answer = await run(server.client, 'importPhoneNumber', {
        phoneNumber: existing.phoneNumber,
        name: 'x'.repeat(101),
        provider: {
          sip: { server: 'https://sip.example.com', username: '', password: 'p'.repeat(201) },
        },
      });
      expect(answer.phoneNumber).toBeNull();
      expect(codes(answer)).toEqual([
        'ALREADY_EXISTS phoneNumber',
        'INVALID_INPUT name',
        'INVALID_INPUT provider.sip.password',
        'INVALID_INPUT provider.sip.server',
        'REQUIRED provider.sip.username',
      ]);
    });

    it.each([
      'sip.example.com',
      '203.0.113.7:5080',
      'trunk:5060;transport=udp',
      'SIP.Example.com;transport=tcp',
    ])('accepts the server %s', async (address) => {
      const number = await importSip(server.client, {
        provider: { sip: { ...TRUNK, server: address } },
      });
      expect(number.sipServer).toBe(address);
    });

    it.each([
      '',
      'user@sip.example.com',
      'sip.example.com:0',
      'sip.example.com:65536',
      'sip.example.com;transport=ws',
      'sip.example.com;transport=tls;x=y',
      '-sip.example.com',
      'sip example.com',
      `${'a'.repeat(60)}.`.repeat(5),
    ])('rejects the server %j', async (address) => {
      const answer = await run(server.client, 'importPhoneNumber', {
        phoneNumber: newNumber(),
        provider: { sip: { ...TRUNK, server: address } },
      });
      expect(codes(answer)).toEqual(['INVALID_INPUT provider.sip.server']);
    });

    it('requires exactly one provider', async () => {
      for (const provider of [{}, { sip: TRUNK, twilio: {} }]) {
        const answer = await server.client.send(
          'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { userErrors { code } } }',
          { input: { phoneNumber: newNumber(), provider } },
        );
        expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
      }
    });

    it.each([
      '4155550123',
      '+0123456789',
      '+141555501234567',
    ])('rejects %j as a number', async (phoneNumber) => {
      const answer = await run(server.client, 'importPhoneNumber', {
        phoneNumber,
        provider: { sip: TRUNK },
      });
      expect(codes(answer)).toEqual(['INVALID_INPUT phoneNumber']);
    });

    it('imports a number once when requested concurrently', async () => {
      const phoneNumber = newNumber();
      const input = { phoneNumber, provider: { sip: TRUNK } };
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => run(server.client, 'importPhoneNumber', input)),
      );
      expect(answers.filter((answer) => answer.phoneNumber)).toHaveLength(1);
      const refused = answers.filter((answer) => !answer.phoneNumber);
      expect(refused.map(codes)).toEqual(Array(4).fill(['ALREADY_EXISTS phoneNumber']));
      expect((await importSip(other.client, { phoneNumber })).phoneNumber).toBe(phoneNumber);
    });

    it('returns the number of a crashed run under its idempotency key', async () => {
      const phoneNumber = newNumber();
      const input = { phoneNumber, provider: { sip: TRUNK } };
      const headers = { 'x-idempotency-key': newId() };
      const first = await run(server.client, 'importPhoneNumber', input, headers);
      await server.app.db.idempotencyKey.updateMany({
        data: { response: null, leaseUntil: new Date(0) },
      });
      const second = await run(server.client, 'importPhoneNumber', input, headers);
      expect(second).toEqual(first);
      expect(second.userErrors).toEqual([]);
    });

    it('requires the WRITE scope', async () => {
      const { data } = await server.client.send(
        'mutation { createApiKey(input: { name: "Reader", scopes: [READ] }) { key } }',
      );
      const answer = await server.client.send(
        'mutation($input: ReleasePhoneNumberInput!) { releasePhoneNumber(input: $input) { userErrors { code } } }',
        { input: { id: publicId('PhoneNumber', newId()) } },
        { headers: { authorization: `Bearer ${data.createApiKey.key}` } },
      );
      expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    });
  });

  describe('updatePhoneNumber', () => {
    it('changes, keeps and removes the name', async () => {
      const number = await importSip(server.client, { name: 'Old' });
      const renamed = await done(server.client, 'updatePhoneNumber', {
        id: number.id,
        name: 'New',
      });
      expect(renamed).toEqual({ ...number, name: 'New', updatedAt: renamed.updatedAt });
      expect(renamed.updatedAt >= number.updatedAt).toBe(true);
      const { id } = number;
      expect(await done(server.client, 'updatePhoneNumber', { id })).toMatchObject({ name: 'New' });
      const removed = await done(server.client, 'updatePhoneNumber', { id, name: null });
      expect(removed).toMatchObject({ id, name: null });
    });

    it('reports all invalid fields at once', async () => {
      const answer = await run(server.client, 'updatePhoneNumber', {
        id: publicId('PhoneNumber', newId()),
        name: ' ',
      });
      expect(codes(answer)).toEqual(['NOT_FOUND id', 'REQUIRED name']);
    });
  });
}
