/** Disconnects clients that stop reading a response. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const CHECK_MS = 15_000;
/** Number of consecutive checks at which bytes were waiting and none had been read. */
const MAX_STALLED_CHECKS = 4;

interface Progress {
  flushed: number;
  stalled: number;
}

/** Watches the connections of a server. Returns the function that stops watching. */
export function closeStalledConnections(server: Server): () => void {
  const connections = new Map<Socket, Progress>();
  const watch = (socket: Socket): void => {
    connections.set(socket, { flushed: 0, stalled: 0 });
    socket.once('close', () => connections.delete(socket));
  };
  server.on('connection', watch);
  const timer = setInterval(() => {
    for (const [socket, progress] of connections) {
      // `bytesWritten` includes buffered bytes.
      const flushed = socket.bytesWritten - socket.writableLength;
      const isStalled = socket.writableLength > 0 && flushed === progress.flushed;
      progress.stalled = isStalled ? progress.stalled + 1 : 0;
      progress.flushed = flushed;
      if (progress.stalled >= MAX_STALLED_CHECKS) socket.destroy();
    }
  }, CHECK_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    server.off('connection', watch);
  };
}
