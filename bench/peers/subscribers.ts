/**
 * Subscribers for benchmarks: `node subscribers.ts <url> <count> <ws|sse>`, with headers and the
 * operation as JSON on stdin. Prints a line of JSON every 100 ms: how many are open, how many results
 * they received, and the delay of the latest ones.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { WebSocket } from 'ws';

const [url = '', count = '1', transport = 'ws'] = process.argv.slice(2);
const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const { headers, query, variables } = JSON.parse(Buffer.concat(chunks).toString()) as {
  headers: Record<string, string>;
  query: string;
  variables: Record<string, unknown>;
};

let open = 0;
let received = 0;
let failed = 0;
let first = 0;

function openSocket(): void {
  const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', {
    perMessageDeflate: false,
  });
  socket.on('open', () =>
    socket.send(
      JSON.stringify({
        type: 'connection_init',
        payload: { Authorization: headers.authorization },
      }),
    ),
  );
  socket.on('message', (data: Buffer) => {
    // Enough to tell messages apart without parsing them, which would cost more than the server.
    const start = data.toString('latin1', 0, 60);
    if (start.includes('"next"')) received += 1;
    else if (start.includes('connection_ack')) {
      open += 1;
      socket.send(
        JSON.stringify({ id: randomUUID(), type: 'subscribe', payload: { query, variables } }),
      );
    } else if (start.includes('"error"') || start.includes('"complete"')) failed += 1;
  });
  socket.on('error', () => (failed += 1));
}

function openStream(agent: Agent): void {
  const sent = request(
    url,
    {
      agent,
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'text/event-stream' },
    },
    (response) => {
      open += 1;
      let rest = '';
      response.on('data', (chunk: Buffer) => {
        const text = rest + chunk.toString('latin1');
        const events = text.split('event: next').length - 1;
        received += events;
        rest = text.slice(-10);
        if (rest.includes('event: next')) rest = '';
      });
      response.on('end', () => (failed += 1));
    },
  );
  sent.on('error', () => (failed += 1));
  sent.end(JSON.stringify({ query, variables }));
}

const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
first = Date.now();
let opened = 0;
// A few at a time, so that neither the backlog nor a limit on new sockets is exceeded.
const opening = setInterval(() => {
  while (opened < Number(count) && opened - open < 100) {
    opened += 1;
    if (transport === 'sse') openStream(agent);
    else openSocket();
  }
  if (opened >= Number(count)) clearInterval(opening);
}, 1);
setInterval(() => {
  process.stdout.write(
    `${JSON.stringify({ open, received, failed, elapsedMs: Date.now() - first })}\n`,
  );
}, 50);
