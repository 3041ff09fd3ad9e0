/** Contact folders. A folder owns its contacts, which are deleted with it. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { ContactFolder } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { isLockTimeout } from '../infra/database/database-errors.ts';
import { commitResult, committedEarlier, newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { inBulkTransaction } from './bulk-transaction.ts';

export const MAX_NAME = 100;
export const MAX_DESCRIPTION = 1_000;
/**
 * Time to wait for other writers of a folder. Changes of a whole folder take minutes, and whoever waits holds one of the
 * connections that all organizations share.
 */
const LOCK_WAIT = '3s';
/** For jobs, whose work would be lost. Within the time limit of their transactions. */
export const LOCK_WAIT_OF_JOBS = '15s';
/** Time after which callers should try again. */
const RETRY_MS = 10_000;

export interface ContactFolderInput {
  name: string;
  description?: string | null | undefined;
}

export async function createContactFolder(
  app: App,
  viewer: Viewer,
  input: ContactFolderInput,
): Promise<ContactFolder> {
  const checks = new Checks();
  const name = checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  const description = checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  checks.throwIfAny();
  const id = newObjectId(viewer);
  const [created] = await app.db.contactFolder.createManyAndReturn({
    data: { id, ...ownedBy(viewer), name: name!, description: description ?? null },
    // An earlier run under the same idempotency key may have created it.
    skipDuplicates: true,
  });
  const folder =
    created ?? (await app.db.contactFolder.findFirst({ where: { ...ownedBy(viewer), id } }));
  if (!folder) throw userError('NOT_FOUND', 'The contact folder has been deleted.');
  return folder;
}

export interface UpdateContactFolderInput {
  id: string;
  name?: string | null | undefined;
  description?: string | null | undefined;
}

/** Updates the given fields. Null removes the description. */
export async function updateContactFolder(
  app: App,
  viewer: Viewer,
  input: UpdateContactFolderInput,
): Promise<ContactFolder> {
  const checks = new Checks();
  const id = checks.id('ContactFolder', input.id, ['id']);
  const sent = checks.notNull(input.name, ['name']);
  const name = checks.text(sent, ['name'], { min: 1, max: MAX_NAME });
  const description = checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  const found = id ? await app.db.contactFolder.count({ where: { ...ownedBy(viewer), id } }) : 1;
  if (found === 0) checks.add('NOT_FOUND', 'Contact folder not found.', ['id']);
  checks.throwIfAny();
  return app.db.$transaction(async (tx) => {
    await requireFolders(tx, viewer, [[id!, ['id']]]);
    return tx.contactFolder.update({
      where: { ...ownedBy(viewer), id: id! },
      data: {
        ...(name === undefined ? {} : { name }),
        ...(input.description === undefined ? {} : { description: description ?? null }),
      },
    });
  });
}

interface DeletedFolder {
  id: string;
  contactCount: number;
}

/**
 * Permanently deletes the folder, its contacts and its imports in one transaction. Writers that add contacts lock the
 * folder first, so no contact is left behind.
 */
export async function deleteContactFolder(
  app: App,
  viewer: Viewer,
  input: { id: string },
): Promise<DeletedFolder> {
  const earlier = committedEarlier<DeletedFolder>(viewer);
  if (earlier) return earlier;
  const checks = new Checks();
  const id = checks.id('ContactFolder', input.id, ['id']);
  checks.throwIfAny();
  return inBulkTransaction(app, viewer, async (tx) => {
    const [folder] = await lockFolders(tx, viewer, [id!]);
    if (!folder) throw userError('NOT_FOUND', 'Contact folder not found.', ['id']);
    const { count } = await tx.contact.deleteMany({ where: { ...ownedBy(viewer), folderId: id! } });
    await tx.contactFolder.deleteMany({ where: { ...ownedBy(viewer), id: id! } });
    return commitResult(tx, viewer, { id: id!, contactCount: count });
  });
}

/**
 * Runs a statement that locks contacts or their folders, and does not wait long for it. Later statements of the
 * transaction may wait, as only one transaction can hold these locks.
 *
 * @throws UserInputError with a time for a retry if another writer holds the lock.
 */
export async function lockSoon<Result>(
  tx: Tx,
  lock: () => Promise<Result>,
  wait = LOCK_WAIT,
): Promise<Result> {
  await tx.$executeRaw`SELECT set_config('lock_timeout', ${wait}, true)`;
  try {
    const result = await lock();
    await tx.$executeRaw`SET LOCAL lock_timeout TO DEFAULT`;
    return result;
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    throw userError(
      'INVALID_STATE',
      'Other requests are changing many contacts of this folder. Try again at `retryAt`.',
      [],
      { retryAt: new Date(Date.now() + RETRY_MS) },
    );
  }
}

/**
 * Locks folders in a fixed order and returns the IDs of those that exist. Everything that adds, moves or deletes
 * contacts calls this first, so that concurrent writers wait here instead of deadlocking later.
 *
 * @throws UserInputError with a time for a retry if another writer holds the lock for long.
 */
export async function lockFolders(
  tx: Tx,
  viewer: Pick<Viewer, 'organizationId'>,
  ids: readonly string[],
  wait?: string,
): Promise<string[]> {
  const rows = await lockSoon(
    tx,
    () => tx.$queryRaw<{ id: string }[]>`
      SELECT id FROM contact_folders
      WHERE id = ANY(${[...new Set(ids)]}::uuid[])
        AND organization_id = ${viewer.organizationId}::uuid
      ORDER BY id FOR NO KEY UPDATE`,
    wait,
  );
  return rows.map(({ id }) => id);
}

/** Returns the folder's UUID, or undefined with a problem in `checks` if the viewer has no such folder. */
export async function checkFolder(
  app: App,
  viewer: Viewer,
  checks: Checks,
  { folderId, path = ['folderId'] }: { folderId: string; path?: ProblemPath },
): Promise<string | undefined> {
  const id = checks.id('ContactFolder', folderId, path);
  if (!id) return undefined;
  const found = await app.db.contactFolder.count({ where: { ...ownedBy(viewer), id } });
  return found > 0 ? id : checks.add('NOT_FOUND', 'Contact folder not found.', path);
}

/** @throws UserInputError NOT_FOUND if one of them has been deleted. */
export async function requireFolders(
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
  for (const [id, path] of folders) if (!locked.has(id)) throw folderNotFound(path);
}

export function folderNotFound(path: ProblemPath) {
  return userError('NOT_FOUND', 'Contact folder not found.', path);
}
