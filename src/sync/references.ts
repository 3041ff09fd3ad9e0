/**
 * Locks that keep a row from being deleted while a reference to it is added. Rows are marked
 * as deleted rather than removed, so a foreign key alone would not prevent that.
 *
 * A writer that adds references locks the rows before it checks that they exist. A writer that deletes a
 * row locks it in a mode that conflicts with those locks, and then checks for references.
 */
import type { Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { SyncStatus } from '../generated/prisma/enums.ts';

type ReferableTable = 'agents' | 'tools' | 'voices' | 'knowledge_bases';

export interface LockedReference {
  status: SyncStatus;
  /** Why its latest revision is not at Ultravox. */
  syncError: string | null;
}

/**
 * Call it in the transaction that adds references to these rows, before adding them. The rows cannot be
 * deleted until the transaction ends.
 *
 * @returns those that exist and belong to the organization, by ID.
 */
export async function lockReferences(
  tx: Tx,
  table: ReferableTable,
  organizationId: string,
  ids: readonly string[],
): Promise<Map<string, LockedReference>> {
  if (ids.length === 0) return new Map();
  const rows = await tx.$queryRaw<({ id: string } & LockedReference)[]>`
    SELECT id, status::text, sync_error AS "syncError" FROM ${Prisma.raw(table)}
    WHERE organization_id = ${organizationId}::uuid AND deleted_at IS NULL
      AND id = ANY(${[...new Set(ids)]}::uuid[])
    ORDER BY id FOR KEY SHARE`;
  return new Map(rows.map(({ id, status, syncError }) => [id, { status, syncError }]));
}

/**
 * Call it in the transaction that deletes a row, before checking for references to the row.
 *
 * @returns whether the row exists and belongs to the organization.
 */
export async function lockForDeletion(
  tx: Tx,
  table: ReferableTable,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await tx.$queryRaw<unknown[]>`
    SELECT id FROM ${Prisma.raw(table)}
    WHERE id = ${id}::uuid AND organization_id = ${organizationId}::uuid AND deleted_at IS NULL
    FOR UPDATE`;
  return rows.length === 1;
}
