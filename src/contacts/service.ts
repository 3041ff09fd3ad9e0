/** Contacts of an organization, each in one folder, each number once in a folder. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { Contact } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { derivedId, newId, publicId } from '../infra/ids.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { checkFolder, lockFolders, requireFolders } from './folders.ts';
import {
  type ContactColumns,
  type ContactInput,
  contactChanges,
  contactColumns,
  countryNamed,
  mergeContact,
} from './record.ts';
import {
  type ContactRow,
  columnsOf,
  insertContacts,
  lockByNumber,
  overwriteContacts,
  type Place,
} from './rows.ts';
import { checkCount, MAX_CONTACTS } from './selection.ts';

/** What becomes of a contact whose number is in the folder already. */
export type DuplicateRule = 'REFUSE' | 'SKIP' | 'UPDATE';

export interface CreateContactInput extends ContactInput {
  folderId: string;
  phoneNumber: string;
}

/** @throws UserInputError ALREADY_EXISTS when the number is in the folder already. */
export async function createContact(
  app: App,
  viewer: Viewer,
  { folderId, ...input }: CreateContactInput,
): Promise<Contact> {
  const checks = new Checks();
  const folder = await checkFolder(app, viewer, checks, folderId);
  const columns = contactColumns(checks, input);
  if (columns && folder) await addIfDuplicate(app.db, checks, viewer, folder, columns.phoneNumber);
  checks.throwIfAny();
  const id = newObjectId(viewer);
  const place = { ...ownedBy(viewer), folderId: folder!, now: app.now() };
  return app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[folder!, ['folderId']]]);
    const inserted = await insertContacts(tx, place, [{ ...columns!, id }]);
    // Under an idempotency key, an earlier run may have made it.
    if (inserted.size === 0) {
      await addIfDuplicate(tx, checks, viewer, folder!, columns!.phoneNumber, id);
      checks.throwIfAny();
    }
    // Read before the folder is let go: after that, somebody may delete it with all that is in it.
    const contact = await tx.contact.findFirst({ where: { ...ownedBy(viewer), id } });
    if (!contact) throw userError('NOT_FOUND', 'The contact has been deleted meanwhile.');
    return contact;
  });
}

async function addIfDuplicate(
  db: App['db'] | Tx,
  checks: Checks,
  viewer: Viewer,
  folderId: string,
  phoneNumber: string,
  ownId = viewer.idempotency ? newObjectId(viewer) : undefined,
): Promise<void> {
  const existing = await db.contact.findFirst({
    where: { ...ownedBy(viewer), folderId, phoneNumber, ...(ownId ? { NOT: { id: ownId } } : {}) },
    select: { id: true },
  });
  if (existing) addDuplicate(checks, existing.id, ['phoneNumber']);
}

function addDuplicate(checks: Checks, existingId: string, path: ProblemPath): void {
  checks.add(
    'ALREADY_EXISTS',
    'A contact of this folder has this number already. Update that one, or use another folder.',
    path,
    { details: { contactId: publicId('ctc', existingId) } },
  );
}

export interface CreateContactsInput {
  folderId: string;
  contacts: readonly ContactInput[];
  defaultCountry?: string | null | undefined;
  onDuplicate: DuplicateRule;
}

export interface CreatedContacts {
  /** One for each row, in their order: made, updated, or left as it was. */
  contacts: Contact[];
  createdCount: number;
  updatedCount: number;
  skippedCount: number;
}

/**
 * Creates all contacts, or none when one of them is wrong. A number that comes twice among them
 * counts as a duplicate too: the later row is refused, skipped, or updates what the earlier one made.
 */
export async function createContacts(
  app: App,
  viewer: Viewer,
  input: CreateContactsInput,
): Promise<CreatedContacts> {
  const checks = new Checks();
  const { onDuplicate } = input;
  const country = input.defaultCountry ? countryNamed(input.defaultCountry) : undefined;
  if (input.defaultCountry && !country) {
    checks.add('INVALID_INPUT', 'It is not an ISO 3166-1 country code, such as "US".', [
      'defaultCountry',
    ]);
  }
  checkCount(checks, input.contacts.length, ['contacts']);
  const folder = await checkFolder(app, viewer, checks, input.folderId);
  const rows: ContactRow[] = [];
  /** Where each number stands first among the rows. */
  const first = new Map<string, number>();
  if (input.contacts.length <= MAX_CONTACTS) {
    input.contacts.forEach((contact, index) => {
      const columns = contactColumns(checks, contact, ['contacts', index], country);
      if (!columns) return;
      rows.push({ ...columns, id: rowId(viewer, index) });
      const earlier = first.get(columns.phoneNumber);
      if (earlier === undefined) first.set(columns.phoneNumber, index);
      else if (onDuplicate === 'REFUSE') {
        checks.add('ALREADY_EXISTS', `Row ${earlier} has the same phone number.`, [
          'contacts',
          index,
          'phoneNumber',
        ]);
      }
    });
  }
  if (checks.problems.length > 0) {
    if (folder && onDuplicate === 'REFUSE') {
      const existing = await app.db.contact.findMany({
        where: { ...ownedBy(viewer), folderId: folder, phoneNumber: { in: [...first.keys()] } },
        select: { id: true, phoneNumber: true },
      });
      refuseDuplicates(checks, existing, first);
    }
    checks.throwIfAny();
  }

  const place = { ...ownedBy(viewer), folderId: folder!, now: app.now() };
  return app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[folder!, ['folderId']]]);
    return writeContacts(tx, place, rows, first, onDuplicate);
  });
}

/** The rows go in with the folder locked, so what is there stays there until all is written. */
async function writeContacts(
  tx: Tx,
  place: Place,
  rows: readonly ContactRow[],
  first: ReadonlyMap<string, number>,
  onDuplicate: DuplicateRule,
): Promise<CreatedContacts> {
  const numbers = [...first.keys()];
  await insertContacts(
    tx,
    place,
    [...first.values()].map((index) => rows[index]!),
  );
  const before = await lockByNumber(tx, place, numbers);
  // What an earlier run under the same idempotency key has made is no duplicate.
  const own = new Set(rows.map(({ id }) => id));
  const existing = before.filter(({ id }) => !own.has(id));
  if (onDuplicate === 'REFUSE') {
    const checks = new Checks();
    refuseDuplicates(checks, existing, first);
    checks.throwIfAny();
  }
  const repeats = rows.filter((row, index) => first.get(row.phoneNumber) !== index);
  if (onDuplicate === 'UPDATE') {
    const taken = new Set(existing.map(({ phoneNumber }) => phoneNumber));
    const merged = new Map<string, ContactRow>(
      before.map((contact) => [contact.phoneNumber, columnsOf(contact)]),
    );
    const changed = new Map<string, ContactRow>();
    for (const [index, row] of rows.entries()) {
      if (first.get(row.phoneNumber) === index && !taken.has(row.phoneNumber)) continue;
      const known = merged.get(row.phoneNumber);
      if (!known) continue;
      const next = { ...mergeContact(known, row), id: known.id };
      merged.set(row.phoneNumber, next);
      changed.set(next.id, next);
    }
    await overwriteContacts(tx, place.organizationId, place.now, [...changed.values()]);
  }
  const after = await tx.contact.findMany({
    where: {
      organizationId: place.organizationId,
      folderId: place.folderId,
      phoneNumber: { in: numbers },
    },
  });
  const byNumber = new Map(after.map((contact) => [contact.phoneNumber, contact]));
  const duplicates = existing.length + repeats.length;
  return {
    contacts: rows.flatMap((row) => byNumber.get(row.phoneNumber) ?? []),
    createdCount: before.length - existing.length,
    updatedCount: onDuplicate === 'UPDATE' ? duplicates : 0,
    skippedCount: onDuplicate === 'SKIP' ? duplicates : 0,
  };
}

function refuseDuplicates(
  checks: Checks,
  existing: readonly { id: string; phoneNumber: string }[],
  first: ReadonlyMap<string, number>,
): void {
  const found = existing.map(({ id, phoneNumber }) => ({ id, index: first.get(phoneNumber)! }));
  found.sort((a, b) => a.index - b.index);
  for (const { id, index } of found) addDuplicate(checks, id, ['contacts', index, 'phoneNumber']);
}

/** Under an idempotency key, each row of the list gets the same id whenever it is run. */
function rowId(viewer: Viewer, index: number): string {
  const { idempotency } = viewer;
  return idempotency ? derivedId(`${idempotency.seed}/${index}`, idempotency.at) : newId();
}

export interface UpdateContactInput extends ContactInput {
  id: string;
}

/** Changes what was sent. Metadata is replaced as a whole. */
export async function updateContact(
  app: App,
  viewer: Viewer,
  { id: sentId, ...input }: UpdateContactInput,
): Promise<Contact> {
  const checks = new Checks();
  const id = checks.id('ctc', 'Contact', sentId, ['id']);
  const changes = contactChanges(checks, input);
  const where = { ...ownedBy(viewer), id: id ?? newId() };
  return app.db.$transaction(async (tx) => {
    const found = id ? await lockContact(tx, viewer, id, Boolean(changes.phoneNumber)) : null;
    if (id && !found) checks.add('NOT_FOUND', 'There is no such contact.', ['id']);
    if (found && changes.phoneNumber) {
      const { folderId } = found;
      await addIfDuplicate(tx, checks, viewer, folderId, changes.phoneNumber, found.id);
    }
    checks.throwIfAny();
    const next: ContactColumns = { ...columnsOf(found!), ...changes };
    await overwriteContacts(tx, viewer.organizationId, app.now(), [{ ...next, id: id! }]);
    return tx.contact.findFirstOrThrow({ where });
  });
}

/**
 * For a new number the folder is locked first, as everywhere. Whether the contact is still in it is
 * then looked up again.
 */
async function lockContact(
  tx: Tx,
  viewer: Viewer,
  id: string,
  withFolder: boolean,
): Promise<Contact | null> {
  const where = { ...ownedBy(viewer), id };
  for (;;) {
    const seen = withFolder ? await tx.contact.findFirst({ where }) : null;
    if (seen) await lockFolders(tx, viewer, [seen.folderId]);
    await tx.$queryRaw`
      SELECT 1 FROM contacts WHERE id = ${id}::uuid
        AND organization_id = ${viewer.organizationId}::uuid FOR NO KEY UPDATE`;
    const locked = await tx.contact.findFirst({ where });
    if (!locked || !withFolder || locked.folderId === seen?.folderId) return locked;
  }
}
