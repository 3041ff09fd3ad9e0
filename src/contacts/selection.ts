/** Operations on a selection of contacts: a list of IDs, or a filtered folder. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { commitResult, committedEarlier, ownedBy, type Viewer } from '../viewer.ts';
import { inBulkTransaction } from './bulk-transaction.ts';
import { checkFolder, folderNotFound, lockFolders } from './folders.ts';
import { type ContactFilter, checkContactFilter } from './search.ts';

/** Maximum number of contacts that a mutation lists individually. */
export const MAX_CONTACTS = 1_000;

/** Exactly one of the two fields is set. */
export interface ContactSelection {
  ids?: readonly string[] | null | undefined;
  in?: { folderId: string; filter?: ContactFilter | null | undefined } | null | undefined;
}

/** The condition of a selection, and the folders to lock before changing its contacts. */
interface ResolvedSelection {
  where: Prisma.ContactWhereInput;
  /** Of a selection by ID. */
  ids?: string[];
  folders: string[];
}

async function selectContacts(
  app: App,
  viewer: Viewer,
  checks: Checks,
  selection: ContactSelection,
): Promise<ResolvedSelection> {
  if (selection.in) {
    const path = ['contacts', 'in'];
    const folder = await checkFolder(app, viewer, checks, {
      folderId: selection.in.folderId,
      path: [...path, 'folderId'],
    });
    const where = await checkContactFilter(app, viewer, checks, {
      filter: selection.in.filter ?? {},
      path: [...path, 'filter'],
    });
    const folders = folder ? [folder] : [];
    return { where: { AND: [{ folderId: { in: folders } }, where] }, folders };
  }
  const sent = selection.ids ?? [];
  checks.notEmpty(sent, ['contacts', 'ids']);
  const ids = sent.map((id, index) => checks.id('Contact', id, ['contacts', 'ids', index]));
  const known = ids.filter((id) => id !== undefined);
  const where = { ...ownedBy(viewer), id: { in: known } };
  const found = await app.db.contact.findMany({ where, select: { id: true, folderId: true } });
  const existing = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !existing.has(id)) {
      checks.add('NOT_FOUND', 'Contact not found.', ['contacts', 'ids', index]);
    }
  });
  return { where, ids: known, folders: [...new Set(found.map(({ folderId }) => folderId))] };
}

interface DeletedContacts {
  contactCount: number;
  /** Null for a selection by filter. */
  deletedIds: string[] | null;
}

/** Permanently deletes contacts. Campaigns keep their copies. */
export async function deleteContacts(
  app: App,
  viewer: Viewer,
  selection: ContactSelection,
): Promise<DeletedContacts> {
  const earlier = committedEarlier<DeletedContacts>(viewer);
  if (earlier) return earlier;
  const checks = new Checks();
  const { where, ids, folders } = await selectContacts(app, viewer, checks, selection);
  checks.throwIfAny();
  return inBulkTransaction(app, viewer, async (tx) => {
    await lockFolders(tx, viewer, folders);
    if (!ids) {
      const { count } = await tx.contact.deleteMany({ where });
      return commitResult(tx, viewer, { contactCount: count, deletedIds: null });
    }
    const deleted = await tx.$queryRaw<{ id: string }[]>`
      DELETE FROM contacts
      WHERE organization_id = ${viewer.organizationId}::uuid AND id = ANY(${ids}::uuid[])
      RETURNING id`;
    const deletedIds = deleted.map(({ id }) => id);
    return commitResult(tx, viewer, { contactCount: deleted.length, deletedIds });
  });
}

export interface MoveContactsInput {
  contacts: ContactSelection;
  folderId: string;
  onDuplicate: 'REFUSE' | 'SKIP';
}

interface MovedContacts {
  movedCount: number;
  skippedCount: number;
}

/** Maximum number of conflicting contacts listed in an error. */
export const MAX_CONFLICTS = 20;

/**
 * Moves contacts to another folder of the organization. A number that is already in that folder, or that several of the
 * contacts share, is a duplicate. REFUSE then moves nothing; SKIP moves the others, and the oldest of the contacts that
 * share a number.
 */
export async function moveContacts(
  app: App,
  viewer: Viewer,
  input: MoveContactsInput,
): Promise<MovedContacts> {
  const earlier = committedEarlier<MovedContacts>(viewer);
  if (earlier) return earlier;
  const checks = new Checks();
  const folder = await checkFolder(app, viewer, checks, input);
  const { where, folders } = await selectContacts(app, viewer, checks, input.contacts);
  checks.throwIfAny();
  const target = folder!;
  return inBulkTransaction(app, viewer, async (tx) => {
    const locked = await lockFolders(tx, viewer, [...folders, target]);
    if (!locked.includes(target)) throw folderNotFound(['folderId']);
    let [movedCount, skippedCount] = [0, 0];
    const conflicts: string[] = [];
    for await (const ids of batchesOf(tx, { AND: [where, { folderId: { not: target } }] })) {
      const moved = await moveBatch(tx, ids, target, app.now());
      movedCount += moved.size;
      skippedCount += ids.length - moved.size;
      if (skippedCount > 0 && conflicts.length < MAX_CONFLICTS) {
        conflicts.push(
          ...ids.filter((id) => !moved.has(id)).slice(0, MAX_CONFLICTS - conflicts.length),
        );
      }
    }
    if (skippedCount > 0 && input.onDuplicate === 'REFUSE')
      throw duplicateNumbers(skippedCount, conflicts);
    return commitResult(tx, viewer, { movedCount, skippedCount });
  });
}

const MOVE_BATCH = 10_000;

/** Yields the IDs of matching contacts in batches, ordered by ID. Moved contacts may stop matching. */
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

/**
 * Moves contacts whose number is free in the target, and the oldest of those that share a number. The statements avoid
 * joins: PostgreSQL has no statistics for rows that were just inserted, and might join them row by row.
 */
async function moveBatch(
  tx: Tx,
  ids: readonly string[],
  target: string,
  now: Date,
): Promise<Set<string>> {
  const moving = await tx.$queryRaw<{ id: string; subscriber: string; forms: string[] }[]>`
    SELECT id, subscriber_of(phone_number) AS subscriber, phone_number_forms(phone_number) AS forms
    FROM contacts WHERE id = ANY(${[...ids]}::uuid[]) ORDER BY id FOR NO KEY UPDATE`;
  const taken = await tx.$queryRaw<{ subscriber: string }[]>`
    SELECT subscriber_of(phone_number) AS subscriber FROM contacts
    WHERE folder_id = ${target}::uuid AND phone_number = ANY(${moving.flatMap(({ forms }) => forms)})`;
  const held = new Set(taken.map(({ subscriber }) => subscriber));
  const free: string[] = [];
  for (const { id, subscriber } of moving) {
    if (held.has(subscriber)) continue;
    held.add(subscriber);
    free.push(id);
  }
  await tx.$executeRaw`
    UPDATE contacts SET folder_id = ${target}::uuid, updated_at = ${now}::timestamptz
    WHERE id = ANY(${free}::uuid[])`;
  return new Set(free);
}

function duplicateNumbers(count: number, ids: readonly string[]) {
  const contacts =
    count === 1 ? '1 contact has a phone number' : `${count} contacts have phone numbers`;
  return userError(
    'ALREADY_EXISTS',
    `${contacts} that the target folder or another of the moved contacts already has. Change or delete them, or set \`onDuplicate\` to SKIP.`,
    ['contacts'],
    { details: { contactIds: ids.map((id) => publicId('Contact', id)) } },
  );
}
