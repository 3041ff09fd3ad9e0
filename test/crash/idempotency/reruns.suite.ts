/** Repeated mutations that run again, after an error, a crash or a day. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { sessionOf, untilBlocked } from '../../support/locks.ts';
import { startTestServer } from '../../support/servers/server.ts';
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

const DELETE_FOLDER = `mutation ($input: DeleteContactFolderInput!) {
  deleteContactFolder(input: $input) { deletedContactFolderId contactCount userErrors { code } } }`;

const CREATE_TOKENS = `mutation {
  createAccessToken(input: { expiresInSeconds: 60 }) { accessToken }
  exportCalls(input: {}) { url expiresAt }
  exportContacts(input: {}) { url expiresAt }
  createContactFolder(input: { name: "Beside" }) { contactFolder { id } } }`;

const createFolder = async (): Promise<string> =>
  (
    await runMutation(
      server.client,
      'createContactFolder',
      { name: 'Leads' },
      'contactFolder { id }',
    )
  ).contactFolder.id;

export function rerunsSuite(): void {
  describe('a mutation repeated with its idempotency key', () => {
    it('runs again after an internal error', async () => {
      const key = randomUUID();
      const table = 'ALTER TABLE agents RENAME TO';
      await server.app.db.$executeRawUnsafe(`${table} agents_away`);
      const failed = await withKey(key, CREATE_AGENT, agentInput('After all')).finally(() =>
        server.app.db.$executeRawUnsafe(`ALTER TABLE agents_away RENAME TO agents`),
      );
      expect(failed.errors?.[0]?.extensions.code).toBe('INTERNAL');
      expect((await record(key))?.response).toBeNull();
      const again = await withKey(key, CREATE_AGENT, agentInput('After all'));
      expect(again.extensions?.idempotentReplay).toBeUndefined();
      expect(again.data.createAgent.agent.name).toBe('After all');
      expect(await agentsNamed('After all')).toBe(1);
    });

    it('continues a run that was killed, with the same object', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput('Taken over'));
      // As a process leaves it that dies after the agent was committed and before the answer was stored.
      const where = { organizationId_key: { organizationId: server.organizationId, key } };
      await server.app.db.idempotencyKey.update({
        where,
        data: {
          response: null,
          leaseId: randomUUID(),
          leaseUntil: new Date(Date.now() + 60_000),
        },
      });
      let answered = false;
      const waiting = withKey(key, CREATE_AGENT, agentInput('Taken over')).finally(() => {
        answered = true;
      });
      // It has asked for the lease by now if another, later, request has been served.
      await server.client.send('{ eventCursor }');
      await server.client.send('{ eventCursor }');
      expect(answered).toBe(false);
      await server.app.db.idempotencyKey.update({
        where,
        data: { leaseUntil: new Date(Date.now() - 1_000) },
      });
      const again = await waiting;
      expect(again.extensions?.idempotentReplay).toBeUndefined();
      expect(again.data).toEqual(first.data);
      expect(await agentsNamed('Taken over')).toBe(1);
      await until('the stored answer', async () => (await record(key))?.response);
    });

    it.each([
      ['createCall', 'call', () => ({ agentId: caller.agentId, phoneNumber: '+14155550142' })],
      ['createAgent', 'agent', () => agentInput('Twice at once').input],
    ])('%s returns one object when a run that has lost its lease still goes on', async (name, object, input) => {
      const key = randomUUID();
      const type = `${name[0]!.toUpperCase()}${name.slice(1)}Input`;
      const document = `mutation ($input: ${type}!) { ${name}(input: $input) { ${object} { id } userErrors { code } } }`;
      const run = () => withKey(key, document, { input: input() });
      const table = `${object}s`;
      const [first, second] = await server.app.db
        .$transaction(
          async (tx) => {
            const holder = await sessionOf(tx);
            const statement = `%INTO "public"."${table}"%`;
            // Both look for the object of an earlier run before either can insert it.
            await tx.$executeRawUnsafe(`LOCK TABLE ${table} IN SHARE MODE`);
            const before = run();
            await untilBlocked(server.app.db, { holder, statement });
            await server.app.db.idempotencyKey.update({
              where: { organizationId_key: { organizationId: server.organizationId, key } },
              data: { leaseUntil: new Date(0) },
            });
            const after = run();
            await untilBlocked(server.app.db, { holder, statement, count: 2 });
            return [before, after] as const;
          },
          { timeout: 60_000 },
        )
        .then((runs) => Promise.all(runs));
      expect([first.errors, second.errors]).toEqual([undefined, undefined]);
      expect(first.data[name]).toMatchObject({
        [object]: { id: expect.any(String) },
        userErrors: [],
      });
      expect(second.data).toEqual(first.data);
    });

    it('makes its change once, in the run that has taken over, when the run that lost its lease still goes on', async () => {
      const folder = await createFolder();
      const key = randomUUID();
      const { db } = server.app;
      const run = () => withKey(key, DELETE_FOLDER, { input: { id: folder } });
      const [first, second] = await db
        .$transaction(
          async (tx) => {
            const holder = await sessionOf(tx);
            const statement = '%FROM contact_folders%';
            await tx.$queryRaw`
            SELECT 1 FROM contact_folders WHERE id = ${folder.slice(4)}::uuid FOR UPDATE`;
            const before = run();
            await untilBlocked(db, { holder, statement });
            await db.idempotencyKey.update({
              where: { organizationId_key: { organizationId: server.organizationId, key } },
              data: { leaseUntil: new Date(0) },
            });
            const after = run();
            await untilBlocked(db, { holder, statement, count: 2 });
            return [before, after] as const;
          },
          { timeout: 60_000 },
        )
        .then((runs) => Promise.all(runs));
      const deleted = { deletedContactFolderId: folder, contactCount: 0, userErrors: [] };
      expect(first.errors).toMatchObject([{ extensions: { code: 'INTERNAL' } }]);
      expect(second.data.deleteContactFolder).toEqual(deleted);
      expect((await run()).data.deleteContactFolder).toEqual(deleted);
    });

    it('runs only what failed, when the first mutation succeeded and the second did not', async () => {
      const key = randomUUID();
      const document = `mutation ($agent: CreateAgentInput!, $folder: CreateContactFolderInput!) {
      createAgent(input: $agent) { agent { id } userErrors { code } }
      createContactFolder(input: $folder) { contactFolder { id } userErrors { code } } }`;
      const variables = { agent: agentInput('Of two').input, folder: { name: 'Of two' } };
      await server.app.db.$executeRawUnsafe('ALTER TABLE contact_folders RENAME TO folders_away');
      const failed = await withKey(key, document, variables).finally(() =>
        server.app.db.$executeRawUnsafe('ALTER TABLE folders_away RENAME TO contact_folders'),
      );
      expect(failed.data).toBeNull();
      expect(failed.errors?.[0]).toMatchObject({ path: ['createContactFolder'] });
      const agent = await server.app.db.agent.findFirstOrThrow({ where: { name: 'Of two' } });
      const stored = await record(key);
      expect(stored?.response).toBeNull();
      expect(JSON.stringify(stored)).not.toContain('Of two');
      const again = await withKey(key, document, variables);
      expect(again.data.createAgent).toEqual({
        agent: { id: `agt_${agent.id}` },
        userErrors: [],
      });
      expect(again.data.createContactFolder.userErrors).toEqual([]);
      expect(await agentsNamed('Of two')).toBe(1);
      const third = await withKey(key, document, variables);
      expect(third.data).toEqual(again.data);
      expect(third.extensions?.idempotentReplay).toBe(true);
      expect(await record(key)).toMatchObject({ fieldResults: null });
    });

    it('runs again after 24 hours', async () => {
      const key = randomUUID();
      const first = await withKey(key, CREATE_AGENT, agentInput('Yesterday'));
      await server.app.db.idempotencyKey.update({
        where: { organizationId_key: { organizationId: server.organizationId, key } },
        data: { createdAt: new Date(Date.now() - 25 * 3_600_000) },
      });
      const next = await withKey(key, CREATE_AGENT, agentInput('Today'));
      expect(next.data.createAgent.agent.name).toBe('Today');
      expect(next.data.createAgent.agent.id).not.toBe(first.data.createAgent.agent.id);
    });

    it('returns a token or link that is valid, after the first one has expired', async () => {
      const key = randomUUID();
      const send = (client: GraphQLClient) => withKey(key, CREATE_TOKENS, {}, client);
      const { data } = await send(server.client);
      const now = () => new Date(Date.now() + 16 * 60_000);
      const later = await startTestServer({ beside: server, settings: { ROLE: 'api' }, now });
      try {
        const expired = createClient(later.url, data.createAccessToken.accessToken);
        expect((await expired.send('{ eventCursor }')).status).toBe(401);
        const again = await send(later.client);
        expect(again.data.createContactFolder).toEqual(data.createContactFolder);
        const token = createClient(later.url, again.data.createAccessToken.accessToken);
        expect((await token.send('{ eventCursor }')).status).toBe(200);
        for (const name of ['exportCalls', 'exportContacts']) {
          expect(Date.parse(again.data[name].expiresAt)).toBeGreaterThan(now().getTime());
        }
      } finally {
        await later.close();
      }
    });

    it('returns the secret of an API key that a killed run left behind', async () => {
      const key = randomUUID();
      const variables = { input: { name: 'Left behind', scopes: ['READ'] } };
      const first = await withKey(key, CREATE_KEY, variables);
      await server.app.db.idempotencyKey.update({
        where: { organizationId_key: { organizationId: server.organizationId, key } },
        data: { response: null, leaseId: null, leaseUntil: null },
      });
      const again = await withKey(key, CREATE_KEY, variables);
      expect(again.data).toEqual(first.data);
      const works = async (secret: string) =>
        (await createClient(server.url, secret).send('{ viewer { scopes } }')).status;
      expect(await works(again.data.createApiKey.key)).toBe(200);
      expect(await server.app.db.apiKey.count({ where: { name: 'Left behind' } })).toBe(1);
    });
  });
}
