/** Builds the result columns of the statements of `select-statements.ts`, and decodes rows from them. */

export type Row = Record<string, unknown>;

/** The columns of the rows. A column is null if there are no rows. */
export type JsonColumns = readonly unknown[];
export type Columns = readonly (readonly unknown[])[];
export type Decode = (value: never, lookups: readonly LookupResult[]) => unknown;

/** A column of the result, or an object made of several columns. */
export interface Member {
  name: string;
  /** Index of the column in the result. For a related row: of a column that is null or false if there is no row. */
  index: number;
  /** Absent for values that are the same in JSON. Also called with null. */
  decode?: Decode | undefined;
  /** The members of a related row. */
  row?: readonly Member[];
  /** Index of the lookup that contains the related row. The column is the id of that row. */
  lookup?: number;
}

/** Related rows that are shared by all rows of a statement, each read once. */
export interface Lookup {
  sql: string;
  find(json: JsonColumns): LookupResult;
}

export interface LookupResult {
  columns: Columns;
  /** Row indexes by row id. */
  rows: Map<unknown, number>;
}

/** The parts of one `SELECT` that read its rows and their related rows. */
export interface Selection {
  /** Alias of the table. */
  alias: string;
  /** Columns of the table that are needed from the rows. */
  columns: Set<string>;
  /** Columns of the result. */
  expressions: string[];
  joins: string[];
  /** Expressions by which lookups find their rows. A nested list returns them as arrays. */
  keys: string[];
  lookups: Lookup[];
  /** SQL: sizes in bytes of the columns of the result that may be large. These have the names `c0`, `c1` … there. */
  sizes: string[];
  /** For nested lists: the selection that has their lookups. Absent if related rows are joined to each row. */
  outer?: Selection | undefined;
}

/** Builds the query of the results, given the tables and the order. */
export type BuildQuery = (from: string, order: string) => string;
/** Null for a result that is null because it is too large. */
export type DecodeRows = (
  json: JsonColumns | null,
  lookups?: readonly LookupResult[],
) => Row[] | null;

/** Maximum number of function arguments in PostgreSQL. */
const MAX_ARGUMENTS = 100;

export function newSelection(alias: string, outer?: Selection): Selection {
  const lists = { expressions: [], joins: [], keys: [], lookups: [], sizes: [] };
  return { alias, columns: new Set(), ...lists, outer };
}

/** Alias of a nested list with keys in the surrounding query. */
export function nestedAlias({ alias }: Selection): string {
  return `${alias}s`;
}

/**
 * Returns a function that builds the query of the result columns. Its result is null if the columns that may be large
 * have more than `maxBytes` in all.
 */
export function queryBuilderOf(selection: Selection, maxBytes?: number): BuildQuery {
  const { alias, expressions, joins, keys, lookups, sizes } = selection;
  if (joins.length === 0 && sizes.length === 0) {
    const all = withKeys(jsonArrays(expressions), keys);
    return (from) => `SELECT ${all} FROM ${from}`;
  }
  const columns = expressions.map((sql, index) => `${sql} AS c${index}`);
  const named = [...columns, ...keys.map((sql, index) => `${sql} AS k${index}`)].join(', ');
  const arrays = jsonArrays(expressions.map((_, index) => `${alias}.c${index}`));
  const found = lookups.map(({ sql }) => sql);
  const list = found.length > 0 ? `json_build_array(${[arrays, ...found].join(', ')})` : arrays;
  const foundKeys = keys.map((_, index) => `${alias}.k${index}`);
  // A join may lose the order of the rows.
  const rows = (from: string, order: string): string =>
    `SELECT ${named} FROM ${from}${joins.length > 0 ? order : ''}`;
  if (sizes.length > 0) {
    // The rows have only pointers to large texts. What is too large is not even read.
    const size = sizes.map((sql) => `coalesce(sum(${sql}), 0)`).join(' + ');
    const inFound = [list, ...foundKeys.map((sql) => `array_agg(${sql})`)].map(
      (sql) => `(SELECT ${sql} FROM found ${alias})`,
    );
    const [checked = '', ...others] = inFound;
    const all = [
      `CASE WHEN (SELECT ${size} FROM found) <= ${maxBytes} THEN ${checked} END AS list`,
      ...others.map((sql, index) => `${sql} AS k${index}`),
    ].join(', ');
    return (from, order) => `WITH found AS MATERIALIZED (${rows(from, order)}) SELECT ${all}`;
  }
  if (found.length > 0) {
    return (from, order) =>
      `WITH found AS MATERIALIZED (${rows(from, order)}) SELECT ${list} FROM found ${alias}`;
  }
  const all = withKeys(arrays, foundKeys);
  return (from, order) => `SELECT ${all} FROM (${rows(from, order)}) ${alias}`;
}

/** The rows of a nested list and, if it has keys, the arrays of its keys. */
function withKeys(list: string, keys: readonly string[]): string {
  if (keys.length === 0) return list;
  return [`${list} AS list`, ...keys.map((sql, index) => `array_agg(${sql}) AS k${index}`)].join(
    ', ',
  );
}

/** A JSON array with one array per expression. Grouped if there are too many expressions for one function. */
export function jsonArrays(expressions: readonly string[]): string {
  if (expressions.length <= MAX_ARGUMENTS) {
    return `json_build_array(${expressions.map((sql) => `json_agg(${sql})`).join(', ')})`;
  }
  const groups: string[] = [];
  for (let from = 0; from < expressions.length; from += MAX_ARGUMENTS) {
    groups.push(jsonArrays(expressions.slice(from, from + MAX_ARGUMENTS)));
  }
  return `json_build_array(${groups.join(', ')})`;
}

export function isGrouped({ expressions }: Selection): boolean {
  return expressions.length > MAX_ARGUMENTS;
}

export function createDecoder(selection: Selection, members: readonly Member[]): DecodeRows {
  const { lookups } = selection;
  const decodeRows = createRowsDecoder(members, isGrouped(selection));
  if (lookups.length === 0) return decodeRows;
  return (json) => {
    if (!json || json.includes(null)) return null;
    const [rows, ...found] = json;
    return decodeRows(
      rows as JsonColumns,
      lookups.map(({ find }, index) => find(found[index] as JsonColumns)),
    );
  };
}

function createRowsDecoder(members: readonly Member[], grouped: boolean): DecodeRows {
  return (json, lookups = []) => {
    if (!json) return null;
    const columns = (grouped ? json.flat() : json) as Columns;
    const count = columns[0]?.length ?? 0;
    const rows: Row[] = [];
    for (let row = 0; row < count; row += 1) rows.push(decodeRow(members, columns, row, lookups));
    return rows;
  };
}

function decodeRow(
  members: readonly Member[],
  columns: Columns,
  row: number,
  lookups: readonly LookupResult[],
): Row {
  const result: Row = {};
  for (const { name, index, decode, row: related, lookup } of members) {
    const value = columns[index]?.[row];
    if (related) {
      const from = lookup === undefined ? columns : lookups[lookup]?.columns;
      const at = lookup === undefined ? row : lookups[lookup]?.rows.get(value);
      const exists = value !== null && value !== false && from && at !== undefined;
      result[name] = exists ? decodeRow(related, from, at, lookups) : null;
    } else result[name] = decode ? decode(value as never, lookups) : value;
  }
  return result;
}
