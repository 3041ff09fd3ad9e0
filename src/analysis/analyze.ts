/** The post-call step ANALYSIS: a language model judges the call and extracts data. */
import type { Tx } from '../app.ts';
import type { CallListener } from '../calls/listeners.ts';
import { findingsIn, saveModelFindings } from '../calls/post-call/findings.ts';
import {
  type FindNothingToDo,
  type SaveStep,
  type StepContext,
  StepFailure,
  type StepHandler,
  type StepResult,
} from '../calls/post-call/steps.ts';
import { type Call, Prisma } from '../generated/prisma/client.ts';
import { hiddenFromPlanner } from '../infra/database/hidden-from-planner.ts';
import { type LanguageModel, LanguageModelError } from '../infra/outgoing/language-model.ts';
import { type AnalysisTask, buildPrompt, type Prompt } from './prompt.ts';
import { beginAnalysis, TASK_COLUMNS, taskOf } from './request.ts';
import { EMPTY_VERDICT, readVerdict, type Verdict } from './verdict.ts';

/** Maximum number of times a model is asked while its answers are unusable. */
const MAX_ANSWERS = 3;

/** Deletes the analyses of deleted calls. */
export const analysisCallListener: CallListener = {
  async callsDeleted(_app, tx, callIds) {
    await tx.callAnalysis.deleteMany({ where: { callId: { in: [...callIds] } } });
  },
};

/** Runs the analysis. An unreachable model is asked again later; unusable answers make the step fail. */
export const runAnalysis: StepHandler = async (app, call, context) => {
  const task = taskOf(
    await app.db.agent.findUniqueOrThrow({ where: { id: call.agentId }, select: TASK_COLUMNS }),
  );
  if (task.successCriteria === null && task.extractionSchema === null)
    return skippedResult(NO_TASK);
  if (!app.languageModel) return skippedResult('No language model is configured.');
  const transcript = await app.db.callTranscript.findUnique({ where: { callId: call.id } });
  if (!transcript) return failedResult(call, 'There is no transcript.');
  if (transcript.expiredAt) return failedResult(call, 'The transcript was removed.');
  const turns = await app.db.callTurn.findMany({
    where: { callId: call.id },
    orderBy: { position: 'asc' },
  });
  if (!turns.some(({ speaker }) => speaker !== 'TOOL')) return skippedResult('Nothing was said.');
  const prompt = buildPrompt(task, turns);
  try {
    const judged = await judge(app.languageModel, task, prompt, context);
    const usage: ModelUsage = {
      ...judged,
      model: app.languageModel.name,
      omitted: prompt.omitted,
      at: app.now(),
    };
    const { verdict } = judged;
    const save: SaveStep = async (tx, locked) => {
      await saveAnalysis(tx, call, verdict, usage);
      if (!verdict.findings) return {};
      const findings = findingsIn(turns, locked, verdict.findings);
      return { change: await saveModelFindings(app, tx, locked, findings) };
    };
    if (verdict.problem !== null) return { status: 'FAILED', detail: verdict.problem, save };
    return { status: 'DONE', save };
  } catch (error) {
    if (!(error instanceof LanguageModelError)) throw error;
    // Users see neither the model's address nor what it answered.
    app.failures.record('analysis', error, { call: call.id });
    if (!error.isTransient) return failedResult(call, error.message);
    throw new StepFailure(error.message, error.retryAfterSeconds);
  }
};

const NO_TASK = 'The agent has neither success criteria nor an extraction schema.';

/** Finds calls without an analysis task, except those with an earlier analysis to remove. */
export const findCallsWithoutTask: FindNothingToDo = async (tx, callIds) => {
  const calls = await tx.$queryRaw<{ id: string }[]>`
    SELECT calls.id FROM calls JOIN agents ON agents.id = calls.agent_id
    WHERE calls.id = ANY(${hiddenFromPlanner([...callIds], 'uuid[]')})
      AND agents.success_criteria IS NULL AND agents.extraction_schema IS NULL
      AND NOT EXISTS (SELECT 1 FROM call_analyses WHERE call_id = calls.id)`;
  return new Map(calls.map(({ id }) => [id, NO_TASK]));
};

function skippedResult(detail: string): StepResult {
  return { status: 'SKIPPED', detail, save: removeAnalysis };
}

/** Removes an earlier analysis that used other criteria. */
const removeAnalysis: SaveStep = async (tx, call) => {
  await tx.callAnalysis.deleteMany({ where: { callId: call.id } });
  return {};
};

function failedResult(call: Call, problem: string): StepResult {
  return {
    status: 'FAILED',
    detail: problem,
    save: async (tx) => {
      await saveAnalysis(tx, call, { ...EMPTY_VERDICT, problem }, null);
      return {};
    },
  };
}

interface ModelUsage {
  model: string;
  omitted: string | null;
  at: Date;
  seconds: number;
  inputTokens: number | null;
  outputTokens: number | null;
}

/**
 * Asks the model until an answer is usable, at most a few times, and adds up the time and tokens used. Answers kept by
 * an earlier attempt are used first.
 */
async function judge(
  model: LanguageModel,
  task: AnalysisTask,
  prompt: Prompt,
  { signal, partialResult, keep }: StepContext,
): Promise<Pick<ModelUsage, 'seconds' | 'inputTokens' | 'outputTokens'> & { verdict: Verdict }> {
  const partial = beginAnalysis(model, task, prompt, partialResult);
  const { answers } = partial;
  const keepAll = async (): Promise<void> => {
    if (!(await keep(partial))) throw new StepFailure('Another attempt has taken over.', null);
  };
  const lastVerdict = async (): Promise<Verdict | null> => {
    const last = answers.at(-1);
    return last ? readVerdict(task, last.text) : null;
  };
  const isFinal = (verdict: Verdict | null): boolean =>
    verdict !== null && (verdict.problem === null || answers.length >= MAX_ANSWERS);
  let verdict = await lastVerdict();
  if (!isFinal(verdict)) await keepAll();
  while (!isFinal(verdict)) {
    const content = verdict?.problem
      ? JSON.stringify({ ...JSON.parse(prompt.content), problemOfYourLastAnswer: verdict.problem })
      : prompt.content;
    const begun = performance.now();
    const answer = await model.ask({ ...prompt, content, signal });
    // A null character cannot be stored. Values parsed from an answer contain none either.
    const text = answer.text.replaceAll('\0', '').toWellFormed();
    answers.push({ ...answer, text, seconds: Math.round(performance.now() - begun) / 1000 });
    await keepAll();
    verdict = await lastVerdict();
  }
  const sum = (key: 'inputTokens' | 'outputTokens') =>
    answers.some((answer) => answer[key] === null)
      ? null
      : answers.reduce((total, answer) => total + (answer[key] ?? 0), 0);
  return {
    verdict: verdict!,
    seconds: Math.round(answers.reduce((total, { seconds }) => total + seconds * 1000, 0)) / 1000,
    inputTokens: sum('inputTokens'),
    outputTokens: sum('outputTokens'),
  };
}

/** Saves a verdict. What a failed analysis has not found does not replace the results of an earlier one. */
async function saveAnalysis(
  tx: Tx,
  call: Call,
  verdict: Verdict,
  usage: ModelUsage | null,
): Promise<void> {
  if (verdict.problem !== null) {
    const hasResults = verdict.success !== null || verdict.extractedData !== null;
    const better = await tx.callAnalysis.count({
      where: { callId: call.id, ...(hasResults ? { status: 'DONE' } : {}) },
    });
    if (better > 0) return;
  }
  const columns = {
    status: verdict.problem === null ? ('DONE' as const) : ('FAILED' as const),
    success: verdict.success,
    reason: verdict.reason,
    extractedData: (verdict.extractedData as Prisma.InputJsonObject | null) ?? Prisma.DbNull,
    error: verdict.problem,
    omitted: usage?.omitted ?? null,
    model: usage?.model ?? null,
    seconds: usage?.seconds ?? null,
    inputTokens: usage?.inputTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    analyzedAt: usage?.at ?? null,
  };
  await tx.callAnalysis.upsert({
    where: { callId: call.id },
    create: { callId: call.id, organizationId: call.organizationId, ...columns },
    update: columns,
  });
}
