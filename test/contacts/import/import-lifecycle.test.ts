import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import {
  awaitImport,
  contactCount,
  HEADER,
  IMPORT,
  type ImportSnapshot,
  importFile,
  lines,
  makeFolder,
  readImport,
  sendFile,
  uuid,
} from './upload.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

/** Collects the snapshots of `contactImportProgress` until it completes. */
async function watch(key: string, importId: string) {
  const socket = openSocket(server.url, key);
  const snapshots: (Pick<ImportSnapshot, 'status' | 'rowsRead'> & { at: number })[] = [];
  const results = socket.iterate<{
    contactImportProgress: Pick<ImportSnapshot, 'status' | 'rowsRead'>;
  }>({
    query: 'subscription ($id: ID!) { contactImportProgress(importId: $id) { status rowsRead } }',
    variables: { id: importId },
  });
  try {
    for await (const { data } of results) {
      if (data) snapshots.push({ ...data.contactImportProgress, at: Date.now() });
    }
    return snapshots;
  } finally {
    await socket.dispose();
  }
}

describe('cancelContactImport', () => {
  it('stops the import and keeps the contacts imported so far', async () => {
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
    const snapshot = await readImport(server, id);
    expect(snapshot.rowsRead).toBeLessThan(100_000);
    expect(await contactCount(server, folderId)).toBe(snapshot.importedCount);
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
    expect(after.rowsRead).toBe(snapshot.rowsRead);
  });
});

describe('importContacts', () => {
  it('commits rows of 8 MB before it reads further', async () => {
    const { db } = server.app;
    await db.$executeRaw`
      CREATE FUNCTION refuse_last() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'Refused by the test'; END $$`;
    await db.$executeRaw`
      CREATE TRIGGER refuse_last BEFORE INSERT ON contacts
        FOR EACH ROW WHEN (NEW.phone_number = '+14152000038') EXECUTE FUNCTION refuse_last()`;
    const folderId = await makeFolder(server);
    const notes = 'x'.repeat(250_000);
    const rows = lines(39).replaceAll('\n', `,${notes}\n`);
    const file = `phone,first_name,last_name,notes\n${rows}`;
    const answer = await sendFile(server, IMPORT, file, { folderId });
    const { id } = answer.data.importContacts.contactImport;
    try {
      const { rowsRead } = await until('the first batch', async () => {
        const read = await readImport(server, id);
        return read.rowsRead > 0 && read;
      });
      // A slow run commits what it has before its batch is full.
      expect(rowsRead).toBeLessThanOrEqual(Math.ceil((8 * 1024 * 1024) / (rows.length / 39)));
      await runMutation(server.client, 'cancelContactImport', { id }, '__typename');
    } finally {
      await db.$executeRaw`DROP FUNCTION refuse_last CASCADE`;
    }
  });

  it('waits for another writer of the folder without losing its run', async () => {
    const { db } = server.app;
    const folderId = await makeFolder(server);
    let id = '';
    await db.$transaction(
      async (tx) => {
        await tx.$executeRaw`SELECT 1 FROM contact_folders WHERE id = ${uuid(folderId)}::uuid FOR NO KEY UPDATE`;
        const answer = await sendFile(server, IMPORT, HEADER + lines(3), { folderId });
        id = answer.data.importContacts.contactImport.id;
        const row = () => db.contactImport.findUniqueOrThrow({ where: { id: uuid(id) } });
        await until('the run', async () => (await row()).leaseUntil !== null);
        await pause(4_000);
        expect(await row()).toMatchObject({ stalledRuns: 1, leaseUntil: expect.any(Date) });
      },
      { timeout: 60_000 },
    );
    expect(await awaitImport(server, id)).toMatchObject({ status: 'COMPLETED', importedCount: 3 });
  });
});

describe('contactImports', () => {
  it('hides imports from other organizations', async () => {
    const folderId = await makeFolder(server);
    const snapshot = await importFile(server, `${HEADER}bad,row,\n`, { folderId });
    const other = await server.newOrganization();
    const to = { url: server.url, key: other.key };
    const answer = await sendFile(to, IMPORT, HEADER + lines(1), { folderId });
    expect(answer.data.importContacts.userErrors).toMatchObject([
      { code: 'NOT_FOUND', path: ['folderId'] },
    ]);
    const { data } = await other.client.send(
      `query ($id: ID!, $filter: ContactImportFilter) { contactImport(id: $id) { id } node(id: $id) { id } contactImports(filter: $filter) { totalCount nodes { id } } }`,
      { id: snapshot.id, filter: { folderId } },
    );
    expect(data).toEqual({
      contactImport: null,
      node: null,
      contactImports: { totalCount: 0, nodes: [] },
    });
    const cancel = await other.client.send(
      'mutation ($input: CancelContactImportInput!) { cancelContactImport(input: $input) { userErrors { code } } }',
      { input: { id: snapshot.id } },
    );
    expect(cancel.data.cancelContactImport.userErrors).toEqual([{ code: 'NOT_FOUND' }]);
    const notFound = [{ message: 'Contact import not found.' }];
    await expect(watch(other.key, snapshot.id)).rejects.toMatchObject(notFound);
    expect(await contactCount(server, folderId)).toBe(0);
  });

  it('filters by folder and status, newest first', async () => {
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

describe('contactImportProgress', () => {
  it('sends at most four snapshots per second and ends with the final one', async () => {
    const folderId = await makeFolder(server);
    const answer = await sendFile(server, IMPORT, HEADER + lines(40_000), { folderId });
    const { id } = answer.data.importContacts.contactImport;
    const snapshots = await watch(server.key, id);
    expect(snapshots.at(-1)).toMatchObject({ status: 'COMPLETED', rowsRead: 40_000 });
    expect(snapshots.length).toBeGreaterThan(2);
    snapshots.slice(1).forEach((snapshot, index) => {
      expect(snapshot.rowsRead).toBeGreaterThanOrEqual(snapshots[index]!.rowsRead);
    });
    // Measured over all snapshots, because a delayed one shortens the pause after it; the first may be the
    // most delayed.
    const tookMs = snapshots.at(-1)!.at - snapshots[0]!.at;
    expect(tookMs).toBeGreaterThan((snapshots.length - 4) * 250);
    // A finished import is sent once.
    expect(await watch(server.key, id)).toHaveLength(1);
  });

  it('stops immediately when the subscriber unsubscribes', async () => {
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
    expect(Date.now() - before).toBeLessThan(10_000);
    await socket.dispose();
  });
});

describe('concurrent imports', () => {
  it('import each row once, over two processes', async () => {
    const second = await startTestServer({ beside: server });
    try {
      const folderId = await makeFolder(server);
      const snapshots = await Promise.all(
        [server, second, server].map(async (to, index) => {
          const answer = await sendFile(to, IMPORT, HEADER + lines(20_000, index * 10_000), {
            folderId,
            updateExisting: index === 1,
          });
          return awaitImport(to, answer.data.importContacts.contactImport.id, 60_000);
        }),
      );
      for (const { rowsRead, status, importedCount, updatedCount, skippedCount } of snapshots) {
        expect([status, rowsRead]).toEqual(['COMPLETED', 20_000]);
        expect(importedCount + updatedCount + skippedCount).toBe(20_000);
      }
      const imported = snapshots.reduce((sum, snapshot) => sum + snapshot.importedCount, 0);
      expect(imported).toBe(40_000);
      expect(await contactCount(server, folderId)).toBe(40_000);
    } finally {
      await second.close();
    }
  });
});
