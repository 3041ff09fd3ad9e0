import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guardedPost } from '../../../src/infra/outgoing/guarded-post.ts';

let server: Server;
let port: number;
let connections = 0;

beforeAll(async () => {
  server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as { port: number }).port;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

function post(url: string, addresses?: string[], allowPrivate = false) {
  return guardedPost({
    url: url.replace('PORT', String(port)),
    headers: {},
    body: '{}',
    timeoutMs: 2_000,
    maxResponseBytes: 100,
    allowPrivate,
    ...(addresses ? { resolve: async () => addresses } : {}),
  });
}

describe('guardedPost', () => {
  it.each([
    ['127.0.0.1'],
    ['::1'],
    ['::ffff:127.0.0.1'],
    ['10.1.2.3'],
    ['172.16.0.1'],
    ['192.168.1.1'],
    ['169.254.169.254'],
    ['fe80::1'],
    ['fd00:ec2::254'],
    ['64:ff9b::7f00:1'],
    ['2002:7f00:1::'],
    ['0.0.0.0'],
    ['::'],
    ['100.100.100.200'],
    ['224.0.0.1'],
    ['168.63.129.16'],
    ['::127.0.0.1'],
    ['100:0:0:1::1'],
    ['93.184.215.14', '127.0.0.1'],
    ['2606:2800:21f:cb07:6820:80da:af6b:8b2c', '::1'],
  ])('does not connect to a name that resolves to %s %s', async (...addresses) => {
    const result = await post('https://rebound.example.com:PORT/', addresses.filter(Boolean));
    expect(result).toEqual({
      status: null,
      // Without the address, which would show what an internal name resolves to.
      error: 'The address of the host is not on the public internet.',
    });
    expect(connections).toBe(0);
  });

  it.each([
    'https://127.0.0.1:PORT/',
    'https://[::ffff:7f00:1]:PORT/',
    'https://[::1]:PORT/',
    'https://[::127.0.0.1]:PORT/',
  ])('does not connect to the literal address %s', async (url) => {
    expect(await post(url)).toMatchObject({ status: null, error: expect.stringMatching(/public/) });
    expect(connections).toBe(0);
  });

  it('does not speak plain HTTP', async () => {
    expect(await post('http://example.com/')).toMatchObject({
      status: null,
      error: expect.stringMatching(/https/),
    });
  });

  it('says when a name does not exist or nobody listens', async () => {
    const nowhere = await post('https://nowhere.example.com/', []);
    expect(nowhere).toMatchObject({ status: null, error: expect.stringMatching(/no address/) });
    server.close();
    const refused = await post('https://local.example.com:1/', ['127.0.0.1'], true);
    expect(refused).toEqual({ status: null, error: 'The connection was refused.' });
  });
});
