/** Runs of one task in this process, of which each does all that there is to do. */

/**
 * Returns a function that requests a run. Requests that come during a run share the next one. It resolves when a
 * run that began after the request has ended, or rejects with its error.
 */
export function oneAtATime(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;

  function start(): Promise<void> {
    const started = run().finally(() => {
      if (running === started) running = null;
    });
    running = started;
    return started;
  }

  return () => {
    if (!running) return start();
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = null;
        return start();
      });
    return next;
  };
}
