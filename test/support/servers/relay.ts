/** A stable address for a server that is replaced. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Relay {
  port: number;
  /** Sets the target of new connections; open ones keep theirs. */
  lead(port: number): void;
  close(): Promise<void>;
}

/** Forwards TCP connections to a port of this machine. */
export async function startRelay(to: number): Promise<Relay> {
  let target = to;
  const open = new Set<Socket>();
  const server = createServer((incoming) => {
    const outgoing = connect(target, '127.0.0.1');
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      open.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
    incoming.pipe(outgoing);
    outgoing.pipe(incoming);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No port');
  return {
    port: address.port,
    lead(port) {
      target = port;
    },
    async close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
