/**
 * Holds on creations, for all processes: until when the account has to wait, and how many requests count
 * against the rates although they created no call.
 *
 * Ultravox asks for a hold with `Retry-After`. Others follow from outcomes that stay unknown, as when a proxy
 * answers in place of Ultravox: each costs the attempt of a call, so few are made until one succeeds.
 */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';

/** Longer than any period that the limits count. */
const KEPT_SECONDS = 120;
const LONGEST_HOLD_SECONDS = 60;
/** Unknown outcomes further back do not count. */
const LOOK_BACK_MINUTES = 15;

/**
 * Records a refused creation. With `waitSeconds` above 0 no process sends another one before they have
 * passed, regardless of what becomes of the call. Returns when that is.
 */
export function recordRefusal(app: App, waitSeconds: number): Promise<Date> {
  return insertHold(app, Prisma.sql`clock_timestamp()`, waitSeconds);
}

/** Holds creations back for a while. Returns until when. */
export function holdCreations(app: App, seconds: number): Promise<Date> {
  return insertHold(app, Prisma.sql`NULL`, seconds);
}

async function insertHold({ db }: App, refusedAt: Prisma.Sql, seconds: number): Promise<Date> {
  const [{ resumeAt }] = await db.$queryRaw<[{ resumeAt: Date }]>`
    WITH outdated AS (
      DELETE FROM creation_refusals WHERE greatest(refused_at, resume_at)
        < statement_timestamp() - make_interval(secs => ${KEPT_SECONDS})
    )
    INSERT INTO creation_refusals (refused_at, resume_at)
    VALUES (${refusedAt}, clock_timestamp() + make_interval(secs => ${seconds}))
    RETURNING resume_at AS "resumeAt"`;
  return resumeAt;
}

/**
 * Seconds for which creations are held back after one whose outcome is unknown: none after a single one, then
 * doubling with each, until one is accepted. The caller has recorded the outcome.
 */
export async function holdAfterUnknownSeconds({ db }: App): Promise<number> {
  const [{ count }] = await db.$queryRaw<[{ count: bigint }]>`
    SELECT count(*) AS count FROM calls lost
    WHERE placement IN ('UNKNOWN', 'NOT_CREATED') AND refused_at IS NULL
      AND claimed_at > statement_timestamp() - make_interval(mins => ${LOOK_BACK_MINUTES})
      AND NOT ${ACCEPTED_SINCE}`;
  return count < 2n ? 0 : Math.min(2 ** (Number(count) - 1), LONGEST_HOLD_SECONDS);
}

/** SQL condition on calls `lost`: a creation that was sent later has been accepted. */
const ACCEPTED_SINCE = Prisma.sql`EXISTS (
  SELECT 1 FROM calls later
  WHERE later.placement = 'ACCEPTED' AND later.sent_at > lost.sent_at
    AND later.claimed_at > lost.claimed_at - interval '1 minute')`;

/** SQL condition: the outcome of the last creations is unknown, so that the next one is a trial. */
export const ON_TRIAL = Prisma.sql`EXISTS (
  SELECT 1 FROM calls lost
  WHERE placement = 'UNKNOWN' AND refused_at IS NULL AND ended_at IS NULL
    AND NOT ${ACCEPTED_SINCE})`;

/** SQL expression: until when creations are held back; null when they are not. */
export const HOLD_UNTIL = Prisma.sql`(
  SELECT max(resume_at) FROM creation_refusals WHERE resume_at > statement_timestamp())`;

/** SQL relation with one row (`created_by`) for each creation that was refused lately. */
export const RECENT_REFUSALS = Prisma.sql`(
  SELECT refused_at AS created_by FROM creation_refusals
  WHERE refused_at > statement_timestamp() - interval '75 seconds')`;

/** Until when creations are held back; null when they are not. */
export async function creationHold({ db }: Pick<App, 'db'>): Promise<Date | null> {
  const [{ until }] = await db.$queryRaw<[{ until: Date | null }]>`SELECT ${HOLD_UNTIL} AS until`;
  return until;
}
