/** What the rows of a file become: columns, phone numbers, duplicates. */
import { describe, expect, it } from 'vitest';
import {
  awaitImport,
  contactCount,
  contactsOf,
  HEADER,
  IMPORT,
  importFile,
  lines,
  makeFolder,
  sendFile,
} from '../upload.ts';
import { server } from './server.ts';

export function rowsSuite(): void {
  describe('importContacts', () => {
    it('maps columns by name, normalizes phone numbers and reports invalid rows', async () => {
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
      const snapshot = await importFile(server, csv, { folderId, defaultCountry: 'us' });
      expect(snapshot).toMatchObject({
        status: 'COMPLETED',
        rowsRead: 8,
        importedCount: 4,
        updatedCount: 0,
        skippedCount: 0,
        failedCount: 4,
        warningCount: 1,
        failure: null,
        sizeBytes: Buffer.byteLength(csv),
        bytesRead: Buffer.byteLength(csv),
      });
      expect(snapshot.problems.nodes.map(({ row, phoneNumber }) => [row, phoneNumber])).toEqual([
        [3, null],
        [4, '12'],
        [7, null],
        [8, null],
      ]);
      expect(snapshot.problems.nodes.map(({ reason }) => reason)).toEqual([
        expect.stringContaining('phone number is required'),
        expect.stringContaining('"12" is not a valid phone number of US'),
        expect.stringContaining('text after its closing quote'),
        expect.stringContaining('6 cells'),
      ]);
      expect(snapshot.warnings).toEqual({
        totalCount: 1,
        nodes: [
          {
            row: 5,
            phoneNumber: '+14155552672',
            reason: expect.stringMatching(/^Ignored "E-Mail": .*must be an email address/),
          },
        ],
      });
      expect(await contactsOf(server, folderId)).toEqual([
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
          phoneNumber: '+14155552672',
          firstName: 'Bad',
          lastName: 'Mail',
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
      expect(await contactCount(server, folderId)).toBe(4);
      const file = await fetch(snapshot.problemsUrl!);
      expect(file.status).toBe(200);
      const text = await file.text();
      expect(text.split('\r\n')[0]).toBe('row,phone_number,reason');
      expect(text.split('\r\n')[2]).toMatch(/^4,12,/);
      expect(text.split('\r\n')).toHaveLength(6);
      const warnings = await (await fetch(snapshot.warningsUrl!)).text();
      expect(warnings).toMatch(/^row,phone_number,reason\r\n5,\+14155552672,/);
      expect(await server.app.db.contactImportChunk.count()).toBe(0);
    });

    it('recognizes common column names and prefers the given mapping', async () => {
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
      await awaitImport(server, answer.data.importContacts.contactImport.id);
      expect(await contactsOf(server, folderId)).toMatchObject([
        {
          phoneNumber: '+14155550100',
          firstName: 'F',
          lastName: 'S',
          metadata: { 'Kontakt 2': '1', name: 'N', 'Kontakt 2 2': 'a', 'Kontakt 2 3': 'b' },
        },
      ]);
    });

    it('skips existing phone numbers and keeps the first of repeated rows', async () => {
      const folderId = await makeFolder(server);
      await importFile(server, `${HEADER}+14155550100,Old,Name\n`, { folderId });
      const snapshot = await importFile(
        server,
        `${HEADER}+1 415 555 0100,New,Name\n+14155550101,One,A\n+1-415-555-0101,Two,B\n`,
        { folderId },
      );
      expect(snapshot).toMatchObject({
        rowsRead: 3,
        importedCount: 1,
        skippedCount: 2,
        updatedCount: 0,
      });
      expect((await contactsOf(server, folderId)).map(({ firstName }) => firstName)).toEqual([
        'Old',
        'One',
      ]);
    });

    it('updates existing contacts with onDuplicate of UPDATE and keeps the last of repeated rows', async () => {
      const folderId = await makeFolder(server);
      await importFile(server, 'phone,first,last,a,b\n+14155550100,Old,Name,1,2\n', { folderId });
      const snapshot = await importFile(
        server,
        'phone,first,last,b,c\n+14155550100,New,,3,4\n+14155550101,One,A,,\n+14155550101,Two,,5,\n',
        { folderId, onDuplicate: 'UPDATE' },
      );
      expect(snapshot).toMatchObject({
        rowsRead: 3,
        importedCount: 1,
        skippedCount: 0,
        updatedCount: 2,
      });
      expect(await contactsOf(server, folderId)).toMatchObject([
        { firstName: 'New', lastName: 'Name', metadata: { a: '1', b: '3', c: '4' } },
        { firstName: 'Two', lastName: 'A', metadata: { b: '5' } },
      ]);
      const { data } = await server.client.send(
        'query ($filter: ContactFilter) { contacts(filter: $filter) { nodes { firstName } } }',
        { filter: { folderId, search: 'new name' } },
      );
      expect(data.contacts.nodes).toEqual([{ firstName: 'New' }]);
    });

    it('ignores metadata that would give a contact more than 100 keys', async () => {
      const folderId = await makeFolder(server);
      const keys = Array.from({ length: 180 }, (_, index) => `k${index}`);
      const file = (...rows: [from: number, to: number][]) =>
        [
          `phone,${keys}`,
          ...rows.map(([from, to]) => {
            const cells = keys.map((_, index) => (index >= from && index < to ? `${from}` : ''));
            return `+14155550100,${cells}`;
          }),
        ].join('\n');
      const update = (content: string) =>
        importFile(server, content, { folderId, onDuplicate: 'UPDATE' });
      const first = await update(file([0, 60], [55, 101]));
      expect(first.warnings.nodes).toEqual([
        {
          row: 2,
          phoneNumber: '+14155550100',
          reason: 'Ignored "k100": A contact has at most 100 metadata keys.',
        },
      ]);
      const second = await update(file([90, 120]));
      expect(second).toMatchObject({ updatedCount: 1, warningCount: 1 });
      expect(second.warnings.nodes).toMatchObject([
        {
          row: 1,
          reason: expect.stringMatching(/^Ignored "k100", .* and 10 more: A contact has at/),
        },
      ]);
      const [contact] = await contactsOf(server, folderId);
      expect(contact?.metadata).toEqual(
        Object.fromEntries(
          keys
            .slice(0, 100)
            .map((key, index) => [key, index < 55 ? '0' : index < 90 ? '55' : '90']),
        ),
      );
    });

    it('takes onDuplicate also by its deprecated name, but not both', async () => {
      const folderId = await makeFolder(server);
      const rules = async (input: object) => {
        const { id, updatedCount } = await importFile(server, HEADER + lines(1), {
          folderId,
          ...input,
        });
        const { data } = await server.client.send(
          'query ($id: ID!) { contactImport(id: $id) { onDuplicate updateExisting } }',
          { id },
        );
        return { updatedCount, ...data.contactImport };
      };
      const skip = { updatedCount: 0, onDuplicate: 'SKIP', updateExisting: false };
      const update = { updatedCount: 1, onDuplicate: 'UPDATE', updateExisting: true };
      await rules({});
      expect(await rules({})).toEqual(skip);
      expect(await rules({ onDuplicate: 'SKIP' })).toEqual(skip);
      expect(await rules({ updateExisting: false })).toEqual(skip);
      expect(await rules({ onDuplicate: 'UPDATE' })).toEqual(update);
      expect(await rules({ updateExisting: true })).toEqual(update);
      const both = { folderId, onDuplicate: 'UPDATE', updateExisting: true, defaultCountry: 'XX' };
      const { data } = await sendFile(server, IMPORT, HEADER, both);
      expect(data.importContacts.userErrors).toMatchObject([
        { code: 'INVALID_INPUT', path: ['defaultCountry'] },
        {
          code: 'INVALID_INPUT',
          message:
            '`updateExisting` is the deprecated name of `onDuplicate`. Use only the new one.',
          path: ['updateExisting'],
        },
      ]);
    });

    it('counts duplicates across batches', async () => {
      const folderId = await makeFolder(server);
      const skipped = await importFile(server, HEADER + lines(5000) + lines(5000), { folderId });
      expect(skipped).toMatchObject({ rowsRead: 10_000, importedCount: 5000, skippedCount: 5000 });
      const updated = await importFile(server, HEADER + lines(2500) + lines(5000, 2000), {
        folderId,
        onDuplicate: 'UPDATE',
      });
      expect(updated).toMatchObject({ rowsRead: 7500, importedCount: 2000, updatedCount: 5500 });
      expect(await contactCount(server, folderId)).toBe(7000);
    });
  });
}
