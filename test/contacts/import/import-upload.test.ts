import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import {
  awaitImport,
  contactsOf,
  HEADER,
  IMPORT,
  importFile,
  makeFolder,
  sendFile,
} from './upload.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

describe('uploads', () => {
  it('require an API key and a valid multipart body', async () => {
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
      [{ operations: '{' }, /not valid JSON/],
      [{ operations }, /map\\" is missing/],
      [{ operations, map: '{"0":["variables.input.file"]}' }, /which is not a file/],
      [
        { operations, map: '{"file":["query"]}', file: new Blob(['x']) },
        /does not exist in the variables/,
      ],
      [
        { operations, map: '{"file":["variables.__proto__.file"]}', file: new Blob(['x']) },
        /does not exist in the variables/,
      ],
      [
        { operations, map: '{"file":["variables.nothing.file"]}', file: new Blob(['x']) },
        /does not exist in the variables/,
      ],
    ];
    for (const [parts, message] of bodies) {
      const answer = await send(parts);
      expect(answer.text).toMatch(message);
      expect(answer.status).toBe(400);
    }
    const plain = await server.client.send(IMPORT, { input: { folderId, file: 7 } });
    expect(plain.errors?.[0]?.message).toContain('multipart/form-data');
  });

  it('accept the text of a file as a variable or literal', async () => {
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
      await awaitImport(server, data.importContacts.contactImport.id);
      ids.push(folderId);
    }
    for (const id of ids) {
      expect(await contactsOf(server, id)).toMatchObject([
        { phoneNumber: '+14155550142', firstName: 'Ada' },
      ]);
    }
  });

  it('without an API key are rejected before the body is read', async () => {
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

  it('may exceed the size limit of other requests', async () => {
    const folderId = await makeFolder(server);
    const row = `+14155550100,${'x'.repeat(9_000)}\n`;
    const rows = Math.ceil((60 * 1024 * 1024) / row.length);
    const snapshot = await importFile(
      server,
      `phone,note\n${row.repeat(rows)}`,
      { folderId },
      60_000,
    );
    expect([snapshot.status, snapshot.rowsRead]).toEqual(['COMPLETED', rows]);
    expect(snapshot.sizeBytes).toBeGreaterThan(60 * 1024 * 1024);
  });

  it('accept bodies that arrive in pieces of any size', async () => {
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
