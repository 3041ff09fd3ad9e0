/** Cursors of lists: encrypted sort values, bound to a list, its order and an organization. */
import { RequestError } from '../../errors.ts';
import type { Cipher } from '../../infra/cipher.ts';
import type { Position, SortTerm, SortValue } from './keyset.ts';

/** What a cursor is bound to. */
export interface CursorScope {
  /** The field that returns the list, such as `Agent.calls`. */
  list: string;
  terms: readonly SortTerm[];
  organizationId: string;
}

/** In characters; longer than any cursor that is issued, because sort columns hold at most 255 characters. */
const MAX_LENGTH = 4_096;

type Encoded = string | number | boolean | null | { date: number } | { integer: string };

/** Returns a function that writes the cursors of positions. */
export function cursorWriter(cipher: Cipher, scope: CursorScope): (position: Position) => string {
  let context: string | undefined;
  return (position) => {
    context ??= contextOf(scope);
    return cipher.seal(JSON.stringify(position.map(encode)), context);
  };
}

/** @throws RequestError BAD_USER_INPUT for a string that is not a cursor of this scope. */
export function readCursor(
  cipher: Cipher,
  scope: CursorScope,
  argument: { name: 'after' | 'before'; value: string },
): Position {
  const { name, value } = argument;
  const text = value.length <= MAX_LENGTH ? cipher.unseal(value, contextOf(scope)) : null;
  if (text === null) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `\`${name}\` is not a cursor of \`${scope.list}\` with this sort order. Use a cursor from \`pageInfo\` or \`edges\` of the same list, queried with the same \`orderBy\`, or start again without a cursor.`,
    );
  }
  return (JSON.parse(text) as Encoded[]).map(decode);
}

function contextOf({ list, terms, organizationId }: CursorScope): string {
  const order = terms.map(({ column, direction, nulls }) => [column, direction, nulls ?? '']);
  return JSON.stringify(['cursor', list, order, organizationId]);
}

function encode(value: SortValue): Encoded {
  if (value instanceof Date) return { date: value.getTime() };
  if (typeof value === 'bigint') return { integer: String(value) };
  // A decimal keeps its digits as text.
  return typeof value === 'object' && value !== null ? String(value) : value;
}

function decode(value: Encoded): SortValue {
  if (typeof value !== 'object' || value === null) return value;
  return 'date' in value ? new Date(value.date) : BigInt(value.integer);
}
