/** Lists: one connection type and one edge type for each type of object, whichever field leads there. */
import type { MaybePromise, ObjectRef } from '@pothos/core';
import { builder, checkPage } from './builder.ts';

type Types = (typeof builder)['$inferSchemaTypes'];

interface Countable {
  args: object;
  /** Known with the page where the list hangs on an object; else a function that counts. */
  totalCount?: number | (() => MaybePromise<number>);
}

/**
 * The connection type for the objects of `node`, to be given to every `prismaConnection`,
 * `relatedConnection` and `connection` of them. What they resolve to has `totalCount`.
 *
 * Without a type of its own, as Pothos ties one to the context, which `withAuth` makes narrower:
 * what a field resolves to is checked against `node` all the same.
 */
export function connectionOf<Shape>(node: ObjectRef<Types, Shape>) {
  const edge = builder.edgeObject({ type: node, name: `${node.name}Edge` });
  return builder.connectionObject(
    {
      type: node,
      name: `${node.name}Connection`,
      fields: (t) => ({
        totalCount: t.int({
          description: 'How many there are on all pages; counted only when asked for.',
          // By this Pothos tells what is asked of a connection beside its objects.
          extensions: { pothosPrismaTotalCount: true },
          resolve: (parent) => {
            const { args, totalCount } = parent as unknown as Countable;
            checkPage(args);
            if (totalCount === undefined) throw new Error(`Nobody counts ${node.name}`);
            return typeof totalCount === 'function' ? totalCount() : totalCount;
          },
        }),
      }),
    },
    edge,
  ) as never;
}
