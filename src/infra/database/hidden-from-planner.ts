import { raw, type Sql, sqltag as sql } from '@prisma/client/runtime/client';

type Type = 'boolean' | 'text[]' | 'uuid[]';

/**
 * SQL: a value that PostgreSQL does not see when it plans the statement. It keeps a plan for all values only if
 * that looks as cheap as the plans for the values at hand, which it does not to who sees that an array has one
 * element instead of the ten that are assumed otherwise: then each execution is planned anew, which takes
 * longer than to execute it. For statements that are executed often, and whose best plan is always the same.
 */
export function hiddenFromPlanner(value: unknown, type: Type): Sql {
  // The second cast makes an array of what ANY would take for the rows of a subquery.
  return sql`(SELECT ${value}::${raw(type)})::${raw(type)}`;
}
