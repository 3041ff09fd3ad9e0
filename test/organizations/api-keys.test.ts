import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/infra/ids.ts';
import { secretColumns } from '../../src/organizations/api-key-secret.ts';
import { createAdminKey, createOrganization } from '../../src/organizations/service.ts';
import { createClient } from '../support/graphql.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
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
  it('are shown once, stored as a hash, and listed by their first characters', async () => {
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

  it('are at most a hundred, also when they are created at once', async () => {
    const { organization, key } = await createOrganization(server.app, { name: 'Full' });
    const client = createClient(server.url, key);
    await server.app.db.apiKey.createMany({
      data: Array.from({ length: 98 }, (_, index) => ({
        id: newId(),
        organizationId: organization.id,
        name: 'filler',
        scopes: ['READ' as const],
        ...secretColumns(`${organization.id}/${index}`),
      })),
    });
    const { db } = server.app;
    let created: Promise<Awaited<ReturnType<typeof client.send>>[]> | undefined;
    await db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM organizations WHERE id = ${organization.id}::uuid FOR UPDATE`;
        created = Promise.all(
          ['one', 'two'].map((name) => client.send(CREATE, { input: { name, scopes: ['READ'] } })),
        );
        await untilBlocked(db, { holder: await sessionOf(tx), statement: '%', count: 2 });
      },
      { timeout: 20_000 },
    );
    const problems = (await created!).map(
      ({ data }) => data.createApiKey.userErrors[0]?.code ?? null,
    );
    expect(problems.sort()).toEqual(['LIMIT_EXCEEDED', null]);
  });

  it('allow what their scopes include, and nothing else', async () => {
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

  it('are rejected after revocation; revoking again changes nothing', async () => {
    const { id, client } = await makeKey({ scopes: ['READ'] });
    expect((await client.send(WHO)).errors).toBeUndefined();
    const revoke = `mutation($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } userErrors { code } } }`;
    const first = await server.client.send(revoke, { id });
    const refused = await client.send(WHO);
    expect(codes(refused)).toEqual(['UNAUTHENTICATED']);
    expect(refused.status).toBe(401);
    expect((await server.client.send(revoke, { id })).data).toEqual(first.data);
  });

  it('are rejected after they expire', async () => {
    const expiresAt = new Date(Date.now() + 4_000);
    const { client } = await makeKey({ scopes: ['READ'], expiresAt: expiresAt.toISOString() });
    expect((await client.send(WHO)).errors).toBeUndefined();
    const refused = await until('the end of the key', async () => {
      const answer = await client.send(WHO);
      return answer.errors ? answer : false;
    });
    expect(codes(refused)).toEqual(['UNAUTHENTICATED']);
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime());
  });

  it('are listed by whether they are revoked or expired, oldest first if wanted', async () => {
    const { client, id: organizationId } = await server.newOrganization();
    const at = (ms: number) => new Date(Date.now() + ms);
    const rows = [
      { name: 'never', expiresAt: null, revokedAt: null },
      { name: 'later', expiresAt: at(60_000), revokedAt: null },
      { name: 'expired', expiresAt: at(-1), revokedAt: null },
      { name: 'both', expiresAt: at(-1), revokedAt: at(-1) },
    ];
    await server.app.db.apiKey.createMany({
      data: rows.map((row, index) => ({
        id: newId(),
        organizationId,
        prefix: 'test',
        hash: newId(),
        createdAt: at(index),
        ...row,
      })),
    });
    const named = async (filter: string) => {
      const order = 'orderBy: { field: CREATED_AT, direction: ASC }';
      const answer = await client.send(
        `{ apiKeys(filter: { ${filter} }, ${order}) { nodes { name } } }`,
      );
      const names = answer.data.apiKeys.nodes.map(({ name }: { name: string }) => name);
      return names.filter((name: string) => rows.some((row) => row.name === name));
    };
    expect(await named('revoked: false')).toEqual(['never', 'later', 'expired']);
    expect(await named('expired: false')).toEqual(['never', 'later']);
    expect(await named('expired: true')).toEqual(['expired', 'both']);
    expect(await named('expired: true, revoked: false')).toEqual(['expired']);
    expect(await named('')).toEqual(['never', 'later', 'expired', 'both']);
  });

  it('are accepted only from the addresses of their allow-list', async () => {
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

  it('record when they were last used', async () => {
    const { id, client } = await makeKey({ scopes: ['READ'] });
    await client.send(WHO);
    const lastUsedAt = async (): Promise<Date | null> => {
      const row = await server.app.db.apiKey.findUniqueOrThrow({ where: { id: id.slice(4) } });
      return row.lastUsedAt;
    };
    const first = await until('the use to be recorded', lastUsedAt);
    // Not for every request.
    for (let count = 0; count < 10; count += 1) await client.send(WHO);
    expect(await lastUsedAt()).toEqual(first);
  });

  it('cannot be created from invalid input, and every problem is reported', async () => {
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

  it('allow reading and nothing else', async () => {
    const { accessToken, expiresAt } = await makeToken({ expiresInSeconds: 60 });
    const lasts = new Date(expiresAt).getTime() - Date.now();
    expect(lasts).toBeGreaterThan(50_000);
    expect(lasts).toBeLessThanOrEqual(60_000);
    const browser = createClient(server.url, accessToken);
    expect((await browser.send(WHO)).data.viewer.scopes).toEqual(['READ']);
    expect(codes(await browser.send(CREATE_TOKEN, { input: {} }))).toEqual(['FORBIDDEN']);
    expect(codes(await browser.send('{ apiKeys { nodes { id } } }'))).toEqual(['FORBIDDEN']);
  });

  it('expire with the API key that created them', async () => {
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

  it('are rejected when forged or altered', async () => {
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

  it('cannot be created for an unknown call or too long a lifetime', async () => {
    const { userErrors } = await makeToken({ expiresInSeconds: 5, callId: 'agt_x' });
    expect(userErrors).toEqual([
      { code: 'INVALID_INPUT', path: ['expiresInSeconds'] },
      { code: 'INVALID_ID', path: ['callId'] },
    ]);
    const missing = await makeToken({ callId: 'cal_01a1f8a9-5500-762b-8b1b-1c62d1c30024' });
    expect(missing.userErrors).toEqual([{ code: 'NOT_FOUND', path: ['callId'] }]);
  });
});

describe('revokeApiKey for the last ADMIN key', () => {
  const REVOKE = `mutation($id: ID!) {
    revokeApiKey(input: { id: $id }) { apiKey { revokedAt } userErrors { code path } } }`;
  const revoke = async (client: typeof server.client, id: string) =>
    (await client.send(REVOKE, { id })).data.revokeApiKey;
  const firstId = async (organizationId: string) => {
    const row = await server.app.db.apiKey.findFirstOrThrow({ where: { organizationId } });
    return `key_${row.id}`;
  };

  it('rejects it, even beside expired keys and keys with fewer scopes', async () => {
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

  it('keeps one when two are revoked at the same time', async () => {
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
        const statement = 'SELECT id FROM organizations%FOR NO KEY UPDATE';
        await untilBlocked(db, { holder: await sessionOf(tx), statement, count: 2 });
      },
      { timeout: 20_000 },
    );
    await both;
    const left = await server.app.db.apiKey.count({
      where: { organizationId: id, revokedAt: null },
    });
    expect(left).toBe(1);
  });

  it('allows a replacement from the command line', async () => {
    const { id } = await server.newOrganization();
    const made = await createAdminKey(server.app, `org_${id}`);
    const answer = await createClient(server.url, made.key).send(WHO);
    expect(answer.data.viewer.scopes).toContain('ADMIN');
    await expect(createAdminKey(server.app, `org_${randomUUID()}`)).rejects.toThrow(
      'Organization not found.',
    );
    await expect(createAdminKey(server.app, 'nonsense')).rejects.toThrow(
      'expected the ID of an Organization',
    );
  });
});
