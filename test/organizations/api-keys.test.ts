import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdminKey } from '../../src/organizations/service.ts';
import { createClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const CREATE = `mutation($input: CreateApiKeyInput!) {
  createApiKey(input: $input) { key apiKey { id name prefix scopes ipAllowList expiresAt } userErrors { code path message } }
}`;
const WHO = '{ viewer { scopes organization { name } } }';

async function makeKey(input: Record<string, unknown>) {
  const answer = await server.client.send(CREATE, { input: { name: 'a key', ...input } });
  expect(answer.data.createApiKey.userErrors).toEqual([]);
  const { key, apiKey } = answer.data.createApiKey;
  return { key, id: apiKey.id as string, client: createClient(server.url, key) };
}

const codes = (answer: { errors?: { extensions: Record<string, unknown> }[] }) =>
  answer.errors?.map(({ extensions }) => extensions.code);

describe('API keys', () => {
  it('are shown once, kept as a hash, and listed by their first characters', async () => {
    const { key, id } = await makeKey({ name: 'for the website', scopes: ['READ', 'READ'] });
    expect(key).toMatch(/^truedy_[A-Za-z0-9]{32}$/);
    const row = await server.app.db.apiKey.findUniqueOrThrow({ where: { id: id.slice(4) } });
    expect(JSON.stringify(row)).not.toContain(key.slice(12));
    const list = await server.client.send(
      '{ apiKeys(first: 1) { totalCount nodes { id prefix scopes lastUsedAt } } }',
    );
    expect(list.data.apiKeys.nodes).toEqual([
      { id, prefix: key.slice(0, 11), scopes: ['READ'], lastUsedAt: null },
    ]);
    expect(JSON.stringify(list)).not.toContain(key);
  });

  it('do what their scopes say, and no more', async () => {
    const reader = await makeKey({ scopes: ['READ'] });
    const writer = await makeKey({ scopes: ['WRITE'] });
    expect((await reader.client.send(WHO)).data.viewer.scopes).toEqual(['READ']);
    expect((await writer.client.send(WHO)).data.viewer.scopes.sort()).toEqual(['READ', 'WRITE']);
    const tool = `mutation { createTool(input: { name: "x", description: "x", http: { url: "https://example.com/x" } }) { tool { id } userErrors { message } } }`;
    const before = await server.app.db.tool.count();
    const refused = await reader.client.send(tool);
    expect(codes(refused)).toEqual(['FORBIDDEN']);
    expect(refused.status).toBe(403);
    expect(await server.app.db.tool.count()).toBe(before);
    expect((await writer.client.send(tool)).data.createTool.userErrors).toEqual([]);
    expect(codes(await writer.client.send('{ apiKeys { nodes { id } } }'))).toEqual(['FORBIDDEN']);
    expect(
      codes(await writer.client.send(CREATE, { input: { name: 'x', scopes: ['ADMIN'] } })),
    ).toEqual(['FORBIDDEN']);
    expect(
      codes(await writer.client.send('{ organization { apiKeys { nodes { id } } } }')),
    ).toEqual(['FORBIDDEN']);
  });

  it('end when they are revoked, and revoking again changes nothing', async () => {
    const { id, client } = await makeKey({ scopes: ['READ'] });
    expect((await client.send(WHO)).errors).toBeUndefined();
    const revoke = `mutation($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } userErrors { code } } }`;
    const first = await server.client.send(revoke, { id });
    const refused = await client.send(WHO);
    expect(codes(refused)).toEqual(['UNAUTHENTICATED']);
    expect(refused.status).toBe(401);
    expect((await server.client.send(revoke, { id })).data).toEqual(first.data);
  });

  it('end when they expire', async () => {
    const { id, client } = await makeKey({ scopes: ['READ'], expiresAt: '2040-01-01T00:00:00Z' });
    expect((await client.send(WHO)).errors).toBeUndefined();
    await server.app.db.apiKey.update({
      where: { id: id.slice(4) },
      data: { expiresAt: new Date(Date.now() - 1000) },
    });
    expect(codes(await client.send(WHO))).toEqual(['UNAUTHENTICATED']);
  });

  it('work from the addresses of their allow-list only', async () => {
    const here = await makeKey({ scopes: ['READ'], ipAllowList: ['127.0.0.0/8', '::1'] });
    const elsewhere = await makeKey({
      scopes: ['READ'],
      ipAllowList: ['203.0.113.7', '2001:db8::/32'],
    });
    expect((await here.client.send(WHO)).errors).toBeUndefined();
    const refused = await elsewhere.client.send(WHO);
    expect(codes(refused)).toEqual(['FORBIDDEN']);
    expect(refused.status).toBe(403);
    // Not behind a proxy, so what a client claims of itself counts for nothing.
    const claimed = await elsewhere.client.send(
      WHO,
      {},
      { headers: { 'x-forwarded-for': '203.0.113.7' } },
    );
    expect(codes(claimed)).toEqual(['FORBIDDEN']);
  });

  it('remember when they were last used', async () => {
    const { id, client } = await makeKey({ scopes: ['READ'] });
    await client.send(WHO);
    await until('the use to be recorded', async () => {
      const row = await server.app.db.apiKey.findUniqueOrThrow({ where: { id: id.slice(4) } });
      return row.lastUsedAt;
    });
  });

  it('are refused with everything that is wrong', async () => {
    const answer = await server.client.send(CREATE, {
      input: {
        name: 'x'.repeat(101),
        scopes: [],
        ipAllowList: ['127.0.0.1', 'home'],
        expiresAt: '2001-01-01T00:00:00Z',
      },
    });
    const { key, userErrors } = answer.data.createApiKey;
    expect(key).toBeNull();
    expect(userErrors.map((error: { path: string[] }) => error.path.join('.')).sort()).toEqual([
      'expiresAt',
      'ipAllowList.1',
      'name',
      'scopes',
    ]);
  });
});

describe('access tokens', () => {
  const CREATE_TOKEN = `mutation($input: CreateAccessTokenInput!) {
    createAccessToken(input: $input) { accessToken expiresAt userErrors { code path } }
  }`;
  async function makeToken(input: Record<string, unknown>, client = server.client) {
    const answer = await client.send(CREATE_TOKEN, { input });
    return answer.data.createAccessToken;
  }

  it('read, and do nothing else', async () => {
    const { accessToken, expiresAt } = await makeToken({ expiresInSeconds: 60 });
    const lasts = new Date(expiresAt).getTime() - Date.now();
    expect(lasts).toBeGreaterThan(50_000);
    expect(lasts).toBeLessThanOrEqual(60_000);
    const browser = createClient(server.url, accessToken);
    expect((await browser.send(WHO)).data.viewer.scopes).toEqual(['READ']);
    expect(codes(await browser.send(CREATE_TOKEN, { input: {} }))).toEqual(['FORBIDDEN']);
    expect(codes(await browser.send('{ apiKeys { nodes { id } } }'))).toEqual(['FORBIDDEN']);
  });

  it('end with the key they were made with', async () => {
    const maker = await makeKey({ scopes: ['WRITE'] });
    const { accessToken } = await makeToken({}, maker.client);
    const browser = createClient(server.url, accessToken);
    expect((await browser.send(WHO)).errors).toBeUndefined();
    await server.client.send(
      `mutation($id: ID!) { revokeApiKey(input: { id: $id }) { userErrors { code } } }`,
      {
        id: maker.id,
      },
    );
    expect(codes(await browser.send(WHO))).toEqual(['UNAUTHENTICATED']);
  });

  it('cannot be made by hand, or altered', async () => {
    const { accessToken } = await makeToken({});
    const [head, body, signature] = accessToken.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
    const other = await server.newOrganization();
    const forged = Buffer.from(JSON.stringify({ ...claims, org: other.id })).toString('base64url');
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`;
    for (const token of [`${head}.${forged}.${signature}`, unsigned, 'truedy_nonsense', 'x']) {
      expect(codes(await createClient(server.url, token).send(WHO))).toEqual(['UNAUTHENTICATED']);
    }
  });

  it('are refused for a call that is not there, or too long a time', async () => {
    const { userErrors } = await makeToken({ expiresInSeconds: 5, callId: 'agt_x' });
    expect(userErrors).toEqual([
      { code: 'INVALID_INPUT', path: ['expiresInSeconds'] },
      { code: 'INVALID_ID', path: ['callId'] },
    ]);
    const missing = await makeToken({ callId: 'cal_01a1f8a9-5500-762b-8b1b-1c62d1c30024' });
    expect(missing.userErrors).toEqual([{ code: 'NOT_FOUND', path: ['callId'] }]);
  });
});

describe('the last key of the scope ADMIN', () => {
  const REVOKE = `mutation($id: ID!) {
    revokeApiKey(input: { id: $id }) { apiKey { revokedAt } userErrors { code path } } }`;
  const revoke = async (client: typeof server.client, id: string) =>
    (await client.send(REVOKE, { id })).data.revokeApiKey;
  const firstId = async (organizationId: string) => {
    const row = await server.app.db.apiKey.findFirstOrThrow({ where: { organizationId } });
    return `key_${row.id}`;
  };

  it('stays, also beside keys that have ended or may do less', async () => {
    const { client, id } = await server.newOrganization();
    const first = await firstId(id);
    await client.send(CREATE, { input: { name: 'Writes', scopes: ['WRITE'] } });
    await server.app.db.apiKey.create({
      data: {
        ...{ id: randomUUID(), organizationId: id, name: 'Ended', scopes: ['ADMIN'] },
        ...{ prefix: 'x', hash: randomUUID(), expiresAt: new Date(Date.now() - 1_000) },
      },
    });
    expect(await revoke(client, first)).toEqual({
      apiKey: null,
      userErrors: [{ code: 'INVALID_STATE', path: ['id'] }],
    });
    await client.send(CREATE, { input: { name: 'Second', scopes: ['ADMIN'] } });
    expect((await revoke(client, first)).apiKey.revokedAt).not.toBeNull();
  });

  it('stays when two are revoked at the same time', async () => {
    const { client, id } = await server.newOrganization();
    const first = await firstId(id);
    const made = await client.send(CREATE, { input: { name: 'Second', scopes: ['ADMIN'] } });
    const second = createClient(server.url, made.data.createApiKey.key);
    const { db } = server.app;
    let both: Promise<unknown> | undefined;
    await db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT id FROM organizations WHERE id = ${id}::uuid FOR UPDATE`;
        both = Promise.all([
          client.send(REVOKE, { id: made.data.createApiKey.apiKey.id }),
          second.send(REVOKE, { id: first }),
        ]);
        await until('both to wait for their turn', async () => {
          const waiting = await db.$queryRaw<unknown[]>`
            SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()`;
          return waiting.length >= 2;
        });
      },
      { timeout: 20_000 },
    );
    await both;
    const left = await server.app.db.apiKey.count({
      where: { organizationId: id, revokedAt: null },
    });
    expect(left).toBe(1);
  });

  it('can be replaced from the command line', async () => {
    const { id } = await server.newOrganization();
    const made = await createAdminKey(server.app, `org_${id}`);
    const answer = await createClient(server.url, made.key).send(WHO);
    expect(answer.data.viewer.scopes).toContain('ADMIN');
    await expect(createAdminKey(server.app, `org_${randomUUID()}`)).rejects.toThrow('no such');
    await expect(createAdminKey(server.app, 'nonsense')).rejects.toThrow('an Organization id');
  });
});
