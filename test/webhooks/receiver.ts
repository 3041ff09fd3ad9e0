/** A webhook receiver whose behavior depends on the path of the endpoint. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  // biome-ignore lint/suspicious/noExplicitAny: the body of a webhook
  json: any;
}

export interface Receiver {
  url: string;
  received: Received[];
  /** What came to a path, in the order in which it came. */
  at(path: string): Received[];
  /** Decides about the requests to a path. Default: 204. */
  on(path: string, answer: Answer): void;
  /** Bytes that `/huge` could write before its client closed the connection. */
  bytesWritten: number;
  close(): Promise<void>;
}

type Answer = (response: ServerResponse, request: Received) => unknown;

const CHUNK = Buffer.alloc(64 * 1024, 'x');

export async function startReceiver(): Promise<Receiver> {
  const answers = new Map<string, Answer>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const path = request.url ?? '/';
      const got = { path, headers: request.headers, body, json: JSON.parse(body) };
      receiver.received.push(got);
      const answer = answers.get(path);
      if (answer) answer(response, got);
      else response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}`,
    received: [],
    bytesWritten: 0,
    at: (path) => receiver.received.filter((request) => request.path === path),
    on: (path, answer) => void answers.set(path, answer),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  receiver.on('/never', () => undefined);
  receiver.on('/half', (response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('the first half');
    setImmediate(() => response.socket?.destroy());
  });
  receiver.on('/hangs-up', (response) => response.socket?.destroy());
  receiver.on('/huge', async (response) => {
    response.setMaxListeners(0);
    response.writeHead(200, { 'content-length': String(10 * 1024 ** 3) });
    while (!response.destroyed) {
      receiver.bytesWritten += CHUNK.length;
      const flushed = response.write(CHUNK);
      if (!flushed) {
        await new Promise<void>((resolve) => {
          response.once('drain', resolve);
          response.once('close', resolve);
        });
      }
    }
  });
  receiver.on('/gone', (response) => response.writeHead(410).end('Gone for good'));
  receiver.on('/busy', (response) => response.writeHead(429, { 'retry-after': '90' }).end());
  receiver.on('/fails', (response) => response.writeHead(500).end('Out of order\u0000'));
  receiver.on('/redirects', (response) =>
    response.writeHead(302, { location: `${receiver.url}/target` }).end(),
  );
  return receiver;
}

/** As receivers of Truedy verify: hex HMAC of "timestamp.body" with the secret as it is. */
export function verifiesByRecipe(
  { headers, body }: Pick<Received, 'headers' | 'body'>,
  secret: string,
  nowMs: number,
): boolean {
  const timestamp = String(headers['x-truedy-timestamp']);
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > 300) return false;
  const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex');
  const given = String(headers['x-truedy-signature']);
  return (
    expected.length === given.length && timingSafeEqual(Buffer.from(expected), Buffer.from(given))
  );
}
