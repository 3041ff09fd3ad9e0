/** Creates and updates contacts. A phone number is unique within a folder. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { Contact } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { derivedId, newId } from '../infra/ids.ts';
import { phoneNumberForms, subscriberOf } from '../infra/phone-number.ts';
import { phoneNumberRules } from '../organizations/service.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import {
  type ContactColumns,
  type ContactInput,
  contactChanges,
  contactColumns,
  mergeContact,
  TOO_MANY_KEYS,
} from './fields.ts';
import { checkFolder, lockFolders, lockSoon, requireFolders } from './folders.ts';
import {
  type ContactRow,
  columnsOf,
  type FolderTarget,
  insertContacts,
  lockByNumber,
  overwriteContacts,
} from './rows.ts';

/** Handling of a contact whose number is already in the folder. */
export type DuplicateRule = 'REFUSE' | 'SKIP' | 'UPDATE';

export interface CreateContactInput extends ContactInput {
  folderId: string;
  phoneNumber: string;
}

/** @throws UserInputError ALREADY_EXISTS if the number is already in the folder. */
export async function createContact(
  app: App,
  viewer: Viewer,
  { folderId, ...input }: CreateContactInput,
): Promise<Contact> {
  const checks = new Checks();
  const folder = await checkFolder(app, viewer, checks, { folderId });
  const columns = contactColumns(checks, input, [], await phoneNumberRules(app, viewer));
  if (columns && folder) {
    const { phoneNumber } = columns;
    await addIfDuplicate(app.db, checks, viewer, { folderId: folder, phoneNumber });
  }
  checks.throwIfAny();
  const id = newObjectId(viewer);
  const target = { ...ownedBy(viewer), folderId: folder!, now: app.now() };
  return app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[folder!, ['folderId']]]);
    const inserted = await insertContacts(tx, target, [{ ...columns!, id }]);
    // An earlier run under the same idempotency key may have created it.
    if (inserted.size === 0) {
      const { phoneNumber } = columns!;
      await addIfDuplicate(tx, checks, viewer, { folderId: folder!, phoneNumber, ownId: id });
      checks.throwIfAny();
    }
    // Read while the folder is locked, because the folder and its contacts may be deleted right afterwards.
    const contact = await tx.contact.findFirst({ where: { ...ownedBy(viewer), id } });
    if (!contact) throw userError('NOT_FOUND', 'The contact has been deleted.');
    return contact;
  });
}

async function addIfDuplicate(
  db: App['db'] | Tx,
  checks: Checks,
  viewer: Viewer,
  {
    folderId,
    phoneNumber,
    ownId = viewer.idempotency ? newObjectId(viewer) : undefined,
  }: { folderId: string; phoneNumber: string; ownId?: string | undefined },
): Promise<void> {
  const existing = await db.contact.findFirst({
    where: {
      ...ownedBy(viewer),
      folderId,
      phoneNumber: { in: phoneNumberForms(phoneNumber) },
      ...(ownId ? { NOT: { id: ownId } } : {}),
    },
    select: { id: true },
  });
  if (existing) addDuplicate(checks, existing.id, ['phoneNumber']);
}

function addDuplicate(checks: Checks, existingId: string, path: ProblemPath): void {
  checks.add(
    'ALREADY_EXISTS',
    'A contact in this folder already has this phone number. Update that contact or use another folder.',
    path,
    { details: { contactId: publicId('Contact', existingId) } },
  );
}

export interface CreateContactsInput {
  folderId: string;
  contacts: readonly ContactInput[];
  defaultCountry?: string | null | undefined;
  onDuplicate: DuplicateRule;
}

export interface CreatedContacts {
  /** One for each row, in the order of the rows: created, updated or unchanged. */
  contacts: Contact[];
  createdCount: number;
  updatedCount: number;
  skippedCount: number;
}

/**
 * Creates all contacts, or none if one is invalid. A number listed twice is also a duplicate: the later row is refused,
 * skipped, or updates the contact of the earlier one.
 */
export async function createContacts(
  app: App,
  viewer: Viewer,
  input: CreateContactsInput,
): Promise<CreatedContacts> {
  const checks = new Checks();
  const { onDuplicate } = input;
  const country = checks.country(input.defaultCountry, ['defaultCountry']);
  const rules = { ...(await phoneNumberRules(app, viewer)), defaultCountry: country };
  checks.notEmpty(input.contacts, ['contacts']);
  const folder = await checkFolder(app, viewer, checks, input);
  const rows: ContactRow[] = [];
  /** Index of the first row of each subscriber. */
  const first = new Map<string, number>();
  input.contacts.forEach((contact, index) => {
    const columns = contactColumns(checks, contact, ['contacts', index], rules);
    if (!columns) return;
    rows.push({ ...columns, id: rowId(viewer, index) });
    const subscriber = subscriberOf(columns.phoneNumber);
    const earlier = first.get(subscriber);
    if (earlier === undefined) first.set(subscriber, index);
    else if (onDuplicate === 'REFUSE') {
      checks.add(
        'ALREADY_EXISTS',
        `The phone number is the same as that of \`contacts.${earlier}\`.`,
        ['contacts', index, 'phoneNumber'],
      );
    }
  });
  if (checks.problems.length > 0) {
    if (folder && onDuplicate === 'REFUSE') {
      const existing = await app.db.contact.findMany({
        where: {
          ...ownedBy(viewer),
          folderId: folder,
          phoneNumber: { in: [...first.keys()].flatMap(phoneNumberForms) },
        },
        select: { id: true, phoneNumber: true },
      });
      refuseDuplicates(checks, existing, first);
    }
    checks.throwIfAny();
  }

  const target = { ...ownedBy(viewer), folderId: folder!, now: app.now() };
  return app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[folder!, ['folderId']]]);
    return writeContacts(tx, target, { rows, first }, onDuplicate);
  });
}

/** Requires the folder to be locked, so that existing contacts stay until all rows are written. */
async function writeContacts(
  tx: Tx,
  target: FolderTarget,
  { rows, first }: { rows: readonly ContactRow[]; first: ReadonlyMap<string, number> },
  onDuplicate: DuplicateRule,
): Promise<CreatedContacts> {
  const numbers = [...first.keys()];
  const isFirst = (row: ContactRow, index: number) =>
    first.get(subscriberOf(row.phoneNumber)) === index;
  await insertContacts(
    tx,
    target,
    [...first.values()].map((index) => rows[index]!),
  );
  const before = await lockByNumber(tx, target, numbers);
  // Contacts created by an earlier run under the same idempotency key are not duplicates.
  const own = new Set(rows.map(({ id }) => id));
  const existing = before.filter(({ id }) => !own.has(id));
  const checks = new Checks();
  if (onDuplicate === 'REFUSE') refuseDuplicates(checks, existing, first);
  checks.throwIfAny();
  const repeats = rows.filter((row, index) => !isFirst(row, index));
  if (onDuplicate === 'UPDATE') {
    const taken = new Set(existing.map(({ phoneNumber }) => subscriberOf(phoneNumber)));
    const merged = new Map<string, ContactRow>(
      before.map((contact) => [subscriberOf(contact.phoneNumber), columnsOf(contact)]),
    );
    const changed = new Map<string, ContactRow>();
    for (const [index, row] of rows.entries()) {
      const subscriber = subscriberOf(row.phoneNumber);
      if (isFirst(row, index) && !taken.has(subscriber)) continue;
      const known = merged.get(subscriber);
      if (!known) continue;
      const { contact, excessKeys } = mergeContact(known, row);
      if (excessKeys.length > 0) {
        checks.add('INVALID_INPUT', TOO_MANY_KEYS, ['contacts', index, 'metadata']);
      }
      const next = { ...contact, id: known.id };
      merged.set(subscriber, next);
      changed.set(next.id, next);
    }
    checks.throwIfAny();
    await overwriteContacts(tx, target.organizationId, target.now, [...changed.values()]);
  }
  const after = await tx.contact.findMany({
    where: {
      organizationId: target.organizationId,
      folderId: target.folderId,
      phoneNumber: { in: numbers.flatMap(phoneNumberForms) },
    },
  });
  const byNumber = new Map(after.map((contact) => [subscriberOf(contact.phoneNumber), contact]));
  const duplicates = existing.length + repeats.length;
  return {
    contacts: rows.flatMap((row) => byNumber.get(subscriberOf(row.phoneNumber)) ?? []),
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
  const found = existing.map(({ id, phoneNumber }) => ({
    id,
    index: first.get(subscriberOf(phoneNumber))!,
  }));
  found.sort((a, b) => a.index - b.index);
  for (const { id, index } of found) addDuplicate(checks, id, ['contacts', index, 'phoneNumber']);
}

/** ID of a row. Repeatable under an idempotency key. */
function rowId(viewer: Viewer, index: number): string {
  const { idempotency } = viewer;
  return idempotency ? derivedId(`${idempotency.seed}/${index}`, idempotency.at) : newId();
}

export interface UpdateContactInput extends ContactInput {
  id: string;
}

/** Updates the given fields. Metadata is replaced as a whole. */
export async function updateContact(
  app: App,
  viewer: Viewer,
  { id: sentId, ...input }: UpdateContactInput,
): Promise<Contact> {
  const checks = new Checks();
  const id = checks.id('Contact', sentId, ['id']);
  const changes = contactChanges(checks, input, [], await phoneNumberRules(app, viewer));
  return app.db.$transaction(async (tx) => {
    const found = id ? await lockContact(tx, viewer, id, Boolean(changes.phoneNumber)) : null;
    if (id && !found) checks.add('NOT_FOUND', 'Contact not found.', ['id']);
    if (found && changes.phoneNumber) {
      const { folderId } = found;
      const { phoneNumber } = changes;
      await addIfDuplicate(tx, checks, viewer, { folderId, phoneNumber, ownId: found.id });
    }
    checks.throwIfAny();
    const next: ContactColumns = { ...columnsOf(found!), ...changes };
    await overwriteContacts(tx, viewer.organizationId, app.now(), [{ ...next, id: id! }]);
    return tx.contact.findFirstOrThrow({ where: { ...ownedBy(viewer), id: id! } });
  });
}

/**
 * Locks a contact. If its number changes, the folder is locked first, as in every other writer, and the contact is read
 * again in case it has been moved in the meantime.
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
    await lockSoon(
      tx,
      () => tx.$queryRaw`
        SELECT 1 FROM contacts WHERE id = ${id}::uuid
          AND organization_id = ${viewer.organizationId}::uuid FOR NO KEY UPDATE`,
    );
    const locked = await tx.contact.findFirst({ where });
    if (!locked || !withFolder || locked.folderId === seen?.folderId) return locked;
  }
}
