/**
 * Runs of work that one process does on behalf of all. A run starts at once after a quiet time, otherwise an interval
 * after the start of the previous run, and covers everything requested meanwhile. The same process keeps doing the
 * work as long as it lives: the others wait longer, and cancel their own run when one starts.
 *
 * This only saves work. The run's own locks must ensure that nothing is done twice, and a request may
 * be lost: a periodic run is the fallback.
 */
import type { Bus, Json } from '../bus.ts';
import { newId } from '../ids.ts';
import { perInstance } from '../per-instance.ts';

/**
 * Additional delay of processes other than the one that ran last. Longer than a busy process may take to
 * start: a second run would find no work, or wait for the locks of the first.
 */
const STANDBY_DELAY_MS = { min: 400, max: 1_200 };
/** Time that the announcement of a run may take to arrive. */
const IN_TRANSIT_MS = 200;

export interface SharedRunsHost {
  bus: Bus;
  closing: AbortSignal;
  background: (name: string, work: () => Promise<void>) => void;
}

export interface SharedRunsOptions {
  /** Bus topic, which is also the name of the work in logs. */
  topic: string;
  /** Does all work that is due. Must call `announceStart` before it reads anything. */
  run: () => Promise<void>;
  /** Minimum time between the starts of two runs. */
  intervalMs: number;
  /** Longer delays are left to the periodic run. Default: no limit. */
  maxDelayMs?: number;
  /** Called when another process starts a run, which takes over all requests. */
  onTakenOver?: () => void;
}

export interface SharedRuns {
  /** To be called when a run starts, before it reads anything, even if it was not requested here. */
  announceStart(): void;
  /** Requests a run by this process only. */
  requestLocally(delayMs: number): void;
  /** Requests an immediate run by this process, without the interval: there is capacity again for deferred work. */
  requestNow(): void;
  /** Requests an immediate run by another process, without the interval: this one has no capacity left. */
  handOver(): void;
}

/** A request for a run after a delay, by any process except `except`; or the ID of a process that starts a run. */
type Message = { inMs: number; except?: string } | { begins: string };

/** Requests of processes that do the work themselves, by topic. */
const requests = perInstance((_bus: Bus) => new Map<string, (delayMs: number) => void>());

/** Requests a run from the process that does this work. Call it after committing what the run should find. */
export function requestRun(bus: Bus, topic: string, delayMs = 0): void {
  const request = requests(bus).get(topic);
  if (request) request(delayMs);
  else bus.publish(topic, { inMs: delayMs } satisfies Message);
}

/** Makes this process do the work on request, until the host closes. */
export function startSharedRuns(host: SharedRunsHost, options: SharedRunsOptions): SharedRuns {
  const { bus, closing, background } = host;
  const { topic, run, intervalMs, maxDelayMs = Number.POSITIVE_INFINITY, onTakenOver } = options;
  const id = newId();
  let isLastRunner = bus.kind === 'in-process';
  let pausedUntil = 0;
  let dueAt = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  /** Requests that were not sent, because an earlier run was already due: time of the last one, and the first due time. */
  let skipped: { at: number; dueAt: number } | null = null;

  function request(delayMs: number): void {
    const now = performance.now();
    if (Math.max(now + delayMs, pausedUntil) >= dueAt)
      skipped = {
        at: now,
        dueAt: Math.min(skipped?.dueAt ?? Number.POSITIVE_INFINITY, now + delayMs),
      };
    else bus.publish(topic, { inMs: delayMs } satisfies Message);
  }

  /** Sends skipped requests after all, if the run that has begun may not have found what they were made for. */
  function repeatSkipped(): void {
    const [requested, now] = [skipped, performance.now()];
    skipped = null;
    if (requested && now - requested.at < IN_TRANSIT_MS)
      request(Math.max(0, requested.dueAt - now));
  }

  function schedule(delayMs: number, notBefore = pausedUntil): void {
    const now = performance.now();
    const at = Math.max(now + delayMs, notBefore);
    if (closing.aborted || delayMs > maxDelayMs || at >= dueAt) return;
    const standbyDelay =
      STANDBY_DELAY_MS.min + Math.random() * (STANDBY_DELAY_MS.max - STANDBY_DELAY_MS.min);
    cancel();
    dueAt = at;
    timer = setTimeout(
      () => {
        dueAt = Number.POSITIVE_INFINITY;
        background(topic, run);
      },
      at - now + (isLastRunner ? 0 : standbyDelay),
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
      isLastRunner = message.begins === id;
      pausedUntil = performance.now() + intervalMs;
      cancel();
      // Its own run reads only after this.
      if (isLastRunner) {
        skipped = null;
        return;
      }
      onTakenOver?.();
      repeatSkipped();
    } else if (message.except === undefined) {
      schedule(message.inMs);
    } else if (message.except !== id) {
      schedule(message.inMs, 0);
    }
  });
  requests(bus).set(topic, request);
  closing.addEventListener('abort', () => {
    requests(bus).delete(topic);
    stopListening();
    cancel();
  });
  return {
    announceStart: () => bus.publish(topic, { begins: id } satisfies Message),
    requestLocally: (delayMs) => schedule(delayMs),
    requestNow: () => schedule(0, 0),
    handOver: () => bus.publish(topic, { inMs: 0, except: id } satisfies Message),
  };
}
