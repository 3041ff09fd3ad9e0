/** Connections that are left open, flooded or not read. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import WebSocket from 'ws';
import { publicId } from '../../../src/ids.ts';
import { announceEvents, appendEvents } from '../../../src/live/log.ts';
import { insertAgent } from '../../support/agent-rows.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import { rawSocket, server } from './server.ts';

export function connectionsSuite(): void {
  describe('requests whose client has left', () => {
    it('leave no connection behind', async () => {
      const connections = () =>
        process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
      const body = '{"query":"{ agents { totalCount } }"}';
      // Connections to PostgreSQL are kept: as many as there may be are opened before they are counted.
      await Promise.all(
        Array.from({ length: 100 }, () => server.client.send('{ agents { totalCount } }')),
      );
      const before = connections();
      for (let index = 0; index < 300; index += 1) {
        const socket = rawSocket();
        socket.write(
          `POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${server.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
          () => (index % 3 === 0 ? socket.resetAndDestroy() : socket.destroy()),
        );
        if (index % 50 === 0) await once(socket, 'close');
      }
      await until('the connections to end', () => connections() <= before + 2);
      expect((await server.client.send('{ agents { totalCount } }')).status).toBe(200);
    });
  });

  describe('a socket', () => {
    const open = (options: { key?: string } = {}): Promise<WebSocket> =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(
          `${server.url.replace('http', 'ws')}/graphql`,
          'graphql-transport-ws',
        );
        socket.once('error', reject);
        socket.once('open', () => {
          if (!options.key) return resolve(socket);
          const payload = { Authorization: `Bearer ${options.key}` };
          socket.send(JSON.stringify({ type: 'connection_init', payload }));
          socket.once('message', () => resolve(socket));
        });
      });
    const closed = (socket: WebSocket) =>
      new Promise<{ code: number; reason: string }>((resolve) => {
        socket.on('error', () => undefined);
        socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
      });
    const ping = (bytes: number) =>
      JSON.stringify({ type: 'ping', payload: { x: 'x'.repeat(bytes) } });

    it('is closed when it sends more than 128 KiB before it is authenticated', async () => {
      const socket = await open();
      const end = closed(socket);
      socket.send(ping(900_000));
      expect((await end).code).toBe(1006);
    });

    it('is closed when the payload of a ping is large', async () => {
      const socket = await open({ key: server.key });
      const end = closed(socket);
      socket.send(ping(900_000));
      expect(await end).toEqual({ code: 4400, reason: 'The payload of a ping is too large' });
    });

    it.each([
      'next',
      'error',
      'connection_ack',
    ])('is closed when it sends %s, which only servers send, and no error is logged', async (type) => {
      const socket = await open();
      const end = closed(socket);
      const payload = type === 'error' ? [{ message: 'x' }] : {};
      socket.send(JSON.stringify({ id: '1', type, payload }));
      expect(await end).toEqual({ code: 4400, reason: 'Unexpected message' });
      const failures = server.app.failures.counts();
      expect(failures.filter(({ name }) => name === 'sockets.message')).toEqual([]);
    });

    it('may be cut off while it is sent to, and no error is logged', async () => {
      for (let index = 0; index < 20; index += 1) {
        const socket = await open({ key: server.key });
        const end = closed(socket);
        for (let sent = 0; sent < 200; sent += 1) socket.send(ping(800));
        socket.once('message', () =>
          (socket as unknown as { _socket: Socket })._socket.resetAndDestroy(),
        );
        await end;
      }
      expect((await server.client.send('{ agents { totalCount } }')).status).toBe(200);
      const failures = server.app.failures.counts();
      expect(failures.filter(({ name }) => name === 'sockets.message')).toEqual([]);
    });

    it('is closed when its client sends and does not read', async () => {
      const socket = await open({ key: server.key });
      const end = closed(socket);
      const stream = (socket as unknown as { _socket: Socket })._socket;
      stream.pause();
      const small = ping(800);
      let sent = 0;
      const pump = (): void => {
        for (let index = 0; index < 500 && socket.readyState === socket.OPEN; index += 1) {
          socket.send(small);
          sent += small.length;
        }
      };
      await until('the server to close it', () => {
        if (socket.bufferedAmount < 1_000_000) pump();
        return stream.destroyed || sent > 60_000_000;
      });
      stream.resume();
      expect((await end).code).not.toBe(1000);
      expect(sent).toBeLessThan(60_000_000);
    });

    it.each([
      ['the last event it was sent', 0],
      ['no event if a subscription to turns was sent none', 1],
    ])('is told %s when it is closed because it does not read', async (_, turns) => {
      const { id: organizationId, key, client } = await server.newOrganization();
      const agents = await Promise.all(
        Array.from({ length: 2 }, () => insertAgent(server.app, { organizationId })),
      );
      const change = async (id: string): Promise<string> => {
        await server.app.db.$transaction((tx) =>
          appendEvents(tx, organizationId, [{ type: 'AGENT_SYNC_DELAYED', agentId: id, data: {} }]),
        );
        announceEvents(server.app, organizationId);
        return (await client.send('{ eventCursor }')).data.eventCursor;
      };
      const made = await runMutation(
        client,
        'createCampaign',
        { name: 'Followed', agentId: publicId('Agent', agents[0]!) },
        'campaign { id }',
      );
      const systemPrompt = 'x'.repeat(60_000);
      await server.app.db.agent.updateMany({ where: { organizationId }, data: { systemPrompt } });
      const fields = Array.from({ length: 100 }, (_, index) => `p${index}: systemPrompt`).join(' ');
      const large = `{ agent(id: "${publicId('Agent', agents[0]!)}") { ${fields} } }`;
      const follow = (id: string) =>
        `subscription { agentUpdated(after: "0", agentId: "${publicId('Agent', id)}") { cursor } }`;

      const socket = await open({ key });
      const send = (id: string, query: string) =>
        socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query } }));
      const cursors: string[] = [];
      socket.on('message', (data) => {
        const { type, payload } = JSON.parse(String(data));
        if (type === 'next' && payload.data.agentUpdated)
          cursors.push(payload.data.agentUpdated.cursor);
      });
      // Its results have no cursors.
      send(
        'progress',
        `subscription { campaignProgress(campaignId: "${made.campaign.id}") { id } }`,
      );
      if (turns) send('turns', 'subscription { callEvents(types: [TRANSCRIPT_TURN]) { cursor } }');
      send('one', follow(agents[0]!));
      send('other', follow(agents[1]!));
      const first = await change(agents[0]!);
      await change(agents[1]!);
      await until('an event for each', () => cursors.length === 2);
      socket.pause();
      const ended = vi.spyOn(WebSocket.prototype, 'close');
      try {
        for (let index = 0; index < 8; index += 1) send(`large ${index}`, large);
        await until('the end', () => ended.mock.calls.length > 0);
        const cursor = turns ? '' : `; subscribe again after cursor ${first}`;
        const reason = `The client reads too slowly${cursor}`;
        expect(ended.mock.calls).toEqual([[1013, reason]]);
      } finally {
        ended.mockRestore();
      }
      socket.terminate();
    });

    it('may send while it is still receiving a large response', async () => {
      const { id: organizationId, key } = await server.newOrganization();
      const id = await insertAgent(server.app, { organizationId });
      const systemPrompt = 'x'.repeat(200_000);
      await server.app.db.agent.update({ where: { id }, data: { systemPrompt } });
      const fields = Array.from({ length: 100 }, (_, index) => `p${index}: systemPrompt`).join(' ');
      const query = `{ agent(id: "${publicId('Agent', id)}") { ${fields} } }`;
      const socket = await open({ key });
      const received: string[] = [];
      socket.on('message', (data) => received.push(JSON.parse(String(data)).type));
      const sent = vi.spyOn(WebSocket.prototype, 'send');
      const hasSent = (pattern: RegExp) => () =>
        sent.mock.calls.some(([data]) => pattern.test(String(data).slice(0, 100)));
      try {
        socket.pause();
        socket.send(JSON.stringify({ id: 'large', type: 'subscribe', payload: { query } }));
        await until('the response', hasSent(/"id":"large","type":"next"/));
        socket.send(ping(10));
        await until('the answer', hasSent(/"type":"pong"/));
      } finally {
        sent.mockRestore();
      }
      socket.resume();
      await until('everything', () => received.length === 3);
      expect(received).toEqual(['next', 'pong', 'complete']);
      socket.terminate();
    });
  });
}
