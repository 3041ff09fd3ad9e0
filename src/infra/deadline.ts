/** Runs a function until an instant of the app's clock. */

/** The clock may be set, and goes on while the machine sleeps; timers do not. */
const CHECK_MS = 1_000;

/** Reason with which the signal of `runUntil` is aborted. */
export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

/** Aborts the signal once `now()` has reached `at`, a second late at most. Null: never. */
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
