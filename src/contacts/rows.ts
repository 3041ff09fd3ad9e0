/** Bulk reads and writes of contacts in SQL. */
import type { Tx } from '../app.ts';
import { type Contact, Prisma } from '../generated/prisma/client.ts';
import { phoneNumberForms } from '../infra/phone-number.ts';
import { type ContactColumns, searchTextOf } from './fields.ts';
import { PERSON_COLUMNS, personSql } from './person-columns.ts';

const COLUMNS = personSql(({ name }) => name);
/** The columns of `contactRecord`, as `jsonb_to_recordset` reads them. */
export const RECORD_COLUMNS = personSql(({ name, type }) => `${name} ${type}`);
const RECORD = Prisma.sql`r(id uuid, ${RECORD_COLUMNS}, search_text text)`;
const VALUES = personSql(({ name }) => `r.${name}`);
const ASSIGNMENTS = personSql(({ name }) => `${name} = r.${name}`);

export interface ContactRow extends ContactColumns {
  id: string;
}

/** The writable columns of a contact by their database names. */
export function contactRecord(row: ContactColumns): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const { field, name } of PERSON_COLUMNS) record[name] = row[field];
  return record;
}

function recordsOf(rows: readonly ContactRow[]): string {
  return JSON.stringify(
    rows.map((row) => ({
      id: row.id,
      ...contactRecord(row),
      search_text: searchTextOf(row),
    })),
  );
}

/** Where and when contacts are written. */
export interface FolderTarget {
  organizationId: string;
  folderId: string;
  now: Date;
}

/**
 * Inserts contacts whose number (in any form) and ID do not exist yet, and returns the IDs of those inserted. The
 * folder must be locked; no two rows may have the same subscriber.
 */
export async function insertContacts(
  tx: Tx,
  { organizationId, folderId, now }: FolderTarget,
  rows: readonly ContactRow[],
): Promise<Set<string>> {
  if (rows.length === 0) return new Set();
  const inserted = await tx.$queryRaw<{ id: string }[]>`
    INSERT INTO contacts (id, organization_id, folder_id, ${COLUMNS}, search_text, created_at,
      updated_at)
    SELECT r.id, ${organizationId}::uuid, ${folderId}::uuid, ${VALUES}, r.search_text,
      ${now}::timestamptz, ${now}::timestamptz
    FROM jsonb_to_recordset(${recordsOf(rows)}::jsonb) AS ${RECORD}
    WHERE cardinality(phone_number_forms(r.phone_number)) = 1 OR NOT EXISTS (
      SELECT 1 FROM contacts c WHERE c.folder_id = ${folderId}::uuid
        AND c.phone_number = ANY(phone_number_forms(r.phone_number)))
    ORDER BY r.phone_number
    ON CONFLICT DO NOTHING
    RETURNING id`;
  return new Set(inserted.map(({ id }) => id));
}

/** Replaces the writable columns of contacts, matched by ID. */
export async function overwriteContacts(
  tx: Tx,
  organizationId: string,
  now: Date,
  rows: readonly ContactRow[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx.$executeRaw`
    UPDATE contacts c SET ${ASSIGNMENTS}, search_text = r.search_text,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${recordsOf(rows)}::jsonb) AS ${RECORD}
    WHERE c.id = r.id AND c.organization_id = ${organizationId}::uuid`;
}

/** Returns the contacts of a folder with these numbers in any form, locked until the transaction ends. */
export async function lockByNumber(
  tx: Tx,
  { organizationId, folderId }: Pick<FolderTarget, 'organizationId' | 'folderId'>,
  phoneNumbers: readonly string[],
): Promise<Contact[]> {
  if (phoneNumbers.length === 0) return [];
  const forms = phoneNumbers.flatMap(phoneNumberForms);
  await tx.$queryRaw`
    SELECT 1 FROM contacts WHERE folder_id = ${folderId}::uuid
      AND phone_number = ANY(${forms}) ORDER BY id FOR NO KEY UPDATE`;
  return tx.contact.findMany({ where: { organizationId, folderId, phoneNumber: { in: forms } } });
}

/** The writable columns of a stored contact, and its ID. */
export function columnsOf(contact: Contact): ContactRow {
  const { metadata, ...columns } = contact;
  return { ...columns, metadata: metadata as Record<string, string> };
}
