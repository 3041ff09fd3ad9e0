import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../support/server.ts';
import { openSocket } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';
import {
  IMPORT,
  importFile,
  importOver,
  makeFolder,
  type Picture,
  readImport,
  sendFile,
} from './upload.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

const uuid = (id: string): string => id.slice(4);

async function contactsOf(folderId: string) {
  const contacts = await server.app.db.contact.findMany({
    where: { folderId: uuid(folderId) },
    orderBy: { id: 'asc' },
  });
  return contacts.map(({ phoneNumber, firstName, lastName, email, companyName, metadata }) => ({
    phoneNumber,
    firstName,
    lastName,
    email,
    companyName,
    metadata,
  }));
}

async function contactCount(folderId: string): Promise<number> {
  const folder = await server.app.db.contactFolder.findUniqueOrThrow({
    where: { id: uuid(folderId) },
  });
  expect(await server.app.db.contact.count({ where: { folderId: folder.id } })).toBe(
    folder.contactCount,
  );
  return folder.contactCount;
}

async function refused(content: string | Uint8Array | Blob, input: Record<string, unknown> = {}) {
  const folderId = await makeFolder(server);
  const before = await server.app.db.contactImport.count();
  const answer = await sendFile(server, IMPORT, content, { folderId, ...input });
  expect(answer.errors).toBeUndefined();
  expect(answer.data.importContacts.contactImport).toBeNull();
  expect(await server.app.db.contactImport.count()).toBe(before);
  expect(
    await server.app.db.contactImportChunk.count({
      where: { import: { folderId: uuid(folderId) } },
    }),
  ).toBe(0);
  return answer.data.importContacts.userErrors as {
    code: string;
    message: string;
    path: string[];
  }[];
}

/** Rows with a number each, from a line number on. */
function lines(count: number, from = 0): string {
  let text = '';
  for (let row = from; row < from + count; row += 1) {
    text += `+1415${String(2_000_000 + row)},First ${row},Last ${row}\n`;
  }
  return text;
}
const HEADER = 'phone,first_name,last_name\n';

describe('an import', () => {
  it('takes columns by their names, numbers in any form, and reports bad rows', async () => {
    const folderId = await makeFolder(server);
    const csv = [
      '"Phone Number";Name;E-Mail;Company;Plan',
      '(415) 555-2671;Ada King Lovelace;ada@example.com;Analytical;gold',
      '+49 30 901820;"Müller, Zoë";;;',
      ';No Number;;;',
      '12;Too Short;;;',
      '+14155552672;Bad Mail;not an address;;',
      ';;;;',
      "'+14155552673;Guarded;;'=cmd;",
      '"+14155552674" oops;Quote;;;',
      '+14155552675;Too;many;cells;here;!',
    ].join('\r\n');
    const picture = await importFile(server, csv, { folderId, defaultCountry: 'us' });
    expect(picture).toMatchObject({
      status: 'COMPLETED',
      rowsRead: 8,
      importedCount: 3,
      updatedCount: 0,
      skippedCount: 0,
      failedCount: 5,
      failure: null,
      sizeBytes: Buffer.byteLength(csv),
      bytesRead: Buffer.byteLength(csv),
    });
    expect(picture.problems.nodes.map(({ row, phoneNumber }) => [row, phoneNumber])).toEqual([
      [3, null],
      [4, '12'],
      [5, '+14155552672'],
      [7, null],
      [8, null],
    ]);
    expect(picture.problems.nodes.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('phone number is needed'),
      expect.stringContaining('"12" is not a phone number of US'),
      expect.stringContaining('not an e-mail address'),
      expect.stringContaining('text after the quote'),
      expect.stringContaining('6 cells'),
    ]);
    expect(await contactsOf(folderId)).toEqual([
      {
        phoneNumber: '+14155552671',
        firstName: 'Ada',
        lastName: 'King Lovelace',
        email: 'ada@example.com',
        companyName: 'Analytical',
        metadata: { Plan: 'gold' },
      },
      {
        phoneNumber: '+4930901820',
        firstName: 'Zoë',
        lastName: 'Müller',
        email: null,
        companyName: null,
        metadata: {},
      },
      {
        phoneNumber: '+14155552673',
        firstName: 'Guarded',
        lastName: null,
        email: null,
        companyName: '=cmd',
        metadata: {},
      },
    ]);
    expect(await contactCount(folderId)).toBe(3);
    const file = await fetch(picture.problemsUrl!);
    expect(file.status).toBe(200);
    const text = await file.text();
    expect(text.split('\r\n')[0]).toBe('row,phone_number,reason');
    expect(text.split('\r\n')[2]).toMatch(/^4,12,/);
    expect(text.split('\r\n')).toHaveLength(7);
    expect(await server.app.db.contactImportChunk.count()).toBe(0);
  });

  it('guesses the usual headers, and does what the mapping says instead', async () => {
    const guesses: [string, string][] = [
      ...['phone', 'phone_number', 'Phone Number', 'Mobile', 'tel', 'TELEPHONE', 'number'].map(
        (name): [string, string] => [name, 'PHONE_NUMBER'],
      ),
    ];
    for (const [name, field] of guesses) {
      const folderId = await makeFolder(server);
      const answer = await sendFile(server, IMPORT, `x,${name}\n`, { folderId });
      expect(answer.data.importContacts.contactImport.mapping).toEqual([
        { column: 'x', field: null, metadataKey: 'x' },
        { column: name, field, metadataKey: null },
      ]);
    }
    const folderId = await makeFolder(server);
    const answer = await sendFile(
      server,
      IMPORT,
      'Kontakt,phone,mobile,Surname,first name,name,Kontakt 2,Kontakt 2,call_count\n+14155550100,1,2,S,F,N,a,b,9',
      {
        folderId,
        mapping: [
          { column: 'Kontakt', field: 'PHONE_NUMBER' },
          { column: 'phone', metadataKey: 'Kontakt 2' },
          { column: 'mobile' },
        ],
      },
    );
    const mapping = answer.data.importContacts.contactImport.mapping as {
      field: string | null;
      metadataKey: string | null;
    }[];
    expect(mapping.map(({ field, metadataKey }) => field ?? metadataKey)).toEqual([
      'PHONE_NUMBER',
      'Kontakt 2',
      null,
      'LAST_NAME',
      'FIRST_NAME',
      'name',
      'Kontakt 2 2',
      'Kontakt 2 3',
      null,
    ]);
    await importOver(server, answer.data.importContacts.contactImport.id);
    expect(await contactsOf(folderId)).toMatchObject([
      {
        phoneNumber: '+14155550100',
        firstName: 'F',
        lastName: 'S',
        metadata: { 'Kontakt 2': '1', name: 'N', 'Kontakt 2 2': 'a', 'Kontakt 2 3': 'b' },
      },
    ]);
  });

  it('skips numbers that are there, the first row of the file winning', async () => {
    const folderId = await makeFolder(server);
    await importFile(server, `${HEADER}+14155550100,Old,Name\n`, { folderId });
    const picture = await importFile(
      server,
      `${HEADER}+1 415 555 0100,New,Name\n+14155550101,One,A\n+1-415-555-0101,Two,B\n`,
      { folderId },
    );
    expect(picture).toMatchObject({
      rowsRead: 3,
      importedCount: 1,
      skippedCount: 2,
      updatedCount: 0,
    });
    expect((await contactsOf(folderId)).map(({ firstName }) => firstName)).toEqual(['Old', 'One']);
  });

  it('updates numbers that are there, the last row of the file winning', async () => {
    const folderId = await makeFolder(server);
    await importFile(server, 'phone,first,last,a,b\n+14155550100,Old,Name,1,2\n', { folderId });
    const picture = await importFile(
      server,
      'phone,first,last,b,c\n+14155550100,New,,3,4\n+14155550101,One,A,,\n+14155550101,Two,,5,\n',
      { folderId, updateExisting: true },
    );
    expect(picture).toMatchObject({
      rowsRead: 3,
      importedCount: 1,
      skippedCount: 0,
      updatedCount: 2,
    });
    expect(await contactsOf(folderId)).toMatchObject([
      { firstName: 'New', lastName: 'Name', metadata: { a: '1', b: '3', c: '4' } },
      { firstName: 'Two', lastName: 'A', metadata: { b: '5' } },
    ]);
    const { data } = await server.client.send(
      'query ($filter: ContactFilter) { contacts(filter: $filter) { nodes { firstName } } }',
      { filter: { folderId, search: 'new name' } },
    );
    expect(data.contacts.nodes).toEqual([{ firstName: 'New' }]);
  });

  it('counts duplicates over batches as it does within one', async () => {
    const folderId = await makeFolder(server);
    const skipped = await importFile(server, HEADER + lines(5000) + lines(5000), { folderId });
    expect(skipped).toMatchObject({ rowsRead: 10_000, importedCount: 5000, skippedCount: 5000 });
    const updated = await importFile(server, HEADER + lines(2500) + lines(5000, 2000), {
      folderId,
      updateExisting: true,
    });
    expect(updated).toMatchObject({ rowsRead: 7500, importedCount: 2000, updatedCount: 5500 });
    expect(await contactCount(folderId)).toBe(7000);
  });

  it('reports a cell of 10 MB, closed or not, and imports the rows around it', async () => {
    const folderId = await makeFolder(server);
    const big = `"${'x'.repeat(10 * 1024 * 1024)}`;
    const picture = await importFile(
      server,
      `${HEADER}${lines(1)}+14155550101,${big}",Last\n${lines(1, 1)}+14155550102,${big}`,
      { folderId },
    );
    expect(picture).toMatchObject({
      status: 'COMPLETED',
      rowsRead: 4,
      importedCount: 2,
      failedCount: 2,
    });
    expect(picture.problems.nodes).toEqual([
      { row: 2, phoneNumber: null, reason: expect.stringContaining('longer than') },
      { row: 4, phoneNumber: null, reason: expect.stringContaining('never closed') },
    ]);
  });

  it('takes UTF-16 and a byte order mark', async () => {
    const text = '\ufeffphone,name\n+14155550100,Zoë\n';
    for (const bytes of [
      Buffer.from(text),
      Buffer.from(text, 'utf16le'),
      Buffer.from(text, 'utf16le').swap16(),
    ]) {
      const folderId = await makeFolder(server);
      await importFile(server, bytes, { folderId });
      expect((await contactsOf(folderId)).map(({ firstName }) => firstName)).toEqual(['Zoë']);
    }
  });

  it('refuses a file that is no CSV, and keeps nothing of it', async () => {
    const cases: [string | Uint8Array, RegExp][] = [
      ['', /empty/],
      ['\n\n', /empty/],
      ['first,last\nAda,Lovelace\n', /No column holds phone numbers.*"first", "last"/],
      ['{"phone": "+14155550100"}', /No column holds phone numbers/],
      [Buffer.from('504b030414000600', 'hex'), /Excel/],
      [Buffer.from([0x00, 0x01, 0x02, 0x03, 0x04]), /null characters/],
      [Buffer.from(`${HEADER}+14155550100,M\xfcller,x\n`, 'latin1'), /not UTF-8: line 2/],
      [`phone,${'"x'.repeat(50_000)}`, /first row is not a header/],
      [`phone,${'a,'.repeat(300)}\n`, /302 columns|columns, at most 200/],
    ];
    for (const [content, message] of cases) {
      const [problem, ...more] = await refused(content);
      expect(problem).toMatchObject({ path: ['file'] });
      expect(problem?.message).toMatch(message);
      expect(more).toEqual([]);
    }
    // The wrong byte stands far behind the header, when rows are being kept already.
    const late = Buffer.concat([Buffer.from(HEADER + lines(60_000)), Buffer.from([0xfc, 0x0a])]);
    expect((await refused(late))[0]?.message).toMatch(/not UTF-8: line 60002/);
  });

  it('says all that is wrong at once', async () => {
    const problems = await refused('a,b\n1,2\n', {
      folderId: 'fld_00000000-0000-7000-8000-000000000000',
      defaultCountry: 'Germany',
      mapping: [
        { column: 'c', field: 'EMAIL' },
        { column: 'a', field: 'EMAIL', metadataKey: 'x' },
        { column: 'a' },
        { column: 'b', metadataKey: '' },
      ],
    });
    expect(problems.map(({ code, path }) => `${code} ${path.join('.')}`).sort()).toEqual([
      'INVALID_INPUT defaultCountry',
      'INVALID_INPUT mapping.0.column',
      'INVALID_INPUT mapping.1',
      'INVALID_INPUT mapping.2.column',
      'NOT_FOUND folderId',
      'REQUIRED file',
      'REQUIRED mapping.3.metadataKey',
    ]);
  });

  it('refuses a file of more than 200 MB without keeping it', async () => {
    const part = new Blob([Buffer.alloc(1024 * 1024, 'x')]);
    const [problem] = await refused(new Blob([HEADER, ...Array.from({ length: 201 }, () => part)]));
    expect(problem).toMatchObject({ code: 'LIMIT_EXCEEDED', path: ['file'] });
  }, 60_000);

  it('is made once under an idempotency key, for the same file only', async () => {
    const folderId = await makeFolder(server);
    const headers = { 'x-idempotency-key': 'import-once' };
    const send = (content: string) => sendFile(server, IMPORT, content, { folderId }, { headers });
    const first = await send(HEADER + lines(3));
    const again = await send(HEADER + lines(3));
    expect(again.data).toEqual(first.data);
    expect(again.extensions).toMatchObject({ idempotentReplay: true });
    expect((await send(HEADER + lines(4))).errors?.[0]?.extensions.code).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    );
    await importOver(server, first.data.importContacts.contactImport.id);
    expect(await server.app.db.contactImport.count({ where: { folderId: uuid(folderId) } })).toBe(
      1,
    );
  });

  it('stops when it is cancelled, and keeps what it has', async () => {
    const folderId = await makeFolder(server);
    const answer = await sendFile(server, IMPORT, HEADER + lines(100_000), { folderId });
    const { id } = answer.data.importContacts.contactImport;
    const cancel = `mutation ($input: CancelContactImportInput!) {
      cancelContactImport(input: $input) { contactImport { status } userErrors { code path } } }`;
    await until('some rows', async () => (await readImport(server, id)).rowsRead > 0);
    const cancelled = await server.client.send(cancel, { input: { id } });
    expect(cancelled.data.cancelContactImport).toEqual({
      contactImport: { status: 'CANCELLED' },
      userErrors: [],
    });
    const picture = await readImport(server, id);
    expect(picture.rowsRead).toBeLessThan(100_000);
    expect(await contactCount(folderId)).toBe(picture.importedCount);
    expect(await server.app.db.contactImportChunk.count({ where: { importId: uuid(id) } })).toBe(0);
    // Once more changes nothing; one that is over cannot be stopped.
    expect(
      (await server.client.send(cancel, { input: { id } })).data.cancelContactImport.userErrors,
    ).toEqual([]);
    const done = await importFile(server, HEADER + lines(1), {
      folderId: await makeFolder(server),
    });
    expect(
      (await server.client.send(cancel, { input: { id: done.id } })).data.cancelContactImport
        .userErrors,
    ).toEqual([{ code: 'INVALID_STATE', path: ['id'] }]);
    const after = await readImport(server, id);
    expect(after.rowsRead).toBe(picture.rowsRead);
  });

  it('is nobody else’s', async () => {
    const folderId = await makeFolder(server);
    const picture = await importFile(server, `${HEADER}bad,row,\n`, { folderId });
    const other = await server.newOrganization();
    const to = { url: server.url, key: other.key };
    const answer = await sendFile(to, IMPORT, HEADER + lines(1), { folderId });
    expect(answer.data.importContacts.userErrors).toMatchObject([
      { code: 'NOT_FOUND', path: ['folderId'] },
    ]);
    const { data } = await other.client.send(
      `query ($id: ID!, $filter: ContactImportFilter) { contactImport(id: $id) { id } node(id: $id) { id } contactImports(filter: $filter) { totalCount nodes { id } } }`,
      { id: picture.id, filter: { folderId } },
    );
    expect(data).toEqual({
      contactImport: null,
      node: null,
      contactImports: { totalCount: 0, nodes: [] },
    });
    const cancel = await other.client.send(
      'mutation ($input: CancelContactImportInput!) { cancelContactImport(input: $input) { userErrors { code } } }',
      { input: { id: picture.id } },
    );
    expect(cancel.data.cancelContactImport.userErrors).toEqual([{ code: 'NOT_FOUND' }]);
    const live = await watch(other.key, picture.id);
    expect(live.errors).toMatchObject([{ message: 'There is no such import.' }]);
    expect(await contactCount(folderId)).toBe(0);
  });

  it('is listed, by folder and state, newest first', async () => {
    const folderId = await makeFolder(server);
    const first = await importFile(server, HEADER + lines(1), { folderId });
    const second = await importFile(server, HEADER + lines(1), { folderId });
    const query = `query ($filter: ContactImportFilter, $orderBy: ContactImportOrder, $id: ID!) {
      contactImports(filter: $filter, orderBy: $orderBy) { totalCount nodes { id folder { id } } }
      contactFolder(id: $id) { imports { totalCount nodes { id } } } }`;
    const variables = { id: folderId, filter: { folderId, status: ['COMPLETED'] } };
    const { data } = await server.client.send(query, variables);
    expect(data.contactImports).toEqual({
      totalCount: 2,
      nodes: [second, first].map(({ id }) => ({ id, folder: { id: folderId } })),
    });
    expect(data.contactFolder.imports.nodes).toEqual([{ id: second.id }, { id: first.id }]);
    const oldest = await server.client.send(query, {
      ...variables,
      orderBy: { field: 'CREATED_AT', direction: 'ASC' },
    });
    expect(oldest.data.contactImports.nodes[0].id).toBe(first.id);
    const failed = await server.client.send(query, {
      id: folderId,
      filter: { folderId, status: ['FAILED'] },
    });
    expect(failed.data.contactImports.totalCount).toBe(0);
  });
});

async function watch(key: string, importId: string) {
  const socket = openSocket(server.url, key);
  const pictures: (Pick<Picture, 'status' | 'rowsRead'> & { at: number })[] = [];
  let errors: readonly unknown[] = [];
  const results = socket.iterate<{ contactImportProgress: Pick<Picture, 'status' | 'rowsRead'> }>({
    query: 'subscription ($id: ID!) { contactImportProgress(importId: $id) { status rowsRead } }',
    variables: { id: importId },
  });
  for await (const { data, errors: found } of results) {
    if (data) pictures.push({ ...data.contactImportProgress, at: Date.now() });
    if (found) errors = found;
  }
  await socket.dispose();
  return { pictures, errors };
}

describe('progress', () => {
  it('is shown at most four times a second, up to the end', async () => {
    const folderId = await makeFolder(server);
    const answer = await sendFile(server, IMPORT, HEADER + lines(60_000), { folderId });
    const { id } = answer.data.importContacts.contactImport;
    const { pictures, errors } = await watch(server.key, id);
    expect(errors).toEqual([]);
    expect(pictures.at(-1)).toMatchObject({ status: 'COMPLETED', rowsRead: 60_000 });
    expect(pictures.length).toBeGreaterThan(2);
    pictures.slice(1).forEach((picture, index) => {
      expect(picture.rowsRead).toBeGreaterThanOrEqual(pictures[index]!.rowsRead);
    });
    // Over all of them, as one that is late on its way makes the next pause look short.
    const tookMs = pictures.at(-1)!.at - pictures[0]!.at;
    expect(tookMs).toBeGreaterThan((pictures.length - 2) * 250);
    // One that is over is shown once.
    expect((await watch(server.key, id)).pictures).toHaveLength(1);
  });

  it('ends at once for who stops listening', async () => {
    const folderId = await makeFolder(server);
    const { id } = await server.app.db.contactImport.create({
      data: {
        id: crypto.randomUUID().replace(/^(.{14})./, '$17'),
        organizationId: server.organizationId,
        folderId: uuid(folderId),
        filename: 'x',
        status: 'CANCELLED',
        mapping: {},
        updateExisting: false,
        sizeBytes: 1n,
      },
    });
    await server.app.db.contactImport.update({
      where: { id },
      data: { status: 'RUNNING', leaseUntil: new Date(Date.now() + 600_000) },
    });
    const socket = openSocket(server.url, server.key);
    const results = socket.iterate({
      query: 'subscription ($id: ID!) { contactImportProgress(importId: $id) { status } }',
      variables: { id: `imp_${id}` },
    });
    expect((await results.next()).value.data.contactImportProgress.status).toBe('RUNNING');
    const before = Date.now();
    await results.return?.();
    expect(Date.now() - before).toBeLessThan(200);
    await socket.dispose();
  });
});

describe('an upload', () => {
  it('needs a key, and a body as the specification has it', async () => {
    const folderId = await makeFolder(server);
    const without = await sendFile({ url: server.url, key: null }, IMPORT, HEADER, { folderId });
    expect([without.status, without.errors?.[0]?.extensions.code]).toEqual([
      401,
      'UNAUTHENTICATED',
    ]);
    const wrong = await sendFile(
      { url: server.url, key: `truedy_${'x'.repeat(32)}` },
      IMPORT,
      HEADER,
      { folderId },
    );
    expect([wrong.status, wrong.errors?.[0]?.extensions.code]).toEqual([401, 'UNAUTHENTICATED']);
    const reader = await server.client.send(
      'mutation { createApiKey(input: { name: "r", scopes: [READ] }) { key } }',
    );
    const readOnly = { url: server.url, key: reader.data.createApiKey.key as string };
    const forbidden = await sendFile(readOnly, IMPORT, HEADER, { folderId });
    expect(forbidden.errors?.[0]?.extensions.code).toBe('FORBIDDEN');

    const send = async (parts: Record<string, string | Blob>) => {
      const form = new FormData();
      for (const [name, part] of Object.entries(parts)) form.set(name, part);
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: { authorization: `Bearer ${server.key}` },
        body: form,
      });
      return { status: response.status, text: await response.text() };
    };
    const operations = JSON.stringify({
      query: IMPORT,
      variables: { input: { folderId, file: null } },
    });
    const bodies: [Record<string, string | Blob>, RegExp][] = [
      [{}, /operations\\" is missing|ends early/],
      [{ operations: '{' }, /not JSON/],
      [{ operations }, /map\\" is missing/],
      [{ operations, map: '{"0":["variables.input.file"]}' }, /which is no file/],
      [{ operations, map: '{"0":["query"]}', 0: new Blob(['x']) }, /no place/],
      [{ operations, map: '{"0":["variables.__proto__.file"]}', 0: new Blob(['x']) }, /no place/],
      [{ operations, map: '{"0":["variables.nothing.file"]}', 0: new Blob(['x']) }, /no place/],
    ];
    for (const [parts, message] of bodies) {
      const answer = await send(parts);
      expect(answer.text).toMatch(message);
      expect(answer.status).toBe(400);
    }
    const plain = await server.client.send(IMPORT, { input: { folderId, file: 7 } });
    expect(plain.errors?.[0]?.message).toContain('multipart/form-data');
  });

  it('can be the text of a file, as a variable and in the document', async () => {
    const ids: string[] = [];
    for (const send of [
      (folderId: string) =>
        server.client.send(IMPORT, { input: { folderId, file: 'phone,name\n+14155550142,Ada' } }),
      (folderId: string) =>
        server.client.send(`mutation { importContacts(input: {
          folderId: "${folderId}", file: """phone,name\n+14155550142,Ada"""
        }) { contactImport { id status } userErrors { message } } }`),
    ]) {
      const folderId = await makeFolder(server);
      const { data } = await send(folderId);
      expect(data.importContacts.userErrors).toEqual([]);
      await importOver(server, data.importContacts.contactImport.id);
      ids.push(folderId);
    }
    for (const id of ids) {
      expect(await contactsOf(id)).toMatchObject([
        { phoneNumber: '+14155550142', firstName: 'Ada' },
      ]);
    }
  });

  it('without a key is refused before it is read, however long it is', async () => {
    const { hostname, port } = new URL(server.url);
    for (const length of ['content-length: 100000000', 'transfer-encoding: chunked']) {
      const socket = connect(Number(port), hostname);
      socket.write(
        `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n${length}\r\n\r\n`,
      );
      // Nothing of the body is ever sent, and the server does not wait for it.
      const answer = await text(socket);
      expect(answer).toMatch(/^HTTP\/1\.1 401 /);
      expect(answer).toContain('"code":"UNAUTHENTICATED"');
    }
  });

  it('may be larger than any other request', async () => {
    const folderId = await makeFolder(server);
    const row = `+14155550100,${'x'.repeat(9_000)}\n`;
    const rows = Math.ceil((60 * 1024 * 1024) / row.length);
    const picture = await importFile(
      server,
      `phone,note\n${row.repeat(rows)}`,
      { folderId },
      60_000,
    );
    expect([picture.status, picture.rowsRead]).toEqual(['COMPLETED', rows]);
    expect(picture.sizeBytes).toBeGreaterThan(60 * 1024 * 1024);
  }, 90_000);

  it('comes through as curl sends it, whatever its pieces', async () => {
    const folderId = await makeFolder(server);
    const operations = JSON.stringify({
      query: IMPORT,
      variables: { input: { folderId, file: null } },
    });
    const boundary = '------------------------d74496d66958873e';
    const content = `phone\r\n+14155550100\r\n--${boundary.slice(0, -1)}\r\n`;
    const body = [
      `--${boundary}\r\nContent-Disposition: form-data; name="operations"\r\n\r\n${operations}\r\n`,
      `--${boundary}\r\nContent-Disposition: form-data; name="map"\r\n\r\n{"0":["variables.input.file"]}\r\n`,
      `--${boundary}\r\nContent-Disposition: form-data; name="0"; filename="a \\"b\\".csv"\r\nContent-Type: text/csv\r\n\r\n`,
      `${content}\r\n--${boundary}--\r\n`,
    ].join('');
    for (const size of [1, 7, 100_000]) {
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let from = 0; from < body.length; from += size) {
            controller.enqueue(Buffer.from(body.slice(from, from + size)));
          }
          controller.close();
        },
      });
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${server.key}`,
          'content-type': `multipart/form-data; boundary=${boundary}`,
        },
        body: stream,
        duplex: 'half',
      } as RequestInit);
      const { data } = (await response.json()) as {
        data: { importContacts: { contactImport: { filename: string; sizeBytes: number } } };
      };
      expect(data.importContacts.contactImport).toMatchObject({
        filename: 'a "b".csv',
        sizeBytes: content.length,
      });
    }
  });
});

describe('several at once', () => {
  it('share the workers of two processes, each row once', async () => {
    const second = await startTestServer({ beside: server });
    try {
      const folderId = await makeFolder(server);
      const pictures = await Promise.all(
        [server, second, server].map(async (to, index) => {
          const answer = await sendFile(to, IMPORT, HEADER + lines(20_000, index * 10_000), {
            folderId,
            updateExisting: index === 1,
          });
          return importOver(to, answer.data.importContacts.contactImport.id, 60_000);
        }),
      );
      for (const { rowsRead, status, importedCount, updatedCount, skippedCount } of pictures) {
        expect([status, rowsRead]).toEqual(['COMPLETED', 20_000]);
        expect(importedCount + updatedCount + skippedCount).toBe(20_000);
      }
      const imported = pictures.reduce((sum, picture) => sum + picture.importedCount, 0);
      expect(imported).toBe(40_000);
      expect(await contactCount(folderId)).toBe(40_000);
    } finally {
      await second.close();
    }
  }, 90_000);
});
