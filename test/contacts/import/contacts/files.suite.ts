/** Files in any encoding, files that are refused, and requests that are repeated. */
import { describe, expect, it } from 'vitest';
import {
  awaitImport,
  contactsOf,
  HEADER,
  IMPORT,
  importFile,
  lines,
  makeFolder,
  sendFile,
  uuid,
} from '../upload.ts';
import { server } from './server.ts';

/** The problems of a file that is rejected. Checks that nothing of it is stored. */
async function rejections(
  content: string | Uint8Array | Blob,
  input: Record<string, unknown> = {},
) {
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

export function filesSuite(): void {
  describe('importContacts', () => {
    it('reports a cell of 10 MB and imports the rows around it', async () => {
      const folderId = await makeFolder(server);
      const big = `"${'x'.repeat(10 * 1024 * 1024)}`;
      const snapshot = await importFile(
        server,
        `${HEADER}${lines(1)}+14155550101,${big}",Last\n${lines(1, 1)}+14155550102,${big}`,
        { folderId },
      );
      expect(snapshot).toMatchObject({
        status: 'COMPLETED',
        rowsRead: 4,
        importedCount: 2,
        failedCount: 2,
      });
      expect(snapshot.problems.nodes).toEqual([
        { row: 2, phoneNumber: null, reason: expect.stringContaining('longer than') },
        { row: 4, phoneNumber: null, reason: expect.stringContaining('no closing quote') },
      ]);
    });

    it('reads UTF-16 and UTF-8 with a byte order mark', async () => {
      const text = '\ufeffphone,name\n+14155550100,Zoë\n';
      for (const bytes of [
        Buffer.from(text),
        Buffer.from(text, 'utf16le'),
        Buffer.from(text, 'utf16le').swap16(),
      ]) {
        const folderId = await makeFolder(server);
        await importFile(server, bytes, { folderId });
        expect((await contactsOf(server, folderId)).map(({ firstName }) => firstName)).toEqual([
          'Zoë',
        ]);
      }
    });

    it('reads Windows-1252 where it is certain, and any encoding that is named', async () => {
      const file = (text: string) =>
        Buffer.from(`Leads 2026\nfor March\nphone;name\n+14155550100;${text}\n`, 'latin1');
      const names: [string, string | null, string, string][] = [
        ['Zo\xeb M\xfcller', null, 'Zoë', 'WINDOWS_1252'],
        ['S\xf8ren', 'WINDOWS_1252', 'Søren', 'WINDOWS_1252'],
        ['Ji\xf8\xedk', 'WINDOWS_1250', 'Jiřík', 'WINDOWS_1250'],
      ];
      for (const [bytes, encoding, name, found] of names) {
        const folderId = await makeFolder(server);
        const { id } = await importFile(server, file(bytes), { folderId, encoding });
        expect((await contactsOf(server, folderId)).map(({ firstName }) => firstName)).toEqual([
          name,
        ]);
        const query = `{ contactImport(id: "${id}") { encoding rowsRead } }`;
        const { data } = await server.client.send(query);
        expect(data.contactImport).toEqual({ encoding: found, rowsRead: 1 });
      }
    });

    it('rejects a file that is not a CSV and stores nothing of it', async () => {
      const cases: [string | Uint8Array, RegExp][] = [
        ['', /empty/],
        ['\n\n', /empty/],
        ['first,last\nAda,Lovelace\n', /has no phone number column.*"first", "last"/],
        ['{"phone": "+14155550100"}', /has no phone number column/],
        [Buffer.from('504b030414000600', 'hex'), /Excel/],
        [Buffer.from([0x00, 0x01, 0x02, 0x03, 0x04]), /null characters/],
        [
          Buffer.from(`${HEADER}+14155550100,S\xf8ren,x\n`, 'latin1'),
          /not UTF-8: line 2.*`encoding`/,
        ],
        [`phone,${'"x'.repeat(50_000)}`, /first row is not a header/],
        [`phone,${'a,'.repeat(1000)}\n`, /1002 columns; the maximum is 1000/],
      ];
      for (const [content, message] of cases) {
        const [problem, ...more] = await rejections(content);
        expect(problem).toMatchObject({ path: ['file'] });
        expect(problem?.message).toMatch(message);
        expect(more).toEqual([]);
      }
      // The wrong byte stands far behind the header, when rows are being kept already.
      const late = Buffer.concat([Buffer.from(HEADER + lines(60_000)), Buffer.from([0xfc, 0x0a])]);
      expect((await rejections(late))[0]?.message).toMatch(/not UTF-8: line 60002/);
    });

    it('reports every invalid argument at once', async () => {
      const problems = await rejections('a,b\n1,2\n', {
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

    it('rejects a file of more than 200 MB', async () => {
      const part = new Blob([Buffer.alloc(1024 * 1024, 'x')]);
      const [problem] = await rejections(
        new Blob([HEADER, ...Array.from({ length: 201 }, () => part)]),
      );
      expect(problem).toMatchObject({ code: 'LIMIT_EXCEEDED', path: ['file'] });
    });

    it('creates one import per idempotency key and file', async () => {
      const folderId = await makeFolder(server);
      const headers = { 'x-idempotency-key': 'import-once' };
      const send = (content: string) =>
        sendFile(server, IMPORT, { content, headers }, { folderId });
      const first = await send(HEADER + lines(3));
      const again = await send(HEADER + lines(3));
      expect(again.data).toEqual(first.data);
      expect(again.extensions).toMatchObject({ idempotentReplay: true });
      expect((await send(HEADER + lines(4))).errors?.[0]?.extensions.code).toBe(
        'IDEMPOTENCY_KEY_REUSED',
      );
      await awaitImport(server, first.data.importContacts.contactImport.id);
      expect(await server.app.db.contactImport.count({ where: { folderId: uuid(folderId) } })).toBe(
        1,
      );
    });
  });
}
