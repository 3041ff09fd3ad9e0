/** Servers that replace Ultravox and answer as a test specifies, and clients that call them. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect } from 'vitest';
import {
  createUltravoxClient,
  type RequestReport,
  type UltravoxClientSettings,
} from '../../src/ultravox/client.ts';
import { UltravoxError } from '../../src/ultravox/error.ts';

export const API_KEY = 'aaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb';

interface Received {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
}
type Answer = (request: Received, response: ServerResponse) => void;

export const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

export async function serve(answer: Answer) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    const entry = { method, url, headers, body: Buffer.concat(chunks) };
    received.push(entry);
    answer(entry, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received };
}

export async function setUp(answer: Answer, settings: Partial<UltravoxClientSettings> = {}) {
  const { url, received } = await serve(answer);
  const reports: RequestReport[] = [];
  const client = createUltravoxClient({
    baseUrl: url,
    apiKey: API_KEY,
    backoffMs: 1,
    onRequest: (report) => reports.push(report),
    ...settings,
  });
  return { client, received, reports, url };
}

export function json(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

export async function failureOf(work: Promise<unknown>): Promise<UltravoxError> {
  const thrown = await work.then(
    () => expect.fail('should have failed'),
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(UltravoxError);
  return thrown as UltravoxError;
}

export const created = '2026-11-20T10:00:00Z';

/** A call as Ultravox sends it. */
export const call = (callId: string, more = {}) => ({ callId, created, joined: null, ...more });
