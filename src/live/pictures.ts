/**
 * Shows the state of something again and again while it changes: not each change, but always the
 * newest picture soon after one, and the last one for certain.
 */
import type { App } from '../app.ts';
import type { Json } from '../infra/bus.ts';

export interface Watched<Picture> {
  /** Where changes are announced after their commit. A lost announcement is made up by polling. */
  topic: string;
  concerns: (message: Json) => boolean;
  /** Null when it is gone, which ends the pictures. */
  read: () => Promise<Picture | null>;
  /** Whether nothing can follow this picture. */
  isLast: (picture: Picture) => boolean;
  /** Two pictures that are equal in this are the same, and only the first is shown. */
  version: (picture: Picture) => string;
}

const SHORTEST_PAUSE_MS = 250;

/** The picture as it is now, then at most four a second, until the last one or the caller stops. */
export function watchPictures<Picture>(
  app: Pick<App, 'bus' | 'config' | 'log' | 'closing'>,
  watched: Watched<Picture>,
): AsyncIterableIterator<Picture> {
  let ended = false;
  let changed = true;
  let wake: () => void = () => undefined;
  const stopListening = app.bus.subscribe(watched.topic, (message) => {
    if (!watched.concerns(message)) return;
    changed = true;
    wake();
  });
  const end = (): void => {
    ended = true;
    stopListening();
    app.closing.removeEventListener('abort', end);
    wake();
  };
  app.closing.addEventListener('abort', end);

  /** Until `ms` have passed, or earlier when it ends or, if that is asked for, changes. */
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

  let shownAt = 0;
  let shown: string | null = null;
  let last = false;

  async function next(): Promise<IteratorResult<Picture>> {
    while (!ended && !last) {
      await pause(shownAt + SHORTEST_PAUSE_MS - Date.now(), false);
      await pause(app.config.EVENT_POLL_SECONDS * 1000, true);
      if (ended) break;
      changed = false;
      let picture: Picture | null;
      try {
        picture = await watched.read();
      } catch (error) {
        app.log.debug({ err: error }, 'A picture could not be read; trying again');
        continue;
      }
      if (ended || picture === null) break;
      last = watched.isLast(picture);
      const version = watched.version(picture);
      if (version === shown) continue;
      shown = version;
      shownAt = Date.now();
      return { done: false, value: picture };
    }
    end();
    return { done: true, value: undefined };
  }

  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next,
    // Heard at once, also while `next` waits.
    async return() {
      end();
      return { done: true, value: undefined };
    },
  };
}
