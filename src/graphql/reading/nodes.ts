/** Rows that `node` and `nodes` look up by the IDs of any types. */
import { brandWithType } from '@pothos/core';
import { type GraphQLObjectType, type GraphQLResolveInfo, isObjectType } from 'graphql';
import type { Context } from '../context.ts';
import { mayUseFieldOf } from '../scopes.ts';
import { rowSelection } from './row-selection.ts';
import { findMany } from './rows.ts';

interface NodeId {
  typename: string;
  id: string;
}

type Row = { id: string };

/** What Pothos keeps for the type of a row. */
interface RowType {
  pothosPrismaModel: string;
  pothosPrismaLoader: (context: Context) => {
    /** The condition for a row that the viewer may see. Those of two rows of a type differ only in the `id`. */
    findUnique(row: Row, context: Context): Row | Promise<Row>;
  };
}

/**
 * The rows with these IDs, in their order. One statement reads all rows of a type. Null for a row that the viewer may
 * not see, and for types that the caller may not read.
 */
export async function findNodes(
  context: Context,
  info: GraphQLResolveInfo,
  ids: readonly NodeId[],
): Promise<(Row | null)[]> {
  const read = async ([typeName, members]: [string, NodeId[]]) => {
    const unique = [...new Set(members.map(({ id }) => id))];
    const rows = await findOfType(context, info, typeName, unique);
    return [typeName, new Map(rows.map((row) => [row.id, row]))] as const;
  };
  const groups = Map.groupBy(ids, ({ typename }) => typename);
  const found = new Map(await Promise.all([...groups].map(read)));
  return ids.map(({ typename, id }) => found.get(typename)?.get(id) ?? null);
}

async function findOfType(
  context: Context,
  info: GraphQLResolveInfo,
  typeName: string,
  ids: readonly string[],
): Promise<Row[]> {
  const type = info.schema.getType(typeName);
  if (!isObjectType(type) || !mayReadIds(context, type)) return [];
  const { pothosPrismaModel, pothosPrismaLoader } = type.extensions as unknown as RowType;
  const { query, options } = rowSelection({ context, info, select: { id: true }, typeName });
  const visibility = pothosPrismaLoader(context);
  const each = await Promise.all(ids.map((id) => visibility.findUnique({ id }, context)));
  const where = each.length > 1 ? { ...each[0], id: { in: each.map(({ id }) => id) } } : each[0];
  const rows = await findMany<Row>(
    context.app,
    pothosPrismaModel,
    { ...query, where, take: ids.length },
    { ...options, execution: context.execution },
  );
  for (const row of rows) brandWithType(row, typeName as never);
  return rows;
}

/** Whether the caller may read at least the ids of a type's objects. */
function mayReadIds({ viewer }: Context, type: GraphQLObjectType): boolean {
  const { id } = type.getFields();
  return id !== undefined && mayUseFieldOf(viewer, type, id);
}
