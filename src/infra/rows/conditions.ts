/** Conditions and orders, written as for Prisma, as parts of SQL statements. */
import { Decimal } from '@prisma/client/runtime/client';
import type { Column, Relation, Table, Tables } from './tables.ts';

export type Parameter = string | number | boolean;
export type Parameters = (Parameter | Parameter[])[];

const COMPARISONS: Record<string, string> = { equals: '=', lt: '<', lte: '<=', gt: '>', gte: '>=' };
/** Patterns of `LIKE`. Texts that are compared case-insensitively are patterns too, as in Prisma. */
const PATTERNS: Record<string, (text: string) => string> = {
  contains: (text) => `%${text}%`,
  startsWith: (text) => `${text}%`,
};
const INSENSITIVE_PATTERNS: typeof PATTERNS = { ...PATTERNS, equals: (text) => text };
/** Thrown for an unsupported query. A symbol, since it is not an error. */
export const UNSUPPORTED = Symbol('unknown');

/** The result of `build`, or null for an unsupported query. */
export function supported<Result>(build: () => Result): Result | null {
  try {
    return build();
  } catch (error) {
    if (error === UNSUPPORTED) return null;
    throw error;
  }
}

export interface OrderTerm {
  /** The columns of the table that `sql` needs. */
  columns: readonly string[];
  sql: string;
}

/** What a statement is built from: its parameters, and names for its tables. */
export class StatementBuilder {
  readonly values: Parameters = [];
  /** Number of table aliases in use. */
  protected aliases = 0;
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  conditions(table: Table, where: object | undefined, alias: string): string[] {
    const conditions: string[] = [];
    for (const [name, condition] of Object.entries(where ?? {})) {
      if (condition === undefined) continue;
      if (name === 'AND') {
        for (const each of [condition].flat()) {
          conditions.push(...this.conditions(table, requireObject(each), alias));
        }
      } else if (name === 'OR') {
        if (!Array.isArray(condition)) throw UNSUPPORTED;
        const alternatives = condition.map((each) => {
          const all = this.conditions(table, requireObject(each), alias);
          // Prisma ignores an empty alternative.
          if (all.length === 0) throw UNSUPPORTED;
          return `(${all.join(' AND ')})`;
        });
        conditions.push(alternatives.length === 0 ? 'FALSE' : `(${alternatives.join(' OR ')})`);
      } else if (name === 'NOT') {
        const all = this.conditions(table, requireObject(condition), alias);
        if (all.length === 0) throw UNSUPPORTED;
        conditions.push(`NOT (${all.join(' AND ')})`);
      } else if (table.relations[name]) {
        conditions.push(this.#related(table, table.relations[name], condition, alias));
      } else conditions.push(...this.#comparisons(table, name, condition, alias));
    }
    return conditions;
  }

  #comparisons(table: Table, name: string, condition: unknown, alias: string): string[] {
    const { type, isList } = findColumn(table, name);
    const column = columnReference(table, name, alias);
    if (isList) return [this.#contains(column, condition)];
    if (type === 'Json' || type === 'Bytes') throw UNSUPPORTED;
    if (condition === null) return [`${column} IS NULL`];
    if (!isPlainObject(condition)) return [`${column} = ${this.addValue(condition)}`];
    const comparisons: string[] = [];
    const { mode, ...operators } = condition;
    if (mode !== undefined && mode !== 'insensitive') throw UNSUPPORTED;
    const [like, patterns] = mode ? ['ILIKE', INSENSITIVE_PATTERNS] : ['LIKE', PATTERNS];
    for (const [operator, value] of Object.entries(operators)) {
      if (value === undefined) continue;
      const symbol = mode ? undefined : COMPARISONS[operator];
      const pattern = patterns[operator];
      if (operator === 'not' && value === null) comparisons.push(`${column} IS NOT NULL`);
      else if (operator === 'in' && Array.isArray(value) && !mode) {
        comparisons.push(`${column} = ANY(${this.addValue(value)})`);
      } else if (pattern && typeof value === 'string') {
        comparisons.push(`${column} ${like} ${this.addValue(pattern(value))}`);
      } else if (symbol && value !== null) {
        comparisons.push(`${column} ${symbol} ${this.addValue(value)}`);
      } else throw UNSUPPORTED;
    }
    return comparisons;
  }

  #contains(column: string, condition: unknown): string {
    const { hasEvery, ...others } = requireObject(condition);
    if (!Array.isArray(hasEvery) || Object.keys(others).length > 0) throw UNSUPPORTED;
    return `${column} @> ${this.addValue(hasEvery)}`;
  }

  /** That there is a related row that matches. */
  #related(
    table: Table,
    { model, isList, on }: Relation,
    condition: unknown,
    alias: string,
  ): string {
    const { some, ...others } = requireObject(condition);
    if (isList && Object.keys(others).length > 0) throw UNSUPPORTED;
    const target = this.findTable(model);
    const related = this.nextAlias();
    const conditions = [
      ...joinConditions({ table, alias }, { table: target, alias: related }, on),
      ...this.conditions(target, isList ? requireObject(some) : others, related),
    ];
    return `EXISTS (SELECT FROM ${quote(target.name)} ${related} WHERE ${conditions.join(' AND ')})`;
  }

  orderTerms(table: Table, orderBy: unknown, alias: string): OrderTerm[] {
    const terms = orderBy === undefined ? [] : [orderBy].flat();
    return terms.map((term) => this.#orderTerm(table, term, alias));
  }

  #orderTerm(table: Table, term: unknown, alias: string): OrderTerm {
    const [name, order] = onlyEntry(term);
    const relation = table.relations[name];
    if (relation) return this.#orderByRelated(table, relation, order, alias);
    const column = columnReference(table, name, alias);
    return { columns: [column], sql: `${column} ${directionOf(order)}` };
  }

  /** By a column of the related row. */
  #orderByRelated(table: Table, relation: Relation, term: unknown, alias: string): OrderTerm {
    const { model, isList, on } = relation;
    if (isList) throw UNSUPPORTED;
    const [name, order] = onlyEntry(term);
    const target = this.findTable(model);
    const related = this.nextAlias();
    const conditions = joinConditions({ table, alias }, { table: target, alias: related }, on);
    const value = `SELECT ${columnReference(target, name, related)} FROM ${quote(target.name)} ${related} WHERE ${conditions.join(' AND ')}`;
    const columns = on.map(([from]) => columnReference(table, from, alias));
    return { columns, sql: `(${value}) ${directionOf(order)}` };
  }

  addValue(value: unknown): string {
    this.values.push(Array.isArray(value) ? value.map(parameter) : parameter(value));
    return `$${this.values.length}`;
  }

  nextAlias(): string {
    this.aliases += 1;
    return `t${this.aliases}`;
  }

  findTable(model: string): Table {
    const table = this.#tables[model];
    if (!table) throw UNSUPPORTED;
    return table;
  }
}

function onlyEntry(term: unknown): [string, unknown] {
  const [entry, ...others] = Object.entries(requireObject(term));
  if (!entry || others.length > 0) throw UNSUPPORTED;
  return entry;
}

function directionOf(order: unknown): string {
  const { sort, nulls } = isPlainObject(order) ? order : { sort: order, nulls: undefined };
  if (sort !== 'asc' && sort !== 'desc') throw UNSUPPORTED;
  if (nulls !== undefined && nulls !== 'first' && nulls !== 'last') throw UNSUPPORTED;
  return `${sort}${nulls ? ` NULLS ${nulls}` : ''}`;
}

export function orderClause(terms: readonly OrderTerm[]): string {
  return terms.length > 0 ? ` ORDER BY ${terms.map(({ sql }) => sql).join(', ')}` : '';
}

export function findColumn(table: Table, name: string): Column {
  const column = table.columns[name];
  if (!column) throw UNSUPPORTED;
  return column;
}

export function columnReference(table: Table, name: string, alias: string): string {
  return `${alias}.${quote(findColumn(table, name).name)}`;
}

interface AliasedTable {
  table: Table;
  alias: string;
}

export function joinConditions(from: AliasedTable, to: AliasedTable, on: Relation['on']): string[] {
  return on.map(
    ([name, other]) =>
      `${columnReference(to.table, other, to.alias)} = ${columnReference(from.table, name, from.alias)}`,
  );
}

export function quote(name: string): string {
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

export function requireObject(value: unknown): Record<string, unknown> {
  if (!isPlainObject(value)) throw UNSUPPORTED;
  return value;
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
