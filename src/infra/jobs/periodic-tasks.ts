/** Runs tasks periodically. One statement checks which of them have work. */
import { type Sql, sqltag as sql } from '@prisma/client/runtime/client';
import type { Bus, Json } from '../bus.ts';
import { hiddenFromPlanner } from '../database/hidden-from-planner.ts';
import type { Failures } from '../failures.ts';
import { newId } from '../ids.ts';

/** A task that is safe to run in several processes at once. */
export interface PeriodicTask {
  name: string;
  everySeconds: number;
  /** Pause while there is no work. Default: `everySeconds`. */
  idleSeconds?: number;
  /** Whether one process runs the task on behalf of all. Default: false. */
  shared?: boolean;
  /** SQL condition that is true if there may be work. Default: always true. Its text must not vary. */
  hasWork?: () => Sql;
  run: () => Promise<unknown>;
}

export interface PeriodicHost {
  db: { $queryRaw<T>(query: Sql): Promise<T> };
  bus: Bus;
  failures: Failures;
  background: (name: string, work: () => Promise<void>) => void;
  closing: AbortSignal;
}

/** Bus topic for tasks that a process found to have no work, or has run on behalf of all. */
const TOPIC = 'periodicTasks';
/** Tasks that are due within this time are checked with the same statement. */
const DUE_WINDOW_MS = 1_000;
/** Additional delay of the other processes, so that one process checks for all. */
const STANDBY_DELAY_MS = { min: 500, max: 1_500 };
/**
 * Time after which each process checks by itself: another process may be wrong, for example because its clock is
 * slow, or because it uses the same Redis with another database.
 */
const TRUST_OTHERS_MS = 20_000;

type TaskReport = {
  from: string;
  /** Names of tasks without work. */
  idle: string[];
  /** Names of shared tasks that have just been run. */
  ran: string[];
};

interface ScheduledTask {
  readonly task: PeriodicTask;
  /** Time of the monotonic clock. */
  dueAt: number;
  /** When this process last checked for work, or ended a run. */
  checkedAt: number;
  /** Whether this process is checking the task for work, or running it. */
  isBusy: boolean;
}

/**
 * Runs each task now, and again a fixed time after the end of each run, until the host closes. A task with
 * `hasWork` is skipped while it has none. A process that finds no work, or has run a shared task, tells the
 * others, which then check later. If that process ends or the bus fails, they check by themselves.
 */
export function startPeriodicTasks(
  host: PeriodicHost,
  tasks: readonly PeriodicTask[],
  { trustOthersMs = TRUST_OTHERS_MS } = {},
): void {
  new PeriodicTasks(host, tasks, trustOthersMs).start();
}

class PeriodicTasks {
  readonly #host: PeriodicHost;
  readonly #tasks: readonly ScheduledTask[];
  readonly #trustOthersMs: number;
  readonly #id = newId();
  /** Additional delay of this process after a message from another one. */
  readonly #standbyDelayMs =
    STANDBY_DELAY_MS.min + Math.random() * (STANDBY_DELAY_MS.max - STANDBY_DELAY_MS.min);
  #timer: NodeJS.Timeout | undefined;

  constructor(host: PeriodicHost, tasks: readonly PeriodicTask[], trustOthersMs: number) {
    this.#host = host;
    this.#trustOthersMs = trustOthersMs;
    const checkedAt = performance.now();
    this.#tasks = tasks.map((task) => ({ task, dueAt: 0, checkedAt, isBusy: false }));
  }

  start(): void {
    const { bus, closing } = this.#host;
    const stopListening = bus.subscribe(TOPIC, (message) => this.#onReport(message));
    closing.addEventListener('abort', () => {
      clearTimeout(this.#timer);
      stopListening();
    });
    this.#wake();
  }

  #wake(): void {
    if (this.#host.closing.aborted) return;
    this.#host.background('periodicTasks', async () => {
      // Nothing is due if another process has found no work since the timer was set.
      if (this.#tasksDueWithin(0).length > 0) {
        const due = this.#tasksDueWithin(DUE_WINDOW_MS);
        for (const scheduled of due) scheduled.isBusy = true;
        const withWork = await this.#selectTasksWithWork(due);
        for (const scheduled of due) scheduled.isBusy = false;
        for (const scheduled of withWork) this.#run(scheduled);
      }
      this.#sleep();
    });
  }

  #tasksDueWithin(ms: number): ScheduledTask[] {
    const before = performance.now() + ms;
    return this.#tasks.filter(({ dueAt, isBusy }) => !isBusy && dueAt <= before);
  }

  #sleep(): void {
    if (this.#host.closing.aborted) return;
    const dueAt = Math.min(
      ...this.#tasks.filter(({ isBusy }) => !isBusy).map((scheduled) => scheduled.dueAt),
    );
    clearTimeout(this.#timer);
    if (dueAt === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, dueAt - performance.now()));
  }

  /** The due tasks that may have work. The others become due again after their interval. */
  async #selectTasksWithWork(due: readonly ScheduledTask[]): Promise<ScheduledTask[]> {
    const checked = due.filter(({ task }) => task.hasWork);
    if (checked.length === 0) return [...due];
    for (const scheduled of checked) scheduled.checkedAt = performance.now();
    try {
      const namesWithWork = await this.#queryNamesWithWork(checked);
      const idle = checked.filter(({ task }) => !namesWithWork.has(task.name));
      for (const scheduled of idle) scheduled.dueAt = performance.now() + idleMs(scheduled);
      if (idle.length > 0) {
        this.#publish({ idle: idle.map(({ task }) => task.name), ran: [] });
      }
      return due.filter((scheduled) => !idle.includes(scheduled));
    } catch (error) {
      this.#host.failures.record('periodicTasks', error, {
        message: 'Could not determine which periodic tasks have work; will retry',
      });
      for (const scheduled of checked)
        scheduled.dueAt = performance.now() + scheduled.task.everySeconds * 1000;
      return due.filter((scheduled) => !checked.includes(scheduled));
    }
  }

  /** Names of the tasks with work. The statement is the same for every combination of tasks, so it is prepared once. */
  async #queryNamesWithWork(checked: readonly ScheduledTask[]): Promise<Set<string>> {
    const conditions = this.#tasks.flatMap((scheduled) =>
      scheduled.task.hasWork
        ? [
            sql`CASE WHEN ${hiddenFromPlanner(checked.includes(scheduled), 'boolean')} AND ${scheduled.task.hasWork()} THEN ${scheduled.task.name} END`,
          ]
        : [],
    );
    const list = conditions.reduce((all, scheduled) => sql`${all}, ${scheduled}`);
    const rows = await this.#host.db.$queryRaw<{ names: (string | null)[] }[]>(
      sql`SELECT ARRAY[${list}]::text[] AS names`,
    );
    return new Set(rows[0]?.names.filter((name) => name !== null));
  }

  #run(scheduled: ScheduledTask): void {
    const { background, failures } = this.#host;
    scheduled.isBusy = true;
    background(scheduled.task.name, async () => {
      try {
        await scheduled.task.run();
        if (scheduled.task.shared) this.#publish({ idle: [], ran: [scheduled.task.name] });
      } catch (error) {
        failures.record(scheduled.task.name, error, {
          message: `Periodic task failed; will retry: ${scheduled.task.name}`,
        });
      }
      scheduled.isBusy = false;
      scheduled.checkedAt = performance.now();
      scheduled.dueAt = scheduled.checkedAt + scheduled.task.everySeconds * 1000;
      this.#sleep();
    });
  }

  #publish(report: Omit<TaskReport, 'from'>): void {
    this.#host.bus.publish(TOPIC, { from: this.#id, ...report });
  }

  #onReport(message: Json): void {
    const { from, idle, ran } = message as TaskReport;
    if (from === this.#id) return;
    const later = performance.now() + this.#standbyDelayMs;
    for (const scheduled of this.#tasks) {
      const { name, everySeconds } = scheduled.task;
      const pause = idle.includes(name) ? idleMs(scheduled) : everySeconds * 1000;
      if (!idle.includes(name) && !ran.includes(name)) continue;
      const trustedUntil = scheduled.checkedAt + this.#trustOthersMs;
      scheduled.dueAt = Math.max(scheduled.dueAt, Math.min(later, trustedUntil) + pause);
    }
  }
}

function idleMs({ task: { everySeconds, idleSeconds = everySeconds } }: ScheduledTask): number {
  return idleSeconds * 1000;
}
