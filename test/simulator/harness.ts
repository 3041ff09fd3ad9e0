import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { until } from '../support/wait.ts';

export { until };

// biome-ignore lint/suspicious/noExplicitAny: answers of a wire under test, looked into freely
export type Body = any;

export interface Answer {
  status: number;
  body: Body;
  headers: Headers;
}

export type Api = (method: string, path: string, body?: unknown) => Promise<Answer>;

export function apiOf(simulator: Pick<Simulator, 'url' | 'apiKey'>, key?: string | null): Api {
  return async (method, path, body) => {
    const response = await fetch(path.startsWith('http') ? path : simulator.url + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(key === null ? {} : { 'x-api-key': key ?? simulator.apiKey }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    return {
      status: response.status,
      body: json ? JSON.parse(text) : text,
      headers: response.headers,
    };
  };
}

export interface Received {
  event: string;
  callId: string;
  call: Body;
  headers: IncomingHttpHeaders;
  raw: string;
  at: number;
}

export interface Receiver {
  url: string;
  received: Received[];
  /** Status for the next deliveries; the default is 204. */
  answer(with_: (received: Received) => number): void;
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  let decide: (item: Received) => number = () => 204;
  const server = createServer((request, response) => {
    let raw = '';
    request.setEncoding('utf8');
    request.on('data', (part) => {
      raw += part;
    });
    request.on('end', () => {
      const { event, call } = JSON.parse(raw);
      const item: Received = {
        event,
        callId: call.callId,
        call,
        headers: request.headers,
        raw,
        at: Date.now(),
      };
      received.push(item);
      response.writeHead(decide(item)).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    answer(with_) {
      decide = with_;
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

export const ALL_EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'];

export function isSigned(item: Received, secret: string): boolean {
  const timestamp = String(item.headers['x-ultravox-webhook-timestamp']);
  const expected = createHmac('sha256', secret).update(item.raw).update(timestamp).digest('hex');
  return String(item.headers['x-ultravox-webhook-signature']).split(',').includes(expected);
}

export async function makeAgent(api: Api, callTemplate: object = {}, name = 'Maria') {
  const answer = await api('POST', '/api/agents', {
    name,
    callTemplate: { systemPrompt: 'You are Maria.', ...callTemplate },
  });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

export function sipTo(number: string) {
  return { sip: { outgoing: { to: `sip:${number}@carrier.test`, from: 'sip:desk@office.test' } } };
}

export async function dial(api: Api, agentId: string, number: string, extra: object = {}) {
  const answer = await api('POST', `/api/agents/${agentId}/calls`, {
    medium: sipTo(number),
    ...extra,
  });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

/** The call as soon as it is billed. */
export function billed(api: Api, callId: string): Promise<Body> {
  return until(`call ${callId} to be billed`, async () => {
    const { body } = await api('GET', `/api/calls/${callId}`);
    return body.billedDuration !== null && body;
  });
}
