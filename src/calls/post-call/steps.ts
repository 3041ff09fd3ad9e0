/**
 * What is done for an answered call after its end: the list of steps. Each step is run by itself and may be
 * repeated, so a step that fails or hangs holds up neither other steps nor other calls. The state of each step
 * is in `post_call_steps`; `runner.ts` runs them.
 */
import type { App, Tx } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import type { NewCallEvent } from '../updates/append-events.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export interface StepPlan {
  kind: PostCallStepKind;
  /** The step begins when these are finished, with any result. */
  after: readonly PostCallStepKind[];
  /** The step fails when its attempts still fail this long after the first one. */
  giveUpSeconds: number;
  /** The same limit while the result does not exist yet, such as the summary. */
  waitSeconds: number;
  /** It needs nothing from outside: it is done in the transaction that ends the last step before it. */
  isImmediate?: true;
}

/** In the order in which they normally finish. */
export const POST_CALL_STEPS: readonly StepPlan[] = [
  { kind: 'TRANSCRIPT', after: [], giveUpSeconds: 3 * DAY, waitSeconds: 0 },
  { kind: 'SUMMARY', after: [], giveUpSeconds: 3 * DAY, waitSeconds: 2 * MINUTE },
  { kind: 'RECORDING', after: [], giveUpSeconds: 3 * DAY, waitSeconds: 10 * MINUTE },
  { kind: 'ANALYSIS', after: ['TRANSCRIPT'], giveUpSeconds: 6 * HOUR, waitSeconds: 0 },
  {
    kind: 'EVENT',
    after: ['TRANSCRIPT', 'SUMMARY', 'ANALYSIS'],
    giveUpSeconds: 3 * DAY,
    waitSeconds: 0,
    isImmediate: true,
  },
];

export function planOf(kind: PostCallStepKind): StepPlan {
  const plan = POST_CALL_STEPS.find((step) => step.kind === kind);
  if (!plan) throw new Error(`There is no step ${kind}`);
  return plan;
}

/** Maximum number of characters kept of why an attempt failed or a step was skipped. */
export const MAX_DETAIL = 500;

/** What a step changes about its call; these columns are written by the steps alone. */
export type CallFindings = Partial<
  Pick<
    Call,
    | 'answeredBy'
    | 'answeredByEvidence'
    | 'dncQuote'
    | 'summary'
    | 'shortSummary'
    | 'recordingStatus'
    | 'recordingContentType'
    | 'recordingSeconds'
    | 'analyzedAt'
  >
>;

/** What is written about the call when the step is finished, together with that of other steps. */
export interface SavedStep {
  change?: CallFindings;
  events?: readonly NewCallEvent[];
}

/**
 * Writes what a step found, in the transaction that finishes the step. The call is locked, and given as it is
 * after the steps before.
 */
export type SaveStep = (tx: Tx, call: Call) => Promise<SavedStep>;

export type StepResult =
  | { status: 'DONE'; save?: SaveStep }
  /** There is nothing to do, or it cannot be done. `detail` says why, for people. */
  | { status: 'SKIPPED' | 'FAILED'; detail: string; save?: SaveStep }
  /** Another attempt may find it; `otherwise` is the result when time is up. */
  | { status: 'NOT_YET'; detail: string; otherwise: 'SKIPPED' | 'FAILED'; save?: SaveStep };

export interface StepContext {
  signal: AbortSignal;
  /** What an earlier attempt has kept by `keep`, if it did not finish the step; else null. */
  partialResult: unknown;
  /**
   * Commits something for the next attempt, in case this one is interrupted. It waits while the database is
   * away.
   *
   * @returns false if another attempt has taken over: this one must stop.
   */
  keep: (partialResult: object) => Promise<boolean>;
}

/**
 * Does one attempt of a step, outside of any transaction. It may run more than once for a call, also at the
 * same time; of these only one is saved. If it throws, another attempt follows.
 */
export type StepHandler = (app: App, call: Call, context: StepContext) => Promise<StepResult>;

/** A step that this process works on. */
export interface ClaimedStep {
  callId: string;
  kind: PostCallStepKind;
  leaseId: string;
  /** Number of attempts, this one included. */
  attempts: number;
  /** When the first attempt began. */
  startedAt: Date;
  partialResult: unknown;
  /** The call when the step was claimed. */
  call: Call;
}

/**
 * Returns the calls for which the step has nothing to do, each with a human-readable reason. Asked in the
 * transaction that would start the step, which is skipped then.
 */
export type FindNothingToDo = (
  tx: Tx,
  callIds: readonly string[],
) => Promise<ReadonlyMap<string, string>>;

export interface StepWork {
  run: StepHandler;
  nothingToDo?: FindNothingToDo;
  /** What is written when the step fails because all attempts have failed. */
  saveGivenUp?: SaveStep;
}

export type StepHandlers = Readonly<Record<PostCallStepKind, StepWork>>;

/** An attempt failed in an expected way; the message is shown to people. */
export class StepFailure extends Error {
  override name = 'StepFailure';
  readonly retryAfterSeconds: number | null;

  constructor(message: string, retryAfterSeconds: number | null) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
