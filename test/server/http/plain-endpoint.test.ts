import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import type { App } from '../../../src/app.ts';
import { detectStalls, runPlainEndpoint } from '../../../src/server/http/plain-endpoint.ts';
import { until } from '../../support/wait.ts';

/** Time that passes before each part of the slow body. */
const SLOW_MS = 60_000;

let server: Server;
let url: string;
/** Keys of bodies whose source was ever read. */
const started = new Set<string>();
/** Keys of bodies whose source was left. */
const left = new Set<string>();
/** Keys of bodies that were sent or given up, once for each. */
const closed: string[] = [];
beforeAll(async () => {
  const app = { log: { error: () => undefined } } as unknown as App;
  async function* endless(key: string): AsyncGenerator<string> {
    started.add(key);
    try {
      for (;;) yield 'x'.repeat(10_000);
    } finally {
      left.add(key);
    }
  }
  async function* slow(): AsyncGenerator<string> {
    for (const part of ['a', 'é'.repeat(100_000), 'z']) {
      await vi.advanceTimersByTimeAsync(SLOW_MS);
      yield part;
    }
  }
  server = createServer((request, response) => {
    void runPlainEndpoint(
      app,
      async ({ query }) => {
        const key = String(query.get('key'));
        return {
          status: 200,
          body: key === 'slow' ? slow() : endless(key),
          concurrencyKey: key,
          downloadKind: (query.get('as') ?? 'DOWNLOAD') as 'DOWNLOAD',
          closed: () => void closed.push(key),
          ...(query.has('stallMs') ? { stallMs: Number(query.get('stallMs')) } : {}),
        };
      },
      request,
      response,
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterEach(() => void vi.useRealTimers());
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

it('sends at most two downloads of an organization at once, and frees a place when one is cut off', async () => {
  const kept: unknown[] = [];
  const open = async (key: string) => {
    const stop = new AbortController();
    const response = await fetch(`${url}?key=${key}`, { signal: stop.signal });
    const opened = { response, status: response.status, stop: () => stop.abort() };
    // One that nobody refers to is cut off when it is collected.
    kept.push(opened);
    return opened;
  };
  const first = await open('a');
  await open('a');
  expect(first.status).toBe(200);
  const third = await fetch(`${url}?key=a`);
  expect([third.status, third.headers.get('retry-after')]).toEqual([429, '10']);
  expect((await open('b')).status).toBe(200);
  first.stop();
  await until('a free place', async () => (await open('a')).status === 200);
});

it.each([
  ['EXPORT', 4, 503],
  ['RECORDING', 50, 429],
])('counts bodies of kind %s from their start, and sends no more than %i at once', async (countedAs, max, status) => {
  const stop = new AbortController();
  const open = (number: number) => {
    const key = countedAs === 'EXPORT' ? `export-${number}` : 'listener';
    return fetch(`${url}?key=${key}&as=${countedAs}`, { signal: stop.signal });
  };
  const opened = await Promise.all(Array.from({ length: max + 5 }, (_, number) => open(number)));
  const statuses = opened.map((response) => response.status);
  expect(statuses.filter((each) => each === 200)).toHaveLength(max);
  expect(statuses.filter((each) => each === status)).toHaveLength(5);
  const before = closed.length;
  stop.abort();
  await until('the end of all', () => closed.length - before >= max);
  await until('a free place', async () => {
    const next = new AbortController();
    const { status } = await fetch(`${url}?key=listener&as=${countedAs}`, { signal: next.signal });
    next.abort();
    return status === 200;
  });
});

it('answers HEAD without reading the body', async () => {
  const response = await fetch(`${url}?key=head`, { method: 'HEAD' });
  expect(response.status).toBe(200);
  await until('the end of the body', () => closed.includes('head'));
  expect(started).not.toContain('head');
});

it('breaks off a download that the client does not read, and leaves its source', async () => {
  const response = await fetch(`${url}?key=c&stallMs=50`);
  await until('the end of its source', () => left.has('c'));
  await expect(response.arrayBuffer()).rejects.toThrow();
});

it('breaks off a download that the client reads more slowly than it may', async () => {
  vi.useFakeTimers();
  let hasStalled = false;
  async function* chunks(): AsyncGenerator<string> {
    for (;;) yield 'x'.repeat(1_000);
  }
  const pieces = detectStalls(chunks(), {
    stallMs: 200,
    bytesPerSecond: 1e9,
    stalled: () => {
      hasStalled = true;
    },
  });
  let taken = 0;
  // Each wait alone is short enough.
  for await (const piece of pieces) {
    taken += piece.byteLength;
    vi.advanceTimersByTime(20);
    if (hasStalled) break;
  }
  // Ten waits of 20 ms.
  expect(taken).toBe(10_000);
});

it('waits for a source that takes longer than a client may', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const response = await fetch(`${url}?key=slow&stallMs=${SLOW_MS / 2}`);
  expect(await response.text()).toBe(`a${'é'.repeat(100_000)}z`);
});
