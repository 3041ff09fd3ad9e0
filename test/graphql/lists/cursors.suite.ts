/** Cursors used for their own list, and rejection of cursors of other lists, orders or organizations. */
import { beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import type { TestServer } from '../../support/servers/server.ts';

/** @param server one without jobs, whose statements are counted. */
export function cursorSuite(server: () => TestServer): void {
  describe('a cursor', () => {
    let client: GraphQLClient;
    let cursor: string;
    const logged: string[] = [];
    const contacts = (args: string) =>
      `{ contacts(first: 1, ${args}) { nodes { phoneNumber } pageInfo { endCursor } } }`;

    beforeAll(async () => {
      const { app } = server();
      const { id: organizationId, key } = await server().newOrganization();
      client = createClient(server().url, key);
      const folder = await app.db.contactFolder.create({
        data: { id: newId(), organizationId, name: 'Folder' },
      });
      await app.db.contact.createMany({
        data: ['+14155550101', '+14155550102', '+14155550103'].map((phoneNumber) => ({
          id: newId(),
          organizationId,
          folderId: folder.id,
          phoneNumber,
          searchText: '',
        })),
      });
      const page = await client.send(contacts('orderBy: { field: PHONE_NUMBER, direction: ASC }'));
      cursor = page.data.contacts.pageInfo.endCursor;
      const { error } = app.log;
      app.log.error = (...args: unknown[]) => {
        logged.push(JSON.stringify(args));
        Reflect.apply(error, app.log, args);
      };
    });

    const ORDER = 'orderBy: { field: PHONE_NUMBER, direction: ASC }';

    it('continues its list with any filter and page size', async () => {
      const answer = await client.send(contacts(`after: "${cursor}", ${ORDER}`));
      expect(answer.data.contacts.nodes).toEqual([{ phoneNumber: '+14155550102' }]);
      const filtered = await client.send(
        contacts(`after: "${cursor}", ${ORDER}, filter: { phoneNumber: "+14155550103" }`),
      );
      expect(filtered.data.contacts.nodes).toEqual([{ phoneNumber: '+14155550103' }]);
    });

    it('is looked behind with one statement', async () => {
      const statements = await recordStatements(server().app, async () => {
        const { data } = await client.send(
          `{ contacts(after: "${cursor}", ${ORDER}) { pageInfo { hasPreviousPage } } }`,
        );
        expect(data.contacts.pageInfo).toEqual({ hasPreviousPage: true });
      });
      expect(statements).toHaveLength(1);
    });

    it('contains no readable value', () => {
      for (const encoding of ['base64', 'base64url'] as const) {
        expect(Buffer.from(cursor, encoding).toString('latin1')).not.toMatch(/1415555|GPC/);
      }
    });

    const gpc = (text: string) => Buffer.from(`GPC:S:${text}`).toString('base64');

    it.each<[string, (cursor: string) => string]>([
      ['of another sort order', (own) => contacts(`after: "${own}"`)],
      [
        'of the opposite direction',
        (own) => contacts(`after: "${own}", orderBy: { field: PHONE_NUMBER, direction: DESC }`),
      ],
      ['of another list', (own) => `{ agents(after: "${own}") { nodes { id } } }`],
      ['with the ID of a row', () => contacts(`after: "${gpc(newId())}", ${ORDER}`)],
      ['that is empty', () => contacts(`after: "", ${ORDER}`)],
      ['of other characters', () => contacts(`before: "no cursor\\n at all 🙂", ${ORDER}`)],
      ['of 20,000 characters', () => contacts(`after: "${'A'.repeat(20_000)}", ${ORDER}`)],
      ['that is truncated', (own) => contacts(`after: "${own.slice(0, -4)}", ${ORDER}`)],
      [
        'of Query.contacts for the list of a folder',
        (own) => `{ contactFolders { nodes { contacts(after: "${own}") { nodes { id } } } } }`,
      ],
    ])('is rejected before any statement: one %s', async (_name, document) => {
      const statements = await recordStatements(server().app, async () => {
        const { errors, data } = await client.send(document(cursor));
        expect(data ?? null).toBeNull();
        expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
        expect(errors?.[0]?.message).toMatch(
          /^`(after|before)` (is not a cursor of `\w+\.\w+` with this sort order\. Use a cursor from|must have at most 5,000 characters)/,
        );
        expect(errors?.[0]?.message).not.toContain(cursor.slice(0, 20));
      });
      expect(statements).toEqual([]);
      expect(logged).toEqual([]);
    });

    it('is rejected in another organization, whether or not its row exists', async () => {
      const other = await server().newOrganization();
      for (const after of [cursor, gpc(newId())]) {
        const { errors } = await other.client.send(contacts(`after: "${after}", ${ORDER}`));
        expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
      }
    });
  });
}
