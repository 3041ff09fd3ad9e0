/** Which service function does which job, and what is done again and again. */
import type { App } from './app.ts';
import { removeUltravoxCallJob } from './calls/jobs.ts';
import { placeWaitingCalls } from './calls/placement.ts';
import { checkCalls, discoverCalls } from './calls/reconciler.ts';
import { removeUltravoxCall } from './calls/service.ts';
import { dropOldWebhooks, processPendingWebhooks } from './calls/ultravox-webhooks.ts';
import { dropExpiredIdempotencyKeys } from './graphql/idempotency.ts';
import type { JobDefinition, JobHandler } from './infra/jobs.ts';
import { dropExpiredEvents } from './live/log.ts';
import { allowSipCalls, allowSipCallsJob, telephonyConfigSync } from './phone-numbers/sync.ts';
import { runSync, sweepSync } from './sync/service.ts';

interface Pairing {
  job: JobDefinition<never>;
  handler: (app: App) => JobHandler<never>;
}

/** Keeps the payload of the job and that of its handler the same, then forgets it. */
function pair<Payload extends object>(
  job: JobDefinition<Payload>,
  handler: (app: App, payload: Payload) => Promise<unknown>,
): Pairing {
  const bound =
    (app: App): JobHandler<Payload> =>
    async (payload) => {
      await handler(app, payload);
    };
  return { job, handler: bound } as unknown as Pairing;
}

const PAIRINGS: readonly Pairing[] = [
  pair(removeUltravoxCallJob, removeUltravoxCall),
  pair(telephonyConfigSync.job, (app, { id }) => runSync(app, telephonyConfigSync, id)),
  pair(allowSipCallsJob, (app) => allowSipCalls(app)),
];

export const JOB_DEFINITIONS: readonly JobDefinition<never>[] = PAIRINGS.map(({ job }) => job);

interface Periodic {
  name: string;
  everySeconds: (app: App) => number;
  run: (app: App) => Promise<unknown>;
}

const HOUR = 3600;

/** Each is safe to run in several processes at once. */
const PERIODIC: readonly Periodic[] = [
  { name: 'placeWaitingCalls', everySeconds: () => 5, run: placeWaitingCalls },
  {
    name: 'checkCalls',
    everySeconds: (app) => Math.min(5, app.config.CALL_CHECK_SECONDS / 2),
    run: checkCalls,
  },
  {
    name: 'discoverCalls',
    everySeconds: (app) => app.config.CALL_CHECK_SECONDS,
    run: discoverCalls,
  },
  { name: 'processPendingWebhooks', everySeconds: () => 3, run: processPendingWebhooks },
  { name: 'dropOldWebhooks', everySeconds: () => HOUR, run: dropOldWebhooks },
  {
    name: 'sweepTelephonyConfigs',
    everySeconds: () => 60,
    run: (app) => sweepSync(app, telephonyConfigSync),
  },
  { name: 'dropExpiredEvents', everySeconds: () => HOUR, run: dropExpiredEvents },
  { name: 'dropExpiredIdempotencyKeys', everySeconds: () => HOUR, run: dropExpiredIdempotencyKeys },
];

/** Begins to take jobs and to run what is periodic, until the app closes. */
export async function startWorker(app: App): Promise<void> {
  for (const { job, handler } of PAIRINGS) await app.jobs.work(job, handler(app));
  for (const periodic of PERIODIC) repeat(app, periodic);
}

/** At once, and then each time so long after the last run has ended. */
function repeat(app: App, { name, everySeconds, run }: Periodic): void {
  const pauseMs = everySeconds(app) * 1000;
  const next = (): void => {
    if (app.closing.aborted) return;
    app.background(name, async () => {
      try {
        await run(app);
      } catch (error) {
        app.log.warn({ err: error, task: name }, 'A periodic task failed; it runs again later');
      }
      const timer = setTimeout(next, pauseMs);
      app.closing.addEventListener('abort', () => clearTimeout(timer), { once: true });
    });
  };
  next();
}
