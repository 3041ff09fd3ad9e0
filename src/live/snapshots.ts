/**
 * Streams snapshots of an object while it changes: not one for each change, but always the newest state
 * soon after a change, and the final state.
 */
import { Repeater } from '@repeaterjs/repeater';
import type { App } from '../app.ts';

export interface SnapshotSource<Snapshot> {
  /** Bus topic on which changes of the object are announced after their commit. Polling covers lost messages. */
  topic: string;
  /** Null when the object no longer exists, which ends the stream. */
  read: () => Promise<Snapshot | null>;
  /** Whether this is the final state. */
  isLast: (snapshot: Snapshot) => boolean;
  /** Of consecutive snapshots with the same version, only the first is delivered. */
  version: (snapshot: Snapshot) => string;
}

const MIN_INTERVAL_MS = 250;

/** The current snapshot, then at most four per second, until the final one or the caller stops. */
export function watchSnapshots<Snapshot>(
  app: Pick<App, 'bus' | 'config' | 'failures' | 'closing'>,
  source: SnapshotSource<Snapshot>,
): AsyncIterableIterator<Snapshot> {
  return new Repeater<Snapshot, undefined>(async (push, stop) => {
    let ended = false;
    let changed = true;
    let wake: () => void = () => undefined;
    const onChange = (): void => {
      changed = true;
      wake();
    };
    const stopListening = app.bus.subscribe(source.topic, onChange, onChange);
    const end = (): void => {
      ended = true;
      wake();
    };
    app.closing.addEventListener('abort', end);
    void stop.then(end);

    /** Resolves after `ms`, or earlier when the stream ends or, with `untilChange`, on a change. */
    async function pause(ms: number, untilChange: boolean): Promise<void> {
      if (ms <= 0 || ended || (untilChange && changed)) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        timer.unref();
        wake = () => {
          if (!ended && !untilChange) return;
          clearTimeout(timer);
          resolve();
        };
      });
      wake = () => undefined;
    }

    let deliveredAt = 0;
    let delivered: string | null = null;
    try {
      while (!ended) {
        await pause(deliveredAt + MIN_INTERVAL_MS - Date.now(), false);
        await pause(app.config.EVENT_POLL_SECONDS * 1000, true);
        if (ended) return;
        changed = false;
        const snapshot = await source.read().catch(
          app.failures.recorder('readSnapshot', {
            message: 'Could not read the state for a subscription; it is read again',
            topic: source.topic,
          }),
        );
        if (snapshot === null) return;
        if (snapshot === undefined) continue;
        const version = source.version(snapshot);
        if (version !== delivered) {
          delivered = version;
          deliveredAt = Date.now();
          await push(snapshot);
        }
        if (source.isLast(snapshot)) return;
      }
    } finally {
      stopListening();
      app.closing.removeEventListener('abort', end);
      stop();
    }
  });
}
