import { createHash, randomUUID } from 'node:crypto';
import { parse, print } from 'graphql';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { LIMITS } from '../../src/server/limits/limits.ts';
import { IMPORT, sendFile } from '../contacts/import/upload.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { type Answer, createClient, type GraphQLClient } from '../support/graphql.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  server = await startTestServer({
    // So many that an organization may delete two folders at the same time.
    settings: { LOG_LEVEL: 'silent', DATABASE_CONNECTIONS: '30' },
  });
  caller = await prepareCaller(server.client);
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

const CREATE_AGENT = `mutation ($input: CreateAgentInput!) {
  createAgent(input: $input) { agent { id name } userErrors { code path } } }`;
const CREATE_CALL = `mutation ($input: CreateCallInput!) {
  createCall(input: $input) { call { id status } userErrors { code } } }`;
const CREATE_KEY = `mutation ($input: CreateApiKeyInput!) {
  createApiKey(input: $input) { key apiKey { id } userErrors { code } } }`;

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

const agentInput = (name: string, voiceId = caller.voiceId) => ({
  input: { name, systemPrompt: 'Be brief.', voiceId },
});

function withKey(
  key: string,
  document: string,
  variables: object,
  client: GraphQLClient = server.client,
): Promise<Answer> {
  return client.send(document, variables, { headers: { 'x-idempotency-key': key } });
}

const agentsNamed = (name: string): Promise<number> =>
  server.app.db.agent.count({ where: { name } });

const record = (key: string, organizationId = server.organizationId) =>
  server.app.db.idempotencyKey.findUnique({
    where: { organizationId_key: { organizationId, key } },
  });

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
