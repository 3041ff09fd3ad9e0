/** Websockets of calls. */
import type { Server } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { isObject, type Json, stringAt } from '../json.ts';
import type { World } from '../world.ts';
import { addLines, endCall, isLive, joinCall } from './call-state.ts';

const PATH = /^\/calls\/([0-9a-f-]{36})(\/server_web_socket)?$/i;

/**
 * Serves the websocket of a `joinUrl`. Opening it joins the call; closing the last one hangs up. As with
 * Ultravox, the address itself is the credential.
 */
export function attachSockets(world: World, server: Server): { close(): void } {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 1024 * 1024 });
  const open = new Map<string, Set<WebSocket>>();
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    const callId = PATH.exec((request.url ?? '').split('?')[0] ?? '')?.[1]?.toLowerCase();
    const record = callId === undefined ? undefined : world.calls.get(callId);
    if (callId === undefined || record === undefined || record.endedAt !== null) {
      const status = record === undefined ? '404 Not Found' : '410 Gone';
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => connect(callId, client));
  });

  function connect(callId: string, client: WebSocket): void {
    const clients = open.get(callId) ?? new Set();
    open.set(callId, clients.add(client));
    client.on('error', () => {});
    world.store.transaction(() => joinCall(world, callId, true));
    send(client, { type: 'call_started', callId });
    send(client, { type: 'state', state: 'listening' });
    client.on('message', (data, isBinary) => {
      if (!isBinary) onMessage(callId, client, String(data));
    });
    client.on('close', () => {
      clients.delete(client);
      if (clients.size > 0) return;
      open.delete(callId);
      if (!closing) world.store.transaction(() => endCall(world, callId, 'hangup'));
    });
  }

  function onMessage(callId: string, client: WebSocket, text: string): void {
    let message: Json;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (!isObject(message)) return;
    if (message.type === 'ping')
      send(client, { type: 'pong', timestamp: message.timestamp ?? null });
    const record = world.calls.get(callId);
    if (record === undefined || !isLive(record)) return;
    if (message.type === 'hang_up') {
      world.store.transaction(() => endCall(world, callId, 'agent_hangup'));
    } else if (message.type === 'user_text_message') {
      const said = stringAt(message, 'text') ?? '';
      world.store.transaction(() =>
        addLines(world, record, [
          { role: 'MESSAGE_ROLE_USER', text: said, medium: 'MESSAGE_MEDIUM_TEXT' },
        ]),
      );
    }
  }

  // For calls that ended elsewhere: closing the socket informs the client.
  const sweep = setInterval(() => {
    for (const [callId, clients] of open) {
      if (world.liveCalls.has(callId)) continue;
      for (const client of clients) client.close(1000, 'call ended');
    }
  }, 100);
  sweep.unref();

  let closing = false;
  return {
    close() {
      closing = true;
      clearInterval(sweep);
      for (const clients of open.values()) for (const client of clients) client.terminate();
      sockets.close();
    },
  };
}

function send(client: WebSocket, message: Json): void {
  client.send(JSON.stringify(message), () => {});
}
