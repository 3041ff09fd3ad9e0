/**
 * Streams snapshots of an object while it changes: not one per change, but always the newest state
 * soon after a change, and the final state. A process reads the object once for all its watchers, and gives
 * them the same snapshot.
 */
import { Repeater, SlidingBuffer } from '@repeaterjs/repeater';
import type { App } from '../app.ts';
import { perInstance } from '../infra/per-instance.ts';

type Host = Pick<App, 'bus' | 'config' | 'failures' | 'closing'>;

export interface SnapshotSource<Snapshot> {
  /**
   * Bus topic on which changes of the object are announced after their commit. Polling covers lost messages.
   * It identifies the object: sources with the same topic must read the same object.
   */
  topic: string;
  /** Null when the object no longer exists, which ends the stream. */
  read: () => Promise<Snapshot | null>;
  /** Whether this is the final state. */
  isLast: (snapshot: Snapshot) => boolean;
  /** Of consecutive snapshots with the same version, only the first is delivered. */
  version: (snapshot: Snapshot) => string;
}

const MIN_INTERVAL_MS = 250;

const watchesOf = perInstance<Host, Map<string, unknown>>(() => new Map());

/** The current snapshot, then at most four per second, until the final one or until the caller stops. */
export function watchSnapshots<Snapshot>(
  host: Host,
  source: SnapshotSource<Snapshot>,
): AsyncIterableIterator<Snapshot> {
  // A slow consumer gets the newest snapshot next.
  return new Repeater<Snapshot, undefined>(async (push, stop) => {
    const watches = watchesOf(host) as Map<string, SharedWatch<Snapshot>>;
    const end = (): void => stop();
    const watch = watches.get(source.topic) ?? new SharedWatch(host, source, watches);
    const leave = watch.join({ seen: null, take: (snapshot) => void push(snapshot), end });
    await stop;
    leave();
  }, new SlidingBuffer(1));
}

interface Watcher<Snapshot> {
  /** Version of the last snapshot that the watcher received. */
  seen: string | null;
  take(snapshot: Snapshot): void;
  end(): void;
}

/** Reads one object for its watchers, from the first watcher until none is left. */
class SharedWatch<Snapshot> {
  readonly #host: Host;
  readonly #source: SnapshotSource<Snapshot>;
  readonly #watches: Map<string, SharedWatch<Snapshot>>;
  readonly #watchers = new Set<Watcher<Snapshot>>();
  #newest: Snapshot | null = null;
  /** When the last read began, by the monotonic clock. */
  #readAt = Number.NEGATIVE_INFINITY;
  #changed = true;
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(
    host: Host,
    source: SnapshotSource<Snapshot>,
    watches: Map<string, SharedWatch<Snapshot>>,
  ) {
    this.#host = host;
    this.#source = source;
    this.#watches = watches;
    watches.set(source.topic, this);
    void this.#run();
  }

  /** @returns the function to call when the watcher leaves. */
  join(watcher: Watcher<Snapshot>): () => void {
    this.#watchers.add(watcher);
    // The newest snapshot may be a quarter of a second old; a newer one follows if the object has changed since.
    if (this.#newest !== null) this.#deliver(this.#newest, [watcher]);
    this.#change();
    if (this.#hasEnded) watcher.end();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#end();
    };
  }

  async #run(): Promise<void> {
    const { bus, closing } = this.#host;
    const change = (): void => this.#change();
    const end = (): void => this.#end();
    const stopListening = bus.subscribe(this.#source.topic, change, change);
    closing.addEventListener('abort', end);
    if (closing.aborted) end();
    while (!this.#hasEnded) {
      await this.#pause(this.#readAt + MIN_INTERVAL_MS - performance.now(), false);
      // The next read waits for a change or the poll. Until then the last snapshot may be outdated, so it is dropped.
      this.#newest = null;
      await this.#pause(this.#host.config.EVENT_POLL_SECONDS * 1000, true);
      if (!this.#hasEnded) await this.#read();
    }
    stopListening();
    closing.removeEventListener('abort', end);
  }

  async #read(): Promise<void> {
    const { read, isLast, topic } = this.#source;
    this.#changed = false;
    this.#readAt = performance.now();
    const snapshot = await read().catch(
      this.#host.failures.recorder('readSnapshot', {
        message: 'Could not read the state for a subscription; will retry',
        topic,
      }),
    );
    if (snapshot === undefined) return;
    this.#newest = snapshot;
    if (snapshot !== null) this.#deliver(snapshot, this.#watchers);
    if (snapshot === null || isLast(snapshot)) this.#end();
  }

  #deliver(snapshot: Snapshot, watchers: Iterable<Watcher<Snapshot>>): void {
    const version = this.#source.version(snapshot);
    for (const watcher of watchers) {
      if (watcher.seen !== version) watcher.take(snapshot);
      watcher.seen = version;
    }
  }

  #change(): void {
    this.#changed = true;
    this.#wake();
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // A watcher that joins from now on starts a new watch.
    if (this.#watches.get(this.#source.topic) === this) this.#watches.delete(this.#source.topic);
    for (const watcher of this.#watchers) watcher.end();
    this.#wake();
  }

  /** Resolves after `ms`, or earlier when the watch ends or, with `untilChange`, on a change. */
  async #pause(ms: number, untilChange: boolean): Promise<void> {
    if (ms <= 0 || this.#hasEnded || (untilChange && this.#changed)) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      timer.unref();
      this.#wake = () => {
        if (!this.#hasEnded && !untilChange) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }
}
