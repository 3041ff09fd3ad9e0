/** The numbers that an organization must not call, whoever they belong to. */
import type { App, Tx } from '../app.ts';
import type { DoNotCallEntry } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { checkPhoneNumber, toE164 } from './record.ts';

export const MAX_ENTRIES = 1_000;
const MAX_REASON = 500;
const MAX_SOURCE = 100;

export interface DoNotCallInput {
  phoneNumber: string;
  reason?: string | null | undefined;
  source?: string | null | undefined;
}

/**
 * Whether this number must not be called. Another spelling of a number on the list counts as well.
 * An error of the database is thrown on, so that whoever asks does not call.
 */
export async function isOnDoNotCallList(
  db: App['db'] | Tx,
  organizationId: string,
  phoneNumber: string,
): Promise<boolean> {
  const spellings = [phoneNumber, toE164(phoneNumber) ?? phoneNumber];
  const found = await db.doNotCallEntry.findFirst({
    where: { organizationId, phoneNumber: { in: spellings } },
    select: { phoneNumber: true },
  });
  return found !== null;
}

/**
 * Puts numbers on the list: all, or none when one is wrong. For a number that is on it already,
 * a reason and a source that are given replace those it has.
 */
export async function addToDoNotCall(
  app: App,
  viewer: Viewer,
  inputs: readonly DoNotCallInput[],
): Promise<{ entries: DoNotCallEntry[]; addedCount: number }> {
  const checks = new Checks();
  checkCount(checks, inputs, 'entries');
  const rows = new Map<
    string,
    { phone_number: string; reason: string | null; source: string | null }
  >();
  if (checks.problems.length === 0) {
    inputs.forEach((input, index) => {
      const path = ['entries', index];
      const phoneNumber = checkPhoneNumber(checks, input.phoneNumber, [...path, 'phoneNumber']);
      const reason = readText(checks, input.reason, [...path, 'reason'], MAX_REASON);
      const source = readText(checks, input.source, [...path, 'source'], MAX_SOURCE);
      if (phoneNumber) {
        const earlier = rows.get(phoneNumber);
        rows.set(phoneNumber, {
          phone_number: phoneNumber,
          reason: reason ?? earlier?.reason ?? null,
          source: source ?? earlier?.source ?? null,
        });
      }
    });
  }
  checks.throwIfAny();
  const numbers = [...rows.keys()];
  const added = await app.db.$queryRaw<{ added: boolean }[]>`
    INSERT INTO do_not_call_entries AS e (organization_id, phone_number, reason, source, created_at)
    SELECT ${viewer.organizationId}::uuid, r.phone_number, r.reason, r.source, ${app.now()}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify([...rows.values()])}::jsonb)
      AS r(phone_number text, reason text, source text)
    ORDER BY r.phone_number
    ON CONFLICT (organization_id, phone_number) DO UPDATE SET
      reason = coalesce(EXCLUDED.reason, e.reason), source = coalesce(EXCLUDED.source, e.source)
    RETURNING e.xmax = 0 AS added`;
  const entries = await app.db.doNotCallEntry.findMany({
    where: { ...ownedBy(viewer), phoneNumber: { in: numbers } },
  });
  const order = new Map(numbers.map((number, index) => [number, index]));
  entries.sort((a, b) => order.get(a.phoneNumber)! - order.get(b.phoneNumber)!);
  return { entries, addedCount: added.filter((row) => row.added).length };
}

/** Takes numbers off the list. One that is not on it is no mistake: that is what was wanted. */
export async function removeFromDoNotCall(
  app: App,
  viewer: Viewer,
  phoneNumbers: readonly string[],
): Promise<number> {
  const checks = new Checks();
  checkCount(checks, phoneNumbers, 'phoneNumbers');
  const numbers =
    checks.problems.length === 0
      ? phoneNumbers.map((number, index) =>
          checkPhoneNumber(checks, number, ['phoneNumbers', index]),
        )
      : [];
  checks.throwIfAny();
  const { count } = await app.db.doNotCallEntry.deleteMany({
    where: {
      ...ownedBy(viewer),
      phoneNumber: { in: numbers.filter((number) => number !== undefined) },
    },
  });
  return count;
}

function checkCount(checks: Checks, list: readonly unknown[], member: string): void {
  if (list.length === 0) checks.add('REQUIRED', 'Give at least one phone number.', [member]);
  if (list.length > MAX_ENTRIES) {
    checks.add(
      'LIMIT_EXCEEDED',
      `At most ${MAX_ENTRIES} at once; there are ${list.length}. Send them in parts.`,
      [member],
    );
  }
}

function readText(
  checks: Checks,
  value: string | null | undefined,
  path: readonly (string | number)[],
  max: number,
): string | undefined {
  const text = value?.trim();
  if (!text) return undefined;
  if (!text.isWellFormed()) {
    return checks.add('INVALID_INPUT', 'It holds characters that are not valid Unicode.', path);
  }
  return checks.text(text, path, { max });
}
