/** The do-not-call list of an organization: phone numbers that it must not call. */
import type { App, Tx } from '../app.ts';
import type { DoNotCallEntry } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { truncateText } from '../infra/database/storable-text.ts';
import { canonicalPhoneNumber, phoneNumberForms } from '../infra/phone-number.ts';
import { commitResult, committedEarlier, ownedBy, type Viewer } from '../viewer.ts';
import { checkPhoneNumber } from './fields.ts';

export const MAX_ENTRIES = 1_000;
export const MAX_REASON = 500;
export const MAX_SOURCE = 100;

export interface DoNotCallInput {
  phoneNumber: string;
  reason?: string | null | undefined;
  source?: string | null | undefined;
}

/**
 * Whether the number is on the organization's do-not-call list, in any of its forms. Database errors are thrown, so
 * that a caller that cannot check does not call.
 */
export async function isOnDoNotCallList(
  db: App['db'] | Tx,
  organizationId: string,
  phoneNumber: string,
): Promise<boolean> {
  const canonical = canonicalPhoneNumber(phoneNumber) ?? phoneNumber;
  const found = await db.doNotCallEntry.findFirst({
    where: { organizationId, phoneNumber: { in: [phoneNumber, ...phoneNumberForms(canonical)] } },
    select: { phoneNumber: true },
  });
  return found !== null;
}

/**
 * Adds numbers to the list: all of them, or none if one is invalid. For a number that is already on
 * the list, a given reason or source replaces the existing one.
 */
export async function addToDoNotCall(
  app: App,
  viewer: Viewer,
  inputs: readonly DoNotCallInput[],
): Promise<{ entries: DoNotCallEntry[]; addedCount: number }> {
  const checks = new Checks();
  checks.notEmpty(inputs, ['entries']);
  const rows = new Map<string, NewEntry>();
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
  checks.throwIfAny();
  const numbers = [...rows.keys()];
  const addedCount =
    committedEarlier<number>(viewer) ??
    (await app.db.$transaction(async (tx) => {
      const target = { ...ownedBy(viewer), now: app.now() };
      return commitResult(tx, viewer, await upsertEntries(tx, target, [...rows.values()]));
    }));
  const entries = await app.db.doNotCallEntry.findMany({
    where: { ...ownedBy(viewer), phoneNumber: { in: numbers } },
  });
  const order = new Map(numbers.map((number, index) => [number, index]));
  entries.sort((a, b) => order.get(a.phoneNumber)! - order.get(b.phoneNumber)!);
  return { entries, addedCount };
}

interface NewEntry {
  phone_number: string;
  reason: string | null;
  source: string | null;
}

/**
 * Adds numbers to the list. For a number that is already on the list, a given reason or source replaces the existing
 * one.
 *
 * @returns the number of entries that were not on the list before.
 */
export async function upsertEntries(
  db: App['db'] | Tx,
  { organizationId, now }: { organizationId: string; now: Date },
  entries: readonly NewEntry[],
): Promise<number> {
  const added = await db.$queryRaw<{ added: boolean }[]>`
    INSERT INTO do_not_call_entries AS e (organization_id, phone_number, reason, source, created_at)
    SELECT DISTINCT ON (r.phone_number) ${organizationId}::uuid, r.phone_number, r.reason, r.source,
      ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(entries)}::jsonb)
      AS r(phone_number text, reason text, source text)
    ORDER BY r.phone_number
    ON CONFLICT (organization_id, phone_number) DO UPDATE SET
      reason = coalesce(EXCLUDED.reason, e.reason), source = coalesce(EXCLUDED.source, e.source)
    WHERE coalesce(EXCLUDED.reason, e.reason) IS DISTINCT FROM e.reason
      OR coalesce(EXCLUDED.source, e.source) IS DISTINCT FROM e.source
    RETURNING e.xmax = 0 AS added`;
  return added.filter((row) => row.added).length;
}

/**
 * Removes numbers from the list, in all of their forms, and returns the numbers of the removed entries. Numbers that
 * are not on the list are ignored.
 */
export async function removeFromDoNotCall(
  app: App,
  viewer: Viewer,
  phoneNumbers: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  checks.notEmpty(phoneNumbers, ['phoneNumbers']);
  const numbers = phoneNumbers.map((number, index) =>
    checkPhoneNumber(checks, number, ['phoneNumbers', index]),
  );
  checks.throwIfAny();
  const earlier = committedEarlier<string[]>(viewer);
  if (earlier) return earlier;
  const forms = numbers.flatMap((number) => (number ? phoneNumberForms(number) : []));
  return app.db.$transaction(async (tx) => {
    const removed = await tx.$queryRaw<{ phoneNumber: string }[]>`
      DELETE FROM do_not_call_entries
      WHERE organization_id = ${viewer.organizationId}::uuid AND phone_number = ANY(${forms})
      RETURNING phone_number AS "phoneNumber"`;
    const phoneNumbers = removed.map(({ phoneNumber }) => phoneNumber);
    return commitResult(tx, viewer, phoneNumbers);
  });
}

/** A number in an imported row whose person must not be called. */
export interface OptOut {
  phoneNumber: string;
  reason: string;
}

/** Source of do-not-call entries added by imports. */
const IMPORT_SOURCE = 'IMPORT';

/** Reason of an entry that comes from an opt-out column. */
export function optOutReason(column: string): string {
  return truncateText(`Column "${column}" of an imported file`, MAX_REASON);
}

/**
 * Adds the opt-outs of imported rows to the list. Existing entries keep their reason and source. Callers do this before
 * anything that may fail, so that a person who opted out is not called, whatever happens to the rows.
 */
export async function addOptOuts(
  db: App['db'],
  { organizationId, now }: { organizationId: string; now: Date },
  optOuts: readonly OptOut[],
): Promise<void> {
  if (optOuts.length === 0) return;
  await db.$executeRaw`
    INSERT INTO do_not_call_entries (organization_id, phone_number, reason, source, created_at)
    SELECT DISTINCT ON (r."phoneNumber") ${organizationId}::uuid, r."phoneNumber", r.reason,
      ${IMPORT_SOURCE}, ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(optOuts)}::jsonb) AS r("phoneNumber" text, reason text)
    ORDER BY r."phoneNumber"
    ON CONFLICT (organization_id, phone_number) DO NOTHING`;
}

/** Source of do-not-call entries that people requested in calls. */
const CALL_SOURCE = 'CALL';

/**
 * Adds the number of a person who asked in a call not to be called again. An existing entry is kept. The entry names
 * the call but does not quote it, so that it can outlive the call.
 */
export async function addDoNotCallRequest(
  tx: Tx,
  request: { organizationId: string; phoneNumber: string; callId: string; now: Date },
): Promise<void> {
  const { organizationId, callId, now } = request;
  const phoneNumber = canonicalPhoneNumber(request.phoneNumber) ?? request.phoneNumber;
  await tx.doNotCallEntry.createMany({
    data: {
      organizationId,
      phoneNumber,
      reason: `Requested in the call ${publicId('Call', callId)}`,
      source: CALL_SOURCE,
      createdAt: now,
    },
    skipDuplicates: true,
  });
}

function readText(
  checks: Checks,
  value: string | null | undefined,
  path: readonly (string | number)[],
  max: number,
): string | undefined {
  return checks.text(value?.trim() || null, path, { max });
}
