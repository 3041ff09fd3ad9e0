/** Disconnects clients that stop reading a response, or that send a request too slowly. */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { LIMITS, MIN_BYTES_PER_SECOND } from '../limits/limits.ts';
import { endSlowRequest } from './malformed-requests.ts';

const CHECK_MS = 15_000;
/** Number of consecutive checks at which bytes were waiting and none had been read. */
const MAX_STALLED_CHECKS = 4;
const MAX_BEHIND_MS = LIMITS.requestStallSeconds.max * 1000;

interface Progress {
  flushed: number;
  stalled: number;
  /** The last request. */
  request: IncomingMessage | null;
  received: number;
  /** Time by which the request is behind the minimum speed. A fast part earns nothing for later ones. */
  behindMs: number;
}

/** Watches the connections of a server. Returns the function that stops watching. */
export function closeStalledConnections(server: Server): () => void {
  const connections = new Map<Socket, Progress>();
  const watch = (socket: Socket): void => {
    connections.set(socket, { flushed: 0, stalled: 0, request: null, received: 0, behindMs: 0 });
    socket.once('close', () => connections.delete(socket));
  };
  const begin = (request: IncomingMessage): void => {
    const progress = connections.get(request.socket);
    // The time until the first check does not count.
    if (progress) Object.assign(progress, { request, behindMs: -CHECK_MS });
  };
  server.on('connection', watch).on('request', begin);
  const timer = setInterval(() => {
    for (const [socket, progress] of connections) {
      if (isReadStalled(socket, progress)) socket.destroy();
      else if (isRequestSlow(socket, progress)) endSlowRequest(server, socket);
    }
  }, CHECK_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    server.off('connection', watch).off('request', begin);
  };
}

function isReadStalled(socket: Socket, progress: Progress): boolean {
  // `bytesWritten` includes buffered bytes.
  const flushed = socket.bytesWritten - socket.writableLength;
  const isStalled = socket.writableLength > 0 && flushed === progress.flushed;
  progress.stalled = isStalled ? progress.stalled + 1 : 0;
  progress.flushed = flushed;
  return progress.stalled >= MAX_STALLED_CHECKS;
}

function isRequestSlow(socket: Socket, progress: Progress): boolean {
  const received = socket.bytesRead - progress.received;
  progress.received = socket.bytesRead;
  if (progress.request?.complete) progress.request = null;
  // If bytes are waiting to be read, the client waits for the server.
  if (!progress.request || progress.request.readableLength > 0) return false;
  const lateMs = CHECK_MS - (received / MIN_BYTES_PER_SECOND) * 1000;
  progress.behindMs = Math.max(0, progress.behindMs + lateMs);
  return progress.behindMs >= MAX_BEHIND_MS;
}
