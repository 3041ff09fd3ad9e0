/** Exports of contacts, and their import. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../../../src/infra/ids.ts';
import { createClient } from '../../../support/graphql.ts';
import { insertRows } from '../../../support/rows.ts';
import { startTestServer } from '../../../support/servers/server.ts';
import { importFile, makeFolder } from '../upload.ts';
import { server } from './server.ts';

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

export function exportSuite(): void {
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
      const imported = await importFile(server, 'phone\nbad', {
        folderId: await makeFolder(server),
      });
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
}
