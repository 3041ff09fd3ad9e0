/** Parses and checks event log cursors sent by clients. */
import { RequestError } from '../errors.ts';

/** @throws RequestError BAD_USER_INPUT for a malformed cursor. */
export function readEventCursor(cursor: string | null | undefined): bigint | null {
  if (cursor === null || cursor === undefined) return null;
  if (/^\d{1,18}$/.test(cursor)) return BigInt(cursor);
  throw new RequestError(
    'BAD_USER_INPUT',
    `${JSON.stringify(cursor.slice(0, 40))} is not a cursor of the event log. Use the \`cursor\` of an event, or \`eventCursor\`.`,
  );
}

/** Checks that a cursor is within the log. `0` is the beginning of the retained log. */
export function checkCursor(after: bigint, last: bigint, expiredThrough: bigint): void {
  if (after > last) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `The cursor ${after} is ahead of the event log, which ends at ${last}. Use the \`cursor\` of an event, or \`eventCursor\`.`,
    );
  }
  if (after !== 0n && after < expiredThrough) {
    throw new RequestError(
      'CURSOR_EXPIRED',
      `Events after cursor ${after} are no longer kept. Read the current state and continue from \`eventCursor\`, or read the remaining events with \`after: "0"\`.`,
      { oldestCursor: String(expiredThrough) },
    );
  }
}
