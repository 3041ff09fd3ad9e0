/** Runs a function until an instant of the app's clock. */

/** Interval between checks. The clock may be adjusted, and continues while the machine sleeps; timers do not. */
const CHECK_MS = 1_000;

/** Abort reason of the signal of `runUntil`. */
export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

/** Aborts the signal once `now()` has reached `at`, at most a second late. Never if `at` is null. */
export async function runUntil<Result>(
  { now }: { now(): Date },
  at: Date | null,
  run: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const left = () => (at ? at.getTime() - now().getTime() : Number.POSITIVE_INFINITY);
  const check = (): void => {
    if (left() <= 0) controller.abort(new DeadlinePassed('The deadline has passed.'));
    else timer = setTimeout(check, Math.min(left(), CHECK_MS));
  };
  let timer = at ? setTimeout(check, Math.min(left(), CHECK_MS)) : undefined;
  try {
    return await run(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}
