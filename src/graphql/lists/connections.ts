/** One connection type and one edge type per object type, shared by all fields that return them. */
import type { ObjectRef } from '@pothos/core';
import { builder } from '../builder.ts';
import type { Connection } from './page.ts';

/** Cost of `totalCount`, which may read all rows of the list. */
const COUNT_COST = 20;

type Types = (typeof builder)['$inferSchemaTypes'];

/**
 * The connection type of a list of `node`, for every field that returns one. Such a field resolves
 * to a `Connection`.
 *
 * The return type is inferred: Pothos ties it to the context, which `withAuth` narrows.
 */
export function connectionOf<Shape>(node: ObjectRef<Types, Shape>) {
  const edge = builder.edgeObject({ type: node, name: `${node.name}Edge` });
  return builder.connectionObject(
    {
      type: node,
      name: `${node.name}Connection`,
      fields: (t) => ({
        totalCount: t.int({
          description: 'Number of items on all pages. Counted only if selected.',
          extensions: { costOnce: COUNT_COST },
          resolve: (parent) => (parent as unknown as Connection<Shape>).totalCount(),
        }),
      }),
    },
    edge,
  ) as never;
}
