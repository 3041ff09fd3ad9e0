/** Converts plans to SQL: one row per contact, from a few parameters. */
import type { Tx } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import type { Plan, PlanSegment } from '../schedule/planner.ts';

/**
 * A query with one row per planned contact: `timezone` (null if it has none), `ordinal` (its index among the contacts
 * with this zone, `row_number() OVER (PARTITION BY timezone ORDER BY position) - 1`) and `scheduled_at`, the time
 * at which it is due.
 */
export function plannedRows(segments: readonly PlanSegment[]): Prisma.Sql {
  const rows = JSON.stringify(
    segments.map(({ timezone, first, count, from, stepMs }) => ({
      timezone,
      first,
      count,
      from_ms: from.epochMilliseconds,
      step_ms: stepMs,
    })),
  );
  return Prisma.sql`
    SELECT s.timezone,
           s.first + i AS ordinal,
           timestamptz 'epoch'
             + (s.from_ms + floor(i * s.step_ms)::bigint) * interval '1 millisecond' AS scheduled_at
    FROM jsonb_to_recordset(${rows}::jsonb)
           AS s(timezone text, first int, count int, from_ms bigint, step_ms float8),
         generate_series(0, s.count - 1) AS i`;
}

/**
 * Joins each contact of `numbered`, by `zone` and `place_in_zone`, to its time `planned.scheduled_at`; null if it has
 * none.
 */
export function joinPlan(plan: Plan): Prisma.Sql {
  return Prisma.sql`
    LEFT JOIN (${plannedRows(plan.segments)}) AS planned
      ON coalesce(planned.timezone, '') = numbered.zone
        AND planned.ordinal = numbered.place_in_zone`;
}

/** Status and skip reason of a contact that `joinPlan` has joined to its time, if it has one. */
export const PLANNED_STATUS = Prisma.sql`
  CASE WHEN planned.scheduled_at IS NULL THEN 'SKIPPED' ELSE 'SCHEDULED' END AS status,
  CASE WHEN planned.scheduled_at IS NULL THEN 'NEVER_OPEN' END AS skip_reason`;

/**
 * Runs statements that join many contacts by more than an index. For a new campaign, PostgreSQL may not
 * have statistics yet, and would choose nested loops as for a few rows.
 */
export async function withoutNestedLoops<Result>(
  tx: Tx,
  work: () => Promise<Result>,
): Promise<Result> {
  await tx.$queryRaw`SELECT set_config('enable_nestloop', 'off', true)`;
  const result = await work();
  await tx.$queryRaw`SELECT set_config('enable_nestloop', 'on', true)`;
  return result;
}
