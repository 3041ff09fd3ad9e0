/**
 * Counts handled failures by name and cause, logs the first of each, and samples the rest, so that they
 * are noticed but a long outage does not flood the log.
 */
import { isDatabaseUnavailable } from './database/database-errors.ts';
import type { Logger } from './logger.ts';

const SAMPLE_MS = 60_000;
const SUMMARY_MS = 300_000;
/** Maximum number of combinations of name and cause. Further causes are counted as "other". */
const MAX_COUNTERS = 500;
const MAX_CAUSE = 120;

export interface FailureCount {
  name: string;
  cause: string;
  count: number;
  firstAt: Date;
  lastAt: Date;
}

export interface FailureDetails {
  /** Message of the log line. Default: the name and "failed". */
  message?: string;
  /** Default: `warn`. Failures because of an unreachable database are always `warn`. */
  level?: 'warn' | 'error';
  /** More fields for the log line, such as ids. */
  [field: string]: unknown;
}

export interface Failures {
  /**
   * Counts a failure. Logs it if it is the first of its name and cause, or if its last log line
   * is a minute old; `suppressed` is the number of failures since then that were not logged. Never throws.
   */
  record(name: string, error: unknown, details?: FailureDetails): void;
  /** Returns `record` as a handler for `promise.catch(…)`. */
  recorder(name: string, details?: FailureDetails): (error: unknown) => undefined;
  /** All counters since the start, highest first. */
  counts(): FailureCount[];
  /** Logs the number of failures not logged yet. Runs every five minutes, and at `close`. */
  summarize(): void;
  close(): void;
}

interface Counter extends FailureCount {
  loggedAt: number;
  /** Number of failures since the last log line. */
  unlogged: number;
  level: 'warn' | 'error';
}

export function createFailures({
  log,
  now = () => new Date(),
}: {
  log: Logger;
  now?: () => Date;
}): Failures {
  const counters = new Map<string, Counter>();
  const timer = setInterval(summarize, SUMMARY_MS);
  timer.unref();

  function counterOf(name: string, error: unknown, level: 'warn' | 'error'): Counter {
    let cause = causeOf(error);
    if (counters.size >= MAX_COUNTERS && !counters.has(`${name}\0${cause}`)) cause = 'other';
    const key = `${name}\0${cause}`;
    let counter = counters.get(key);
    if (!counter) {
      const at = now();
      const loggedAt = Number.NEGATIVE_INFINITY;
      counter = { name, cause, count: 0, firstAt: at, lastAt: at, loggedAt, unlogged: 0, level };
      counters.set(key, counter);
    }
    return counter;
  }

  function record(name: string, error: unknown, details: FailureDetails = {}): void {
    const { message = `${name} failed`, level: asked = 'warn', ...fields } = details;
    // Operators know about database restarts, and the failed work is done later.
    const level = isDatabaseUnavailable(error) ? 'warn' : asked;
    const counter = counterOf(name, error, level);
    counter.count += 1;
    counter.lastAt = now();
    if (counter.lastAt.getTime() - counter.loggedAt < SAMPLE_MS) {
      counter.unlogged += 1;
      return;
    }
    const suppressed = counter.unlogged > 0 ? { suppressed: counter.unlogged } : {};
    counter.loggedAt = counter.lastAt.getTime();
    counter.unlogged = 0;
    log[level](
      { failure: name, cause: counter.cause, ...suppressed, ...fields, err: error },
      message,
    );
  }

  function summarize(): void {
    for (const counter of counters.values()) {
      if (counter.unlogged === 0) continue;
      const { name, cause, count, unlogged, level, lastAt } = counter;
      log[level](
        { failure: name, cause, suppressed: unlogged, count, lastAt },
        `${name} failed again`,
      );
      counter.unlogged = 0;
      counter.loggedAt = now().getTime();
    }
  }

  return {
    record,
    recorder: (name, details) => (error) => {
      record(name, error, details);
      return undefined;
    },
    counts() {
      return [...counters.values()]
        .map(({ name, cause, count, firstAt, lastAt }) => ({ name, cause, count, firstAt, lastAt }))
        .sort((a, b) => b.count - a.count);
    },
    summarize,
    close() {
      clearInterval(timer);
      summarize();
    },
  };
}

/** What errors of the same kind have in common: the code, or the message without numbers and quoted text. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code, kind } = error as { code?: unknown; kind?: unknown };
  const label = [code, kind].find(
    (value) => typeof value === 'string' || typeof value === 'number',
  );
  if (label !== undefined) return `${error.name} ${label}`.slice(0, MAX_CAUSE);
  const message = (error.message.split('\n').find((line) => line.trim() !== '') ?? '')
    .slice(0, 1_000)
    .replace(/(["'`]).*?\1/g, '…')
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d+/gi, '#');
  return `${error.name}: ${message}`.slice(0, MAX_CAUSE);
}
