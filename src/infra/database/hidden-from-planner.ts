/** Values in SQL that do not influence the plan of a statement. */
import { raw, type Sql, sqltag as sql } from '@prisma/client/runtime/client';

type Type = 'boolean' | 'text[]' | 'uuid[]';

/**
 * SQL: a value that PostgreSQL does not see when it plans the statement. PostgreSQL keeps a generic plan only
 * if it looks as cheap as the plans for the actual values. For an array of one element it never does, since the
 * generic plan assumes ten elements. Every execution is then planned again, which takes longer than the execution
 * itself. For statements that are executed often and whose best plan is always the same.
 */
export function hiddenFromPlanner(value: unknown, type: Type): Sql {
  // With the second cast, ANY takes the value as an array instead of as the rows of a subquery.
  return sql`(SELECT ${value}::${raw(type)})::${raw(type)}`;
}
