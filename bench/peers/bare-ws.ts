/**
 * Baseline for fan-out: a bare `ws` server, or with `sse` a bare `node:http` server, that sends the bytes
 * of graphql-ws messages or server-sent events to all clients. `POST /publish?count=N` with a payload
 * sends it N times. With `MISSED=N`, every new subscriber is immediately sent N messages.
 */
import { createServer, type ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';

const missed = Number(process.env.MISSED ?? 0);
const streams = new Set<ServerResponse>();
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (url.pathname !== '/publish') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    streams.add(response);
    response.on('close', () => streams.delete(response));
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const payload = Buffer.concat(chunks).toString();
    for (let event = 0; event < Number(url.searchParams.get('count')); event += 1) {
      for (const [socket, id] of ids) {
        socket.send(`{"id":"${id}","type":"next","payload":${payload}}`);
      }
      for (const stream of streams) {
        stream.write(`event: next\ndata: ${payload}\nid: ${event}\n\n`);
      }
    }
    response.end();
  });
});
const sockets = new WebSocketServer({
  server,
  handleProtocols: () => 'graphql-transport-ws',
});
const ids = new Map<import('ws').WebSocket, string>();
sockets.on('connection', (socket) => {
  socket.on('message', (data) => {
    const message = JSON.parse(String(data)) as { type: string; id: string };
    if (message.type === 'connection_init') socket.send('{"type":"connection_ack"}');
    if (message.type !== 'subscribe') return;
    ids.set(socket, message.id);
    for (let event = 1; event <= missed; event += 1) {
      const data = `{"callEvents":{"cursor":"${event}","type":"RINGING","status":"RINGING"}}`;
      socket.send(`{"id":"${message.id}","type":"next","payload":{"data":${data}}}`);
    }
  });
  socket.on('close', () => ids.delete(socket));
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('ready\n'));
