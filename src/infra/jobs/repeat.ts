/** Repeats work on a timer that does not pile up while the work takes longer than the interval. */

/**
 * Does `work` every so often until the returned function is called. A turn that comes while the last one has not
 * ended is skipped, as when the database has stopped responding. `work` handles its failures.
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
