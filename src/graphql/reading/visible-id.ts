/** Visibility of rows that depends on other tables, for `findUnique` of a type. */
import type PrismaTypes from '../../generated/pothos.ts';
import type { Viewer } from '../../viewer.ts';
import type { Context } from '../context.ts';
import { batched, readerOf } from './batched.ts';
import { findMany } from './rows.ts';

/** An ID that no row has. */
const NO_ID = '00000000-0000-0000-0000-000000000000';

type Model = keyof PrismaTypes;

/**
 * Returns a function that replaces the ID of a row that does not match `visible`. With such a condition in
 * `findUnique`, Prisma would look up each row in a statement of its own.
 */
export function visibleId<M extends Model>(
  model: M,
  visible: (viewer: Viewer) => PrismaTypes[M]['Where'],
): (context: Context, id: string) => Promise<string> {
  const load = batched<string, string>(async ({ app, viewer }, ids) => {
    const rows = await findMany<{ id: string }>(app, model, {
      where: { AND: [visible(viewer), { id: { in: [...new Set(ids)] } }] },
      select: { id: true },
    });
    const found = new Set(rows.map(({ id }) => id));
    return ids.map((id) => (found.has(id) ? id : NO_ID));
  });
  return (context, id) => load(readerOf(context), id);
}
