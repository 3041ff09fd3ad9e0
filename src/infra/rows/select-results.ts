/** The columns of the result of a statement of `select-statements.ts`, and the rows that are made of them. */

export type Row = Record<string, unknown>;

/** The columns of the rows, each null without a row. */
export type Json = readonly unknown[];
export type Columns = readonly (readonly unknown[])[];
export type Decode = (value: never, lookups: readonly Found[]) => unknown;

/** A column of the result, or an object of several. */
export interface Member {
  name: string;
  /** Its position in the result. Of a related row: of a column that is null or false without one. */
  index: number;
  /** Absent for values that JSON represents as they are. Also gets null. */
  decode?: Decode | undefined;
  /** The members of a related row. */
  row?: readonly Member[];
  /** The number of the lookup that has the related row. The column is the id of that row. */
  lookup?: number;
}

/** Related rows that all rows of a statement share, each read once. */
export interface Lookup {
  sql: string;
  find(json: Json): Found;
}

export interface Found {
  columns: Columns;
  /** The numbers of the rows by their ids. */
  rows: Map<unknown, number>;
}

/** What one `SELECT` reads of its rows and of those that they refer to. */
export interface Selection {
  /** Of the table. */
  alias: string;
  /** Of the table: what is needed of the rows that are found. */
  columns: Set<string>;
  /** Of the result. */
  expressions: string[];
  joins: string[];
  /** What lookups find their rows by: expressions, of which a nested list returns arrays. */
  keys: string[];
  lookups: Lookup[];
  /** Of nested lists: the selection that has their lookups. Absent where related rows are joined to each row. */
  outer?: Selection | undefined;
}

/** By the tables and the order. */
export type Results = (from: string, order: string) => string;
export type DecodeRows = (json: Json, lookups?: readonly Found[]) => Row[];

/** Most arguments of a function in PostgreSQL. */
const MAX_ARGUMENTS = 100;

export function newSelection(alias: string, outer?: Selection): Selection {
  return { alias, columns: new Set(), expressions: [], joins: [], keys: [], lookups: [], outer };
}

/** What a nested list with keys is called in the query around it. */
export function nestedName({ alias }: Selection): string {
  return `${alias}s`;
}

/** The query of the columns of the result, by the tables and the order. */
export function resultsOf(selection: Selection): Results {
  const { alias, expressions, joins, keys, lookups } = selection;
  if (joins.length === 0) {
    const all = withKeys(arraysOf(expressions), keys);
    return (from) => `SELECT ${all} FROM ${from}`;
  }
  const columns = expressions.map((sql, index) => `${sql} AS c${index}`);
  const named = [...columns, ...keys.map((sql, index) => `${sql} AS k${index}`)].join(', ');
  const arrays = arraysOf(expressions.map((_, index) => `${alias}.c${index}`));
  // The order of the rows may be lost in a join.
  if (lookups.length > 0) {
    const found = lookups.map(({ sql }) => sql).join(', ');
    return (from, order) =>
      `WITH found AS MATERIALIZED (SELECT ${named} FROM ${from}${order}) SELECT json_build_array(${arrays}, ${found}) FROM found ${alias}`;
  }
  const all = withKeys(
    arrays,
    keys.map((_, index) => `${alias}.k${index}`),
  );
  return (from, order) => `SELECT ${all} FROM (SELECT ${named} FROM ${from}${order}) ${alias}`;
}

/** Of a nested list with keys: its rows and the arrays of its keys. */
function withKeys(list: string, keys: readonly string[]): string {
  if (keys.length === 0) return list;
  return [`${list} AS list`, ...keys.map((sql, index) => `array_agg(${sql}) AS k${index}`)].join(
    ', ',
  );
}

/** In groups, if they are too many arguments. */
export function arraysOf(expressions: readonly string[]): string {
  if (expressions.length <= MAX_ARGUMENTS) {
    return `json_build_array(${expressions.map((sql) => `json_agg(${sql})`).join(', ')})`;
  }
  const groups: string[] = [];
  for (let from = 0; from < expressions.length; from += MAX_ARGUMENTS) {
    groups.push(arraysOf(expressions.slice(from, from + MAX_ARGUMENTS)));
  }
  return `json_build_array(${groups.join(', ')})`;
}

export function isGrouped({ expressions }: Selection): boolean {
  return expressions.length > MAX_ARGUMENTS;
}

export function decoderOf(selection: Selection, members: readonly Member[]): DecodeRows {
  const { lookups } = selection;
  const decodeRows = rowsDecoder(members, isGrouped(selection));
  if (lookups.length === 0) return decodeRows;
  return ([rows, ...found]) =>
    decodeRows(
      rows as Json,
      lookups.map(({ find }, index) => find(found[index] as Json)),
    );
}

function rowsDecoder(members: readonly Member[], grouped: boolean): DecodeRows {
  return (json, lookups = []) => {
    const columns = (grouped ? json.flat() : json) as Columns;
    const count = columns[0]?.length ?? 0;
    const rows: Row[] = [];
    for (let row = 0; row < count; row += 1) rows.push(rowAt(members, columns, row, lookups));
    return rows;
  };
}

function rowAt(
  members: readonly Member[],
  columns: Columns,
  row: number,
  lookups: readonly Found[],
): Row {
  const result: Row = {};
  for (const { name, index, decode, row: related, lookup } of members) {
    const value = columns[index]?.[row];
    if (related) {
      const from = lookup === undefined ? columns : lookups[lookup]?.columns;
      const at = lookup === undefined ? row : lookups[lookup]?.rows.get(value);
      const isThere = value !== null && value !== false && from && at !== undefined;
      result[name] = isThere ? rowAt(related, from, at, lookups) : null;
    } else result[name] = decode ? decode(value as never, lookups) : value;
  }
  return result;
}
