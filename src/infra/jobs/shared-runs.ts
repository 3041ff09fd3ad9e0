/**
 * Runs of work that one process does for all: at once after a quiet time, otherwise an interval after the
 * beginning of the run before, for all that was requested meanwhile. The same process does it as long as it
 * lives: the others wait longer, and leave the work to the one that begins.
 *
 * This only spares work. That nothing is done twice must follow from the locks of the run, and a request may
 * be lost: a periodic run is the fallback.
 */
import type { Bus, Json } from '../bus.ts';
import { newId } from '../ids.ts';

/**
 * Additional delay of processes other than the one that ran last. Longer than a busy process may take to
 * begin: a second run would find nothing, or wait for the locks of the first.
 */
const SPREAD_MS = { min: 400, max: 1_200 };

export interface SharedRunsHost {
  bus: Bus;
  closing: AbortSignal;
  background: (name: string, work: () => Promise<void>) => void;
}

export interface SharedRunsOptions {
  /** Bus topic, which is also the name of the work in logs. */
  topic: string;
  /** Does all that is due. It calls `begin` before it reads anything. */
  run: () => Promise<void>;
  /** Least time between the beginnings of two runs. */
  intervalMs: number;
  /** Longer delays are left to the periodic run. Default: no limit. */
  maxDelayMs?: number;
  /** Called when another process begins a run, which takes over what is requested. */
  leave?: () => void;
}

export interface SharedRuns {
  /** To be called when a run begins, before it reads anything, also when it was not requested here. */
  begin(): void;
  /** Requests a run by this process alone. */
  requestHere(delayMs: number): void;
  /** The same at once, without the interval: there is room again for what was left. */
  requestNow(): void;
  /** Requests a run by another process at once, without the interval: this one can do no more. */
  handOver(): void;
}

/** A request for a run after a delay, by any process but `except`; or the ID of a process that begins a run. */
type Message = { inMs: number; except?: string } | { begins: string };

/** Requests a run of the process that does this work. Call it after the commit of what the run is to find. */
export function requestRun(bus: Bus, topic: string, delayMs = 0): void {
  bus.publish(topic, { inMs: delayMs } satisfies Message);
}

/** Makes this process do the work when it is requested, until the host closes. */
export function startSharedRuns(host: SharedRunsHost, options: SharedRunsOptions): SharedRuns {
  const { bus, closing, background } = host;
  const { topic, run, intervalMs, maxDelayMs = Number.POSITIVE_INFINITY, leave } = options;
  const id = newId();
  let ranLast = bus.kind === 'in-process';
  let pausedUntil = 0;
  let dueAt = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  function schedule(delayMs: number, notBefore = pausedUntil): void {
    const now = performance.now();
    const at = Math.max(now + delayMs, notBefore);
    if (closing.aborted || delayMs > maxDelayMs || at >= dueAt) return;
    const spread = SPREAD_MS.min + Math.random() * (SPREAD_MS.max - SPREAD_MS.min);
    cancel();
    dueAt = at;
    timer = setTimeout(
      () => {
        dueAt = Number.POSITIVE_INFINITY;
        background(topic, run);
      },
      at - now + (ranLast ? 0 : spread),
    );
    timer.unref();
  }

  function cancel(): void {
    clearTimeout(timer);
    dueAt = Number.POSITIVE_INFINITY;
  }

  const stopListening = bus.subscribe(topic, (json: Json) => {
    const message = json as Message;
    if ('begins' in message) {
      ranLast = message.begins === id;
      pausedUntil = performance.now() + intervalMs;
      cancel();
      if (!ranLast) leave?.();
    } else if (message.except === undefined) {
      schedule(message.inMs);
    } else if (message.except !== id) {
      schedule(message.inMs, 0);
    }
  });
  closing.addEventListener('abort', () => {
    stopListening();
    cancel();
  });
  return {
    begin: () => bus.publish(topic, { begins: id } satisfies Message),
    requestHere: (delayMs) => schedule(delayMs),
    requestNow: () => schedule(0, 0),
    handOver: () => bus.publish(topic, { inMs: 0, except: id } satisfies Message),
  };
}
