/** Lists of database rows: filter, sort order, paging and count, for every field that returns one. */
import type { InputObjectRef, ObjectRef } from '@pothos/core';
import type { PrismaModelTypes, PrismaObjectRef } from '@pothos/plugin-prisma';
import type { GraphQLResolveInfo } from 'graphql';
import type { App } from '../../app.ts';
import type { ProblemPath } from '../../errors.ts';
import type { Checks } from '../../infra/checks.ts';
import type { Viewer } from '../../viewer.ts';
import { builder, type SchemaTypes } from '../builder.ts';
import type { Context } from '../context.ts';
import { type Reader, readerOf } from '../reading/batched.ts';
import {
  mayShowCursors,
  placeOf,
  type RowSelection,
  rowSelection,
  sharedSelection,
} from '../reading/row-selection.ts';
import { connectionOf } from './connections.ts';
import { readCursor } from './cursors.ts';
import { filterCondition } from './filter-condition.ts';
import type { SortTerm } from './keyset.ts';
import {
  type ListRequest,
  type OwnValues,
  relatedConnection,
  rootConnection,
  rowsQuery,
  rowsQueryThrough,
  type SortedRow,
  valuesConnection,
} from './list-rows.ts';
import { OrderDirectionEnum } from './order.ts';
import { type Connection, connectionCost, type PageArgs, readPage } from './page.ts';

type Types = (typeof builder)['$inferSchemaTypes'];
type Column<Model extends PrismaModelTypes> = keyof Model['Shape'] & string;

interface SortField<Model extends PrismaModelTypes> {
  column: Column<Model>;
  description: string;
  /** For a nullable column: rows without a value come last in both directions. */
  nullsLast?: boolean;
  /**
   * Condition for the rows that this order includes: those with a value, if so many rows have none that it would take
   * seconds to find the few among them that match a filter. Default: all rows.
   */
  where?: Model['Where'];
}

interface ListFilter<Model extends PrismaModelTypes, Filter> {
  type: InputObjectRef<Types, Filter>;
  /** Returns the condition of a filter. Problems are added to `checks` under `path`. */
  where: (
    checks: Checks,
    filter: Partial<NoInfer<Filter>>,
    path: ProblemPath,
    context: { viewer: Viewer; now: Date },
  ) => Model['Where'];
}

interface Sort<Field extends string> {
  field: Field;
  direction: 'asc' | 'desc';
}

export interface ListOptions<Model extends PrismaModelTypes, Filter, Field extends string> {
  type: PrismaObjectRef<Types, Model, object>;
  /** What is listed, in the plural, for descriptions. */
  items: string;
  /** The rows that the viewer may see. */
  visible: (viewer: Viewer) => Model['Where'];
  filter?: ListFilter<Model, Filter>;
  sort: Record<Field, SortField<Model>>;
  /** Order when `orderBy` is omitted. */
  defaultSort: DefaultSort<NoInfer<Field>>;
  /** Unique column that breaks ties between positions. Default: `id`. */
  key?: Column<Model>;
  /** Runs once per execution, before a field of `Query` reads or counts rows. */
  prepare?: (app: App, viewer: Viewer) => Promise<void>;
}

/** An order and its description, such as "newest first". */
type DefaultSort<Field extends string> = Sort<Field> & { description: string };

interface FieldOptions<Field extends string> {
  description: string;
  authScopes?: Partial<SchemaTypes['AuthScopes']>;
  /** Sorts the list in this order, and removes the arguments `orderBy` and `filter`. */
  fixedSort?: Sort<Field>;
  /** Replaces the default of the list. */
  defaultSort?: DefaultSort<Field>;
}

interface RelationOptions<Parent extends PrismaModelTypes> {
  relation: Parent['ListRelations'];
  /** The relation that leads from each row of `relation` to a row of the list. Default: those rows are the list. */
  through?: string;
}

export interface ListArgs extends PageArgs {
  filter?: object | null;
  orderBy?: Sort<string> | null;
}

/**
 * Lists the rows of a type, and defines the inputs `<Type>Order` and `<Type>OrderField`.
 *
 * A page is a condition on the sort values in a cursor. So no unchanged row is skipped or repeated when rows,
 * including that of the cursor, are deleted or changed between two pages.
 */
export class List<Model extends PrismaModelTypes, Filter, Field extends string> {
  /** The connection type, for fields that page through another source of the same type. */
  readonly connection: ReturnType<typeof connectionOf>;
  readonly #options: ListOptions<Model, Filter, Field>;
  readonly #typeName: string;
  /** `prepare` of the list, by execution. */
  readonly #prepared = new WeakMap<object, Promise<void>>();
  #orderInput: object | undefined;

  constructor(options: ListOptions<Model, Filter, Field>) {
    this.#options = options;
    this.#typeName = options.type.name;
    this.connection = connectionOf(options.type as ObjectRef<Types, unknown>);
  }

  /** Adds a field to `Query` that lists all rows the viewer may see. */
  query(
    name: string,
    { fixedSort, defaultSort = this.#options.defaultSort, ...field }: FieldOptions<Field>,
  ): void {
    const { type } = this.#options;
    const args = this.#args({ fixedSort, defaultSort });
    const resolve = (
      _root: unknown,
      args: ListArgs,
      context: Context,
      info: GraphQLResolveInfo,
    ) => {
      const reader = readerOf(context);
      const request = this.#request(`Query.${name}`, args, reader, fixedSort ?? defaultSort);
      return this.#rootConnection(request, { context, info });
    };
    builder.queryField(name, (t) =>
      t.connection(
        { ...field, type, complexity: connectionCost, args, resolve } as never,
        this.connection,
      ),
    );
  }

  /** The arguments `filter` and `orderBy`, for a field that calls `withValues`. */
  get args(): Record<string, unknown> {
    return this.#args({ fixedSort: undefined, defaultSort: this.#options.defaultSort });
  }

  /**
   * The rows of one of many parents that no relation leads from: those with one of its values in a column. One statement
   * finds those of all parents.
   */
  withValues(
    list: string,
    { args, by }: { args: ListArgs; by: OwnValues<Column<Model>> },
    context: Context,
    info: GraphQLResolveInfo,
  ): Connection<SortedRow> {
    const reader = readerOf(context);
    const { type, defaultSort, visible } = this.#options;
    const request = this.#request(list, args, reader, defaultSort);
    return valuesConnection(reader, request, {
      model: type.modelName,
      selection: this.#selection(request, { context, info }, sharedSelection),
      visible: { AND: visible(reader.viewer) },
      place: placeOf(info),
      by,
    });
  }

  /** Adds a field to a type that lists the rows of a relation. One statement serves all parents. */
  related<Parent extends PrismaModelTypes>(
    parent: PrismaObjectRef<Types, Parent, object>,
    name: string,
    {
      relation,
      through,
      fixedSort,
      defaultSort = this.#options.defaultSort,
      ...field
    }: FieldOptions<Field> & RelationOptions<Parent>,
  ): void {
    const { type } = this.#options;
    const list = `${parent.name}.${name}`;
    const args = this.#args({ fixedSort, defaultSort });
    const unordered = fixedSort ?? defaultSort;
    const { key = 'id' } = this.#options;
    const target = { getType: () => this.#typeName, paths: NODE_PATHS };
    const select = (
      args: ListArgs,
      context: Context,
      nested: (query: object, target: object) => { select?: object },
      selected: Selected,
    ) => {
      const fields = selected();
      const hasNodes = fields.has('nodes') || fields.has('edges');
      if (!hasNodes && !fields.has('pageInfo')) return { select: { id: true } };
      const request = this.#request(list, args, readerOf(context), unordered);
      const query = through ? {} : rowsQuery(request);
      const rows = hasNodes ? nested(query, target) : { ...query, select: {} };
      const hasCursors = CURSOR_PATHS.some((path) => selected(path) !== null);
      const columns = { [key]: true, ...(hasCursors ? sortColumns(request) : {}) };
      const listed = withColumns(rows, columns);
      const read = through
        ? { ...rowsQueryThrough(through, request), select: { [through]: listed } }
        : listed;
      return { select: { id: true, [relation]: read } };
    };
    const resolve = (row: Record<string, unknown>, args: ListArgs, context: Context) => {
      const reader = readerOf(context);
      const request = this.#request(list, args, reader, unordered);
      const related = row[relation] as readonly Record<string, unknown>[] | undefined;
      const rows = through ? related?.map((each) => each[through]) : related;
      return relatedConnection(reader, request, {
        model: type.modelName,
        key: {
          parent: parent.modelName,
          relation,
          through,
          id: String(row.id),
          group: JSON.stringify([list, args]),
        },
        rows: rows as readonly SortedRow[] | undefined,
      });
    };
    builder.prismaObjectField(parent as never, name as never, (t) =>
      (t as unknown as { connection: (...options: unknown[]) => never }).connection(
        {
          ...field,
          type,
          complexity: connectionCost,
          args,
          extensions: { pothosPrismaSelect: select },
          resolve,
        },
        this.connection,
      ),
    );
  }

  #rootConnection(
    request: ListRequest,
    { context, info }: { context: Context; info: GraphQLResolveInfo },
  ): Connection<SortedRow> {
    const reader = readerOf(context);
    return rootConnection(reader, request, {
      model: this.#options.type.modelName,
      selection: this.#selection(request, { context, info }, rowSelection),
      prepare: () => this.#prepare(reader),
    });
  }

  #selection(
    request: ListRequest,
    { context, info }: { context: Context; info: GraphQLResolveInfo },
    selectionOf: typeof rowSelection,
  ): RowSelection {
    const { key = 'id' } = this.#options;
    const paths = [['nodes'], ['edges', 'node']];
    const typeName = this.#typeName;
    const select: Record<string, true> = { [key]: true };
    const { query, options } = selectionOf({ context, info, select, paths, typeName });
    return { query: mayShowCursors(info) ? withSortColumns(query, request) : query, options };
  }

  #prepare({ app, viewer, execution }: Reader): Promise<void> {
    let prepared = this.#prepared.get(execution);
    if (!prepared) {
      prepared = this.#options.prepare?.(app, viewer) ?? Promise.resolve();
      this.#prepared.set(execution, prepared);
    }
    return prepared;
  }

  /** @throws RequestError BAD_USER_INPUT, or UserInputError for the filter */
  #request(
    list: string,
    args: ListArgs,
    { app, viewer }: Reader,
    unordered: Sort<Field>,
  ): ListRequest {
    const { field, direction } = args.orderBy ?? unordered;
    const sort = this.#options.sort[field as Field];
    const terms = this.#terms(sort, direction);
    const scope = { list, terms, organizationId: viewer.organizationId };
    const { visible, filter } = this.#options;
    const given = (args.filter ?? {}) as Partial<Filter>;
    const matching =
      filter &&
      filterCondition((checks, path) =>
        filter.where(checks, given, path, { viewer, now: app.now() }),
      );
    const conditions = [visible(viewer), matching, sort.where];
    return {
      where: { AND: conditions.filter((condition) => condition !== undefined) },
      isFiltered: Object.keys(given).length > 0,
      scope,
      page: readPage(args, (argument) => readCursor(app.cipher, scope, argument)),
    };
  }

  #terms({ column, nullsLast }: SortField<Model>, direction: Sort<Field>['direction']): SortTerm[] {
    const { key = 'id' } = this.#options;
    const term: SortTerm = { column, direction, ...(nullsLast ? { nulls: 'last' } : {}) };
    return column === key ? [term] : [term, { column: key, direction }];
  }

  #args({
    fixedSort,
    defaultSort,
  }: {
    fixedSort: Sort<Field> | undefined;
    defaultSort: DefaultSort<Field>;
  }): Record<string, unknown> {
    const { filter } = this.#options;
    const args: Record<string, unknown> = {};
    if (filter && !fixedSort) {
      args.filter = argument({
        type: filter.type,
        description: 'Filters to apply. Default: no filter.',
      });
    }
    if (!fixedSort) {
      this.#orderInput ??= this.#defineOrder();
      args.orderBy = argument({
        type: this.#orderInput,
        description: `Sort order. Default: ${defaultSort.description}.`,
      });
    }
    return args;
  }

  #defineOrder(): object {
    const { items, sort } = this.#options;
    const values = Object.entries<SortField<Model>>(sort).map(([name, { description }]) => [
      name,
      { value: name, description },
    ]);
    const field = builder.enumType(`${this.#typeName}OrderField`, {
      description: `Fields by which ${items} can be sorted.`,
      values: Object.fromEntries(values) as Record<string, { value: string; description: string }>,
    });
    return builder.inputType(`${this.#typeName}Order`, {
      description: `Sort order of ${items}.`,
      fields: (t) => ({
        field: t.field({ type: field, required: true, description: 'Field to sort by.' }),
        direction: t.field({
          type: OrderDirectionEnum,
          required: true,
          description: 'Sort direction.',
        }),
      }),
    });
  }
}

/** The columns that a cursor contains. */
function sortColumns({ scope }: ListRequest): Record<string, true> {
  return Object.fromEntries(scope.terms.map(({ column }) => [column, true]));
}

/** Queries with sort columns by the query without them and the columns, since statements are cached by their `select`. */
const withSort = new WeakMap<object, Map<string, object>>();

function withSortColumns<Query extends { select?: object }>(
  query: Query,
  request: ListRequest,
): Query {
  const columns = sortColumns(request);
  const key = Object.keys(columns).join();
  const known = withSort.get(query) ?? new Map<string, Query>();
  withSort.set(query, known);
  const found = (known.get(key) as Query | undefined) ?? withColumns(query, columns);
  known.set(key, found);
  return found;
}

function withColumns<Query extends { select?: object }>(
  query: Query,
  columns: Record<string, boolean>,
): Query {
  // Without `select` all columns are read.
  return query.select ? { ...query, select: { ...query.select, ...columns } } : query;
}

/** The names of the selected fields, or the node of the field at a path. */
interface Selected {
  (): ReadonlySet<string>;
  (path: readonly string[]): object | null;
}

const CURSOR_PATHS = [
  ['edges', 'cursor'],
  ['pageInfo', 'startCursor'],
  ['pageInfo', 'endCursor'],
];
const NODE_PATHS = [[{ name: 'nodes' }], [{ name: 'edges' }, { name: 'node' }]];

function argument(options: object): unknown {
  return builder.args((t) => ({ argument: t.field(options as never) })).argument;
}
