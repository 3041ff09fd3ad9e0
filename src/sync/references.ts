/**
 * Keeps "in use" and "deleted" apart when both happen at once. Rows are marked as deleted and not
 * removed, so a foreign key alone would let an agent take up a tool in the very moment it goes.
 *
 * Whoever refers to rows locks them first and looks at what is left; whoever deletes one locks it
 * in the mode that excludes that, and then looks at who refers to it.
 */
import type { Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';

type Referable = 'tools' | 'voices' | 'knowledge_bases';

/**
 * In the transaction that begins to refer to these rows, before it does: they stay until it ends.
 *
 * @returns those that are there and the organisation's.
 */
export async function lockReferences(
  tx: Tx,
  table: Referable,
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
 * In the transaction that deletes a row, before it looks at who refers to it.
 *
 * @returns whether it is there and the organisation's.
 */
export async function lockForDeletion(
  tx: Tx,
  table: Referable,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await tx.$queryRaw<unknown[]>`
    SELECT id FROM ${Prisma.raw(table)}
    WHERE id = ${id}::uuid AND organization_id = ${organizationId}::uuid AND deleted_at IS NULL
    FOR UPDATE`;
  return rows.length === 1;
}
