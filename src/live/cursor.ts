/** Cursors of the event log as clients send them. */
import { RequestError } from '../errors.ts';

/** @throws RequestError BAD_USER_INPUT for a malformed cursor. */
export function readCursor(cursor: string | null | undefined): bigint | null {
  if (cursor === null || cursor === undefined) return null;
  if (/^\d{1,18}$/.test(cursor)) return BigInt(cursor);
  throw new RequestError(
    'BAD_USER_INPUT',
    `${JSON.stringify(cursor.slice(0, 40))} is not a cursor of the event log. Take cursors from events or from eventCursor.`,
  );
}
