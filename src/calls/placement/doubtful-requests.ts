/**
 * Looks for calls that Ultravox may have created although their requests counted as not carried out, right before the
 * same person is called again: the request is repeated, or the next attempt of a campaign follows.
 *
 * What remains: Ultravox lists the call only after this look-up. Then both calls ring, and the one that is reported last
 * is hung up once it is answered, since Ultravox cannot stop a phone that is ringing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import { findByOurId } from '../ultravox/find-by-our-id.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, ingestCall } from '../ultravox/ingest.ts';
import { announceUpdate } from '../updates/call-update.ts';

/** Maximum time for which a claim waits for look-ups: less than it is valid. Slower look-ups go on without it. */
const MAX_CLAIM_WAIT_MS = 5_000;
/** Time for which the result of a look-up that took longer is used for the next claim of the call. */
const RESULT_VALID_MS = 15_000;
/** Maximum number of concurrent look-ups of this process. */
const CONCURRENCY = 5;
/** Minimum and maximum time without look-ups after Ultravox did not answer one. */
const PAUSE_MS = { min: 5_000, max: 60_000 };

/** A request that may have created a call. */
export interface DoubtfulRequest {
  /** ID of its call. */
  id: string;
  refusedAt: Date | null;
}

/** Whether Ultravox has the call; an error if that is unknown, or if the call could not be adopted. */
type LookUp = boolean | Error;

interface LookUps {
  /** By request: those under way, and results that no claim has used yet. */
  results: Map<string, Promise<LookUp>>;
  limiter: ReturnType<typeof createKeyedLimiter>;
  /** Number of look-ups under way or waiting for their turn. */
  pending: number;
  /** The only look-up under way, as long as it is uncertain whether Ultravox answers. */
  trial: Promise<LookUp> | null;
  /** Whether Ultravox has answered a look-up since the last time that none was pending. */
  isAnswering: boolean;
  /** Why no look-up is made until `pausedUntil`, in milliseconds of the monotonic clock. */
  failure: UltravoxError | null;
  pausedUntil: number;
}

const lookUpsOf = perInstance(
  (_app: App): LookUps => ({
    results: new Map(),
    limiter: createKeyedLimiter(CONCURRENCY),
    pending: 0,
    trial: null,
    isAnswering: false,
    failure: null,
    pausedUntil: 0,
  }),
);

/** Finds the doubtful requests that precede each of these claimed calls, by ID of the claimed call. */
export async function doubtfulRequestsBefore(
  { db }: App,
  ids: readonly string[],
): Promise<Map<string, DoubtfulRequest[]>> {
  const rows = await db.$queryRaw<(DoubtfulRequest & { next: string })[]>`
    SELECT id AS next, id, refused_at AS "refusedAt" FROM calls
    WHERE id = ANY(${[...ids]}::uuid[]) AND refused_at IS NOT NULL
    UNION ALL
    SELECT next.id, earlier.id, earlier.refused_at FROM calls next
    JOIN calls earlier ON earlier.campaign_contact_id = next.campaign_contact_id
      AND earlier.id <> next.id
    WHERE next.id = ANY(${[...ids]}::uuid[]) AND earlier.placement <> 'ACCEPTED'
      AND (earlier.refused_at IS NOT NULL OR earlier.placement = 'NOT_CREATED')`;
  const doubtful = new Map<string, DoubtfulRequest[]>();
  for (const { next, ...request } of rows) {
    doubtful.set(next, [...(doubtful.get(next) ?? []), request]);
  }
  return doubtful;
}

/**
 * Looks up calls with doubtful requests, and adopts those that Ultravox has.
 *
 * @returns the IDs of the calls that Ultravox has; the error if that is unknown; null if it takes longer than the claim
 * is valid: the look-ups go on, and the next claim uses their results.
 */
export async function adoptDoubtfulCalls(
  app: App,
  requests: readonly DoubtfulRequest[],
): Promise<Set<string> | Error | null> {
  if (requests.length === 0) return new Set();
  const lookUps = Promise.all(requests.map((request) => lookUpOnce(app, request)));
  const results = await Promise.race([lookUps, pause(MAX_CLAIM_WAIT_MS, null, { ref: false })]);
  if (!results) return null;
  const failure = results.find((result) => result instanceof Error);
  if (failure) return failure;
  for (const request of requests) lookUpsOf(app).results.delete(keyOf(request));
  return new Set(requests.flatMap(({ id }, index) => (results[index] ? id : [])));
}

const keyOf = ({ id, refusedAt }: DoubtfulRequest): string => `${id}/${refusedAt?.getTime()}`;

/** Joins the look-up of the request if it is under way, and uses a recent result. */
function lookUpOnce(app: App, request: DoubtfulRequest): Promise<LookUp> {
  const { results } = lookUpsOf(app);
  const key = keyOf(request);
  const known = results.get(key);
  if (known) return known;
  const result = lookUpInTurn(app, request.id);
  results.set(key, result);
  void result.then((found) => {
    if (found !== false) results.delete(key);
    else setTimeout(() => results.delete(key), RESULT_VALID_MS).unref();
  });
  return result;
}

/** One look-up finds out whether Ultravox answers; then a few run at a time. While it does not answer, none is made. */
async function lookUpInTurn(app: App, id: string): Promise<LookUp> {
  const state = lookUpsOf(app);
  state.pending += 1;
  try {
    while (!state.isAnswering && state.trial) await state.trial;
    if (state.isAnswering) return await state.limiter.run('', () => lookUpUnlessPaused(app, id));
    state.trial = lookUpUnlessPaused(app, id).finally(() => {
      state.trial = null;
    });
    return await state.trial;
  } finally {
    state.pending -= 1;
    if (state.pending === 0) state.isAnswering = false;
  }
}

async function lookUpUnlessPaused(app: App, id: string): Promise<LookUp> {
  const state = lookUpsOf(app);
  if (state.failure && performance.now() < state.pausedUntil) return state.failure;
  const found = await lookUp(app, id);
  state.isAnswering = !isOutage(found);
  state.failure = isOutage(found) ? found : null;
  const requestedMs = (state.failure?.retryAfterSeconds ?? 0) * 1000;
  const pauseMs = Math.min(Math.max(PAUSE_MS.min, requestedMs), PAUSE_MS.max);
  state.pausedUntil = performance.now() + pauseMs;
  return found;
}

function isOutage(result: LookUp): result is UltravoxError {
  return (
    result instanceof UltravoxError && (result.kind === 'unreachable' || result.kind === 'capacity')
  );
}

async function lookUp(app: App, id: string): Promise<LookUp> {
  try {
    const seen = await findByOurId(app, id);
    if (!seen) return false;
    const ingested = await app.db.$transaction((tx) =>
      ingestCall(app, tx, { seen, source: 'LOOK_UP' }),
    );
    if (ingested) {
      announceUpdate(app, ingested.before, ingested.after);
      hangUpIfUnwanted(app, ingested);
    } else await hangUpIfNotIngested(app, seen);
    return true;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
