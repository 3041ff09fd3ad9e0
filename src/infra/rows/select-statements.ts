/**
 * Translates the queries of lists and lookups, written as for Prisma's `findMany`, into one SQL statement
 * that returns the rows and their relations as JSON: one array per column, which PostgreSQL builds
 * faster than one per row. This takes a fraction of the time that Prisma needs. Supports only what such
 * queries usually contain; Prisma handles the others.
 */
import { Decimal } from '@prisma/client/runtime/client';
import { rangesOf, type SortedQuery } from './ranges.ts';
import {
  type BuildQuery,
  type Columns,
  createDecoder,
  type Decode,
  type DecodeRows,
  isGrouped,
  type JsonColumns,
  jsonArrays,
  type LookupResult,
  type Member,
  nestedAlias,
  newSelection,
  queryBuilderOf,
  type Row,
  type Selection,
} from './select-results.ts';

/** Tables by model name. Generated from the Prisma schema. */
export type Tables = Record<string, Table>;

export interface Table {
  name: string;
  columns: Record<string, Column>;
  relations: Record<string, Relation>;
}

export interface Column {
  name: string;
  /** Type in the Prisma schema: a scalar or an enum. */
  type: string;
  isList: boolean;
}

interface Relation {
  model: string;
  isList: boolean;
  /** Pairs of a field and the equal field of the other model. */
  on: [string, string][];
}

type Parameter = string | number | boolean;

export interface SelectStatement {
  text: string;
  values: (Parameter | Parameter[])[];
  /** Decodes the rows from the result of the statement, a single JSON value named `rows`. */
  decode(json: JsonColumns): Row[];
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

/** Translated selections by the `select` object that queries share. */
const translatedSelects = new WeakMap<object, TranslatedSelect>();

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
const COMPARISONS: Record<string, string> = { equals: '=', lt: '<', lte: '<=', gt: '>', gte: '>=' };
/**
 * Common limits are written into the statement itself. For a limit that PostgreSQL does not know, it makes a new plan
 * each time, which may take longer than reading the rows. Not done if there are several values to compare with,
 * such as those of a filter: one plan for all values would be bad for rare ones.
 */
const COMMON_LIMITS = new Set([1, 2, 4, 6, 11, 21, 26, 31, 51, 101]);
/** Thrown for an unsupported query. A symbol, since it is not an error. */
const UNSUPPORTED = Symbol('unknown');

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
    return { text: `SELECT (${sql}) AS rows`, values: builder.values, decode };
  });
}

function supported<Result>(build: () => Result): Result | null {
  try {
    return build();
  } catch (error) {
    if (error === UNSUPPORTED) return null;
    throw error;
  }
}

class SelectBuilder {
  readonly values: SelectStatement['values'] = [];
  readonly #tables: Tables;
  readonly #options: SelectOptions;
  #aliases = 0;
  /** Whether the statement may return several rows, not counting those of nested lists. */
  #mayReturnSeveral = false;

  constructor(tables: Tables, options: SelectOptions) {
    this.#tables = tables;
    this.#options = options;
  }

  /**
   * The query of the result columns. They are computed outside the limited query, and so only for the rows of the
   * page. `parent` is the selection that contains a nested list.
   */
  build(model: string, query: Query, join: Join, parent?: Selection) {
    const table = this.#findTable(model);
    const alias = this.#nextAlias();
    // A single list reads no related row twice, but the lists of several rows may.
    const outer = parent?.alias === 't1' && this.#mayReturnSeveral ? parent : undefined;
    if (!parent) this.#mayReturnSeveral = query.take !== 1;
    const { selection, buildQuery, decode } = this.#translateSelect({ table, alias }, query, outer);
    const { columns, joins } = selection;
    const terms = this.#orderTerms(table, query.orderBy, alias);
    const needed = joins.length === 0 ? columns : columns.union(new Set(terms.map(columnIn)));
    const from = `SELECT ${[...needed].join(', ')} FROM ${quote(table.name)} ${alias}`;
    const known = this.values.length;
    const { where, ranges } = rangesOf(query);
    const shared = [...join(alias), ...this.#conditions(table, where, alias)];
    const found = ranges.map((range) => {
      const conditions = [...shared, ...this.#conditions(table, range.where, alias)];
      const condition = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
      return `${from}${condition}${orderClause(this.#orderTerms(table, range.orderBy, alias))}`;
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
    const table = this.#findTable(model);
    const alias = this.#nextAlias();
    const conditions = this.#conditions(table, where, alias);
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
    const known = isShared && query.select ? translatedSelects.get(query.select) : undefined;
    if (known) {
      this.#aliases = known.aliases;
      return known;
    }
    const selection = newSelection(alias, outer);
    const members = this.#members({ table, alias, selection }, query);
    const selected = {
      selection,
      buildQuery: queryBuilderOf(selection),
      decode: createDecoder(selection, members),
      aliases: this.#aliases,
    };
    // Not if it contains conditions, whose values would be missing.
    if (isShared && query.select && this.values.length === 0)
      translatedSelects.set(query.select, selected);
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
        const query = relatedQuery(this.#findTable(relation.model), selected);
        members.push({ name, ...this.#relation(source, relation, query) });
      } else {
        if (selected !== true) throw UNSUPPORTED;
        const { sql, decode } = this.#column(findColumn(table, name), alias);
        members.push({ name, index: selection.expressions.push(sql) - 1, decode });
        addColumn(selection, alias, columnReference(table, name, alias));
      }
    }
    if (members.length === 0) throw UNSUPPORTED;
    return members;
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
    const target = this.#findTable(model);
    for (const [from] of on) addColumn(selection, parent, columnReference(table, from, parent));
    const join: Join = (alias) =>
      on.map(
        ([from, to]) =>
          `${columnReference(target, to, alias)} = ${columnReference(table, from, parent)}`,
      );
    if (isList) {
      const { sql, decode, selection: list } = this.build(model, query, join, selection);
      if (list.keys.length === 0)
        return { index: selection.expressions.push(`(${sql})`) - 1, decode };
      selection.joins.push(`CROSS JOIN LATERAL (${sql}) ${nestedAlias(list)}`);
      return { index: selection.expressions.push(`${nestedAlias(list)}.list`) - 1, decode };
    }
    if (query.orderBy !== undefined || query.take !== undefined) throw UNSUPPORTED;
    const lookup = this.#lookup({ table, alias: parent, selection }, { model, isList, on }, query);
    if (lookup) return lookup;
    const alias = this.#nextAlias();
    const conditions = [...join(alias), ...this.#conditions(target, query.where, alias)];
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
    const target = this.#findTable(model);
    const id = on.find(([, to]) => to === 'id');
    const isPlain = Object.keys(query.select ?? {}).every((name) => target.columns[name]);
    if (!outer || !id || !isPlain || query.where || outer.lookups.length >= MAX_LOOKUPS)
      return null;
    const found = newSelection(this.#nextAlias());
    const row = this.#members({ table: target, alias: found.alias, selection: found }, query);
    const [from, to] = id;
    const ids = found.expressions.push(this.#column(findColumn(target, to), found.alias).sql) - 1;
    const keys = on.map(([name]) => {
      const key = selection.keys.push(columnReference(table, name, parent)) - 1;
      return `unnest(k${outer.keys.push(`${nestedAlias(selection)}.k${key}`) - 1})`;
    });
    const names = on.map(([, name]) => columnReference(target, name, found.alias));
    const isFound = `(${names.join(', ')}) IN (SELECT ${keys.join(', ')} FROM found)`;
    const sql = `(SELECT ${jsonArrays(found.expressions)} FROM ${quote(target.name)} ${found.alias} WHERE ${isFound})`;
    const find = (json: JsonColumns): LookupResult => {
      const columns = (isGrouped(found) ? json.flat() : json) as Columns;
      return { columns, rows: new Map(columns[ids]?.map((each, index) => [each, index])) };
    };
    const lookup = outer.lookups.push({ sql, find }) - 1;
    const { sql: key } = this.#column(findColumn(table, from), parent);
    return { index: selection.expressions.push(key) - 1, row, lookup };
  }

  #conditions(table: Table, where: object | undefined, alias: string): string[] {
    const conditions: string[] = [];
    for (const [name, condition] of Object.entries(where ?? {})) {
      if (condition === undefined) continue;
      if (name === 'AND') {
        for (const each of [condition].flat()) {
          conditions.push(...this.#conditions(table, requireObject(each), alias));
        }
      } else if (name === 'OR') {
        if (!Array.isArray(condition)) throw UNSUPPORTED;
        const alternatives = condition.map((each) => {
          const all = this.#conditions(table, requireObject(each), alias);
          // Prisma ignores an empty alternative.
          if (all.length === 0) throw UNSUPPORTED;
          return `(${all.join(' AND ')})`;
        });
        conditions.push(alternatives.length === 0 ? 'FALSE' : `(${alternatives.join(' OR ')})`);
      } else if (name === 'NOT') {
        const all = this.#conditions(table, requireObject(condition), alias);
        if (all.length === 0) throw UNSUPPORTED;
        conditions.push(`NOT (${all.join(' AND ')})`);
      } else conditions.push(...this.#comparisons(table, name, condition, alias));
    }
    return conditions;
  }

  #comparisons(table: Table, name: string, condition: unknown, alias: string): string[] {
    const { type, isList } = findColumn(table, name);
    if (isList || type === 'Json' || type === 'Bytes') throw UNSUPPORTED;
    const column = columnReference(table, name, alias);
    if (condition === null) return [`${column} IS NULL`];
    if (!isPlainObject(condition)) return [`${column} = ${this.#addValue(condition)}`];
    const comparisons: string[] = [];
    for (const [operator, value] of Object.entries(condition)) {
      if (value === undefined) continue;
      const symbol = COMPARISONS[operator];
      if (operator === 'not' && value === null) comparisons.push(`${column} IS NOT NULL`);
      else if (operator === 'in' && Array.isArray(value)) {
        comparisons.push(`${column} = ANY(${this.#addValue(value)})`);
      } else if (operator === 'contains' && typeof value === 'string') {
        comparisons.push(`${column} LIKE ${this.#addValue(`%${value}%`)}`);
      } else if (symbol && value !== null) {
        comparisons.push(`${column} ${symbol} ${this.#addValue(value)}`);
      } else throw UNSUPPORTED;
    }
    return comparisons;
  }

  #orderTerms(table: Table, orderBy: unknown, alias: string): { column: string; sql: string }[] {
    const terms = orderBy === undefined ? [] : [orderBy].flat();
    return terms.map((term) => this.#orderTerm(table, term, alias));
  }

  #orderTerm(table: Table, term: unknown, alias: string): { column: string; sql: string } {
    const entries = Object.entries(requireObject(term));
    const [entry] = entries;
    if (!entry || entries.length > 1) throw UNSUPPORTED;
    const [name, order] = entry;
    const column = columnReference(table, name, alias);
    const { sort, nulls } = isPlainObject(order) ? order : { sort: order, nulls: undefined };
    if (sort !== 'asc' && sort !== 'desc') throw UNSUPPORTED;
    if (nulls !== undefined && nulls !== 'first' && nulls !== 'last') throw UNSUPPORTED;
    return { column, sql: `${column} ${sort}${nulls ? ` NULLS ${nulls}` : ''}` };
  }

  #addValue(value: unknown): string {
    this.values.push(Array.isArray(value) ? value.map(parameter) : parameter(value));
    return `$${this.values.length}`;
  }

  #limit(take: unknown, isPlannedOnce: boolean): string {
    if (typeof take !== 'number' || take < 0) throw UNSUPPORTED;
    return isPlannedOnce && COMMON_LIMITS.has(take) ? String(take) : this.#addValue(take);
  }

  #nextAlias(): string {
    this.#aliases += 1;
    return `t${this.#aliases}`;
  }

  #findTable(model: string): Table {
    const table = this.#tables[model];
    if (!table) throw UNSUPPORTED;
    return table;
  }
}

/** Converts `2026-11-29T08:00:00.123+00:00`, as PostgreSQL writes most instants, without creating a `Date`. */
function isoText(text: string | null): string | Date | null {
  if (text === null) return null;
  if (text.length === 29 && text.endsWith('+00:00')) return `${text.slice(0, 23)}Z`;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? date : date.toISOString();
}

function orderClause(terms: readonly { sql: string }[]): string {
  return terms.length > 0 ? ` ORDER BY ${terms.map(({ sql }) => sql).join(', ')}` : '';
}

function columnIn({ column }: { column: string }): string {
  return column;
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

function findColumn(table: Table, name: string): Column {
  const column = table.columns[name];
  if (!column) throw UNSUPPORTED;
  return column;
}

function columnReference(table: Table, name: string, alias: string): string {
  return `${alias}.${quote(findColumn(table, name).name)}`;
}

function quote(name: string): string {
  return `"${name}"`;
}

function parameter(value: unknown): Parameter {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'bigint' || Decimal.isDecimal(value)) return String(value);
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return value;
  }
  throw UNSUPPORTED;
}

function requireObject(value: unknown): Record<string, unknown> {
  if (!isPlainObject(value)) throw UNSUPPORTED;
  return value;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
