/**
 * Translates the queries of lists and lookups, written as for Prisma's `findMany`, into one SQL statement
 * that returns the rows and their relations as JSON arrays. This takes a fraction of the time that
 * Prisma needs. Only what such queries usually contain is known here; for the others there is Prisma.
 */
import { Decimal } from '@prisma/client/runtime/client';

/** By the name of the model. Generated from the Prisma schema. */
export type Tables = Record<string, Table>;

export interface Table {
  name: string;
  columns: Record<string, Column>;
  relations: Record<string, Relation>;
}

interface Column {
  name: string;
  /** Of the Prisma schema: a scalar or an enum. */
  type: string;
  isList: boolean;
}

interface Relation {
  model: string;
  isList: boolean;
  /** Pairs of a field and the field of the other model that equals it. */
  on: [string, string][];
}

export interface SelectStatement {
  text: string;
  values: unknown[];
  /** The rows in the result of the statement: one JSON value, null for no row. */
  decode(json: Json): Row[];
}

export type Row = Record<string, unknown>;

interface Query {
  select?: Record<string, unknown>;
  where?: object;
  orderBy?: unknown;
  take?: number;
}

type Json = unknown[] | null;
type Decode = (value: never) => unknown;

/** One selected column or relation. */
interface Member {
  name: string;
  sql: string;
  /** Absent for values that JSON represents as they are. Also gets null. */
  decode?: Decode;
}

const QUERY_KEYS = new Set(['select', 'where', 'orderBy', 'take']);
const COMPARISONS: Record<string, string> = { equals: '=', lt: '<', lte: '<=', gt: '>', gte: '>=' };
/** Most arguments of a function in PostgreSQL. */
const MAX_MEMBERS = 100;
/** Thrown as it is, since it is no error. */
const UNKNOWN = Symbol('unknown');

const SQL_OF_COLUMN: Record<string, (column: string) => string> = {
  // JSON numbers have fewer digits.
  BigInt: (column) => `${column}::text`,
  Decimal: (column) => `${column}::text`,
};

const DECODE_COLUMN: Record<string, Decode> = {
  DateTime: (value: string | null) => (value === null ? null : new Date(value)),
  BigInt: (value: string | null) => (value === null ? null : BigInt(value)),
  Decimal: (value: string | null) => (value === null ? null : new Decimal(value)),
};

/** Null for a query with a part that is not known here. */
export function selectStatement(
  tables: Tables,
  model: string,
  query: object,
): SelectStatement | null {
  try {
    const builder = new Builder(tables);
    const { sql, decode } = builder.rows(model, query, () => []);
    return { text: `SELECT ${sql}`, values: builder.values, decode: decode as never };
  } catch (error) {
    if (error === UNKNOWN) return null;
    throw error;
  }
}

class Builder {
  readonly values: unknown[] = [];
  readonly #tables: Tables;
  #aliases = 0;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /**
   * An expression with the rows as a JSON array, each an array of its members. The members are built
   * outside of the limited query, so only for rows of the page.
   */
  rows(model: string, query: Query, join: (alias: string) => string[]): Omit<Member, 'name'> {
    const table = this.#table(model);
    const alias = this.#alias();
    const { members, columns } = this.#members(table, query, alias);
    const conditions = [...join(alias), ...this.#conditions(table, query.where, alias)];
    const order = orderTerms(query.orderBy).map((term) => this.#order(table, term, alias));
    const sql = [
      `(SELECT json_agg(${arrayOf(members)}) FROM (SELECT ${[...columns].join(', ')}`,
      `FROM ${quote(table.name)} ${alias}`,
      ...(conditions.length > 0 ? [`WHERE ${conditions.join(' AND ')}`] : []),
      ...(order.length > 0 ? [`ORDER BY ${order.join(', ')}`] : []),
      ...(query.take === undefined ? [] : [`LIMIT ${this.#value(size(query.take))}`]),
      `) ${alias})`,
    ];
    const decodeRow = rowDecoder(members);
    return {
      sql: sql.join(' '),
      decode: (rows: unknown[][] | null) => (rows === null ? [] : rows.map(decodeRow)),
    };
  }

  /** An expression with the members of the only row; null without one. */
  #row(model: string, query: Query, join: (alias: string) => string[]): Omit<Member, 'name'> {
    if (query.orderBy !== undefined || query.take !== undefined) throw UNKNOWN;
    const table = this.#table(model);
    const alias = this.#alias();
    const { members } = this.#members(table, query, alias);
    const conditions = [...join(alias), ...this.#conditions(table, query.where, alias)];
    const decodeRow = rowDecoder(members);
    return {
      sql: `(SELECT ${arrayOf(members)} FROM ${quote(table.name)} ${alias} WHERE ${conditions.join(' AND ')})`,
      decode: (row: unknown[] | null) => (row === null ? null : decodeRow(row)),
    };
  }

  #members(
    table: Table,
    query: Query,
    alias: string,
  ): { members: Member[]; columns: ReadonlySet<string> } {
    if (!query.select || Object.keys(query).some((key) => !QUERY_KEYS.has(key))) throw UNKNOWN;
    const members: Member[] = [];
    const columns = new Set<string>();
    for (const [name, selected] of Object.entries(query.select)) {
      if (selected === false || selected === undefined) continue;
      const relation = table.relations[name];
      if (relation) {
        if (!isPlainObject(selected)) throw UNKNOWN;
        members.push({ name, ...this.#relation(table, relation, selected, alias) });
        for (const [from] of relation.on) columns.add(nameIn(table, from, alias));
      } else {
        const column = columnOf(table, name);
        if (selected !== true || column.type === 'Bytes') throw UNKNOWN;
        members.push(memberOf(name, column, alias));
        columns.add(nameIn(table, name, alias));
      }
    }
    if (members.length === 0 || members.length > MAX_MEMBERS) throw UNKNOWN;
    return { members, columns };
  }

  #relation(
    table: Table,
    { model, isList, on }: Relation,
    query: Query,
    parent: string,
  ): Omit<Member, 'name'> {
    const target = this.#table(model);
    const join = (alias: string): string[] =>
      on.map(([from, to]) => `${nameIn(target, to, alias)} = ${nameIn(table, from, parent)}`);
    return isList ? this.rows(model, query, join) : this.#row(model, query, join);
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
        if (!Array.isArray(condition)) throw UNKNOWN;
        const alternatives = condition.map((each) => {
          const all = this.#conditions(table, requireObject(each), alias);
          // Prisma skips it.
          if (all.length === 0) throw UNKNOWN;
          return `(${all.join(' AND ')})`;
        });
        conditions.push(alternatives.length === 0 ? 'FALSE' : `(${alternatives.join(' OR ')})`);
      } else conditions.push(...this.#comparisons(table, name, condition, alias));
    }
    return conditions;
  }

  #comparisons(table: Table, name: string, condition: unknown, alias: string): string[] {
    const { type, isList } = columnOf(table, name);
    if (isList || type === 'Json' || type === 'Bytes') throw UNKNOWN;
    const column = nameIn(table, name, alias);
    if (condition === null) return [`${column} IS NULL`];
    if (!isPlainObject(condition)) return [`${column} = ${this.#value(condition)}`];
    const comparisons: string[] = [];
    for (const [operator, value] of Object.entries(condition)) {
      if (value === undefined) continue;
      const symbol = COMPARISONS[operator];
      if (operator === 'not' && value === null) comparisons.push(`${column} IS NOT NULL`);
      else if (operator === 'in' && Array.isArray(value)) {
        comparisons.push(`${column} = ANY(${this.#value(value)})`);
      } else if (symbol && value !== null) {
        comparisons.push(`${column} ${symbol} ${this.#value(value)}`);
      } else throw UNKNOWN;
    }
    return comparisons;
  }

  #order(table: Table, term: unknown, alias: string): string {
    const entries = Object.entries(requireObject(term));
    const [entry] = entries;
    if (!entry || entries.length > 1) throw UNKNOWN;
    const [name, order] = entry;
    columnOf(table, name);
    const { sort, nulls } = isPlainObject(order) ? order : { sort: order, nulls: undefined };
    if (sort !== 'asc' && sort !== 'desc') throw UNKNOWN;
    if (nulls !== undefined && nulls !== 'first' && nulls !== 'last') throw UNKNOWN;
    return `${nameIn(table, name, alias)} ${sort}${nulls ? ` NULLS ${nulls}` : ''}`;
  }

  #value(value: unknown): string {
    this.values.push(Array.isArray(value) ? value.map(parameter) : parameter(value));
    return `$${this.values.length}`;
  }

  #alias(): string {
    this.#aliases += 1;
    return `t${this.#aliases}`;
  }

  #table(model: string): Table {
    const table = this.#tables[model];
    if (!table) throw UNKNOWN;
    return table;
  }
}

function memberOf(name: string, column: Column, alias: string): Member {
  const sql = `${alias}.${quote(column.name)}`;
  const decode = DECODE_COLUMN[column.type];
  if (column.isList) {
    if (decode) throw UNKNOWN;
    return { name, sql, decode: (list: unknown[] | null) => list ?? [] };
  }
  if (!decode) return { name, sql };
  return { name, sql: SQL_OF_COLUMN[column.type]?.(sql) ?? sql, decode };
}

function rowDecoder(members: readonly Member[]): (values: unknown[]) => Row {
  return (values) => {
    const row: Row = {};
    members.forEach(({ name, decode }, index) => {
      row[name] = decode ? decode(values[index] as never) : values[index];
    });
    return row;
  };
}

function arrayOf(members: readonly Member[]): string {
  return `json_build_array(${members.map(({ sql }) => sql).join(', ')})`;
}

function columnOf(table: Table, name: string): Column {
  const column = table.columns[name];
  if (!column) throw UNKNOWN;
  return column;
}

function nameIn(table: Table, name: string, alias: string): string {
  return `${alias}.${quote(columnOf(table, name).name)}`;
}

function quote(name: string): string {
  return `"${name}"`;
}

function orderTerms(orderBy: unknown): unknown[] {
  return orderBy === undefined ? [] : [orderBy].flat();
}

function size(take: unknown): number {
  if (typeof take !== 'number' || take < 0) throw UNKNOWN;
  return take;
}

function parameter(value: unknown): string | number | boolean {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'bigint' || Decimal.isDecimal(value)) return String(value);
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return value;
  }
  throw UNKNOWN;
}

function requireObject(value: unknown): Record<string, unknown> {
  if (!isPlainObject(value)) throw UNKNOWN;
  return value;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
