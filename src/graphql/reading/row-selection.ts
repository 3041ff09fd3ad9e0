/** What a field reads of the rows that it returns. */
import { queryFromInfo } from '@pothos/plugin-prisma';
import { type FieldNode, type GraphQLResolveInfo, visit } from 'graphql';
import type { SelectOptions } from '../../infra/rows/select-statements.ts';
import type { Context } from '../context.ts';
import {
  derivesValues,
  type FieldPlan,
  fieldPlanOf,
  onlyShowsRows,
} from '../executor/query-plan.ts';

export interface RowSelection {
  /** A Prisma query with columns and relations, but no conditions of its own. */
  query: { select?: object };
  /** How rows may be read that are only shown. */
  options: SelectOptions;
}

interface SelectionOptions {
  context: Context;
  info: GraphQLResolveInfo;
  /** Selected in any case. */
  select?: Record<string, true>;
  /** Where the rows are below the field. Default: the field returns them. */
  paths?: string[][];
  typeName?: string;
}

const SHOWN: SelectOptions = { datesAsText: true, sharesSelect: true };
/** For rows that values are worked out from. */
const DERIVED_FROM: SelectOptions = { sharesSelect: true };

const selections = new WeakMap<FieldPlan, RowSelection | null>();

/**
 * Works out once for each operation what depends on nothing but the operation, as it does for rows that are only
 * shown; their relations have no conditions.
 */
export function rowSelection(options: SelectionOptions): RowSelection {
  const field = fieldPlanOf(options.info);
  if (!field) return { query: queryFromInfo(options), options: {} };
  const known = selections.get(field);
  if (known) return known;
  const isShown = known === undefined && onlyShowsRows(field);
  const shown = derivesValues(field) ? DERIVED_FROM : SHOWN;
  const selection = { query: queryFromInfo(options), options: isShown ? shown : {} };
  if (known === undefined) selections.set(field, isShown ? selection : null);
  return selection;
}

const CURSORS = new Set(['cursor', 'startCursor', 'endCursor']);
const cursors = new WeakMap<FieldNode, boolean>();

/** Whether cursors may be selected of a connection. Fragments count as if they were part of it. */
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
