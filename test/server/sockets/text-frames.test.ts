import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { TextFrames } from '../../../src/server/sockets/text-frames.ts';

let server: WebSocketServer;

beforeAll(async () => {
  server = new WebSocketServer({ port: 0 });
  await once(server, 'listening');
});
afterAll(() => server.close());

interface Pair {
  /** The socket at the server, and its connection. */
  socket: WebSocket;
  connection: Socket;
  client: WebSocket;
  /** What the client has received, as "is binary, text". */
  received: string[];
}

async function connect(): Promise<Pair> {
  const opened = once(server, 'connection');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const received: string[] = [];
  client.on('message', (data, isBinary) => received.push(`${isBinary} ${data}`));
  const [[socket, request]] = (await Promise.all([opened, once(client, 'open')])) as [
    [WebSocket, { socket: Socket }],
    unknown,
  ];
  return { socket, connection: request.socket, client, received };
}

function framesOf(endings: readonly string[]): TextFrames {
  return new TextFrames(endings.map((ending) => Buffer.from(ending)));
}

describe('TextFrames', () => {
  it('writes texts of every length as a client reads them, among frames of ws', async () => {
    const endings = [0, 122, 123, 124, 65_532, 65_533, 70_000].map((length) => 'x'.repeat(length));
    const frames = framesOf(endings);
    const { socket, connection, client, received } = await connect();
    socket.send('before');
    const starts = ['é{', '12{', '{', ''];
    for (const start of starts) frames.writeTo(connection, start);
    socket.send('after');
    socket.close();
    await once(client, 'close');
    const texts = starts.flatMap((start) => endings.map((ending) => start + ending));
    expect(received).toEqual(['before', ...texts, 'after'].map((text) => `false ${text}`));
  });

  it('leaves alone what a slow client has not received when others get theirs', async () => {
    const endings = ['a'.repeat(1_000), 'b'.repeat(20_000)];
    const frames = framesOf(endings);
    const [slow, fast] = [await connect(), await connect()];
    slow.client.pause();
    let number = 1_000;
    const sent = new Map<Pair, string[]>([
      [slow, []],
      [fast, []],
    ]);
    const write = (pair: Pair): void => {
      number += 1;
      frames.writeTo(pair.connection, String(number));
      sent.get(pair)?.push(String(number));
    };
    // More than the system buffers.
    while (slow.connection.writableLength < 1_000_000) {
      write(slow);
      write(fast);
      // The fast one reads.
      while (fast.received.length < number - 1_000) await turn();
    }
    expect(fast.connection.writableLength).toBe(0);
    slow.client.resume();
    for (const { socket } of [slow, fast]) socket.close();
    await Promise.all([slow, fast].map(({ client }) => once(client, 'close')));
    for (const pair of [slow, fast]) {
      expect(pair.received).toEqual(
        sent.get(pair)?.flatMap((start) => endings.map((ending) => `false ${start}${ending}`)),
      );
    }
  });
});
