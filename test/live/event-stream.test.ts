import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Caller, prepareCaller } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

interface StreamedEvent {
  event: string;
  data: string;
  id: string | undefined;
}

describe('callEvents over server-sent events', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer({ simulator: { talkSeconds: 5 } });
    caller = await prepareCaller(server.client);
  });
  afterAll(() => server?.close());

  /** Opens a stream as EventSource does, with GET. */
  async function open(after: string, headers: Record<string, string> = {}) {
    const abort = new AbortController();
    const query = `subscription { callEvents(after: "${after}") { cursor } }`;
    const response = await fetch(`${server.url}/graphql?${new URLSearchParams({ query })}`, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${server.key}`,
        ...headers,
      },
      signal: abort.signal,
    });
    return { response, events: eventsIn(response), close: () => abort.abort() };
  }

  it('sends the cursor of each event as its id and disables buffering by proxies', async () => {
    await caller.call();
    const { response, events, close } = await open('0');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    for (let count = 0; count < 5; count += 1) {
      const { value } = await events.next();
      expect(value).toMatchObject({ event: 'next', id: expect.stringMatching(/^\d+$/) });
      expect(JSON.parse(value!.data)).toEqual({ data: { callEvents: { cursor: value?.id } } });
    }
    close();
  });

  it('sends the head and every event in order to many who ask for the same at once', async () => {
    await caller.call();
    const idsOf = async (): Promise<(string | undefined)[]> => {
      const { events, close } = await open('0');
      const ids: (string | undefined)[] = [];
      while (ids.length < 5) ids.push((await events.next()).value?.id);
      close();
      return ids;
    };
    const expected = await idsOf();
    for (let round = 0; round < 3; round += 1) {
      const all = await Promise.all(Array.from({ length: 20 }, idsOf));
      expect(all).toEqual(Array(20).fill(expected));
    }
  });

  it('continues after Last-Event-ID, whatever `after` says', async () => {
    const all = await open('0');
    const ids = [(await all.events.next()).value?.id, (await all.events.next()).value?.id];
    all.close();
    const { events, close } = await open('0', { 'last-event-id': ids[0]! });
    expect((await events.next()).value?.id).toBe(ids[1]);
    close();
  });

  it.each([
    '1.0',
    '1.1',
  ])('sends missed and live events in the body of HTTP/%s', async (version) => {
    const query = `subscription { callEvents(after: "0", types: [CREATED]) { cursor } }`;
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    let received = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      received += chunk;
    });
    socket.write(
      `GET /graphql?${new URLSearchParams({ query })} HTTP/${version}\r\nhost: localhost\r\n` +
        `accept: text/event-stream\r\nauthorization: Bearer ${server.key}\r\n\r\n`,
    );
    const ids = () => received.match(/(?<=^id: )\d+$/gm) ?? [];
    await until('the missed events', () => ids().length > 0);
    for (let count = 0; count < 2; count += 1) {
      const before = ids().length;
      await caller.call();
      await until('the live event', () => ids().length > before);
    }
    socket.destroy();
    const [head = '', ...rest] = received.split('\r\n\r\n');
    const body = rest.join('\r\n\r\n');
    const isChunked = /^transfer-encoding: chunked$/im.test(head);
    expect(isChunked).toBe(version === '1.1');
    const events = isChunked ? withoutChunks(body) : body;
    expect(events).toMatch(/^:\n\n(event: next\ndata: \{.*\}\nid: \d+\n\n)+$/);
    expect(events.match(/(?<=^id: )\d+$/gm)).toEqual(ids());
  });

  it('rejects a Last-Event-ID that is not a cursor', async () => {
    const { response, events } = await open('0', { 'last-event-id': 'yesterday' });
    const { value } = await events.next();
    expect(response.status).toBe(200);
    expect(value?.id).toBeUndefined();
    expect(JSON.parse(value!.data).errors[0].extensions.code).toBe('BAD_USER_INPUT');
  });
});

/** The texts of chunks, https://www.rfc-editor.org/rfc/rfc9112#section-7.1 */
function withoutChunks(body: string): string {
  let texts = '';
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.slice(at, end), 16);
    texts += body.slice(end + 2, end + 2 + size);
    expect(body.slice(end + 2 + size, end + 4 + size)).toBe('\r\n');
    at = end + 4 + size;
  }
  return texts;
}

async function* eventsIn(response: Response): AsyncGenerator<StreamedEvent> {
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = new Map(
        block.split('\n').map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon), line.slice(colon + 1).trim()];
        }),
      );
      const event = fields.get('event');
      if (event) yield { event, data: fields.get('data') ?? '', id: fields.get('id') };
    }
  }
}
