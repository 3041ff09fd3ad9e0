/** What is done to many contacts at once: those with these ids, or those of a folder that match. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { newId, publicId } from '../infra/ids.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { checkFolder, LONG_TRANSACTION, lockFolders, noFolder } from './folders.ts';
import { type ContactFilter, contactsWhere } from './search.ts';

/** The most contacts that one mutation lists one by one. */
export const MAX_CONTACTS = 1_000;

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

export function checkCount(checks: Checks, count: number, path: ProblemPath): void {
  if (count === 0) checks.add('REQUIRED', 'Give at least one.', path);
  if (count > MAX_CONTACTS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `At most ${MAX_CONTACTS} at once; there are ${count}. Send them in parts.`,
      path,
    );
  }
}
