/** Subscribers that get no wake-up, or are too slow for what comes. */
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { prepareCaller } from '../../support/calling.ts';
import { subscribe } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import { eventCursor, flood, me, server, WHOLE_LIFE, wholeCall } from '../support.ts';

export function lateSubscribersSuite(): void {
  describe('callEvents without a wake-up', () => {
    it('delivers events at the next poll, and repeats none', async () => {
      // An organization of its own, in which nothing else wakes the readers.
      const { client, key } = await server.newOrganization();
      const ours = await prepareCaller(client);
      const to = { url: server.url, key };
      const start = await eventCursor(client);
      const behind = subscribe('socket', to, { after: start });
      const id = await wholeCall(client, ours);
      await behind.atLeast(WHOLE_LIFE.length);
      await flood(id, 500, { announced: false });
      // Read from the log itself: no wake-up has reached the subscribers of this process.
      const end = await eventCursor(client);
      const ahead = subscribe('socket', to, { after: end });
      await until('the next look', () =>
        behind.events.some(({ cursor }) => BigInt(cursor) >= BigInt(end)),
      );
      await ours.call();
      const [first] = await ahead.atLeast(1);
      expect(BigInt(first!.cursor)).toBe(BigInt(end) + 1n);
      expect(behind.events.map(({ cursor }) => BigInt(cursor))).toEqual(
        behind.events.map((_, index) => BigInt(start) + 1n + BigInt(index)),
      );
      await Promise.all([behind.close(), ahead.close()]);
    });
  });

  describe('callEvents to a slow subscriber', { timeout: 240_000 }, () => {
    const FLOOD = 2_000;
    // Large enough that the buffers of the socket hold only a part of the flood.
    const fields = Array.from({ length: 150 }, (_, index) => `field${index}: callId`).join(' ');
    const query = `subscription ($after: Cursor) { callEvents(after: $after) { cursor ${fields} } }`;

    it('delivers everything over a socket in the end, without delaying others', async () => {
      const id = await wholeCall();
      const after = await eventCursor();
      const socket = new WebSocket(
        `${server.url.replace('http', 'ws')}/graphql`,
        'graphql-transport-ws',
      );
      const cursors: bigint[] = [];
      socket.on('message', (data) => {
        const message = JSON.parse(String(data));
        if (message.type === 'connection_ack') {
          const payload = { query, variables: { after } };
          socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
        }
        if (message.type === 'next') cursors.push(BigInt(message.payload.data.callEvents.cursor));
      });
      await until('the socket', () => socket.readyState === WebSocket.OPEN);
      const payload = { Authorization: `Bearer ${server.key}` };
      socket.send(JSON.stringify({ type: 'connection_init', payload }));
      await flood(id, 500);
      await until('the first events', () => cursors.length > 0);
      socket.pause();
      const quick = subscribe('socket', me, { after });
      await flood(id, FLOOD);
      await quick.atLeast(FLOOD + 500);
      expect(cursors.length).toBeLessThan(FLOOD);
      socket.resume();
      const first = BigInt(after) + 1n;
      await until('the rest', () => cursors.length >= FLOOD + 500, 120_000);
      expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
      expect(cursors).toHaveLength(FLOOD + 500);
      await quick.close();
      socket.close();
    });

    it('delivers everything over server-sent events in the end', async () => {
      const id = await wholeCall();
      const after = await eventCursor();
      const stop = new AbortController();
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        signal: stop.signal,
        headers: {
          authorization: `Bearer ${server.key}`,
          accept: 'text/event-stream',
          'content-type': 'application/json',
        },
        body: JSON.stringify({ query, variables: { after } }),
      });
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      // Nothing is read of the body until the flood is over.
      await flood(id, FLOOD);
      const cursors: bigint[] = [];
      let rest = '';
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        const blocks = (rest + chunk).split('\n\n');
        rest = blocks.pop() ?? '';
        for (const block of blocks) {
          const data = /^event: next\ndata: (.*)$/m.exec(block)?.[1];
          if (data) cursors.push(BigInt(JSON.parse(data).data.callEvents.cursor));
        }
        if (cursors.length >= FLOOD) break;
      }
      stop.abort();
      const first = BigInt(after) + 1n;
      expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
      expect(cursors).toHaveLength(FLOOD);
    });
  });
}
