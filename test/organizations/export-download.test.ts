/** Properties of all exports: no cell that a spreadsheet would execute, and no lost rows. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/infra/ids.ts';
import { createCampaign, people, uuidOf } from '../campaigns/support.ts';
import { importFile, makeFolder } from '../contacts/import/upload.ts';
import { accepted, type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { parseCsv } from '../support/csv.ts';
import { createClient } from '../support/graphql.ts';
import { liveBytes } from '../support/memory.ts';
import { insertRows } from '../support/rows.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  server = await startTestServer();
  caller = await prepareCaller(server.client);
});
afterAll(() => server?.close());

/** Beginnings that make a spreadsheet execute a cell. */
const BEGINNINGS = ['=', '+', '-', '@', '\t', '\r', '\n', '\uff1d', '\uff0b', '\uff0d', '\uff20'];
const EXECUTED = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const NUMBER = /^[+-]\d+(\.\d+)?$/;

/** By key: a text for each beginning, with a separator, a quote and a line break. */
const texts: Record<string, string> = Object.fromEntries(
  BEGINNINGS.map((beginning, index) => [`key${index}`, `${beginning}HYPERLINK("x",\n;A1)`]),
);

async function fileOf(name: string, input: Record<string, unknown>): Promise<string> {
  const { url } = await runMutation(server.client, name, input, 'url');
  const response = await fetch(url);
  expect([name, response.status]).toEqual([name, 200]);
  return response.text();
}

/** The rows of a CSV by its header. No cell of it is executed, nor of the header. */
function tableOf(csv: string): Record<string, string>[] {
  const [header = [], ...rows] = parseCsv(csv);
  for (const cells of [header, ...rows]) {
    expect(cells).toHaveLength(header.length);
    expect(cells.filter((cell) => EXECUTED.test(cell) && !NUMBER.test(cell))).toEqual([]);
  }
  return rows.map((cells) => Object.fromEntries(header.map((name, i) => [name, cells[i]!])));
}

/** As in the file: behind an apostrophe, and for keys of metadata under a prefix. */
const guarded = (prefix = '') =>
  Object.fromEntries(Object.entries(texts).map(([key, text]) => [`${prefix}${key}`, `'${text}`]));

/** Of all contacts in a folder, without what belongs to the single contact. */
async function contactsIn(folderId: string) {
  return server.app.db.contact.findMany({
    where: { folderId: uuidOf(folderId) },
    orderBy: { phoneNumber: 'asc' },
    omit: { id: true, folderId: true, createdAt: true, updatedAt: true },
  });
}

describe('exports as CSV', () => {
  it('of contacts run nothing in a spreadsheet, and are imported again as they were', async () => {
    const folderId = await makeFolder(server);
    const contacts = [
      { phoneNumber: '+14155550100', lastName: '-2+3', companyName: '@SUM(A1)', metadata: texts },
      {
        phoneNumber: '+14155550101',
        firstName: ' "Zoë" ',
        keywords: 'a, b',
        timezone: 'Asia/Kolkata',
        metadata: { '=1+1': "it's", note: 'a\r\n b', amount: '-5', phone2: '+4930901820' },
      },
      { phoneNumber: '+14155550102', email: 'ada@example.com', location: "'quoted'" },
    ];
    await runMutation(server.client, 'createContacts', { folderId, contacts }, 'createdCount');
    const before = await contactsIn(folderId);
    const csv = await fileOf('exportContacts', { filter: { folderId } });
    const [first] = tableOf(csv);
    expect(first).toMatchObject({ last_name: "'-2+3", company_name: "'@SUM(A1)" });
    const again = await makeFolder(server);
    const imported = await importFile(server, csv, { folderId: again });
    expect(imported).toMatchObject({ importedCount: 3, failedCount: 0, warningCount: 0 });
    expect(await contactsIn(again)).toEqual(before);
    expect(await fileOf('exportContacts', { filter: { folderId: again } })).toBe(csv);
  });

  it('of contacts have the same content as JSON Lines', async () => {
    const folderId = await makeFolder(server);
    const contacts = [{ phoneNumber: '+14155550100', firstName: '=1', metadata: texts }];
    await runMutation(server.client, 'createContacts', { folderId, contacts }, 'createdCount');
    const [row] = await contactsIn(folderId);
    const lines = await fileOf('exportContacts', { filter: { folderId }, format: 'JSON_LINES' });
    expect(JSON.parse(lines)).toMatchObject({
      id: expect.stringMatching(/^ctc_/),
      folderId,
      phoneNumber: '+14155550100',
      firstName: '=1',
      email: null,
      metadata: row!.metadata,
      callCount: 0,
      lastCalledAt: null,
    });
  });

  it('of calls and of campaign contacts run nothing in a spreadsheet', async () => {
    const { call } = await runMutation(
      server.client,
      'createCall',
      { agentId: caller.agentId, phoneNumber: '+14155550142', metadata: texts },
      'call { id }',
    );
    const { metadata } = await server.app.db.call.findUniqueOrThrow({
      where: { id: uuidOf(call.id) },
    });
    expect(metadata).toMatchObject(texts);
    expect(tableOf(await fileOf('exportCalls', {}))).toEqual([
      expect.objectContaining({ id: call.id, ...guarded('metadata.') }),
    ]);
    const { client } = server;
    const { id } = await createCampaign(
      { client, caller },
      { contacts: [{ ...people(1)[0], firstName: '=1+1', metadata: texts }] },
    );
    const [contact] = tableOf(await fileOf('exportCampaignContacts', { campaignId: id }));
    expect(contact).toMatchObject({ first_name: "'=1+1" });
    const ofContact = await server.app.db.campaignContact.findFirstOrThrow({
      where: { campaignId: uuidOf(id) },
    });
    for (const [key, text] of Object.entries(ofContact.metadata as object)) {
      const isExecuted = EXECUTED.test(text);
      expect(contact![`metadata.${key}`]).toBe(isExecuted ? `'${text}` : text);
    }
  });

  it('of the problems of an import run nothing in a spreadsheet', async () => {
    const file = 'phone\n=1+1\n@x\n-5\n"\t=1"';
    const imported = await importFile(server, file, { folderId: await makeFolder(server) });
    const response = await fetch(imported.problemsUrl!);
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const rows = tableOf(await response.text());
    expect(rows.map(({ row, reason }) => [Number(row), reason])).toEqual(
      imported.problems.nodes.map(({ row, reason }) => [row, reason]),
    );
    expect(rows).toHaveLength(4);
  });
});

describe('downloads of exports', () => {
  it('are counted by organization, so that none takes the places of the others with several keys', async () => {
    const one = await server.newOrganization();
    const other = await server.newOrganization();
    const { key } = await runMutation(
      one.client,
      'createApiKey',
      { name: 'second', scopes: ['WRITE'] },
      'key',
    );
    const { contactFolder } = await runMutation(
      one.client,
      'createContactFolder',
      { name: 'Large' },
      'contactFolder { id }',
    );
    // More than the buffers of a connection hold.
    await server.app.db.$executeRaw`
      INSERT INTO contacts (id, organization_id, folder_id, phone_number, metadata, search_text, updated_at)
      SELECT gen_random_uuid(), ${one.id}::uuid, ${uuidOf(contactFolder.id)}::uuid, '+1415555' || n,
        jsonb_build_object('note', repeat('x', 8000)), '', now()
      FROM generate_series(1000, 3499) AS n`;
    const stop = new AbortController();
    const opened: Response[] = [];
    const open = async (client: typeof one.client): Promise<number> => {
      const { url } = await runMutation(client, 'exportContacts', {}, 'url');
      const response = await fetch(url, { signal: stop.signal });
      // One that nobody refers to is cut off when it is collected.
      opened.push(response);
      return response.status;
    };
    const second = createClient(server.url, key);
    const statuses = [];
    for (const client of [one.client, one.client, second, second, other.client])
      statuses.push(await open(client));
    expect(statuses).toEqual([200, 200, 429, 429, 200]);
    expect(await opened[2]!.text()).toContain('Too many downloads of this organization');
    stop.abort();
  });

  const MB = 2 ** 20;
  const COUNT = 40;

  /** Creates that many rows of 600 kB. Returns the input of their export. */
  const largeRows: Record<string, () => Promise<Record<string, unknown>>> = {
    async exportContacts() {
      const folderId = await makeFolder(server);
      await server.app.db.$executeRaw`
        INSERT INTO contacts (id, organization_id, folder_id, phone_number, metadata, search_text, updated_at)
        SELECT gen_random_uuid(), ${server.organizationId}::uuid, ${uuidOf(folderId)}::uuid,
          '+1415555' || n, jsonb_build_object('text', repeat('語', 200000)), '', now()
        FROM generate_series(1000, ${999 + COUNT}::int) AS n`;
      return { filter: { folderId } };
    },
    async exportCalls() {
      const { organizationId } = server;
      const endedAt = new Date('2001-01-01');
      const calls = Array.from({ length: COUNT }, () => ({
        ...{ id: newId(), organizationId, agentId: uuidOf(caller.agentId), ...accepted() },
        ...{ direction: 'OUTBOUND', medium: 'WEBRTC', status: 'COMPLETED', endReason: 'HANGUP' },
        ...{ maxDurationSeconds: 60, joinTimeoutSeconds: 30, createdAt: endedAt, endedAt },
      }));
      await insertRows(server, 'Call', calls);
      await server.app.db.$executeRaw`
        INSERT INTO call_analyses (call_id, organization_id, status, extracted_data)
        SELECT id, organization_id, 'DONE', jsonb_build_object('text', repeat('語', 200000))
        FROM calls WHERE id = ANY(${calls.map(({ id }) => id)}::uuid[])`;
      return { filter: { createdBefore: '2002-01-01T00:00:00Z' } };
    },
    async exportCampaignContacts() {
      const operator = { client: server.client, caller };
      const { id } = await createCampaign(operator, { contacts: people(COUNT) });
      await server.app.db.$executeRaw`
        UPDATE campaign_contacts SET metadata = jsonb_build_object('text', repeat('語', 200000))
        WHERE campaign_id = ${uuidOf(id)}::uuid`;
      return { campaignId: id };
    },
  };

  it.each(
    Object.keys(largeRows),
  )('read only as many rows as a few megabytes hold until the client takes them: %s', async (name) => {
    const input = { ...(await largeRows[name]!()), format: 'JSON_LINES' };
    const { url } = await runMutation(server.client, name, input, 'url');
    const before = await liveBytes();
    const { body } = await fetch(url);
    const reader = body!.getReader();
    await reader.read();
    // The rows have 24 MB.
    expect(((await liveBytes()) - before) / MB).toBeLessThan(22);
    const decoder = new TextDecoder();
    let rest = '';
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read())
      rest += decoder.decode(chunk.value, { stream: true });
    // The beginning of the first row has been read before.
    const [, ...rows] = rest.trim().split('\n');
    expect(new Set(rows.map((row) => JSON.parse(row).id)).size).toBe(COUNT - 1);
  });
});
