/** Shares reads among callers that request the same key at the same time. */

interface Reads<T> {
  running: Promise<T>;
  /** The next read, shared by all callers that arrived during the current one. */
  next: Promise<T> | null;
}

/**
 * Returns a function that reads by key. Its result is never older than the call: callers that arrive during a read
 * share the next one.
 */
export function shareReads<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const reads = new Map<string, Reads<T>>();

  function start(key: string): Promise<T> {
    const running = read(key).finally(() => {
      if (reads.get(key)?.running === running && !reads.get(key)?.next) reads.delete(key);
    });
    reads.set(key, { running, next: null });
    return running;
  }

  return (key) => {
    const current = reads.get(key);
    if (!current) return start(key);
    current.next ??= current.running.then(
      () => start(key),
      () => start(key),
    );
    return current.next;
  };
}
