/**
 * Defines the post-call steps: the work done for an answered call after its end. Each step runs independently and may
 * be repeated, so a step that fails or hangs delays neither other steps nor other calls. The state of each step is
 * stored in `post_call_steps`; `runner.ts` runs them.
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
  /** Steps that must finish first, with any result. */
  after: readonly PostCallStepKind[];
  /** Seconds after the first attempt at which the step fails if its attempts still fail. */
  giveUpSeconds: number;
  /** The same limit if the result does not exist yet, such as a summary. */
  waitSeconds: number;
  /** Set if the step needs no external data: it is done in the transaction that ends the last step it waits for. */
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

/** Maximum length of the stored reason why an attempt failed or a step was skipped. */
export const MAX_DETAIL = 500;

/** Columns of a call that steps change. Only steps write them. */
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

/** What to write to the call when the step finishes, together with the results of other steps. */
export interface SavedStep {
  change?: CallFindings;
  events?: readonly NewCallEvent[];
}

/**
 * Writes the findings of a step, in the transaction that finishes it. The call is locked, and includes the changes of
 * earlier steps.
 */
export type SaveStep = (tx: Tx, call: Call) => Promise<SavedStep>;

export type StepResult =
  | { status: 'DONE'; save?: SaveStep }
  /** There is nothing to do, or it cannot be done. `detail` is the human-readable reason. */
  | { status: 'SKIPPED' | 'FAILED'; detail: string; save?: SaveStep }
  /** Another attempt may succeed. `otherwise` is the result once the time limit is reached. */
  | { status: 'NOT_YET'; detail: string; otherwise: 'SKIPPED' | 'FAILED'; save?: SaveStep };

export interface StepContext {
  signal: AbortSignal;
  /** Value that an earlier unfinished attempt stored with `keep`; otherwise null. */
  partialResult: unknown;
  /**
   * Commits data for the next attempt, in case this one is interrupted. Waits while the database is unavailable.
   *
   * @returns false if another attempt has taken over: this one must then stop.
   */
  keep: (partialResult: object) => Promise<boolean>;
}

/**
 * Makes one attempt at a step, outside of any transaction. May run more than once for a call, even concurrently; only
 * one result is saved. If it throws, another attempt follows.
 */
export type StepHandler = (app: App, call: Call, context: StepContext) => Promise<StepResult>;

/** A step that this process is running. */
export interface ClaimedStep {
  callId: string;
  kind: PostCallStepKind;
  leaseId: string;
  /** Number of attempts, including this one. */
  attempts: number;
  /** When the first attempt began. */
  startedAt: Date;
  partialResult: unknown;
  /** The call as of the claim of the step. */
  call: Call;
}

/**
 * Returns the calls for which the step has nothing to do, each with a human-readable reason. Runs in the transaction
 * that would start the step; the step is then skipped.
 */
export type FindNothingToDo = (
  tx: Tx,
  callIds: readonly string[],
) => Promise<ReadonlyMap<string, string>>;

export interface StepWork {
  run: StepHandler;
  nothingToDo?: FindNothingToDo;
  /** Writes the result when the step fails because all attempts failed. */
  saveGivenUp?: SaveStep;
}

export type StepHandlers = Readonly<Record<PostCallStepKind, StepWork>>;

/** An attempt failed in an expected way. Users see the message. */
export class StepFailure extends Error {
  override name = 'StepFailure';
  readonly retryAfterSeconds: number | null;

  constructor(message: string, retryAfterSeconds: number | null) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
