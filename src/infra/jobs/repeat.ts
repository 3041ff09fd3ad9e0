/** Repeats work on a timer. Runs do not pile up if the work takes longer than the interval. */

/**
 * Calls `work` every `everyMs` until the returned function is called. A call that is due before the last one has
 * ended is skipped, for example when the database has stopped responding. `work` must handle its own failures.
 */
export function repeat(everyMs: number, work: () => Promise<unknown>): () => void {
  let isWorking = false;
  const timer = setInterval(async () => {
    if (isWorking) return;
    isWorking = true;
    await work().finally(() => {
      isWorking = false;
    });
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
