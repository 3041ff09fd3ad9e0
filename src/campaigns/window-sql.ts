/** The window of a campaign for PostgreSQL, to choose among many campaigns in one statement. */
import { Prisma } from '../generated/prisma/client.ts';
import { periodAt } from './zone.ts';

export interface WindowColumns {
  /** timestamptz */
  at: Prisma.Sql;
  /** text, a name that `canonicalTimeZone` gave */
  timezone: Prisma.Sql;
  /** int[] or smallint[] */
  workingDays: Prisma.Sql;
  /** int or smallint, or null, as in `Window` */
  startMinute: Prisma.Sql;
  endMinute: Prisma.Sql;
  /** As `zoneOffsets` gives it for `at`. */
  offsets?: Prisma.Sql;
}

/**
 * A condition that means exactly what `isInside` means, never null as long as instant, zone and
 * working days are there.
 *
 * Without `offsets` the clock changes are those that PostgreSQL knows of. Its zone data may be older
 * or newer than ours, and then the two differ for zones that have changed their rules in between
 * (Alberta and Morocco with the embedded PostgreSQL 18.4 and Node 26.10); a zone that it does not
 * know is an error of the whole statement. So whoever decides about a call gives `offsets`.
 */
export function insideWindow(columns: WindowColumns): Prisma.Sql {
  const start = Prisma.sql`coalesce(${columns.startMinute}, 0)`;
  const end = Prisma.sql`coalesce(${columns.endMinute}, 1440)`;
  // Moved back by its start, a window that crosses midnight lies within the day it belongs to.
  const local = Prisma.sql`(${localTime(columns)} - make_interval(mins => ${start}))`;
  return Prisma.sql`(
    extract(isodow FROM ${local})::int = ANY (${columns.workingDays})
    AND ${local} - date_trunc('day', ${local}) < make_interval(
      mins => ${end} - ${start} + CASE WHEN ${end} > ${start} THEN 0 ELSE 1440 END
    )
  )`;
}

/** What the wall clock in the zone shows, a timestamp. */
export function localTime({
  at,
  timezone,
  offsets,
}: Pick<WindowColumns, 'at' | 'timezone' | 'offsets'>): Prisma.Sql {
  const byPostgres = Prisma.sql`(${at}) AT TIME ZONE (${timezone})`;
  if (!offsets) return Prisma.sql`(${byPostgres})`;
  return Prisma.sql`coalesce(
    (${at}) AT TIME ZONE 'UTC' + make_interval(secs => ((${offsets}) ->> (${timezone}))::float8),
    ${byPostgres}
  )`;
}

/**
 * The offset of every zone at one instant, in seconds by its name (jsonb), so that PostgreSQL goes
 * by the same clocks as a plan does. Other names of zones (`Asia/Kolkata` for `Asia/Calcutta`) are
 * in it if they are given as `more`; for what is not in it PostgreSQL's own data count.
 */
export function zoneOffsets(at: Temporal.Instant, more: Iterable<string> = []): Prisma.Sql {
  const offsets: Record<string, number> = {};
  for (const names of [Intl.supportedValuesOf('timeZone'), ['UTC', 'GMT'], more]) {
    for (const name of names) offsets[name] = periodAt(name, at.epochMilliseconds).offset / 1000;
  }
  return Prisma.sql`${JSON.stringify(offsets)}::jsonb`;
}
