/** Converts plans to SQL: one row per contact, from a few parameters. */
import type { Tx } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import type { PlanSegment } from '../schedule/planner.ts';

/**
 * A query with one row per planned contact: `timezone` (null if it has none), `ordinal` (its index among the contacts
 * with this zone, `row_number() OVER (PARTITION BY timezone ORDER BY position) - 1`) and `scheduled_at`, the same
 * instant as `dueAt`.
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
