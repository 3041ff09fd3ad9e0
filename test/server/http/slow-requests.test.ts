/** Requests that arrive slowly, or only in part. Only the intervals of the server are skipped, never its work. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleMalformedRequests } from '../../../src/server/http/malformed-requests.ts';
import { closeStalledConnections } from '../../../src/server/http/stalled-connections.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';

const CHECK_MS = 15_000;
const MIB = 1024 * 1024;

function pass(checks: number): void {
  for (let check = 0; check < checks; check += 1) vi.advanceTimersByTime(CHECK_MS);
}

/** Sends the head of a request, and resolves when the server waits for the body. */
async function begin(url: string, path: string, length: number): Promise<Socket> {
  const { hostname, port } = new URL(url);
  // Does not close its side when the server closes the other one.
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  socket.on('error', () => undefined);
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: a',
    'Content-Type: application/json',
    `Content-Length: ${length}`,
    'Expect: 100-continue',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1\.1 100 /);
  return socket;
}

describe('the server', () => {
  let server: TestServer;
  beforeAll(async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    server = await startTestServer();
  });
  afterAll(async () => {
    vi.useRealTimers();
    await server?.close();
  });

  it.each([
    '/graphql',
    '/webhooks/ultravox',
    '/nonsense',
  ])('ends a request to %s whose body does not arrive, and its connection', async (path) => {
    const socket = await begin(server.url, path, 100);
    const answer = text(socket);
    socket.write('{"query":');
    pass(3);
    const [head, body = ''] = (await answer).split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 408 /);
    expect(JSON.parse(body).errors).toEqual([
      {
        message:
          'The request arrived too slowly. Send at least 64 KiB per second, and all of it within 30 minutes.',
        extensions: { code: 'BAD_REQUEST' },
      },
    ]);
    // The client has not closed its side.
    await until('the end of the connection', () => {
      if (!socket.destroyed) socket.write('x');
      return socket.destroyed;
    });
  });
});

describe('a request', () => {
  let server: Server;
  let url: string;
  let received = 0;
  let read: (request: IncomingMessage) => Promise<void>;
  const readAll = async (request: IncomingMessage): Promise<void> => {
    for await (const chunk of request) received += (chunk as Buffer).length;
  };
  let stop: () => void;
  beforeAll(async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    server = createServer(async (request, response) => {
      received = 0;
      await read(request).then(
        () => response.end(`received ${received}`),
        () => undefined,
      );
    }).listen(0, '127.0.0.1');
    handleMalformedRequests(server);
    stop = closeStalledConnections(server);
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    vi.useRealTimers();
    stop();
    server.closeAllConnections();
    server.close();
  });

  async function send(socket: Socket, bytes: number): Promise<void> {
    const all = received + bytes;
    socket.write(Buffer.alloc(bytes, 'x'));
    await until(`${all} bytes`, () => received === all);
  }

  it('may take as long as it arrives at 64 KiB per second', async () => {
    read = readAll;
    const socket = await begin(url, '/', 10 * MIB);
    for (let part = 0; part < 9; part += 1) {
      await send(socket, MIB);
      pass(1);
    }
    socket.write(Buffer.alloc(MIB, 'x'));
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toContain(`received ${10 * MIB}`);
    socket.destroy();
  });

  it('that arrives more slowly is ended, also after a fast beginning', async () => {
    read = readAll;
    const socket = await begin(url, '/', 100 * MIB);
    const answer = text(socket);
    await send(socket, 20 * MIB);
    for (let check = 0; check < 4; check += 1) {
      pass(1);
      await send(socket, 100_000);
    }
    pass(1);
    expect(await answer).toMatch(/^HTTP\/1\.1 408 /);
    socket.destroy();
  });

  it('is not ended while the server does not read it', async () => {
    let held: IncomingMessage | undefined;
    let proceed = (): void => undefined;
    const reading = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    read = async (request) => {
      held = request;
      await reading;
      await readAll(request);
    };
    const socket = await begin(url, '/', 10 * MIB);
    socket.write(Buffer.alloc(10 * MIB, 'x'));
    await until('a part of the body', () => held?.readableLength);
    pass(10);
    proceed();
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toContain(`received ${10 * MIB}`);
    socket.destroy();
  });
});
