/** Waits for conditions that nothing announces. */
import { setTimeout as delay } from 'node:timers/promises';

/** Polls the condition until it is true or the time is up. Returns the last result. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (Date.now() >= deadline) return false;
    await delay(15);
  }
}
