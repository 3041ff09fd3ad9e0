/** The columns and relations that a field reads from the rows that it returns. */
import { queryFromInfo } from '@pothos/plugin-prisma';
import { type FieldNode, type GraphQLResolveInfo, visit } from 'graphql';
import { TABLES } from '../../generated/tables.ts';
import type { SelectOptions } from '../../infra/rows/select-statements.ts';
import type { Column } from '../../infra/rows/tables.ts';
import type { Context } from '../context.ts';
import {
  columnsDerivedFrom,
  type FieldPlan,
  fieldPlanOf,
  onlyShowsRows,
} from '../executor/query-plan.ts';

export interface RowSelection {
  /** A Prisma query with columns and relations, but no conditions of its own. */
  query: { select?: object };
  /** How the rows may be read if they are only shown. */
  options: SelectOptions;
}

interface SelectionOptions {
  context: Context;
  info: GraphQLResolveInfo;
  /** Columns that are always selected. */
  select?: Record<string, true>;
  /** Paths from the field to the rows. Default: the field returns the rows. */
  paths?: string[][];
  typeName?: string;
}

/** How rows may be read that are only shown. Values are still computed from the types that Prisma returns. */
function optionsOfShown(field: FieldPlan): SelectOptions {
  const exceptDatesOf = new Set(columnsDerivedFrom(field));
  return { datesAsText: true, exceptDatesOf, sharesSelect: true };
}

const selections = new WeakMap<FieldPlan, RowSelection | null>();

/**
 * The selection of a field. Computed once per operation for rows that are only shown: it depends only on the
 * operation, because their relations have no conditions.
 */
export function rowSelection(options: SelectionOptions): RowSelection {
  const field = fieldPlanOf(options.info);
  if (!field) return { query: queryFromInfo(options), options: {} };
  const known = selections.get(field);
  if (known) return known;
  const isShown = known === undefined && onlyShowsRows(field);
  const selection = {
    query: queryFromInfo(options),
    options: isShown ? optionsOfShown(field) : {},
  };
  if (known === undefined) selections.set(field, isShown ? selection : null);
  return selection;
}

/** Selections by execution, then by field. */
const shared = new WeakMap<object, Map<string, RowSelection>>();

/** The selection of a field, computed once for all objects of an execution that have the field. */
export function sharedSelection(options: SelectionOptions): RowSelection {
  const { execution } = options.context;
  let known = shared.get(execution);
  if (!known) {
    known = new Map();
    shared.set(execution, known);
  }
  const place = placeOf(options.info);
  let selection = known.get(place);
  if (!selection) {
    selection = rowSelection(options);
    known.set(place, selection);
  }
  return selection;
}

/**
 * Names a field of an operation, which has the same arguments and selection for all objects. Other fields may have the
 * same path below objects of other types.
 */
export function placeOf({ parentType, path, fieldNodes }: GraphQLResolveInfo): string {
  return `${parentType.name} ${pathKey(path)} ${fieldNodes.map(numberOf).join()}`;
}

const numbers = new WeakMap<FieldNode, number>();
let latest = 0;

function numberOf(node: FieldNode): number {
  let number = numbers.get(node);
  if (number === undefined) {
    latest += 1;
    number = latest;
    numbers.set(node, number);
  }
  return number;
}

/** The path without list indexes. */
function pathKey({ prev, key }: GraphQLResolveInfo['path']): string {
  const before = prev ? pathKey(prev) : '';
  return typeof key === 'string' ? `${before}.${key}` : before;
}

/** Keys of selections, so that a selection shared by a whole operation is serialized only once. */
const keys = new WeakMap<RowSelection, string>();

/** A text that is the same for selections, also of different operations, that read rows in the same way. */
export function selectionKey(selection: RowSelection): string {
  let key = keys.get(selection);
  if (key === undefined) {
    key = JSON.stringify(selection, (_name, value: unknown) => {
      if (value instanceof Set) return [...value].map((column) => columnNames().get(column)).sort();
      return typeof value === 'bigint' ? `${value}n` : value;
    });
    keys.set(selection, key);
  }
  return key;
}

/** The names of all columns of `TABLES`, with their models. */
let names: Map<Column, string> | undefined;

function columnNames(): Map<Column, string> {
  names ??= new Map(
    Object.entries(TABLES).flatMap(([model, { columns }]) =>
      Object.entries(columns).map(([name, column]) => [column, `${model}.${name}`]),
    ),
  );
  return names;
}

const CURSORS = new Set(['cursor', 'startCursor', 'endCursor']);
const cursors = new WeakMap<FieldNode, boolean>();

/** Whether cursors of a connection may be selected. Every fragment of the document counts as part of it. */
export function mayShowCursors({ fieldNodes, fragments }: GraphQLResolveInfo): boolean {
  return fieldNodes.some((node) => {
    let found = cursors.get(node);
    if (found === undefined) {
      found = false;
      const visitor = {
        Field({ name }: FieldNode) {
          found ||= CURSORS.has(name.value);
        },
      };
      for (const each of [node, ...Object.values(fragments)]) visit(each, visitor);
      cursors.set(node, found);
    }
    return found;
  });
}
