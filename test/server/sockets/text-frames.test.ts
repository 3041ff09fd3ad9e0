import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { textFrames } from '../../../src/server/sockets/text-frames.ts';

describe('textFrames', () => {
  it('writes texts of every length as a client reads them, among frames of ws', async () => {
    const start = 'é{';
    const lengths = [0, 122, 123, 124, 65_532, 65_533, 70_000];
    const endings = lengths.map((length) => 'x'.repeat(length));
    const frames = textFrames(
      Buffer.from(start),
      endings.map((ending) => Buffer.from(ending)),
    );
    const server = new WebSocketServer({ port: 0 });
    server.on('connection', (socket, request) => {
      socket.send('before');
      request.socket.write(frames);
      socket.send('after');
      socket.close();
    });
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const received: string[] = [];
    client.on('message', (data, isBinary) => received.push(`${isBinary} ${data}`));
    await once(client, 'close');
    server.close();
    const expected = ['before', ...endings.map((ending) => start + ending), 'after'];
    expect(received).toEqual(expected.map((text) => `false ${text}`));
  });
});
