/**
 * Translates the queries of lists and lookups, written as for Prisma's `findMany`, into one SQL statement
 * that returns the rows and their relations as JSON: one array per column, which PostgreSQL builds
 * faster than one per row. This takes a fraction of the time that Prisma needs. Supports only what such
 * queries usually contain; Prisma handles the others.
 */
import { Decimal } from '@prisma/client/runtime/client';
import {
  columnReference,
  findColumn,
  joinConditions,
  type OrderTerm,
  orderClause,
  type Parameters,
  quote,
  requireObject,
  StatementBuilder,
  supported,
  UNSUPPORTED,
} from './conditions.ts';
import { rangesOf, type SortedQuery } from './ranges.ts';
import {
  type BuildQuery,
  type Columns,
  createDecoder,
  type Decode,
  type DecodeRows,
  isGrouped,
  type JsonColumns,
  type LookupResult,
  type Member,
  nestedAlias,
  newSelection,
  queryBuilderOf,
  type Row,
  type Selection,
} from './select-results.ts';
import type { Column, Relation, Table, Tables } from './tables.ts';

export interface SelectStatement {
  text: string;
  values: Parameters;
  /** Decodes the rows from the result of the statement, a single JSON value. Null if there is more than `maxBytes`. */
  decode(json: JsonColumns | null): Row[] | null;
}

interface Query extends SortedQuery {
  select?: Record<string, unknown>;
}

/** A translated `select`, ready for use in a statement. */
interface TranslatedSelect {
  selection: Selection;
  buildQuery: BuildQuery;
  decode: DecodeRows;
  /** Number of table aliases in use after it. */
  aliases: number;
}

/** Translated selections by the `select` object that queries share: of statements for one row, and of the others. */
const translatedSelects = {
  one: new WeakMap<object, TranslatedSelect>(),
  several: new WeakMap<object, TranslatedSelect>(),
};

/** A table in a statement, and the selection to which its columns are added. */
interface SelectedTable {
  table: Table;
  alias: string;
  selection: Selection;
}

type Join = (alias: string) => string[];

const QUERY_KEYS = new Set(['select', 'where', 'orderBy', 'take']);
/** Maximum number of lookups, which are arguments of a function. */
const MAX_LOOKUPS = 50;
/**
 * Common limits are written into the statement itself. For a limit that PostgreSQL does not know, it makes a new plan
 * each time, which may take longer than reading the rows. Not done if there are several values to compare with,
 * such as those of a filter: one plan for all values would be bad for rare ones.
 */
const COMMON_LIMITS = new Set([1, 2, 4, 6, 11, 21, 26, 31, 51, 101]);
const SQL_OF_COLUMN: Record<string, (column: string) => string> = {
  // JSON numbers have less precision.
  BigInt: (column) => `${column}::text`,
  Decimal: (column) => `${column}::text`,
};

const DECODE_COLUMN: Record<string, Decode> = {
  DateTime: (value: string | null) => (value === null ? null : new Date(value)),
  BigInt: (value: string | null) => (value === null ? null : BigInt(value)),
  Decimal: (value: string | null) => (value === null ? null : new Decimal(value)),
};

export interface SelectOptions {
  /** Whether to return dates as ISO 8601 strings, like `Date.toISOString`, instead of as `Date`. */
  datesAsText?: boolean;
  /** Columns of `Tables` whose dates are returned as `Date` all the same. */
  exceptDatesOf?: ReadonlySet<Column>;
  /** Whether other queries for the same model and options use the same `select` object. */
  sharesSelect?: boolean;
  /** Maximum size of the result, as JSON in bytes. If it is larger, the statement returns null instead. */
  maxBytes?: number;
}

/** The statement that counts the rows of a model, as `count`. Null if a part of the condition is not supported. */
export function countStatement(
  tables: Tables,
  model: string,
  where: object,
): Pick<SelectStatement, 'text' | 'values'> | null {
  return supported(() => {
    const builder = new SelectBuilder(tables, {});
    return { text: builder.count(model, where), values: builder.values };
  });
}

/** The statement for a query. Null if a part of the query is not supported. */
export function selectStatement(
  tables: Tables,
  model: string,
  query: object,
  options: SelectOptions = {},
): SelectStatement | null {
  return supported(() => {
    const builder = new SelectBuilder(tables, options);
    const { sql, decode } = builder.build(model, query, () => []);
    const { maxBytes } = options;
    const text =
      maxBytes === undefined
        ? `SELECT (${sql}) AS rows`
        : `SELECT CASE WHEN pg_column_size(rows) <= ${maxBytes} THEN rows END FROM (${sql}) result(rows)`;
    return { text, values: builder.values, decode };
  });
}

class SelectBuilder extends StatementBuilder {
  readonly #options: SelectOptions;
  /** Whether the statement may return several rows, not counting those of nested lists. */
  #mayReturnSeveral = false;

  constructor(tables: Tables, options: SelectOptions) {
    super(tables);
    this.#options = options;
  }

  /**
   * The query of the result columns. They are computed outside the limited query, and so only for the rows of the
   * page. `parent` is the selection that contains a nested list.
   */
  build(model: string, query: Query, join: Join, parent?: Selection) {
    const table = this.findTable(model);
    const alias = this.nextAlias();
    // A single list reads no related row twice, but the lists of several rows may.
    const outer = parent?.alias === 't1' && this.#mayReturnSeveral ? parent : undefined;
    if (!parent) this.#mayReturnSeveral = query.take !== 1;
    const { selection, buildQuery, decode } = this.#translateSelect({ table, alias }, query, outer);
    const { columns, joins } = selection;
    const terms = this.orderTerms(table, query.orderBy, alias);
    const needed = joins.length === 0 ? columns : columns.union(new Set(terms.flatMap(columnsIn)));
    const from = `SELECT ${[...needed].join(', ')} FROM ${quote(table.name)} ${alias}`;
    const known = this.values.length;
    const { where, ranges } = rangesOf(query);
    const shared = [...join(alias), ...this.conditions(table, where, alias)];
    const found = ranges.map((range) => {
      const conditions = [...shared, ...this.conditions(table, range.where, alias)];
      const condition = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
      return `${from}${condition}${orderClause(this.orderTerms(table, range.orderBy, alias))}`;
    });
    const isPlannedOnce = this.values.length - known <= 1;
    const limit =
      query.take === undefined ? '' : ` LIMIT ${this.#limit(query.take, isPlannedOnce)}`;
    // PostgreSQL reads the second range after the first, and only if that has fewer rows than the limit.
    const rows =
      found.length === 1
        ? `${found}${limit}`
        : `${found.map((range) => `(${range}${limit})`).join(' UNION ALL ')}${limit}`;
    const order = orderClause(terms);
    const sql = buildQuery([`(${rows}) ${alias}`, ...joins].join(' '), order);
    return { sql, decode, selection };
  }

  count(model: string, where: object): string {
    const table = this.findTable(model);
    const alias = this.nextAlias();
    const conditions = this.conditions(table, where, alias);
    const condition = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    return `SELECT count(*) FROM ${quote(table.name)} ${alias}${condition}`;
  }

  /** Translates the `select` of a query. The result is cached if other queries share the `select`. */
  #translateSelect(
    { table, alias }: Omit<SelectedTable, 'selection'>,
    query: Query,
    outer: Selection | undefined,
  ): TranslatedSelect {
    const isShared = this.#options.sharesSelect === true && alias === 't1';
    const translated = translatedSelects[this.#mayReturnSeveral ? 'several' : 'one'];
    const known = isShared && query.select ? translated.get(query.select) : undefined;
    if (known) {
      this.aliases = known.aliases;
      return known;
    }
    const selection = newSelection(alias, outer);
    const members = this.#members({ table, alias, selection }, query);
    const selected = {
      selection,
      buildQuery: queryBuilderOf(selection, this.#options.maxBytes),
      decode: createDecoder(selection, members),
      aliases: this.aliases,
    };
    // Not if it contains conditions, whose values would be missing.
    if (isShared && query.select && this.values.length === 0)
      translated.set(query.select, selected);
    return selected;
  }

  /** Adds the selected columns and relations of a table to a selection. */
  #members(source: SelectedTable, query: Query): Member[] {
    if (!query.select || Object.keys(query).some((key) => !QUERY_KEYS.has(key))) throw UNSUPPORTED;
    const { table, alias, selection } = source;
    const members: Member[] = [];
    for (const [name, selected] of Object.entries(query.select)) {
      if (selected === false || selected === undefined) continue;
      const relation = table.relations[name];
      if (relation) {
        const query = relatedQuery(this.findTable(relation.model), selected);
        members.push({ name, ...this.#relation(source, relation, query) });
      } else {
        if (selected !== true) throw UNSUPPORTED;
        const column = findColumn(table, name);
        const { sql, decode } = this.#column(column, alias);
        const index = selection.expressions.push(sql) - 1;
        if (column.isLarge) this.#limitText(selection, index);
        members.push({ name, index, decode });
        addColumn(selection, alias, columnReference(table, name, alias));
      }
    }
    if (members.length === 0) throw UNSUPPORTED;
    return members;
  }

  /** The size of a text. It is neither decompressed nor read, if it is stored outside its row. */
  #limitText({ alias, sizes }: Selection, index: number): void {
    const isSingle = alias === 't1' && !this.#mayReturnSeveral;
    if (this.#options.maxBytes !== undefined && !isSingle) sizes.push(`octet_length(c${index})`);
  }

  /** The size of a nested list, which is null if it is too large itself. */
  #limitList({ sizes }: Selection, index: number): void {
    const { maxBytes = 0 } = this.#options;
    sizes.push(`coalesce(pg_column_size(c${index}), ${maxBytes + 1})`);
  }

  #column(column: Column, alias: string): { sql: string; decode: Decode | undefined } {
    const { type, isList } = column;
    if (type === 'Bytes') throw UNSUPPORTED;
    const sql = `${alias}.${quote(column.name)}`;
    if (isList) {
      if (DECODE_COLUMN[type]) throw UNSUPPORTED;
      return { sql, decode: (list: unknown[] | null) => list ?? [] };
    }
    const { datesAsText = false, exceptDatesOf } = this.#options;
    const isText = type === 'DateTime' && datesAsText && !exceptDatesOf?.has(column);
    const decode = isText ? isoText : DECODE_COLUMN[type];
    return { sql: SQL_OF_COLUMN[type]?.(sql) ?? sql, decode };
  }

  #relation(
    { table, alias: parent, selection }: SelectedTable,
    { model, isList, on }: Relation,
    query: Query,
  ): Omit<Member, 'name'> {
    const target = this.findTable(model);
    for (const [from] of on) addColumn(selection, parent, columnReference(table, from, parent));
    const join: Join = (alias) =>
      joinConditions({ table, alias: parent }, { table: target, alias }, on);
    if (isList) {
      const { sql, decode, selection: list } = this.build(model, query, join, selection);
      const isJoined = list.keys.length > 0;
      if (isJoined) selection.joins.push(`CROSS JOIN LATERAL (${sql}) ${nestedAlias(list)}`);
      const expression = isJoined ? `${nestedAlias(list)}.list` : `(${sql})`;
      const index = selection.expressions.push(expression) - 1;
      if (list.sizes.length > 0) this.#limitList(selection, index);
      return { index, decode };
    }
    if (query.orderBy !== undefined || query.take !== undefined) throw UNSUPPORTED;
    const lookup = this.#lookup({ table, alias: parent, selection }, { model, isList, on }, query);
    if (lookup) return lookup;
    const alias = this.nextAlias();
    const conditions = [...join(alias), ...this.conditions(target, query.where, alias)];
    selection.joins.push(`LEFT JOIN ${quote(target.name)} ${alias} ON ${conditions.join(' AND ')}`);
    const row = this.#members({ table: target, alias, selection }, query);
    // A column of the join condition is null only if there is no row.
    const key = row.find(({ name }) => on.some(([, to]) => to === name));
    if (key) return { index: key.index, row };
    const exists = on
      .map(([, to]) => `${columnReference(target, to, alias)} IS NOT NULL`)
      .join(' AND ');
    return { index: selection.expressions.push(exists) - 1, row };
  }

  /** Adds a lookup for the related row. Null if the row is joined instead. */
  #lookup(
    { table, alias: parent, selection }: SelectedTable,
    { model, on }: Relation,
    query: Query,
  ): Omit<Member, 'name'> | null {
    const { outer } = selection;
    const target = this.findTable(model);
    const id = on.find(([, to]) => to === 'id');
    const isPlain = Object.keys(query.select ?? {}).every((name) => target.columns[name]);
    if (!outer || !id || !isPlain || query.where || outer.lookups.length >= MAX_LOOKUPS)
      return null;
    const found = newSelection(this.nextAlias());
    const row = this.#members({ table: target, alias: found.alias, selection: found }, query);
    const [from, to] = id;
    const ids = found.expressions.push(this.#column(findColumn(target, to), found.alias).sql) - 1;
    const keys = on.map(([name]) => {
      const key = selection.keys.push(columnReference(table, name, parent)) - 1;
      return `unnest(k${outer.keys.push(`${nestedAlias(selection)}.k${key}`) - 1})`;
    });
    const names = on.map(([, name]) => columnReference(target, name, found.alias));
    const isFound = `(${names.join(', ')}) IN (SELECT ${keys.join(', ')} FROM found)`;
    const buildQuery = queryBuilderOf(found, this.#options.maxBytes);
    const sql = `(${buildQuery(`${quote(target.name)} ${found.alias} WHERE ${isFound}`, '')})`;
    const find = (json: JsonColumns): LookupResult => {
      const columns = (isGrouped(found) ? json.flat() : json) as Columns;
      return { columns, rows: new Map(columns[ids]?.map((each, index) => [each, index])) };
    };
    const lookup = outer.lookups.push({ sql, find }) - 1;
    const { sql: key } = this.#column(findColumn(table, from), parent);
    return { index: selection.expressions.push(key) - 1, row, lookup };
  }

  #limit(take: unknown, isPlannedOnce: boolean): string {
    if (typeof take !== 'number' || take < 0) throw UNSUPPORTED;
    return isPlannedOnce && COMMON_LIMITS.has(take) ? String(take) : this.addValue(take);
  }
}

/** Converts `2026-11-29T08:00:00.123+00:00`, as PostgreSQL writes most instants, without creating a `Date`. */
function isoText(text: string | null): string | Date | null {
  if (text === null) return null;
  if (text.length === 29 && text.endsWith('+00:00')) return `${text.slice(0, 23)}Z`;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? date : date.toISOString();
}

function columnsIn({ columns }: OrderTerm): readonly string[] {
  return columns;
}

function addColumn({ alias, columns }: Selection, of: string, column: string): void {
  if (of === alias) columns.add(column);
}

/** The query for a relation. Without a `select`, it reads all columns. */
function relatedQuery({ columns }: Table, selected: unknown): Query {
  const query: Query = requireObject(selected === true ? {} : selected);
  if (query.select) return query;
  return { ...query, select: Object.fromEntries(Object.keys(columns).map((name) => [name, true])) };
}
