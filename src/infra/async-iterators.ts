/** Helpers for async iterators that hold a resource. */

/**
 * Wraps an iterator so that `cleanup` runs exactly once: when it ends, fails or is returned, even if
 * it was never started. `cleanup` runs before `inner.return()`, so it can release an iterator
 * that waits inside `next()`.
 */
export function withCleanup<T>(
  inner: AsyncIterator<T, unknown, undefined>,
  cleanup: () => void,
): AsyncIterableIterator<T, undefined, undefined> {
  let cleaned = false;
  const clean = (): void => {
    if (cleaned) return;
    cleaned = true;
    cleanup();
  };
  const done = { done: true, value: undefined } as const;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const result = await inner.next();
        if (!result.done) return result;
        clean();
        return done;
      } catch (error) {
        clean();
        throw error;
      }
    },
    async return() {
      clean();
      await inner.return?.();
      return done;
    },
    async throw(error) {
      clean();
      await inner.return?.();
      throw error;
    },
  };
}
