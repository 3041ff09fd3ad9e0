import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import { createClient } from '../../support/graphql.ts';
import { insertRows } from '../../support/rows.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { importFile, makeFolder, sendFile } from './upload.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

const EXPORT = `mutation ($input: ExportContactsInput!) {
  exportContacts(input: $input) { url expiresAt contactCount userErrors { code path } } }`;

async function exportFile(filter: Record<string, unknown>): Promise<string> {
  const { data } = await server.client.send(EXPORT, { input: { filter } });
  expect(data.exportContacts.userErrors).toEqual([]);
  const response = await fetch(data.exportContacts.url);
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/csv; charset=utf-8',
  ]);
  expect(response.headers.get('content-disposition')).toContain('contacts.csv');
  return response.text();
}

const TRICKY = [
  'phone,first,last,email,company,keywords,timezone,=key,note',
  '+14155550100,=1+1,"O\'Hara ""x"", y",ada@example.com,+cmd|calc,"a, b",Europe/Berlin,@v,"two\nlines"',
  '+14155550101,-5,@x,,,,,,+14155550102',
].join('\n');

describe('exportContacts', () => {
  it('escapes formulas and can be imported again unchanged', async () => {
    const folderId = await makeFolder(server);
    await importFile(server, TRICKY, { folderId });
    const text = await exportFile({ folderId });
    const [header, first] = text.split('\r\n');
    expect(header).toBe(
      `phone_number,first_name,last_name,email,company_name,industry,location,pin_code,keywords,timezone,call_count,last_call_outcome,last_called_at,"'=key",note`,
    );
    expect(first).toMatch(
      /^\+14155550100,"'=1\+1","O'Hara ""x"", y",ada@example.com,"'\+cmd\|calc",/,
    );
    expect(text).toContain(`"'-5"`);
    const again = await makeFolder(server);
    const snapshot = await importFile(server, text, { folderId: again });
    expect(snapshot).toMatchObject({ importedCount: 2, failedCount: 0 });
    expect(await exportFile({ folderId: again })).toBe(text);
    const keep = { phoneNumber: true, firstName: true, lastName: true, metadata: true } as const;
    const [before, after] = await Promise.all(
      [folderId, again].map((id) =>
        server.app.db.contact.findMany({
          where: { folderId: id.slice(4) },
          select: keep,
          orderBy: { id: 'asc' },
        }),
      ),
    );
    expect(after).toEqual(before);
    expect(before?.[0]).toMatchObject({
      firstName: '=1+1',
      metadata: { '=key': '@v', note: 'two\nlines' },
    });
  });

  it('contains all contacts that match the filter', async () => {
    const folderId = await makeFolder(server);
    const rows = Array.from({ length: 2500 }, (_, row) => `+1415${2_000_000 + row},Name${row}`);
    await importFile(server, `phone,first\n${rows.join('\n')}`, { folderId });
    const lines = (await exportFile({ folderId })).split('\r\n');
    expect(lines.slice(1, -1).map((line) => line.split(',').slice(0, 2).join(','))).toEqual(rows);
    expect((await exportFile({ folderId, search: 'name2499' })).split('\r\n')).toHaveLength(3);
    const { data } = await server.client.send(EXPORT, { input: { filter: { folderId } } });
    expect(data.exportContacts.contactCount).toBe(2500);
  });

  it('shows one state of all contacts, whatever changes during the download', async () => {
    const { db } = server.app;
    const publicFolderId = await makeFolder(server);
    const folderId = publicFolderId.slice(4);
    const COUNT = 6_000;
    await insertRows(
      server,
      'Contact',
      Array.from({ length: COUNT }, (_, row) => ({
        id: newId(),
        organizationId: server.organizationId,
        folderId,
        searchText: '',
        phoneNumber: `+1415${2_000_000 + row}`,
        firstName: 'before',
        metadata: { note: 'x'.repeat(2_000) },
      })),
    );
    const input = { filter: { folderId: publicFolderId } };
    const { data } = await server.client.send(EXPORT, { input });
    const reader = (await fetch(data.exportContacts.url)).body!.getReader();
    const decoder = new TextDecoder();
    let text = decoder.decode((await reader.read()).value, { stream: true });
    await db.contact.updateMany({ where: { folderId }, data: { firstName: 'after' } });
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += decoder.decode(part.value, { stream: true });
    }
    const [, ...lines] = text.trim().split('\r\n');
    expect(lines).toHaveLength(COUNT);
    expect(new Set(lines.map((line) => line.split(',')[1]))).toEqual(new Set(['before']));
  });

  it('returns a link that expires and cannot be forged', async () => {
    const folderId = await makeFolder(server);
    await importFile(server, 'phone\nbad\n+14155550100', { folderId });
    const { data } = await server.client.send(EXPORT, { input: { filter: { folderId } } });
    const { url, expiresAt } = data.exportContacts;
    const lifetime = Date.parse(expiresAt) - Date.now();
    expect(lifetime).toBeGreaterThan(14 * 60_000);
    expect(lifetime).toBeLessThanOrEqual(15 * 60_000);
    const token = new URL(url).searchParams.get('token')!;
    const [body, signature] = token.split('.');
    const status = async (changed: string): Promise<number> =>
      (await fetch(`${server.url}/downloads/contacts?token=${changed}`)).status;
    expect(await status(token)).toBe(200);
    // A page may read what its link leads to.
    const { headers } = await fetch(`${server.url}/downloads/contacts?token=${token}`);
    expect(headers.get('access-control-allow-origin')).toBe('*');
    const other = await server.newOrganization();
    const forged = Buffer.from(body!, 'base64url')
      .toString()
      .replace(server.organizationId, other.id);
    expect(await status(`${Buffer.from(forged).toString('base64url')}.${signature}`)).toBe(403);
    for (const changed of ['', '.', 'x.y', `${token}.`, body!, `${body}.${signature}x`]) {
      expect(await status(changed)).toBe(403);
    }
    const late = await startTestServer({ beside: server });
    try {
      Object.assign(late.app, { now: () => new Date(Date.now() + 15 * 60_000) });
      const here = `${late.url}/downloads/contacts?token=${token}`;
      expect((await fetch(here)).status).toBe(403);
      Object.assign(late.app, { now: () => new Date(Date.now() + 14 * 60_000) });
      expect((await fetch(here)).status).toBe(200);
    } finally {
      await late.close();
    }
  });

  it('requires a key that may write, and returns a link that ends with the key', async () => {
    const keyOf = async (scope: string) => {
      const { data } = await server.client.send(
        `mutation { createApiKey(input: { name: "x", scopes: [${scope}] }) { key apiKey { id } } }`,
      );
      const { key, apiKey } = data.createApiKey;
      return { client: createClient(server.url, key), id: apiKey.id };
    };
    const reader = await keyOf('READ');
    const refused = await reader.client.send(EXPORT, { input: {} });
    expect(refused.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    const writer = await keyOf('WRITE');
    const { data } = await writer.client.send(EXPORT, { input: {} });
    const imported = await importFile(server, 'phone\nbad', { folderId: await makeFolder(server) });
    const problems = await reader.client.send(
      `{ contactImport(id: "${imported.id}") { problemsUrl } }`,
    );
    for (const { id, url } of [
      { id: writer.id, url: data.exportContacts.url },
      { id: reader.id, url: problems.data.contactImport.problemsUrl },
    ]) {
      expect((await fetch(url)).status).toBe(200);
      await server.client.send(
        `mutation { revokeApiKey(input: { id: "${id}" }) { userErrors { code } } }`,
      );
      expect((await fetch(url)).status).toBe(403);
    }
  });

  it('rejects an invalid filter and a folder of another organization', async () => {
    const folderId = await makeFolder(server);
    const wrong = await server.client.send(EXPORT, {
      input: { filter: { folderId: 'cal_1', phoneNumber: 'x' } },
    });
    expect(wrong.data.exportContacts.userErrors).toMatchObject([
      { code: 'INVALID_ID', path: ['filter', 'folderId'] },
      { code: 'INVALID_INPUT', path: ['filter', 'phoneNumber'] },
    ]);
    await importFile(server, 'phone\n+14155550100', { folderId });
    const other = await server.newOrganization();
    const theirs = await other.client.send(EXPORT, { input: { filter: { folderId } } });
    expect(theirs.data.exportContacts).toMatchObject({
      url: null,
      userErrors: [{ code: 'NOT_FOUND', path: ['filter', 'folderId'] }],
    });
    const all = await other.client.send(EXPORT, { input: {} });
    expect(all.data.exportContacts.contactCount).toBe(0);
    const text = await (await fetch(all.data.exportContacts.url)).text();
    expect(text.split('\r\n')).toHaveLength(2);
  });
});

const IMPORT_LIST = `mutation ($input: ImportDoNotCallInput!) {
  importDoNotCall(input: $input) {
    addedCount presentCount failedCount problems { row phoneNumber reason } userErrors { code path message } } }`;

describe('importDoNotCall', () => {
  const importList = async (content: string | Uint8Array, input: Record<string, unknown> = {}) =>
    (await sendFile(server, IMPORT_LIST, content, input)).data.importDoNotCall;
  const entries = () =>
    server.app.db.doNotCallEntry.findMany({
      where: { organizationId: server.organizationId },
      orderBy: { phoneNumber: 'asc' },
      select: { phoneNumber: true, reason: true, source: true },
    });

  it('reads a plain list or a column, skips invalid rows and is idempotent', async () => {
    const bare = '(415) 555-2671\n+49 30 901820\nnobody\n\n415-555-2671\n';
    const first = await importList(bare, {
      reason: 'asked us',
      source: 'register',
      defaultCountry: 'US',
    });
    expect(first).toMatchObject({ addedCount: 2, presentCount: 1, failedCount: 1, userErrors: [] });
    expect(first.problems).toMatchObject([{ row: 3, phoneNumber: 'nobody' }]);
    const again = await importList(`name,phone\nx,+14155552671\ny,+14155552672\nz,\n`);
    expect(again).toMatchObject({ addedCount: 1, presentCount: 1, failedCount: 1 });
    expect(again.problems).toMatchObject([{ row: 3, phoneNumber: null }]);
    const unnamed = await importList('name,town\nAda,London\n');
    expect(unnamed.userErrors).toMatchObject([
      { code: 'REQUIRED', message: expect.stringContaining('Name a column "phone_number". ') },
    ]);
    const titled = await importList('Register, 2026\nphone;name\n="+14155552671";Zoë\n');
    expect(titled).toMatchObject({ addedCount: 0, presentCount: 1, failedCount: 0 });
    const below = await importList('12345\n+1 415 555 2672 ext. 7\n');
    expect(below).toMatchObject({ presentCount: 1, problems: [{ row: 1, phoneNumber: '12345' }] });
    expect(await entries()).toEqual([
      { phoneNumber: '+14155552671', reason: 'asked us', source: 'register' },
      { phoneNumber: '+14155552672', reason: null, source: null },
      { phoneNumber: '+4930901820', reason: 'asked us', source: 'register' },
    ]);
    const replaced = await importList('+14155552671', { reason: 'sued us' });
    expect(replaced).toMatchObject({ addedCount: 0, presentCount: 1 });
    expect((await entries())[0]).toMatchObject({ reason: 'sued us', source: 'register' });
  });

  const numbersIn = async (
    content: string,
    input: Record<string, unknown> = { defaultCountry: 'US' },
  ) => {
    const { key, id } = await server.newOrganization();
    const answer = await sendFile({ url: server.url, key }, IMPORT_LIST, content, input);
    const { addedCount, failedCount, problems, userErrors } = answer.data.importDoNotCall;
    expect(userErrors).toEqual([]);
    const listed = await server.app.db.doNotCallEntry.findMany({ where: { organizationId: id } });
    expect(listed).toHaveLength(addedCount);
    return {
      numbers: listed.map(({ phoneNumber }) => phoneNumber.replace('+1415555', '')).sort(),
      failedCount,
      unread: problems.map((problem: { row: number; phoneNumber: string }) => [
        problem.row,
        problem.phoneNumber,
      ]),
    };
  };

  it('adds the numbers of all phone columns, and reports each that cannot be read', async () => {
    const file = [
      'name,Phone,Mobile,Number,',
      'Ada,+14155552601,415-555-2602,12,+14155552603',
      'Bob,+1415555260,+14155552604,+14155552605,x,+14155552606',
      'Eve,ask Ada,nobody,,soon',
      'Joe,+14155552601,n/a,,',
    ].join('\n');
    expect(await numbersIn(file)).toEqual({
      numbers: ['2601', '2602', '2603', '2604', '2605', '2606'],
      failedCount: 3,
      unread: [
        [1, '12'],
        [2, '+1415555260'],
        [3, 'ask Ada'],
        [3, 'nobody'],
      ],
    });
  });

  it('adds the numbers of columns with unknown names, and of no column with another meaning', async () => {
    const file = [
      'Phone,Secondary,Notes,Zip,Company',
      '+14155552601,415-555-2602,called twice,4155552603,415-555-2604',
      '+14155552605,x,+14155552606,4155552607,',
    ].join('\n');
    expect(await numbersIn(file)).toEqual({
      numbers: ['2601', '2602', '2605', '2606'],
      failedCount: 0,
      unread: [],
    });
  });

  it('adds no dates and IDs, and reports columns with what may be phone numbers', async () => {
    const german = [
      'Kunde-Nr;Telefon;Gesperrt am;Geändert;Epoche;Score;Weitere',
      '10001;030 901820;30.11.2026;2026-11-30;1764511200;0.8712345678;0171/1234567',
      '10002;+49 30 901821;28.11.2026;2026-11-28 08:15:00;1764511300;0.8712345679;30.11.2026, 08:00 Uhr',
      '10003;030901822;27.11.2026;2026-11-27;1764511400;0.8712345670;1711234568',
      '10004;030901823;26.11.2026;2026-11-26;;;"+49 30 901824; 2026-11-26"',
    ].join('\n');
    expect(await numbersIn(german, { defaultCountry: 'DE' })).toEqual({
      numbers: [
        '+491711234567',
        ...['+4930901820', '+4930901821', '+4930901822', '+4930901823', '+4930901824'],
      ],
      failedCount: 2,
      unread: [
        [1, '1764511200'],
        [3, '1711234568'],
      ],
    });
    const american = [
      'Customer ID,Phone,Order Number,Alternative',
      '2125551234,4155552601,212-55-1234,',
      '2125551235,4155552602,212-55-1235,(415) 555-2603',
    ].join('\n');
    expect(await numbersIn(american)).toEqual({
      numbers: ['2601', '2602', '2603'],
      failedCount: 1,
      unread: [[1, '2125551234']],
    });
    expect(
      await numbersIn('2026-11-30;030901820\n2026-11-29;30901821\n', { defaultCountry: 'DE' }),
    ).toEqual({
      numbers: ['+4930901820', '+4930901821'],
      failedCount: 0,
      unread: [],
    });
  });

  it('reads at most 50 columns, also of those with unknown names', async () => {
    const indexes = Array.from({ length: 51 }, (_, index) => index);
    const header = ['Phone', ...indexes.slice(1).map((index) => `Field ${index}`)];
    const row = indexes.map((index) => `+14155552${600 + index}`);
    const { userErrors } = await importList(`${header}\n${row}\n`);
    expect(userErrors).toMatchObject([{ code: 'LIMIT_EXCEEDED', path: ['file'] }]);
  });

  it('adds the numbers of all columns of a file without a header', async () => {
    const file = [
      'Ada,+14155552601,+14155552602,2026-01-02',
      'Bob,+14155552603,+1415555260,2026-01-03',
      '+14155552604,Eve,home,2026-01-04',
      'Joe,,,2026-01-05',
    ].join('\n');
    expect(await numbersIn(file)).toEqual({
      numbers: ['2601', '2602', '2603', '2604'],
      failedCount: 2,
      unread: [
        [2, '+1415555260'],
        [4, 'Joe'],
      ],
    });
  });

  it('adds several numbers of a cell', async () => {
    const file = [
      'phone',
      '+14155552601 ::: +14155552602',
      '"+14155552603; +14155552604 / +14155552605"',
      '+14155552606 | 12',
      '"+14155552607\n+14155552608"',
      '+14155552609;ext=7',
      '12 ::: +14155552610',
      '+14155552611; 4155552612',
      '"+14155552613, 5552614"',
    ].join('\n');
    expect(await numbersIn(file)).toEqual({
      numbers: Array.from({ length: 13 }, (_, index) => String(2601 + index)),
      failedCount: 3,
      unread: [
        [3, '12'],
        [6, '12'],
        [8, '+14155552613, 5552614'],
      ],
    });
  });

  it('imports several batches', async () => {
    const list = Array.from({ length: 12_000 }, (_, row) => `+1212${2_000_000 + (row % 11_000)}`);
    expect(await importList(list.join('\n'))).toMatchObject({
      addedCount: 11_000,
      presentCount: 1_000,
      failedCount: 0,
    });
  });

  it('rejects an invalid file before adding any number', async () => {
    const before = (await entries()).length;
    const cases: [string | Uint8Array, RegExp][] = [
      ['', /empty/],
      ['name,city\nAda,Berlin\n', /file has no phone number column/],
      [Buffer.from(`+14155552688\n+14155552689\nS\xf8ren`, 'latin1'), /not UTF-8: line 3/],
    ];
    for (const [content, message] of cases) {
      const { userErrors } = await importList(content);
      expect(userErrors).toMatchObject([{ path: ['file'] }]);
      expect(userErrors[0].message).toMatch(message);
    }
    const { userErrors } = await importList('x', { reason: 'x'.repeat(501), defaultCountry: 'XX' });
    expect(userErrors.map(({ path }: { path: string[] }) => path[0])).toEqual([
      'reason',
      'defaultCountry',
      'file',
    ]);
    expect(await entries()).toHaveLength(before);
  });
});
