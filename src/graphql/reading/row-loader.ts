/** Loaders for rows that fields find by an ID, with the columns that the fields select. */
import type { GraphQLResolveInfo } from 'graphql';
import type PrismaTypes from '../../generated/pothos.ts';
import type { Viewer } from '../../viewer.ts';
import type { Context } from '../context.ts';
import { batched, readerOf } from './batched.ts';
import { type RowSelection, sharedSelection } from './row-selection.ts';
import { findMany } from './rows.ts';

type Model = keyof PrismaTypes;
type ShapeOf<M extends Model> = PrismaTypes[M]['Shape'] & { id: string };

interface Key {
  id: string;
  selection: RowSelection;
}

/**
 * Returns a function for resolvers of fields that show a row. One statement reads the selected columns of all rows
 * that the field shows in an execution. Null for rows that do not match `visible`.
 */
export function rowLoader<M extends Model>(
  model: M,
  visible: (viewer: Viewer) => PrismaTypes[M]['Where'],
): (context: Context, info: GraphQLResolveInfo, id: string) => Promise<ShapeOf<M> | null> {
  const load = batched<Key, ShapeOf<M> | null>(async ({ app, viewer, execution }, keys) => {
    const rows = new Map<RowSelection, Map<string, ShapeOf<M>>>();
    for (const [selection, members] of Map.groupBy(keys, (key) => key.selection)) {
      const ids = [...new Set(members.map(({ id }) => id))];
      const where = { AND: [visible(viewer), { id: { in: ids } }] };
      const { query, options } = selection;
      const found = await findMany<ShapeOf<M>>(
        app,
        model,
        { ...query, where },
        { ...options, execution },
      );
      rows.set(selection, new Map(found.map((row) => [row.id, row])));
    }
    return keys.map(({ id, selection }) => rows.get(selection)?.get(id) ?? null);
  });
  return (context, info, id) =>
    load(readerOf(context), {
      id,
      selection: sharedSelection({ context, info, select: { id: true } }),
    });
}
