/** Columns of rows that are read without Prisma. */
import { raw, type Sql } from '@prisma/client/runtime/client';

/** SQL: columns named like the fields of their model, such as `table.created_at AS "createdAt"`. */
export function columnsAs(table: string, fields: readonly string[]): Sql {
  const column = (field: string): string =>
    field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return raw(fields.map((field) => `${table}.${column(field)} AS "${field}"`).join(', '));
}
