/** Columns of rows that are read without Prisma. */
import { raw, type Sql } from '@prisma/client/runtime/client';

/** Name of the column of a field: `createdAt` is `created_at`. */
export type SnakeCase<Field extends string> = Field extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : '';

/** SQL: columns named like the fields of their model, such as `table.created_at AS "createdAt"`. */
export function columnsAs(table: string, fields: readonly string[]): Sql {
  return raw(fields.map((field) => `${table}.${columnOf(field)} AS "${field}"`).join(', '));
}

/** Name of the column of a field. */
export function columnOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
