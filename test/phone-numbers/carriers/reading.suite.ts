/** What is stored of credentials and shown of numbers. Runs last, because it examines what the others were answered. */
import { describe, expect, it } from 'vitest';
import { recordStatements } from '../../support/queries.ts';
import { startApiBeside } from '../../support/servers/server.ts';
import {
  done,
  imported,
  importOf,
  NUMBER,
  newAgent,
  newNumber,
  SECRET,
  TELNYX,
  TRUNK,
  TWILIO,
} from '../support.ts';
import { failWrites, seen, server } from './server.ts';

export function readingSuite(): void {
  describe('carrier credentials', () => {
    it('are encrypted at rest and appear in no response and no log line', async () => {
      await imported(server.client, { twilio: TWILIO });
      await imported(server.client, { telnyx: TELNYX });
      await imported(server.client, { sip: TRUNK });
      failWrites({ status: 400 });
      await importOf(server.client, { twilio: { ...TWILIO, authToken: 'other-never-to-be-seen' } });
      const malformed = [
        { sip: TRUNK, twilio: TWILIO },
        { twilio: { ...TWILIO, auth_token: TWILIO.authToken } },
        { sip: { ...TRUNK, username: null } },
      ];
      for (const provider of malformed) {
        const answer = await server.client.send(
          'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { userErrors { code } } }',
          { input: { phoneNumber: newNumber(), provider } },
        );
        expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
      }
      for (const provider of [
        `{ sip: { server: "a", username: "b", passwort: "${TRUNK.password}" } }`,
        `[{ sip: { server: "a", username: "b", password: "${TRUNK.password}" } }, 1]`,
        `{ sip: { server: "a", username: "b", password: "${TRUNK.password}" }, twilio: {} }`,
      ]) {
        const answer = await server.client.send(
          `mutation { importPhoneNumber(input: { phoneNumber: "+14155550100", provider: ${provider} }) { userErrors { code } } }`,
        );
        expect(answer.errors?.length).toBeGreaterThan(0);
      }
      const tables = await Promise.all([
        server.app.db.$queryRaw`SELECT * FROM telephony_configs`,
        server.app.db.$queryRaw`SELECT * FROM phone_numbers`,
        server.app.db.$queryRaw`SELECT * FROM pgboss.job`,
      ]);
      const stored = JSON.stringify(tables, (_key, value) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      expect(stored).toContain(TRUNK.username);
      expect(stored).not.toMatch(SECRET);
      expect(seen.length).toBeGreaterThan(6);
      expect(seen.join('\n')).not.toMatch(SECRET);
    });
  });

  describe('phoneNumbers', () => {
    it('takes a number of statements that does not grow with the list', async () => {
      const { client, organizationId } = server;
      const agent = await newAgent(server, organizationId);
      const add = async (account: object) => {
        const { id } = await imported(client, { twilio: account });
        for (const direction of ['INBOUND', 'OUTBOUND']) {
          await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction });
        }
      };
      const api = await startApiBeside(server);
      const measure = async () => {
        const query = `{ phoneNumbers { nodes { ${NUMBER} } } }`;
        return (await recordStatements(api.app, () => api.client.send(query))).length;
      };
      await add(TWILIO);
      const one = await measure();
      expect(one).toBeGreaterThan(0);
      for (let index = 0; index < 4; index += 1) await add({});
      expect(await measure()).toBe(one);
      await api.close();
    });
  });
}
