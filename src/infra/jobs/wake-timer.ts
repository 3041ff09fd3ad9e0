/** One timer for the earliest of several requested wake-ups. */

/** The longest delay that `setTimeout` accepts. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface WakeTimer {
  /**
   * Wakes after `delayMs`, unless an earlier wake-up is already scheduled. Does nothing once the
   * signal is aborted, or if `delayMs` exceeds `maxDelayMs`.
   */
  wakeAfter(delayMs: number): void;
  /** Like `wakeAfter`, at a time of the system clock. */
  wakeAt(at: Date): void;
  /** Cancels the scheduled wake-up. */
  cancel(): void;
}

export interface WakeTimerOptions {
  /** Handles what is due and schedules the next wake-up. Must not throw. */
  wake: () => void;
  /** Cancels the timer permanently. */
  signal: AbortSignal;
  /** Minimum delay. Default: 0. */
  minDelayMs?: number;
  /** Longer delays are ignored, for callers that also poll. Default: no limit. */
  maxDelayMs?: number;
}

/**
 * Combines requests into one wake-up at the earliest requested time, which must then handle all that is due. The
 * timer does not keep the process alive.
 */
export function createWakeTimer(options: WakeTimerOptions): WakeTimer {
  const { wake, signal, minDelayMs = 0, maxDelayMs = Number.POSITIVE_INFINITY } = options;
  let timer: NodeJS.Timeout | undefined;
  /** Time of the monotonic clock, so that changes of the system clock do not matter. */
  let dueAt = Number.POSITIVE_INFINITY;
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });

  function wakeAfter(delayMs: number): void {
    if (signal.aborted || delayMs > maxDelayMs) return;
    const delay = Math.min(Math.max(delayMs, minDelayMs, 0), MAX_TIMEOUT_MS);
    const at = performance.now() + delay;
    if (dueAt <= at) return;
    clearTimeout(timer);
    dueAt = at;
    timer = setTimeout(() => {
      dueAt = Number.POSITIVE_INFINITY;
      wake();
    }, delay);
    timer.unref();
  }

  return {
    wakeAfter,
    wakeAt: (at) => wakeAfter(at.getTime() - Date.now()),
    cancel() {
      clearTimeout(timer);
      dueAt = Number.POSITIVE_INFINITY;
    },
  };
}
