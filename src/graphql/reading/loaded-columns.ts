/**
 * Resolves a field that shows a column, or a value computed from columns, without the resolvers that wrap it,
 * if the row has the columns and the caller has the scopes. Those resolvers cost more than the rest of a
 * list. Also records for `../executor/query-plan.ts` which fields show columns or a related row.
 */
import { types } from 'node:util';
import SchemaBuilder, {
  BasePlugin,
  type PothosOutputFieldConfig,
  type SchemaTypes,
} from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import { TABLES } from '../../generated/tables.ts';
import { type NodeType, publicId } from '../../ids.ts';
import type { Column } from '../../infra/rows/tables.ts';
import type { Context } from '../context.ts';
import { grantedScopes, isGranted, type RequiredScopes, type Scopes } from '../scopes.ts';

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      loadedColumns: LoadedColumnsPlugin<Types>;
    }
  }
}

const NAME = 'loadedColumns';

type Read = (row: Record<string, unknown>) => unknown;

/** A field that shows a part of its row: a column, a value computed from columns, or a related row. */
export interface LoadedField {
  /** Undefined if the row has not loaded the value, or if the field has to be resolved for another reason. */
  read: Read;
  required: RequiredScopes;
  /** Columns from which the value is computed, and which must have the types that Prisma returns. */
  derivedFrom: readonly Column[];
}

const loadedFields = new WeakMap<object, LoadedField>();

export function loadedField(resolver: object | undefined): LoadedField | null {
  return (resolver && loadedFields.get(resolver)) ?? null;
}

class LoadedColumnsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(
    resolver: GraphQLFieldResolver<unknown, Types['Context'], object>,
    field: PothosOutputFieldConfig<Types>,
  ): GraphQLFieldResolver<unknown, Types['Context'], object> {
    const { extensions: type } = this.buildCache.getTypeConfig(field.parentType);
    const shown = this.#columnReader(field);
    const derived = shown ? null : derivedReader(field, type?.pothosPrismaModel);
    const column = shown ?? derived?.read;
    const read = column ?? relationReader(field);
    const required = this.#requiredScopes(field);
    if (!read || !required) return resolver;
    const wrapped: typeof resolver = (parent, args, context, info) => {
      const value = column?.(parent as Record<string, unknown>);
      const { viewer } = context as Context;
      if (value === undefined || !isGranted(grantedScopes(viewer), required)) {
        return resolver(parent, args, context, info);
      }
      return value;
    };
    loadedFields.set(wrapped, { read, required, derivedFrom: derived?.columns ?? [] });
    return wrapped;
  }

  #columnReader({ extensions, parentType, name }: PothosOutputFieldConfig<Types>): Read | null {
    const column = extensions?.pothosExposedField;
    if (typeof column === 'string') {
      return (row) => {
        const value = row[column];
        // A method is left to the resolver, which calls it.
        return typeof value === 'function' ? undefined : value;
      };
    }
    const { extensions: type } = this.buildCache.getTypeConfig(parentType);
    if (name !== 'id' || !type?.pothosPrismaModel) return null;
    return ({ id }) => (typeof id === 'string' ? publicId(parentType as NodeType, id) : undefined);
  }

  /** Scopes that the field requires. Null if they are not known in advance. */
  #requiredScopes(field: PothosOutputFieldConfig<Types>): RequiredScopes | null {
    const type = this.buildCache.getTypeConfig(field.parentType);
    if (type.kind !== 'Object') return null;
    const interfaces = type.interfaces.map((each) => this.buildCache.getTypeConfig(each));
    const { skipTypeScopes } = field.pothosOptions as { skipTypeScopes?: boolean };
    const holders: { pothosOptions: object }[] = [
      field,
      ...(skipTypeScopes ? [] : [type]),
      ...interfaces,
    ];
    const required: (keyof Scopes)[][] = [];
    for (const { pothosOptions } of holders) {
      const options = pothosOptions as Record<string, unknown>;
      if (options.grantScopes || options.skipInterfaceScopes) return null;
      const { authScopes } = options;
      if (authScopes === undefined) continue;
      if (typeof authScopes !== 'object' || authScopes === null) return null;
      const entries = Object.entries(authScopes);
      if (entries.some(([name, needed]) => needed !== true || name.startsWith('$'))) return null;
      required.push(entries.map(([name]) => name as keyof Scopes));
    }
    return required;
  }
}

/**
 * Null unless the resolver needs only columns of the row, or of single rows that it is related to: its `select` is
 * fixed, and the row is its only argument. Lists are left to Pothos, since another field may have loaded only some of
 * the related rows. An error of the resolver is thrown again when the field is resolved.
 */
function derivedReader(
  { kind, pothosOptions }: { kind: string; pothosOptions: object },
  model: unknown,
): { read: Read; columns: Column[] } | null {
  const { select, resolve } = pothosOptions as { select?: unknown; resolve?: unknown };
  if (kind !== 'PrismaObject' || typeof resolve !== 'function' || resolve.length !== 1) return null;
  if (types.isAsyncFunction(resolve)) return null;
  if (typeof select !== 'object' || select === null) return null;
  const columns = selectedColumns(String(model), select as Select);
  if (!columns || columns.length === 0) return null;
  const read: Read = (row) => {
    if (!hasLoaded(row, select as Select)) return undefined;
    try {
      const value: unknown = resolve(row);
      return value instanceof Promise ? undefined : (value ?? null);
    } catch {
      return undefined;
    }
  };
  return { read, columns };
}

type Select = { [name: string]: true | Related };
type Related = { select: Select };

/** Null for a selection of anything but columns of the model and of single rows that it is related to. */
function selectedColumns(model: string, select: Select): Column[] | null {
  const { columns = {}, relations = {} } = TABLES[model] ?? {};
  const found: Column[] = [];
  for (const [name, selected] of Object.entries(select)) {
    const relation = relations[name];
    const nested = Object.keys(selected).join() === 'select' && (selected as Related).select;
    if (relation && !relation.isList && nested) {
      const related = selectedColumns(relation.model, nested);
      if (!related) return null;
      found.push(...related);
    } else if (columns[name]) found.push(columns[name]);
    else return null;
  }
  return found;
}

function hasLoaded(row: Record<string, unknown>, select: Select): boolean {
  for (const name in select) {
    const value = row[name];
    if (value === undefined) return false;
    const selected = select[name];
    if (typeof selected !== 'object' || value === null) continue;
    if (!hasLoaded(value as typeof row, selected.select)) return false;
  }
  return true;
}

interface RelationExtensions {
  pothosPrismaRelationField?: { name: string; isList: boolean };
  pothosPrismaSelect?: (args: object, context: null, nested: (query: unknown) => object) => unknown;
  pothosPrismaFallback?: unknown;
}

/** Null for a list, and for a relation that is filtered or has a resolver. */
function relationReader({ extensions }: { extensions?: object | null | undefined }): Read | null {
  const { pothosPrismaRelationField, pothosPrismaSelect, pothosPrismaFallback } = (extensions ??
    {}) as RelationExtensions;
  if (!pothosPrismaRelationField || !pothosPrismaSelect || pothosPrismaFallback) return null;
  const { name, isList } = pothosPrismaRelationField;
  let isFiltered = true;
  pothosPrismaSelect({}, null, (query) => {
    isFiltered = typeof query !== 'object' || query === null || Object.keys(query).length > 0;
    return {};
  });
  return isList || isFiltered ? null : (row) => row[name];
}

SchemaBuilder.registerPlugin(NAME, LoadedColumnsPlugin);

export default NAME;
