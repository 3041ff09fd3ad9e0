/** Imports of do-not-call lists. */
import { describe, expect, it } from 'vitest';
import { sendFile } from '../upload.ts';
import { server } from './server.ts';

const IMPORT_LIST = `mutation ($input: ImportDoNotCallInput!) {
  importDoNotCall(input: $input) {
    addedCount presentCount failedCount problems { row phoneNumber reason } userErrors { code path message } } }`;

export function doNotCallSuite(): void {
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
      expect(first).toMatchObject({
        addedCount: 2,
        presentCount: 1,
        failedCount: 1,
        userErrors: [],
      });
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
      expect(below).toMatchObject({
        presentCount: 1,
        problems: [{ row: 1, phoneNumber: '12345' }],
      });
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
      const { userErrors } = await importList('x', {
        reason: 'x'.repeat(501),
        defaultCountry: 'XX',
      });
      expect(userErrors.map(({ path }: { path: string[] }) => path[0])).toEqual([
        'reason',
        'defaultCountry',
        'file',
      ]);
      expect(await entries()).toHaveLength(before);
    });
  });
}
