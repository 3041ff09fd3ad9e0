/** Which service function does which job, and what is done again and again. */
import { agentSync, resyncAgentsUsing } from './agents/sync.ts';
import type { App } from './app.ts';
import { removeDeletedCalls, removeUltravoxCall } from './calls/deletion.ts';
import { removeUltravoxCallJob, runCampaignsJob } from './calls/jobs.ts';
import { failStaleCalls, giveBackDeadClaims, placeWaitingCalls } from './calls/placement.ts';
import { checkCalls, discoverCalls } from './calls/reconciler.ts';
import { dropOldWebhooks, processPendingWebhooks } from './calls/ultravox-webhooks.ts';
import { runCampaigns } from './campaigns/engine.ts';
import { tellContacts } from './campaigns/tell.ts';
import { runContactImport, sweepContactImports } from './contacts/import-run.ts';
import { importContactsJob } from './contacts/jobs.ts';
import { dropExpiredIdempotencyKeys } from './graphql/idempotency.ts';
import type { JobDefinition, JobHandler } from './infra/jobs.ts';
import { checkIndexing } from './knowledge-bases/indexing.ts';
import { knowledgeBaseSync, knowledgeSourceSync } from './knowledge-bases/sync.ts';
import { dropExpiredEvents } from './live/log.ts';
import { allowSipCalls, allowSipCallsJob, telephonyConfigSync } from './phone-numbers/sync.ts';
import { resyncAgents } from './sync/jobs.ts';
import { runSync, sweepSync } from './sync/service.ts';
import { toolSync } from './tools/sync.ts';
import { syncVoices } from './voices/service.ts';
import { voiceSync } from './voices/sync.ts';

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
  pair(voiceSync.job, (app, { id }) => runSync(app, voiceSync, id)),
  pair(toolSync.job, (app, { id }) => runSync(app, toolSync, id)),
  pair(knowledgeBaseSync.job, (app, { id }) => runSync(app, knowledgeBaseSync, id)),
  pair(knowledgeSourceSync.job, (app, { id }) => runSync(app, knowledgeSourceSync, id)),
  pair(agentSync.job, (app, { id }) => runSync(app, agentSync, id)),
  pair(resyncAgents, resyncAgentsUsing),
  pair(removeUltravoxCallJob, removeUltravoxCall),
  pair(telephonyConfigSync.job, (app, { id }) => runSync(app, telephonyConfigSync, id)),
  pair(allowSipCallsJob, (app) => allowSipCalls(app)),
  pair(importContactsJob, runContactImport),
  pair(runCampaignsJob, (app) => runCampaigns(app)),
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
  { name: 'syncVoices', everySeconds: () => 600, run: syncVoices },
  { name: 'checkIndexing', everySeconds: () => 2, run: checkIndexing },
  { name: 'sweepVoices', everySeconds: () => 60, run: (app) => sweepSync(app, voiceSync) },
  { name: 'sweepTools', everySeconds: () => 60, run: (app) => sweepSync(app, toolSync) },
  {
    name: 'sweepKnowledgeBases',
    everySeconds: () => 60,
    run: (app) => sweepSync(app, knowledgeBaseSync),
  },
  {
    name: 'sweepKnowledgeSources',
    everySeconds: () => 60,
    run: (app) => sweepSync(app, knowledgeSourceSync),
  },
  { name: 'sweepAgents', everySeconds: () => 60, run: (app) => sweepSync(app, agentSync) },
  { name: 'placeWaitingCalls', everySeconds: () => 5, run: placeWaitingCalls },
  { name: 'giveBackDeadClaims', everySeconds: () => 3, run: giveBackDeadClaims },
  { name: 'runCampaigns', everySeconds: () => 5, run: runCampaigns },
  { name: 'tellContacts', everySeconds: () => 10, run: tellContacts },
  { name: 'failStaleCalls', everySeconds: () => 60, run: failStaleCalls },
  { name: 'removeDeletedCalls', everySeconds: () => 600, run: removeDeletedCalls },
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
  { name: 'sweepContactImports', everySeconds: () => 5, run: sweepContactImports },
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
  let timer: NodeJS.Timeout | undefined;
  app.closing.addEventListener('abort', () => clearTimeout(timer), { once: true });
  const next = (): void => {
    if (app.closing.aborted) return;
    app.background(name, async () => {
      try {
        await run(app);
      } catch (error) {
        app.log.warn({ err: error, task: name }, 'A periodic task failed; it runs again later');
      }
      if (!app.closing.aborted) timer = setTimeout(next, pauseMs);
    });
  };
  next();
}
