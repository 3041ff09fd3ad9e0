/**
 * Subscribers for benchmarks. The first line of stdin contains the options and the first round as JSON. Each
 * further line is a round in which all subscribers reconnect, over sockets, and subscribe after the
 * last cursor they have seen. Prints the counts of the round as a line of JSON every 50 ms, and whenever
 * all subscribers have received another result.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

interface Options {
  count: number;
  transport: 'ws' | 'sse';
  headers: Record<string, string>;
  query: string;
  /** With `after`, the cursor of each result is read and replaces it in the next round. */
  variables: { after?: string };
}

interface Round {
  url: string;
  /** Number of results after which a subscriber is served. */
  results: number;
}

interface Subscriber {
  variables: Options['variables'];
  /** Results received in this round. */
  received: number;
}

/** Maximum number of unacknowledged connections, so that neither the backlog nor a limit is exceeded. */
const AT_ONCE = 100;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { count, transport, headers, query, variables, ...firstRound } = JSON.parse(
  (await lines.next()).value,
) as Options & Round;
const follows = variables.after !== undefined;
const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
const subscribers: Subscriber[] = Array.from({ length: count }, () => ({ variables, received: 0 }));

class Connections {
  readonly counts: {
    round: number;
    /** Number of acknowledged connections. */
    open: number;
    /** Number of results of all subscribers together. */
    received: number;
    failed: number;
    closed: number;
    /** Number of subscribers that have received all results of the round. */
    served: number;
    /** Milliseconds from the first connection until all subscribers were served. */
    servedMs: number;
  };
  readonly #round: Round;
  readonly #startedAt = performance.now();
  /** Number of results that every subscriber had when the counts were last printed. */
  #printedAt = 0;

  constructor(number: number, round: Round) {
    this.#round = round;
    this.counts = {
      round: number,
      open: 0,
      received: 0,
      failed: 0,
      closed: 0,
      served: 0,
      servedMs: 0,
    };
    for (const subscriber of subscribers) subscriber.received = 0;
    let next = 0;
    const opening = setInterval(() => {
      for (; next < count && next - this.counts.open < AT_ONCE; next += 1) {
        const subscriber = subscribers[next] as Subscriber;
        if (transport === 'sse') this.#openStream(subscriber);
        else this.#openSocket(subscriber);
      }
      if (next >= count) clearInterval(opening);
    }, 1);
  }

  print(): void {
    process.stdout.write(`${JSON.stringify(this.counts)}\n`);
  }

  #openSocket(subscriber: Subscriber): void {
    const { counts } = this;
    const address = this.#round.url.replace('http', 'ws');
    const socket = new WebSocket(address, 'graphql-transport-ws', { perMessageDeflate: false });
    const send = (message: object): void => socket.send(JSON.stringify(message));
    socket.on('open', () =>
      send({ type: 'connection_init', payload: { Authorization: headers.authorization } }),
    );
    socket.on('message', (data: Buffer) => {
      // Enough to distinguish messages. Parsing them would cost more than the server does.
      const start = data.toString('latin1', 0, 60);
      if (start.includes('"next"')) {
        if (follows) this.#follow(subscriber, data.toString('latin1'));
        this.#received(subscriber, 1);
      } else if (start.includes('connection_ack')) {
        counts.open += 1;
        const payload = { query, variables: subscriber.variables };
        send({ id: randomUUID(), type: 'subscribe', payload });
      } else if (start.includes('"error"') || start.includes('"complete"')) counts.failed += 1;
    });
    socket.on('error', () => (counts.failed += 1));
    socket.on('close', () => (counts.closed += 1));
  }

  #openStream(subscriber: Subscriber): void {
    const { counts } = this;
    const sent = request(
      this.#round.url,
      {
        agent,
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', accept: 'text/event-stream' },
      },
      (response) => {
        if (response.statusCode === 200) counts.open += 1;
        else counts.failed += 1;
        let rest = '';
        response.on('data', (chunk: Buffer) => {
          const text = rest + chunk.toString('latin1');
          this.#received(subscriber, text.split('event: next').length - 1);
          // Shorter than the text that is counted, so that nothing is counted twice.
          rest = text.slice(-10);
        });
        response.on('end', () => (counts.closed += 1));
      },
    );
    sent.on('error', () => (counts.failed += 1));
    sent.end(JSON.stringify({ query, variables: subscriber.variables }));
  }

  #follow(subscriber: Subscriber, message: string): void {
    const after = /"cursor":"(\d+)"/.exec(message)?.[1];
    if (after === undefined) this.counts.failed += 1;
    else subscriber.variables = { after };
  }

  #received(subscriber: Subscriber, results: number): void {
    const { counts } = this;
    const before = subscriber.received;
    subscriber.received += results;
    counts.received += results;
    if (before < this.#round.results && subscriber.received >= this.#round.results) {
      counts.served += 1;
      if (counts.served === count) counts.servedMs = performance.now() - this.#startedAt;
    }
    const each = Math.floor(counts.received / count);
    if (each === this.#printedAt) return;
    this.#printedAt = each;
    printSoon();
  }
}

let round = 1;
let connections = new Connections(round, firstRound);

let isPrinting = false;
/** Prints once for all results that arrive together. */
function printSoon(): void {
  if (isPrinting) return;
  isPrinting = true;
  setImmediate(() => {
    isPrinting = false;
    connections.print();
  });
}
setInterval(() => connections.print(), 50);

for await (const line of { [Symbol.asyncIterator]: () => lines }) {
  round += 1;
  connections = new Connections(round, JSON.parse(line) as Round);
}
