/** Handlers of jobs, consumers of the event log, and periodic tasks. */
import { agentSync, resyncAgentsUsing } from './agents/sync.ts';
import { findCallsWithoutTask, runAnalysis } from './analysis/analyze.ts';
import { rollUpCalls } from './analytics/rollups.ts';
import type { App } from './app.ts';
import { removeDeletedCalls, removeUltravoxCall } from './calls/deletion.ts';
import { removeUltravoxCallJob } from './calls/jobs.ts';
import { HAS_WAITING_CALLS } from './calls/placement/limits.ts';
import {
  hasDeadClaims,
  placeWaitingCalls,
  releaseDeadClaims,
} from './calls/placement/placement.ts';
import { failStaleCalls } from './calls/placement/stale-calls.ts';
import { endUnwantedCalls, hasActiveOutboundCalls } from './calls/placement/unwanted-calls.ts';
import { announceResults } from './calls/post-call/event.ts';
import {
  hasOverdueSteps,
  runPostCallSteps,
  startPostCallRunner,
} from './calls/post-call/runner.ts';
import type { StepHandlers } from './calls/post-call/steps.ts';
import { fetchSummary } from './calls/post-call/summary.ts';
import { expireTranscripts, fetchTranscript } from './calls/post-call/transcript.ts';
import { findRecording, saveFailedRecording } from './calls/recordings/find.ts';
import { discoverCalls } from './calls/ultravox/discovery.ts';
import { hasPendingWebhooks, processPendingWebhooks } from './calls/ultravox/process-webhooks.ts';
import { checkCalls, hasDueCallChecks } from './calls/ultravox/reconciler.ts';
import { CONFIRM_SECONDS, checkUltravoxWebhook } from './calls/ultravox/webhook-registration.ts';
import { dropOldWebhooks } from './calls/ultravox/webhooks.ts';
import { cancelRemainingContacts, hasContactsToCancel } from './campaigns/completion.ts';
import { eraseDeletedContacts, hasContactsToErase } from './campaigns/contacts/erasure.ts';
import {
  hasCampaignWork,
  runCampaigns,
  startCampaignRunner,
} from './campaigns/dispatch/run-campaigns.ts';
import { hasUnfinishedEnrollments, resumeEnrollments } from './campaigns/enrollment/enrollment.ts';
import { hasUnfinishedReplans, resumeReplans } from './campaigns/enrollment/replan.ts';
import { runCampaignsJob } from './campaigns/jobs.ts';
import { hasUncountedCalls, recordContactStats } from './campaigns/outcomes/contact-stats.ts';
import { hasOpenImports, runContactImport, sweepContactImports } from './contacts/import/run.ts';
import { importContactsJob } from './contacts/jobs.ts';
import type { JobContext, JobDefinition, JobHandler } from './infra/jobs/jobs.ts';
import { type PeriodicTask, startPeriodicTasks } from './infra/jobs/periodic-tasks.ts';
import { checkIndexing, hasDueIndexing } from './knowledge-bases/indexing.ts';
import { knowledgeBaseSync, knowledgeSourceSync } from './knowledge-bases/sync.ts';
import { type EventConsumer, startConsumers } from './live/consumers.ts';
import { hasUnnumberedEvents, numberMissedEvents } from './live/log.ts';
import { dropExpiredEvents } from './live/partitions.ts';
import { allowSipCalls, allowSipCallsJob, telephonyConfigSync } from './phone-numbers/sync.ts';
import { dropExpiredIdempotencyKeys } from './server/execution/idempotency.ts';
import { resyncAgents } from './sync/jobs.ts';
import { needsSweep, runSync, sweepSync } from './sync/service.ts';
import type { SyncKind, SyncRow } from './sync/sync-kind.ts';
import { toolSync } from './tools/sync.ts';
import { syncVoices } from './voices/service.ts';
import { voiceSync } from './voices/sync.ts';
import { webhookConsumer } from './webhooks/consumer.ts';
import { giveUpRemainingDeliveries, hasDeliveriesToGiveUp } from './webhooks/endpoint-health.ts';
import { hasReplays, runReplays } from './webhooks/replays.ts';
import {
  dropOldDeliveries,
  hasDeletedEndpoints,
  removeDeletedEndpoints,
} from './webhooks/retention.ts';
import { hasDueDeliveries, sendDueDeliveries, startSender } from './webhooks/sending/sender.ts';

interface Pairing {
  job: JobDefinition<never>;
  handler: (app: App) => JobHandler<never>;
}

/** Checks at compile time that a job and its handler have the same payload type, then erases the type. */
function pair<Payload extends object>(
  job: JobDefinition<Payload>,
  handler: (app: App, payload: Payload, context: JobContext) => Promise<unknown>,
): Pairing {
  const bound =
    (app: App): JobHandler<Payload> =>
    async (payload, context) => {
      await handler(app, payload, context);
    };
  return { job, handler: bound } as unknown as Pairing;
}

function syncPair<Row extends SyncRow>(kind: SyncKind<Row>): Pairing {
  return pair(kind.job, (app, { id }, context) => runSync(app, kind, id, context));
}

/** Handler of each step in `calls/post-call/steps.ts`. */
const POST_CALL_HANDLERS: StepHandlers = {
  TRANSCRIPT: { run: fetchTranscript },
  SUMMARY: { run: fetchSummary },
  RECORDING: { run: findRecording, saveGivenUp: saveFailedRecording },
  ANALYSIS: { run: runAnalysis, nothingToDo: findCallsWithoutTask },
  EVENT: { run: announceResults },
};

const PAIRINGS: readonly Pairing[] = [
  syncPair(voiceSync),
  syncPair(toolSync),
  syncPair(knowledgeBaseSync),
  syncPair(knowledgeSourceSync),
  syncPair(agentSync),
  pair(resyncAgents, resyncAgentsUsing),
  pair(removeUltravoxCallJob, removeUltravoxCall),
  syncPair(telephonyConfigSync),
  pair(allowSipCallsJob, allowSipCalls),
  pair(importContactsJob, runContactImport),
  pair(runCampaignsJob, (app) => runCampaigns(app)),
];

export const JOB_DEFINITIONS: readonly JobDefinition<never>[] = PAIRINGS.map(({ job }) => job);

interface Periodic {
  name: string;
  everySeconds: number | ((app: App) => number);
  /** Pause while there is no work. Default: `everySeconds`. */
  idleSeconds?: number;
  /** Whether one process runs the task on behalf of all. Default: false. */
  shared?: boolean;
  /** SQL condition that is true if there may be work. Default: always true. */
  hasWork?: (app: App) => ReturnType<NonNullable<PeriodicTask['hasWork']>>;
  run: (app: App) => Promise<unknown>;
}

const HOUR = 3600;

function sweep(name: string, kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>): Periodic {
  return {
    name,
    everySeconds: 60,
    hasWork: (app) => needsSweep(app, kind),
    run: (app) => sweepSync(app, kind),
  };
}

/** Periodic tasks. All are safe to run in several processes at once. */
const PERIODIC: readonly Periodic[] = [
  {
    name: 'endUnwantedCalls',
    everySeconds: 1,
    idleSeconds: 2,
    shared: true,
    hasWork: hasActiveOutboundCalls,
    run: endUnwantedCalls,
  },
  {
    name: 'wakeWorkers',
    everySeconds: 2,
    hasWork: (app) => app.jobs.hasDue(),
    run: (app) => app.jobs.wakeWorkers(app.db),
  },
  { name: 'sendDueDeliveries', everySeconds: 2, hasWork: hasDueDeliveries, run: sendDueDeliveries },
  { name: 'checkIndexing', everySeconds: 2, hasWork: hasDueIndexing, run: checkIndexing },
  { name: 'replayWebhooks', everySeconds: 2, hasWork: hasReplays, run: runReplays },
  {
    name: 'giveUpRemainingDeliveries',
    everySeconds: 10,
    shared: true,
    hasWork: hasDeliveriesToGiveUp,
    run: giveUpRemainingDeliveries,
  },
  {
    name: 'removeDeletedEndpoints',
    everySeconds: 10,
    shared: true,
    hasWork: hasDeletedEndpoints,
    run: removeDeletedEndpoints,
  },
  { name: 'releaseDeadClaims', everySeconds: 3, hasWork: hasDeadClaims, run: releaseDeadClaims },
  {
    name: 'runPostCallSteps',
    everySeconds: 3,
    hasWork: hasOverdueSteps,
    run: (app) => runPostCallSteps(app, POST_CALL_HANDLERS),
  },
  {
    name: 'processPendingWebhooks',
    everySeconds: 3,
    hasWork: hasPendingWebhooks,
    run: processPendingWebhooks,
  },
  {
    name: 'placeWaitingCalls',
    everySeconds: 5,
    hasWork: () => HAS_WAITING_CALLS,
    run: placeWaitingCalls,
  },
  {
    name: 'resumeEnrollments',
    everySeconds: 5,
    hasWork: hasUnfinishedEnrollments,
    run: resumeEnrollments,
  },
  { name: 'resumeReplans', everySeconds: 5, hasWork: hasUnfinishedReplans, run: resumeReplans },
  {
    name: 'runCampaigns',
    everySeconds: 5,
    shared: true,
    hasWork: hasCampaignWork,
    run: runCampaigns,
  },
  {
    name: 'cancelRemainingContacts',
    everySeconds: 1,
    idleSeconds: 2,
    shared: true,
    hasWork: hasContactsToCancel,
    run: cancelRemainingContacts,
  },
  {
    name: 'sweepContactImports',
    everySeconds: 5,
    hasWork: hasOpenImports,
    run: sweepContactImports,
  },
  {
    name: 'checkCalls',
    everySeconds: (app) => Math.min(5, app.config.CALL_CHECK_SECONDS / 2),
    hasWork: hasDueCallChecks,
    run: checkCalls,
  },
  {
    name: 'recordContactStats',
    everySeconds: 10,
    shared: true,
    hasWork: hasUncountedCalls,
    run: recordContactStats,
  },
  {
    name: 'eraseDeletedContacts',
    everySeconds: 10,
    shared: true,
    hasWork: hasContactsToErase,
    run: eraseDeletedContacts,
  },
  {
    name: 'numberMissedEvents',
    everySeconds: 10,
    hasWork: hasUnnumberedEvents,
    run: (app) => numberMissedEvents(app),
  },
  sweep('sweepVoices', voiceSync),
  sweep('sweepTools', toolSync),
  sweep('sweepKnowledgeBases', knowledgeBaseSync),
  sweep('sweepKnowledgeSources', knowledgeSourceSync),
  sweep('sweepAgents', agentSync),
  sweep('sweepTelephonyConfigs', telephonyConfigSync),
  {
    name: 'failStaleCalls',
    everySeconds: 10,
    shared: true,
    hasWork: () => HAS_WAITING_CALLS,
    run: failStaleCalls,
  },
  {
    name: 'discoverCalls',
    everySeconds: (app) => app.config.CALL_CHECK_SECONDS,
    shared: true,
    run: discoverCalls,
  },
  // Not shared: a process with another PUBLIC_URL does not confirm the webhook of this one.
  { name: 'checkUltravoxWebhook', everySeconds: CONFIRM_SECONDS, run: checkUltravoxWebhook },
  { name: 'syncVoices', everySeconds: 600, shared: true, run: syncVoices },
  { name: 'removeDeletedCalls', everySeconds: 600, run: removeDeletedCalls },
  { name: 'rollUpCalls', everySeconds: 600, run: (app) => rollUpCalls(app) },
  { name: 'expireTranscripts', everySeconds: HOUR, run: expireTranscripts },
  { name: 'dropOldWebhooks', everySeconds: HOUR, run: dropOldWebhooks },
  { name: 'dropOldDeliveries', everySeconds: HOUR, run: dropOldDeliveries },
  { name: 'dropExpiredEvents', everySeconds: HOUR, run: dropExpiredEvents },
  { name: 'dropExpiredIdempotencyKeys', everySeconds: HOUR, run: dropExpiredIdempotencyKeys },
];

/** Consumers of the event log. */
const CONSUMERS: readonly EventConsumer[] = [webhookConsumer];

/** Runs jobs, consumers and periodic tasks until the app closes. */
export async function startWorker(app: App): Promise<void> {
  for (const { job, handler } of PAIRINGS) await app.jobs.work(job, handler(app));
  startSender(app);
  startPostCallRunner(app, POST_CALL_HANDLERS);
  startCampaignRunner(app);
  const polls = startConsumers(app, CONSUMERS);
  const host = { ...app, db: app.rows };
  startPeriodicTasks(host, [...PERIODIC.map((periodic) => bind(app, periodic)), ...polls]);
}

function bind(app: App, { everySeconds, hasWork, run, ...task }: Periodic): PeriodicTask {
  return {
    ...task,
    everySeconds: typeof everySeconds === 'number' ? everySeconds : everySeconds(app),
    ...(hasWork ? { hasWork: () => hasWork(app) } : {}),
    run: () => run(app),
  };
}
