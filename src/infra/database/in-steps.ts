/** Rows of one step: a statement over them takes a fraction of a second, and holds locks no longer. */
export const STEP_ROWS = 5_000;

/**
 * Runs a statement that changes or deletes at most `limit` rows again and again until it finds fewer, or until
 * the process stops. Each is a transaction of its own, however many rows there are.
 */
export async function inSteps(
  closing: AbortSignal,
  step: (limit: number) => Promise<number>,
): Promise<void> {
  for (let rows = STEP_ROWS; rows >= STEP_ROWS && !closing.aborted; ) rows = await step(STEP_ROWS);
}
