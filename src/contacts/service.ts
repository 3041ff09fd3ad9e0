/** Contacts of an organization, each in one folder, each number once in a folder. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { Contact, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { derivedId, newId, publicId } from '../infra/ids.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { LONG_TRANSACTION, lockFolders } from './folders.ts';
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
import { type ContactFilter, contactsWhere } from './search.ts';

/** The most contacts that one mutation lists one by one. */
export const MAX_CONTACTS = 1_000;

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
  await app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[folder!, ['folderId']]]);
    const inserted = await insertContacts(tx, place, [{ ...columns!, id }]);
    if (inserted.size > 0) return;
    // Under an idempotency key, an earlier run may have made it.
    await addIfDuplicate(tx, checks, viewer, folder!, columns!.phoneNumber, id);
    checks.throwIfAny();
  });
  return app.db.contact.findFirstOrThrow({ where: { ...ownedBy(viewer), id } });
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

/** Exactly one of the two is given. */
export interface ContactSelection {
  ids?: readonly string[] | null | undefined;
  in?: { folderId: string; filter?: ContactFilter | null | undefined } | null | undefined;
}

/** Which contacts a mutation is about, and the folders that have to be locked for it. */
interface Selected {
  where: Prisma.ContactWhereInput;
  folders: string[];
}

async function selectContacts(
  app: App,
  viewer: Viewer,
  checks: Checks,
  selection: ContactSelection,
): Promise<Selected> {
  if (selection.in) {
    const path = ['contacts', 'in'];
    const folder = await checkFolder(app, viewer, checks, selection.in.folderId, [
      ...path,
      'folderId',
    ]);
    const filter = contactsWhere(checks, selection.in.filter, [...path, 'filter']);
    return {
      where: { ...ownedBy(viewer), AND: [{ folderId: folder ?? newId() }, filter] },
      folders: folder ? [folder] : [],
    };
  }
  const sent = selection.ids ?? [];
  checkCount(checks, sent.length, ['contacts', 'ids']);
  if (sent.length > MAX_CONTACTS) return { where: {}, folders: [] };
  const ids = sent.map((id, index) => checks.id('ctc', 'Contact', id, ['contacts', 'ids', index]));
  const known = ids.filter((id) => id !== undefined);
  const where = { ...ownedBy(viewer), id: { in: known } };
  const found = await app.db.contact.findMany({ where, select: { id: true, folderId: true } });
  const there = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !there.has(id)) {
      checks.add('NOT_FOUND', 'There is no such contact.', ['contacts', 'ids', index]);
    }
  });
  return { where, folders: [...new Set(found.map(({ folderId }) => folderId))] };
}

/**
 * Deletes contacts for good. Campaigns that have copied them keep their copies.
 *
 * @returns how many went.
 */
export async function deleteContacts(
  app: App,
  viewer: Viewer,
  selection: ContactSelection,
): Promise<number> {
  const checks = new Checks();
  const { where, folders } = await selectContacts(app, viewer, checks, selection);
  checks.throwIfAny();
  return app.db.$transaction(async (tx) => {
    await lockFolders(tx, viewer, folders);
    const { count } = await tx.contact.deleteMany({ where });
    return count;
  }, LONG_TRANSACTION);
}

export interface MoveContactsInput {
  contacts: ContactSelection;
  folderId: string;
  onDuplicate: 'REFUSE' | 'SKIP';
}

/** How many conflicts an answer names. */
const MAX_CONFLICTS = 20;

/**
 * Moves contacts to another folder of the organization. A number that the folder has already, or
 * that comes twice among them, is a duplicate: nothing moves, or all but those (of several that are
 * moved, the oldest moves).
 */
export async function moveContacts(
  app: App,
  viewer: Viewer,
  input: MoveContactsInput,
): Promise<{ movedCount: number; skippedCount: number }> {
  const checks = new Checks();
  const folder = await checkFolder(app, viewer, checks, input.folderId);
  const { where, folders } = await selectContacts(app, viewer, checks, input.contacts);
  checks.throwIfAny();
  const target = folder!;
  return app.db.$transaction(async (tx) => {
    const locked = await lockFolders(tx, viewer, [...folders, target]);
    if (!locked.includes(target)) throw noFolder(['folderId']);
    let [movedCount, skippedCount] = [0, 0];
    const stuck: string[] = [];
    for await (const ids of batchesOf(tx, { AND: [where, { folderId: { not: target } }] })) {
      const moved = await moveBatch(tx, ids, target, app.now());
      movedCount += moved.size;
      skippedCount += ids.length - moved.size;
      if (skippedCount > 0 && stuck.length < MAX_CONFLICTS) {
        stuck.push(...ids.filter((id) => !moved.has(id)).slice(0, MAX_CONFLICTS - stuck.length));
      }
    }
    if (skippedCount > 0 && input.onDuplicate === 'REFUSE') throw movedTwice(skippedCount, stuck);
    return { movedCount, skippedCount };
  }, LONG_TRANSACTION);
}

const MOVE_BATCH = 10_000;

/** The ids of what matches, by id, some at a time. What has been moved need not match any more. */
async function* batchesOf(tx: Tx, where: Prisma.ContactWhereInput): AsyncGenerator<string[]> {
  let last: string | undefined;
  for (;;) {
    const rows = await tx.contact.findMany({
      where: last ? { AND: [where, { id: { gt: last } }] } : where,
      select: { id: true },
      orderBy: { id: 'asc' },
      take: MOVE_BATCH,
    });
    if (rows.length > 0) yield rows.map(({ id }) => id);
    if (rows.length < MOVE_BATCH) return;
    last = rows.at(-1)!.id;
  }
}

/** Moves those whose number is free in the target, the oldest of those with the same number. */
async function moveBatch(
  tx: Tx,
  ids: readonly string[],
  target: string,
  now: Date,
): Promise<Set<string>> {
  const moved = await tx.$queryRaw<{ id: string }[]>`
    WITH moving AS (
      SELECT id, phone_number FROM contacts WHERE id = ANY(${[...ids]}::uuid[])
      ORDER BY id FOR NO KEY UPDATE
    ), oldest AS (
      SELECT DISTINCT ON (phone_number) id, phone_number FROM moving ORDER BY phone_number, id
    )
    UPDATE contacts c SET folder_id = ${target}::uuid, updated_at = ${now}::timestamptz
    FROM oldest o
    WHERE c.id = o.id AND NOT EXISTS (
      SELECT 1 FROM contacts t WHERE t.folder_id = ${target}::uuid
        AND t.phone_number = o.phone_number)
    RETURNING c.id`;
  return new Set(moved.map(({ id }) => id));
}

function movedTwice(count: number, ids: readonly string[]) {
  const [numbers, those] =
    count === 1 ? ['A number is', 'that contact'] : [`${count} numbers are`, 'those contacts'];
  return userError(
    'ALREADY_EXISTS',
    `${numbers} in that folder already, or twice among what is moved. Delete or change ${those} first, or move with \`onDuplicate: SKIP\`.`,
    ['contacts'],
    { details: { contactIds: ids.map((id) => publicId('ctc', id)) } },
  );
}

function checkCount(checks: Checks, count: number, path: ProblemPath): void {
  if (count === 0) checks.add('REQUIRED', 'Give at least one.', path);
  if (count > MAX_CONTACTS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `At most ${MAX_CONTACTS} at once; there are ${count}. Send them in parts.`,
      path,
    );
  }
}

/** The folder's UUID when it is there and the viewer's; otherwise the reason is in `checks`. */
async function checkFolder(
  app: App,
  viewer: Viewer,
  checks: Checks,
  folderId: string,
  path: ProblemPath = ['folderId'],
): Promise<string | undefined> {
  const id = checks.id('fld', 'ContactFolder', folderId, path);
  if (!id) return undefined;
  const found = await app.db.contactFolder.count({ where: { ...ownedBy(viewer), id } });
  return found > 0 ? id : checks.add('NOT_FOUND', 'There is no such folder.', path);
}

/** @throws UserInputError NOT_FOUND when one has been deleted meanwhile. */
async function requireFolders(
  tx: Tx,
  viewer: Viewer,
  folders: readonly (readonly [id: string, path: ProblemPath])[],
): Promise<void> {
  const locked = new Set(
    await lockFolders(
      tx,
      viewer,
      folders.map(([id]) => id),
    ),
  );
  for (const [id, path] of folders) if (!locked.has(id)) throw noFolder(path);
}

function noFolder(path: ProblemPath) {
  return userError('NOT_FOUND', 'There is no such folder.', path);
}
