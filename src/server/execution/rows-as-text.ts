/** Serializes rows as text, including types that JSON lacks, and parses them. */
import { Prisma } from '../../generated/prisma/client.ts';

/** A value other than a string, number, boolean or null is written as a pair of its kind and its content. */
type Written = string | number | boolean | null | [kind: string, content: unknown];

/** Omits undefined members. @throws Error for objects of unknown classes. */
export function rowsToText(value: unknown): string {
  return JSON.stringify(write(value));
}

export function rowsFromText(text: string): unknown {
  return read(JSON.parse(text) as Written);
}

function write(value: unknown): Written {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return value;
    case 'bigint':
      return ['bigint', value.toString()];
    case 'object':
      return value === null ? null : writeObject(value);
    default:
      throw new Error(`A ${typeof value} cannot be stored`);
  }
}

function writeObject(value: object): Written {
  if (Array.isArray(value)) return ['array', value.map(write)];
  if (value instanceof Date) return ['date', value.toISOString()];
  if (Prisma.Decimal.isDecimal(value)) return ['decimal', value.toString()];
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Error(`An object of the class ${value.constructor.name} cannot be stored`);
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return ['object', members.map(([name, member]) => [name, write(member)])];
}

function read(written: Written): unknown {
  if (!Array.isArray(written)) return written;
  const [kind, content] = written;
  switch (kind) {
    case 'bigint':
      return BigInt(content as string);
    case 'array':
      return (content as Written[]).map(read);
    case 'date':
      return new Date(content as string);
    case 'decimal':
      return new Prisma.Decimal(content as string);
    case 'object':
      return Object.fromEntries(
        (content as [string, Written][]).map(([name, member]) => [name, read(member)]),
      );
    default:
      throw new Error(`Unknown kind of a stored value: ${kind}`);
  }
}
