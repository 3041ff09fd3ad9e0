/** A TCP relay: a stable address for a server that is replaced, and a network that can freeze. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Relay {
  port: number;
  /** Sets the target of new connections. Open connections keep theirs. */
  lead(port: number): void;
  /**
   * Stops forwarding on all open connections. The returned function counts those that their clients have not
   * closed yet.
   */
  freeze(): () => number;
  close(): Promise<void>;
}

/** Whether replies on a connection, numbered from 0, wait until its client has sent more. */
export type Holds = (connection: number, sent: string) => boolean;

/** Forwards TCP connections to a port of this machine. */
export async function startRelay(to: number, holds: Holds = () => false): Promise<Relay> {
  let target = to;
  const open = new Set<Socket>();
  const clients = new Set<Socket>();
  const frozen = new WeakSet<Socket>();
  let connections = 0;
  const server = createServer((incoming) => {
    const outgoing = connect(target, '127.0.0.1');
    holdReplies(incoming, outgoing, holds.bind(null, connections));
    connections += 1;
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      open.add(socket);
      socket.on('data', (chunk) => {
        if (!frozen.has(incoming)) other.write(chunk);
      });
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
    clients.add(incoming);
    incoming.on('close', () => clients.delete(incoming));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No port');
  return {
    port: address.port,
    lead(port) {
      target = port;
    },
    freeze() {
      const held = [...clients];
      for (const client of held) frozen.add(client);
      return () => held.filter((client) => clients.has(client)).length;
    },
    async close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function holdReplies(incoming: Socket, outgoing: Socket, holds: (sent: string) => boolean): void {
  let sent = '';
  if (!holds(sent)) return;
  outgoing.pause();
  incoming.on('data', (chunk) => {
    sent += chunk;
    if (!holds(sent)) outgoing.resume();
  });
}
