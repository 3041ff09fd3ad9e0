/** Fields of `Query` that look up one row by its id. */
import type { PrismaModelTypes, PrismaObjectRef } from '@pothos/plugin-prisma';
import type { GraphQLResolveInfo } from 'graphql';
import type { Prisma } from '../../generated/prisma/client.ts';
import type { NodeType } from '../../ids.ts';
import type { Viewer } from '../../viewer.ts';
import { builder, type SchemaTypes } from '../builder.ts';
import type { Context } from '../context.ts';
import { idDescription, requireId } from '../ids.ts';
import { readerOf } from './batched.ts';
import { rowSelection } from './row-selection.ts';
import { findFirst } from './rows.ts';

type Types = (typeof builder)['$inferSchemaTypes'];

export interface LookupOptions<Model extends PrismaModelTypes> {
  type: PrismaObjectRef<Types, Model, object>;
  /** The rows that the viewer may see. */
  where: (viewer: Viewer) => Model['Where'];
  description: string;
  authScopes: Partial<SchemaTypes['AuthScopes']>;
}

/** Adds a field to `Query` that returns null for an ID without a visible row, and refuses IDs of other types. */
export function addLookup<Model extends PrismaModelTypes>(
  name: string,
  { type, where, ...field }: LookupOptions<Model>,
): void {
  const nodeType = type.name as NodeType;
  builder.queryField(name, (t) =>
    t.field({
      ...field,
      type,
      nullable: true,
      args: { id: t.arg.id({ required: true, description: idDescription(nodeType) }) },
      resolve: (
        _root: unknown,
        { id }: { id: string },
        context: Context,
        info: GraphQLResolveInfo,
      ) => {
        const { app, viewer, execution } = readerOf(context);
        const { query, options } = rowSelection({ context, info });
        return findFirst(
          app,
          type.modelName as Prisma.ModelName,
          { ...query, where: { AND: [where(viewer), { id: requireId(nodeType, id) }] } },
          { ...options, execution },
        );
      },
    } as never),
  );
}
