/** Repeated mutations that return the stored result, or are rejected. */
import { createHash, randomUUID } from 'node:crypto';
import { parse, print } from 'graphql';
import { describe, expect, it, vi } from 'vitest';
import { LIMITS } from '../../../src/server/limits/limits.ts';
import { IMPORT, sendFile } from '../../contacts/import/upload.ts';
import { prepareCaller } from '../../support/calling.ts';
import { createClient } from '../../support/graphql.ts';
import { until } from '../../support/wait.ts';
import {
  agentInput,
  agentsNamed,
  CREATE_AGENT,
  CREATE_KEY,
  caller,
  record,
  server,
  withKey,
} from './server.ts';

const CREATE_CALL = `mutation ($input: CreateCallInput!) {
  createCall(input: $input) { call { id status } userErrors { code } } }`;

export function replaysSuite(): void {
  describe('a mutation repeated with its idempotency key', () => {
    it('returns the stored result, marked as a replay', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput('Once'));
      const again = await withKey(key, CREATE_AGENT, agentInput('Once'));
      expect(first.data.createAgent.agent.id).toMatch(/^agt_/);
      expect(first.extensions?.idempotentReplay).toBeUndefined();
      expect(again.data).toEqual(first.data);
      expect(again.extensions?.idempotentReplay).toBe(true);
      expect(await agentsNamed('Once')).toBe(1);
    });

    it('is recognized by the header without the prefix X-, as Stripe and the draft of the IETF name it', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput('Unprefixed'));
      const headers = { 'idempotency-key': key };
      const again = await server.client.send(CREATE_AGENT, agentInput('Unprefixed'), { headers });
      expect(again.data).toEqual(first.data);
      expect(again.extensions?.idempotentReplay).toBe(true);
      expect(await agentsNamed('Unprefixed')).toBe(1);
    });

    it('is recognized in another layout, and with the key in the extensions', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput('Laid out'));
      const loose = CREATE_AGENT.replace('mutation (', '# a remark\nmutation(').replaceAll(
        ' {',
        '\n{',
      );
      const again = await withKey(key, loose, {
        input: Object.fromEntries(Object.entries(agentInput('Laid out').input).reverse()),
      });
      expect(again.data).toEqual(first.data);
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${server.key}` },
        body: JSON.stringify({
          query: CREATE_AGENT,
          variables: agentInput('Laid out'),
          extensions: { idempotencyKey: key },
        }),
      });
      expect(await response.json()).toEqual({
        data: first.data,
        extensions: { idempotentReplay: true },
      });
    });

    it('is rejected with other variables, another mutation or other fields', async () => {
      const key = randomUUID();
      await withKey(key, CREATE_AGENT, agentInput('First use'));
      const others = [
        withKey(key, CREATE_AGENT, agentInput('Second use')),
        withKey(key, CREATE_CALL, {
          input: { agentId: caller.agentId, phoneNumber: '+14155550142' },
        }),
        withKey(key, CREATE_AGENT.replace('id name', 'id'), agentInput('First use')),
      ];
      for (const answer of await Promise.all(others)) {
        expect(answer.data ?? null).toBeNull();
        expect(answer.errors?.[0]?.extensions.code).toBe('IDEMPOTENCY_KEY_REUSED');
        expect(answer.status).toBe(422);
      }
      expect(await agentsNamed('Second use')).toBe(0);

      const scopes = ['READ', 'WRITE', 'ADMIN'];
      const created = await server.client.send(CREATE_KEY, {
        input: { name: 'Other scopes', scopes: scopes.slice(0, 2) },
      });
      const limited = createClient(server.url, created.data.createApiKey.key);
      const reused = await withKey(key, CREATE_AGENT, agentInput('First use'), limited);
      expect(reused.errors?.[0]?.message).toContain('by a caller with other scopes');
    });

    it('is compared by a keyed hash, and by the plain hash of a record that has one', async () => {
      const key = randomUUID();
      const document = `mutation { createContactFolder(input: { name: "Hashed" }) {
      contactFolder { id } userErrors { code } } }`;
      const first = await withKey(key, document, {});
      const plain = createHash('sha256')
        .update([print(parse(document)), '{}', 'ADMIN,READ,WRITE'].join('\0'))
        .digest('hex');
      const stored = await record(key);
      expect(stored?.fingerprint).not.toBe(plain);
      const replace = (values: object) =>
        server.app.db.idempotencyKey.updateMany({
          where: { key },
          data: { fingerprint: plain, ...values },
        });

      await replace({});
      const again = await withKey(key, document, {});
      expect(again).toMatchObject({ data: first.data, extensions: { idempotentReplay: true } });
      await replace({ response: null, leaseUntil: new Date(0) });
      const afterCrash = await withKey(key, document, {});
      expect(afterCrash.data).toEqual(first.data);
      expect((await record(key))?.fingerprint).toBe(stored?.fingerprint);
      await replace({});
      const other = await withKey(key, document.replace('Hashed', 'Other'), {});
      expect(other.errors?.[0]?.extensions.code).toBe('IDEMPOTENCY_KEY_REUSED');
    });

    it('waits for a running one and returns the same result', async () => {
      const key = randomUUID();
      server.simulator.setFaults([{ kind: 'slow', ms: 500, method: 'POST', path: '/agents$' }]);
      const written = vi.spyOn(server.app.db, '$executeRaw');
      const answers = await Promise.all(
        [1, 2, 3].map(() => withKey(key, CREATE_AGENT, agentInput('At the same time'))),
      );
      const claims = written.mock.calls.filter(([text]) =>
        String(text).includes('INSERT INTO idempotency_keys'),
      );
      written.mockRestore();
      // One of each request, and another of each that has waited.
      expect(claims.length).toBeGreaterThanOrEqual(3);
      expect(claims.length).toBeLessThanOrEqual(5);
      expect(new Set(answers.map(({ data }) => data.createAgent.agent.id)).size).toBe(1);
      expect(answers.filter(({ extensions }) => extensions?.idempotentReplay)).toHaveLength(2);
      expect(await agentsNamed('At the same time')).toBe(1);
      const remote = await Array.fromAsync(
        server.app.ultravox.agents.listAll({ search: answers[0]!.data.createAgent.agent.id }),
      );
      expect(remote).toHaveLength(1);
    });

    it('does not wait for a running one when its client has gone', async () => {
      const uploads = { headers: { 'x-idempotency-key': randomUUID() }, content: 'phone\n' };
      const input = { folderId: 'fld_1' };
      await sendFile(server, IMPORT, uploads, input);
      await server.app.db.idempotencyKey.update({
        where: {
          organizationId_key: {
            organizationId: server.organizationId,
            key: uploads.headers['x-idempotency-key'],
          },
        },
        data: { response: null, leaseUntil: new Date(Date.now() + 3_600_000) },
      });
      const gone = new AbortController();
      const waiting = Array.from({ length: LIMITS.uploadsPerOrganization.max }, () =>
        sendFile(server, IMPORT, { ...uploads, signal: gone.signal }, input),
      );
      const uploadStatus = async () => (await sendFile(server, IMPORT, 'phone\n', input)).status;
      await until('uploads that wait', async () => (await uploadStatus()) === 429);
      gone.abort();
      await Promise.allSettled(waiting);
      await until('the end of the wait', async () => (await uploadStatus()) === 200);
    });

    it('places one call for many concurrent requests', async () => {
      const key = randomUUID();
      const variables = { input: { agentId: caller.agentId, phoneNumber: '+14155550188' } };
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => withKey(key, CREATE_CALL, variables)),
      );
      expect(new Set(answers.map(({ data }) => data.createCall.call.id)).size).toBe(1);
      const dials = server.simulator.dials().filter(({ to }) => to.includes('+14155550188'));
      expect(dials).toHaveLength(1);
    });

    it('is separate for each organization', async () => {
      const key = randomUUID();
      const other = await server.newOrganization();
      const theirs = await prepareCaller(other.client);
      const mine = await withKey(key, CREATE_AGENT, agentInput('Mine'));
      const their = await withKey(
        key,
        CREATE_AGENT,
        agentInput('Theirs', theirs.voiceId),
        other.client,
      );
      expect(their.extensions?.idempotentReplay).toBeUndefined();
      expect(their.data.createAgent.agent.name).toBe('Theirs');
      expect(their.data.createAgent.agent.id).not.toBe(mine.data.createAgent.agent.id);
    });

    it('returns user errors again', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput(''));
      expect(first.data.createAgent.userErrors).not.toEqual([]);
      const again = await withKey(key, CREATE_AGENT, agentInput(''));
      expect(again.data).toEqual(first.data);
      expect(again.extensions?.idempotentReplay).toBe(true);
    });

    it('stores secrets of its result encrypted', async () => {
      const key = randomUUID();
      const variables = { input: { name: 'Secret', scopes: ['READ'] } };
      const first = await withKey(key, CREATE_KEY, variables);
      const secret = first.data.createApiKey.key as string;
      expect(secret).toMatch(/^truedy_/);
      const row = await record(key);
      expect(row?.response).toBeTruthy();
      expect(JSON.stringify(row)).not.toContain(secret);
      expect(JSON.stringify(row)).not.toContain('createApiKey');
      const again = await withKey(key, CREATE_KEY, variables);
      expect(again.data.createApiKey.key).toBe(secret);
      expect(await server.app.db.apiKey.count({ where: { name: 'Secret' } })).toBe(1);
    });

    it('rejects a malformed idempotency key', async () => {
      for (const key of ['x'.repeat(201), 'two words']) {
        const answer = await withKey(key, CREATE_AGENT, agentInput('Never'));
        expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
      }
      expect(await agentsNamed('Never')).toBe(0);
    });

    it('returns nothing to an API key with fewer scopes', async () => {
      const made = await server.client.send(CREATE_KEY, {
        input: { name: 'Reader', scopes: ['READ'] },
      });
      const reader = createClient(server.url, made.data.createApiKey.key);
      const key = randomUUID();
      const variables = { input: { name: 'For the admin', scopes: ['ADMIN'] } };
      await withKey(key, CREATE_KEY, variables);
      const answer = await withKey(key, CREATE_KEY, variables, reader);
      expect(answer.data ?? null).toBeNull();
      // Refused for its scopes before the key is looked up.
      expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    });
  });
}
