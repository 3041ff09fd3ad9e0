/**
 * Holds on call creation, for all processes: until when to wait, and how many requests count against the rate limits
 * although they created no call.
 *
 * Ultravox asks for a hold with `Retry-After`. After it, creations begin slowly, since the account may be able to take
 * fewer calls than the settings say: one at a time, and one more with each that is accepted. Other holds follow from
 * outcomes that stay unknown, for example if a proxy responds in place of Ultravox: each costs a call its attempt, so
 * few are made until one succeeds.
 */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';

/** Longer than any period that the limits cover. */
const RETENTION_SECONDS = 120;
const MAX_HOLD_SECONDS = 60;
/** A minute, which the longest limit covers, and the time that a request may take to arrive. */
const RECENT_SECONDS = 75;
/** Age up to which unknown outcomes count. */
const LOOK_BACK_MINUTES = 15;

/**
 * Records that Ultravox had no capacity for a creation. If `waitSeconds` is above 0, no process sends another creation
 * until that time has passed, whatever happens to the call. Creations then begin slowly. Returns the end of the wait.
 */
export function recordRefusal(app: App, waitSeconds: number): Promise<Date> {
  return insertHold(app, { isCounted: true, startsSlowly: true, seconds: waitSeconds });
}

/** Counts a request that created no call, for another reason than a lack of capacity, against the rate limits. */
export async function countRequest(app: App): Promise<void> {
  await insertHold(app, { isCounted: true, startsSlowly: false, seconds: 0 });
}

/** Holds creations back for some seconds. Returns the end of the hold. */
export function holdCreations(app: App, seconds: number): Promise<Date> {
  return insertHold(app, { isCounted: false, startsSlowly: false, seconds });
}

async function insertHold(
  { db }: App,
  hold: { isCounted: boolean; startsSlowly: boolean; seconds: number },
): Promise<Date> {
  const [{ resumeAt }] = await db.$queryRaw<[{ resumeAt: Date }]>`
    WITH outdated AS (
      DELETE FROM creation_refusals WHERE greatest(refused_at, resume_at)
        < statement_timestamp() - make_interval(secs => ${RETENTION_SECONDS})
    )
    INSERT INTO creation_refusals (refused_at, starts_slowly, resume_at)
    VALUES (CASE WHEN ${hold.isCounted} THEN clock_timestamp() END, ${hold.startsSlowly},
      clock_timestamp() + make_interval(secs => ${hold.seconds}))
    RETURNING resume_at AS "resumeAt"`;
  return resumeAt;
}

/**
 * Seconds to hold creations back after one whose outcome is unknown: 0 after a single one, then doubling with each
 * further one until a creation is accepted. The caller has recorded the outcome.
 */
export async function holdAfterUnknownSeconds({ db }: App): Promise<number> {
  const [{ count }] = await db.$queryRaw<[{ count: bigint }]>`
    SELECT count(*) AS count FROM calls lost
    WHERE placement IN ('UNKNOWN', 'NOT_CREATED') AND refused_at IS NULL
      AND claimed_at > statement_timestamp() - make_interval(mins => ${LOOK_BACK_MINUTES})
      AND NOT ${ACCEPTED_SINCE}`;
  return count < 2n ? 0 : Math.min(2 ** (Number(count) - 1), MAX_HOLD_SECONDS);
}

/** SQL condition on calls `lost`: a creation that was sent later has been accepted. */
const ACCEPTED_SINCE = Prisma.sql`EXISTS (
  SELECT 1 FROM calls later
  WHERE later.placement = 'ACCEPTED' AND later.sent_at > lost.sent_at
    AND later.claimed_at > lost.claimed_at - interval '1 minute')`;

/** SQL condition: the outcome of the latest creations is unknown, so the next one is a trial. */
export const ON_TRIAL = Prisma.sql`EXISTS (
  SELECT 1 FROM calls lost
  WHERE placement = 'UNKNOWN' AND refused_at IS NULL AND ended_at IS NULL AND claimed_at IS NOT NULL
    AND NOT ${ACCEPTED_SINCE})`;

/** SQL expression: the time until which creations are held back; null if they are not. */
export const HOLD_UNTIL = Prisma.sql`(
  SELECT max(resume_at) FROM creation_refusals WHERE resume_at > statement_timestamp())`;

/** SQL condition on an instant: recent enough that a creation counts against the limits, with some allowance. */
export const isRecent = (instant: Prisma.Sql): Prisma.Sql =>
  Prisma.sql`${instant} > statement_timestamp() - make_interval(secs => ${RECENT_SECONDS})`;

/** SQL relation with one row (`created_by`) for each recent request that created no call. */
export const RECENT_REFUSALS = Prisma.sql`(
  SELECT refused_at AS created_by FROM creation_refusals WHERE ${isRecent(Prisma.sql`refused_at`)})`;

/**
 * SQL expression: number of creations accepted since the latest recent refusal for lack of capacity; null if there is
 * none.
 */
export const ACCEPTED_SINCE_REFUSAL = Prisma.sql`(
  SELECT (
    SELECT count(*) FROM calls
    WHERE ${isRecent(Prisma.sql`claimed_at`)}
      AND placement = 'ACCEPTED' AND sent_at > latest.refused_at)
  FROM (SELECT max(refused_at) AS refused_at FROM creation_refusals
    WHERE starts_slowly AND ${isRecent(Prisma.sql`refused_at`)}) latest
  WHERE latest.refused_at IS NOT NULL)`;

/** Time until which creations are held back; null if they are not. */
export async function creationHold({ db }: Pick<App, 'db'>): Promise<Date | null> {
  const [{ until }] = await db.$queryRaw<[{ until: Date | null }]>`SELECT ${HOLD_UNTIL} AS until`;
  return until;
}
