/** Requests that are refused before they reach any handler. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** What the server sends for these bytes. */
async function answerTo(bytes: string): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(bytes);
  return text(socket);
}

describe('a request that is not read', () => {
  it('for its long query in the address is refused with the advice to send it in the body', async () => {
    const query = encodeURIComponent(`{ __typename # ${'long '.repeat(5_000)}\n }`);
    const answer = await answerTo(`GET /graphql?query=${query} HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    const [, body = ''] = answer.split('\r\n\r\n');
    expect(answer).toContain(`Content-Length: ${body.length}\r\n`);
    expect(JSON.parse(body).errors).toEqual([
      {
        message:
          'The address and the headers may have 16384 bytes together. Send the operation with POST, as JSON in the body.',
        extensions: { code: 'REQUEST_ENTITY_TOO_LARGE' },
      },
    ]);
  });

  it('because it is not HTTP is refused as such', async () => {
    const answer = await answerTo('nonsense\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(JSON.parse(answer.split('\r\n\r\n')[1]!).errors[0].extensions.code).toBe('BAD_REQUEST');
  });

  it('for a WebSocket elsewhere is refused with the right address', async () => {
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket';
    const answer = await answerTo(`GET /socket HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 404 .*\r\n\r\nWebSockets are at \/graphql\.$/s);
  });
});
