/** Values that a database, a browser or another program would interpret differently than intended. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importFile, makeFolder, sendFile } from '../contacts/import/upload.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

// biome-ignore lint/suspicious/noExplicitAny: whatever the mutation answers
type Payload = any;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
});
afterAll(() => server?.close());

const send = (document: string, variables?: unknown) => server.client.send(document, variables);
async function mutate(name: string, selection: string, input: object): Promise<Payload> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} userErrors { code message path } } }`,
    { input },
  );
  expect(answer.errors).toBeUndefined();
  return answer.data[name];
}

describe('createApiKey', () => {
  const create = (...ipAllowList: string[]) =>
    mutate('createApiKey', 'apiKey { ipAllowList }', {
      name: 'x',
      scopes: ['READ'],
      ipAllowList,
    });

  it.each([
    ['010.1.2.3', '10', '1.2.3', '127.1', '0x7f.0.0.1', '2130706433', '1.2.3.4.5', '256.1.1.1'],
    ['::ffff:10.1.2.3', '::ffff:a00:1', '::10.1.2.3', '2001:db8::1%eth0', ':::', '[::1]'],
    ['10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/-1', '10.0.0.0/', '2001:db8::/129', '1.2.3.4/8/8'],
  ])('rejects addresses that are read in more than one way: %s', async (...entries) => {
    const { apiKey, userErrors } = await create(...entries);
    expect(apiKey).toBeNull();
    expect(userErrors.map(({ path }: Payload) => path.join('.'))).toEqual(
      entries.map((_, index) => `ipAllowList.${index}`),
    );
  });

  it('stores addresses and ranges in canonical form', async () => {
    const { apiKey } = await create('203.0.113.7', ' 10.1.2.3/8 ', '2001:DB8:0:0::1', 'fe80::1/10');
    expect(apiKey.ipAllowList).toEqual([
      '203.0.113.7/32',
      '10.0.0.0/8',
      '2001:db8::1/128',
      'fe80::/10',
    ]);
  });
});

describe('an address of a tool', () => {
  let tools = 0;
  const create = (url: string) => {
    tools += 1;
    return mutate('createTool', 'tool { http { url } }', {
      name: `Address ${tools}`,
      description: 'x',
      http: { url },
      dynamicParameters: [...url.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        ...{ name, location: 'PATH', required: true, schema: { type: 'string' } },
      })),
    });
  };

  it.each([
    'https://example.com\\@127.0.0.1/',
    'https:\\\\example.com/',
    'https://example.com/a b',
    'https://example.com/\u0009x',
    'https://exa\nmple.com/',
    'https://example.com/"x"',
    'https://example.com@127.0.0.1/',
    'https://127.1/',
    'https://0x7f000001/',
    'https://[::ffff:127.0.0.1]/',
    'https://１２７.0.0.1/',
    'https://localhost./',
    '//example.com/',
  ])('is rejected when programs disagree about it, or it is not public: %j', async (url) => {
    const { tool, userErrors } = await create(url);
    expect(tool).toBeNull();
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['http', 'url'] }]);
  });

  it.each([
    ['https://EXAMPLE.com', 'https://example.com/'],
    ['https:example.com/a', 'https://example.com/a'],
    ['https://bücher.example.com:443/ä', 'https://xn--bcher-kva.example.com/%C3%A4'],
    ['https://example.com/a/../b/{first}/{second}', 'https://example.com/b/{first}/{second}'],
  ])('is stored as parsed: %s', async (url, stored) => {
    expect(await create(url)).toMatchObject({ tool: { http: { url: stored } }, userErrors: [] });
  });
});

describe('text and instants that cannot be stored', () => {
  it.each([
    ['calls(filter: { createdFrom: "0000-01-01T00:00:00Z" })', 'years 1 to 9999'],
    ['calls(filter: { createdBefore: "9999-12-31T23:59:59-14:00" })', 'years 1 to 9999'],
    ['contacts(filter: { createdFrom: "0001-01-01T00:00:00+14:00" })', 'years 1 to 9999'],
    ['contacts(filter: { search: "a\\u0000" })', 'null character'],
  ])('are BAD_USER_INPUT in %s', async (field, message) => {
    const answer = await send(`{ ${field} { totalCount } }`);
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
    expect(answer.errors?.[0]?.message).toContain(message);
  });

  it('are BAD_USER_INPUT in a list below the root and in a subscription', async () => {
    const below = await send(
      '{ campaigns { nodes { contacts(filter: { clientId: "a\\u0000" }) { totalCount } } } }',
    );
    const live = await send('subscription { callEvents(callId: "\\u0000") { cursor } }');
    for (const { errors } of [below, live])
      expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  it.each<[object, string]>([
    [{ description: 'nul \u0000' }, 'description'],
    [{ description: 'half \ud800' }, 'description'],
    [{ 'nul \u0000': 1 }, 'nul \u0000'],
    [{ enum: [['deep', { x: '\udc00' }]] }, 'enum.0.1.x'],
    [JSON.parse('{"properties":{"a":{"__proto__":{}}}}'), 'properties.a.__proto__'],
  ])('are user errors within JSON: %j', async (extra, path) => {
    const extractionSchema = { type: 'object', ...extra };
    const { userErrors } = await mutate('updateAgent', '', { id: 'x', extractionSchema });
    expect(userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['extractionSchema', ...path.split('.')] },
    ]);
  });

  it('are user errors for a file in place of JSON', async () => {
    const { data } = await sendFile(
      server,
      'mutation ($input: UpdateAgentInput!) { updateAgent(input: $input) { userErrors { code path } } }',
      { content: 'x', field: 'extractionSchema' },
      { id: 'x' },
    );
    expect(data.updateAgent.userErrors).toEqual([
      { code: 'INVALID_INPUT', path: ['extractionSchema'] },
    ]);
  });

  it('are user errors for a number in JSON that would be stored as null', async () => {
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${server.key}` },
      body: `{"query":"mutation ($schema: JSONObject!) { updateAgent(input: { id: \\"x\\", extractionSchema: $schema }) { userErrors { path } } }","variables":{"schema":{"maximum":1e999}}}`,
    });
    const { data } = (await response.json()) as Payload;
    expect(data.updateAgent.userErrors).toEqual([{ path: ['extractionSchema', 'maximum'] }]);
  });
});

describe('the names of JavaScript in metadata', () => {
  it('are kept, except __proto__, which is rejected', async () => {
    const folderId = await makeFolder(server);
    const create = (metadata: unknown) =>
      mutate('createContact', 'contact { metadata }', {
        ...{ folderId, phoneNumber: '+14155550161', metadata },
      });
    const { userErrors } = await create(JSON.parse('{"__proto__":"x"}'));
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['metadata', '__proto__'] }]);
    const names = {
      constructor: 'a',
      prototype: 'b',
      toString: 'c',
      hasOwnProperty: 'd',
    };
    expect((await create(names)).contact.metadata).toEqual(names);
  });

  it('are kept as columns of a contact import, except __proto__, which is rejected', async () => {
    const folderId = await makeFolder(server);
    const imported = await importFile(server, 'phone,constructor,toString\n+14155550162,a,b\n', {
      folderId,
    });
    expect(imported).toMatchObject({ importedCount: 1, failedCount: 0 });
    const [contact] = await server.app.db.contact.findMany({
      where: { folderId: folderId.slice(4) },
    });
    expect(contact?.metadata).toEqual({ constructor: 'a', toString: 'b' });
    const columns = await mutate('importContacts', 'contactImport { id }', {
      ...{ folderId, file: 'phone,__proto__\n+14155550163,x\n' },
    });
    expect(columns.userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['file'] }]);
    const mapped = await mutate('importContacts', 'contactImport { id }', {
      ...{ folderId, file: 'phone,note\n+14155550163,x\n' },
      mapping: [{ column: 'note', metadataKey: '__proto__' }],
    });
    expect(mapped.userErrors.map(({ path }: Payload) => path.join('.'))).toContain(
      'mapping.0.metadataKey',
    );
  });
});

describe('a field with the alias then', () => {
  it('is not taken for a promise', async () => {
    const text = async (document: string) => JSON.stringify((await send(document)).data);
    expect(await text('{ then: __typename }')).toBe('{"then":"Query"}');
    expect(await text('{ then: viewer { then: organization { then: __typename } } }')).toBe(
      '{"then":{"then":{"then":"Organization"}}}',
    );
    expect(
      await text(
        'mutation { then: revokeApiKey(input: { id: "x" }) { then: userErrors { then: code } } }',
      ),
    ).toBe('{"then":{"then":[{"then":"INVALID_ID"}]}}');
  });
});

describe('a text that is too long to be found', () => {
  const long = 'x'.repeat(5_001);

  it.each([
    ['agents(filter: { name: $long })', 'filter.name'],
    ['voices(filter: { search: $long })', 'filter.search'],
    ['contactFolders(filter: { search: $long })', 'filter.search'],
    ['calls(after: $long)', 'after'],
  ])('is BAD_USER_INPUT before anything is read: %s', async (field, path) => {
    const answer = await send(`query ($long: String) { ${field} { totalCount } }`, { long });
    expect(answer.errors).toMatchObject([
      {
        message: `\`${path}\` must have at most 5,000 characters.`,
        extensions: { code: 'BAD_USER_INPUT' },
      },
    ]);
  });

  it('is BAD_USER_INPUT in a subscription and in metadata', async () => {
    const live = await send('subscription ($long: ID) { callEvents(callId: $long) { cursor } }', {
      long,
    });
    const metadata = (value: object) =>
      send('query ($of: JSONObject) { calls(filter: { metadata: $of }) { totalCount } }', {
        of: value,
      });
    const many = Object.fromEntries(
      Array.from({ length: 51 }, (_, index) => [`key ${index}`, 'x']),
    );
    const answers = [
      live,
      await metadata({ a: long }),
      await metadata({ [long]: 'a' }),
      await metadata(many),
    ];
    for (const { errors } of answers)
      expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  it('is a user error in a filter of a mutation', async () => {
    const { userErrors } = await mutate('exportContacts', 'url', { filter: { search: long } });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['filter', 'search'] }]);
  });
});

describe('a user error', () => {
  it('is one for an object with far too many entries', async () => {
    const entries = Array.from({ length: 100_000 }, (_, index) => [`key ${index}`, index]);
    const { userErrors } = await mutate('createContact', 'contact { id }', {
      ...{ folderId: await makeFolder(server), phoneNumber: '+14155550161' },
      metadata: Object.fromEntries(entries),
    });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['metadata'] }]);
  });

  it('does not repeat what is long', async () => {
    const { userErrors } = await mutate('createTool', 'tool { id }', {
      ...{ name: 'Long', description: 'x', http: { url: 'https://example.com/' } },
      staticParameters: [{ name: 'x'.repeat(1_000_000), location: 'PATH', value: 'x' }],
    });
    expect(userErrors.length).toBeGreaterThan(0);
    expect(JSON.stringify(userErrors).length).toBeLessThan(10_000);
  });
});
