/** A WebSocket with limits on received data, buffered data and idle time. */
import type { Duplex } from 'node:stream';
import {
  CloseCode,
  type Server as ProtocolServer,
  type WebSocket as ProtocolSocket,
} from 'graphql-ws';
import type { RawData, WebSocket } from 'ws';
import type { App } from '../../app.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { type KeyUser, stopWatchingKey, watchKey } from '../../organizations/key-revocations.ts';
import type { Viewer } from '../../viewer.ts';
import { startExpiryTimer } from '../expiry-timer.ts';
import type { Release } from '../limits/concurrency-limits.ts';
import { LIMITS } from '../limits/limits.ts';
import { checkJsonSize } from '../limits/request-json.ts';
import { MAX_BUFFERED_LIVE_BYTES, type SharedMessages } from '../subscriptions/live-delivery.ts';
import { OperationOrder } from './operation-order.ts';

/** Maximum buffer for a client that does not read, in addition to one message of any size. */
const MAX_BUFFERED_BYTES = LIMITS.bufferedBytes.max;
const MAX_PING_CHARACTERS = LIMITS.pingCharacters.max;
const KEEP_ALIVE_MS = 30_000;
const CLOSE_GRACE_MS = 2_000;
/** A close frame has room for 123 bytes. A cursor has up to 19 digits. */
const MAX_REASON = 120;
const MAX_REASON_BEFORE_CURSOR = 70;
/** "Try Again Later". Standard clients reconnect after this code, and after `Forbidden`. */
const TRY_AGAIN_LATER = 1013;

export interface SocketConnection {
  /** Address of the client. */
  readonly address: string | null;
  /** Null until the connection is initialized, or without a credential. */
  readonly viewer: Viewer | null;
  isOpen(): boolean;
  /**
   * Lifts the limit on received data, and closes the socket when the credential expires or is revoked.
   *
   * @param release releases the slot of the authenticated socket; called once, when it is closed.
   */
  authenticate(viewer: Viewer, release: Release): void;
  /** Closes with 4403. A standard client then reconnects with a new credential. */
  closeForbidden(reason: string): void;
  /** Closes with 1013. A standard client then reconnects. */
  closeForRetry(reason: string): void;
  /**
   * Like `closeForRetry`, when events may be left unsent. The reason names the cursor after which no subscription misses
   * an event, if each has been sent one.
   */
  closeForResume(reason: string): void;
  /** Sends live events to a subscription without waiting. False if the client reads too slowly. */
  sendNext(subscriptionId: string, messages: SharedMessages): boolean;
  /** Announces a subscription to events. */
  openSubscription(id: string): void;
  closeSubscription(id: string): void;
  /** Announces the event in the next message to a subscription. */
  prepareEvent(subscriptionId: string, cursor: bigint): void;
}

export interface ConnectionOptions {
  app: App;
  protocol: ProtocolServer<SocketConnection>;
  stream: Duplex;
  address: string | null;
  /** Releases the slot of the socket; called once, when the socket is authenticated or closed. */
  release: Release;
}

/** Connects a socket to the protocol server and enforces its limits until it is closed. */
export function openConnection(socket: WebSocket, options: ConnectionOptions): SocketConnection {
  const { app, protocol } = options;
  const connection = new GuardedConnection(socket, options);
  const closed = protocol.opened(connection, connection);
  socket.on('close', (code, reason) => {
    connection.dispose();
    void Promise.resolve(closed(code, String(reason))).catch(
      app.failures.recorder('sockets.close'),
    );
  });
  return connection;
}

/** How the protocol server begins a message with a result of a subscription. */
function beginningOfNext(id: string): string {
  return `{"id":${JSON.stringify(id)},"type":"next"`;
}

class GuardedConnection implements SocketConnection, ProtocolSocket, KeyUser {
  readonly address: string | null;
  viewer: Viewer | null = null;
  readonly #app: App;
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  #release: Release;
  readonly #keepAlive: NodeJS.Timeout;
  #expiry: NodeJS.Timeout | undefined;
  #isAlive = true;
  #received = 0;
  /** Buffered bytes of the largest message that is being sent. */
  #largest = 0;
  /** The last event sent to each subscription; null before the first. */
  readonly #sentEvents = new Map<string, bigint | null>();
  /** The event in a message that is about to be sent, by the beginning of the message. */
  readonly #prepared = new Map<string, { id: string; cursor: bigint }>();

  constructor(socket: WebSocket, options: ConnectionOptions) {
    const { app, stream, address, release } = options;
    this.address = address;
    this.#app = app;
    this.#stream = stream;
    this.#release = release;
    this.#socket = socket;
    // A frame violated the protocol or a limit; the library closes the socket.
    socket.on('error', (error) => {
      app.log.debug({ err: error }, 'A WebSocket violated the protocol');
    });
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    socket.on('ping', () => this.#checkBuffered());
    stream.on('data', this.#countReceived);
    this.#keepAlive = setInterval(() => this.#ping(), KEEP_ALIVE_MS);
    this.#keepAlive.unref();
  }

  isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  authenticate(viewer: Viewer, release: Release): void {
    this.viewer = viewer;
    this.#stream.off('data', this.#countReceived);
    // The socket was closed meanwhile, so nothing would release the slot or stop watching the key.
    if (this.#socket.readyState === this.#socket.CLOSED) {
      release();
      return;
    }
    this.#release();
    this.#release = release;
    watchKey(this.#app, viewer.apiKeyId, this);
    this.#expiry = startExpiryTimer(this.#app, viewer, () =>
      this.closeForbidden('The API key or access token has expired'),
    );
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  /** Called when the API key was revoked. */
  onCredentialEnded(): void {
    this.closeForbidden('The API key was revoked');
  }

  closeForbidden(reason: string): void {
    this.#close(CloseCode.Forbidden, reason);
  }

  closeForRetry(reason: string): void {
    this.#close(TRY_AGAIN_LATER, reason);
  }

  closeForResume(reason: string): void {
    // The close frame follows everything that was sent before.
    const cursors = [...this.#sentEvents.values()];
    const least = cursors.reduce(
      (one, other) => (one === null || other === null ? null : other < one ? other : one),
      cursors[0] ?? null,
    );
    this.closeForRetry(
      least === null
        ? reason
        : `${truncateText(reason, MAX_REASON_BEFORE_CURSOR)}; subscribe again after cursor ${least}`,
    );
  }

  sendNext(subscriptionId: string, messages: SharedMessages): boolean {
    if (!this.isOpen()) return true;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_LIVE_BYTES) return false;
    messages.writeFrames(this.#stream, subscriptionId);
    this.#sentEvents.set(subscriptionId, messages.lastCursor);
    return true;
  }

  openSubscription(id: string): void {
    this.#sentEvents.set(id, null);
  }

  closeSubscription(id: string): void {
    this.#sentEvents.delete(id);
    this.#prepared.delete(beginningOfNext(id));
  }

  prepareEvent(id: string, cursor: bigint): void {
    this.#prepared.set(beginningOfNext(id), { id, cursor });
  }

  /** Resolves when the message has been passed to the operating system, or when the connection has ended. */
  async send(data: string): Promise<void> {
    if (!this.#checkBuffered()) return;
    this.#recordEvent(data);
    const before = this.#socket.bufferedAmount;
    const sent = new Promise<void>((resolve) => {
      // It fails only if the connection has ended. The socket is then closed a moment later.
      this.#socket.send(data, () => resolve());
    });
    const size = this.#socket.bufferedAmount - before;
    this.#largest = Math.max(this.#largest, size);
    await sent;
    if (this.#largest === size) this.#largest = 0;
  }

  onMessage(callback: (data: string) => Promise<void>): void {
    const order = new OperationOrder(
      (text) => this.#handle(text, callback),
      (code, reason) => this.#close(code, reason),
    );
    this.#socket.on('message', (data: RawData) => {
      if (!this.#checkBuffered()) return;
      const message = Buffer.isBuffer(data) ? data : Buffer.from(String(data));
      try {
        checkJsonSize(message);
      } catch (error) {
        this.#close(CloseCode.BadRequest, (error as Error).message);
        return;
      }
      order.take(message.toString('utf8'));
    });
  }

  async #handle(text: string, callback: (data: string) => Promise<void>): Promise<void> {
    // A message that waited may be handled after the end of all operations of the socket.
    if (!this.isOpen()) return;
    try {
      await callback(text);
    } catch (error) {
      // Thrown for a message that only servers may send.
      if (/^Unexpected message of type/.test((error as Error).message)) {
        this.#close(CloseCode.BadRequest, 'Unexpected message');
        return;
      }
      this.#app.failures.record('sockets.message', error, { level: 'error' });
      this.#close(CloseCode.InternalServerError, 'Internal server error');
    }
  }

  /** Answers a ping with its payload, which must be small. */
  async onPing(payload: unknown): Promise<void> {
    const text = payload === undefined ? '' : JSON.stringify(payload);
    if (text.length > MAX_PING_CHARACTERS) {
      this.#close(CloseCode.BadRequest, 'The payload of a ping is too large');
      return;
    }
    await this.send(`{"type":"pong"${text ? `,"payload":${text}` : ''}}`);
  }

  dispose(): void {
    this.#release();
    if (this.viewer) stopWatchingKey(this.#app, this.viewer.apiKeyId, this);
    clearInterval(this.#keepAlive);
    clearTimeout(this.#expiry);
  }

  /** Whether the buffer has room. Otherwise closes the socket. */
  #checkBuffered(): boolean {
    if (!this.isOpen()) return false;
    if (this.#socket.bufferedAmount - this.#largest <= MAX_BUFFERED_BYTES) return true;
    this.closeForResume('The client reads too slowly');
    return false;
  }

  #recordEvent(message: string): void {
    for (const [beginning, { id, cursor }] of this.#prepared) {
      if (!message.startsWith(beginning)) continue;
      this.#prepared.delete(beginning);
      this.#sentEvents.set(id, cursor);
      return;
    }
  }

  #close(code: number, reason: string): void {
    if (!this.isOpen()) return;
    this.#socket.close(code, truncateText(reason, MAX_REASON));
    const force = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    this.#socket.once('close', () => clearTimeout(force));
  }

  #ping(): void {
    // The answer would come after the waiting bytes. A connection that takes none is closed like any other.
    if (this.#socket.bufferedAmount > 0) return;
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }

  readonly #countReceived = (chunk: Buffer): void => {
    this.#received += chunk.length;
    if (this.#received > LIMITS.unauthenticatedBodyBytes.max) this.#socket.terminate();
  };
}
