/**
 * Locks that keep a row from being deleted while another row begins to refer to it. Rows are marked
 * as deleted rather than removed, so a foreign key alone would not prevent that.
 *
 * A writer that refers to rows locks them before it checks that they exist. A writer that deletes a
 * row locks it in the mode that excludes those locks, and then checks what refers to it.
 */
import type { Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';

type ReferableTable = 'agents' | 'tools' | 'voices' | 'knowledge_bases';

/**
 * Call it in the transaction that begins to refer to these rows, before it does. The rows cannot be
 * deleted until the transaction ends.
 *
 * @returns the ids that exist and belong to the organization.
 */
export async function lockReferences(
  tx: Tx,
  table: ReferableTable,
  organizationId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM ${Prisma.raw(table)}
    WHERE organization_id = ${organizationId}::uuid AND deleted_at IS NULL
      AND id = ANY(${[...new Set(ids)]}::uuid[])
    ORDER BY id FOR KEY SHARE`;
  return new Set(rows.map(({ id }) => id));
}

/**
 * Call it in the transaction that deletes a row, before it checks what refers to the row.
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
