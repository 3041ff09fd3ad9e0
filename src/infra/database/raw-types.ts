/** Encodes and decodes values of raw statements sent without Prisma, in the same way as Prisma's `$queryRaw`. */
import { Decimal } from '@prisma/client/runtime/client';
import { type CustomTypesConfig, types } from 'pg';

/** https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat */
const INT8 = 20;
const DATE = 1082;
const TIMESTAMP = 1114;
const NUMERIC = 1700;

/** Parsers for types that `pg` decodes differently. Results contain no arrays of these types. */
const PARSERS = new Map<number, (text: string) => unknown>([
  [INT8, BigInt],
  [DATE, (text) => new Date(`${text}T00:00:00Z`)],
  [TIMESTAMP, (text) => new Date(`${text.replace(' ', 'T')}Z`)],
  [NUMERIC, (text) => new Decimal(text)],
]);

export const RAW_TYPES = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    PARSERS.get(oid) ?? types.getTypeParser(oid, format as 'text'),
} as CustomTypesConfig;

/** Encodes a parameter. `pg` would write an instant in the time zone of this process. */
export function rawValue(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  return Array.isArray(value) ? value.map(rawValue) : value;
}
