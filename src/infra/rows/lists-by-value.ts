/**
 * Statements for the lists of many parents that no relation leads from: the rows of a parent are those that have one of
 * its values in a column. They read the rows of each parent by an index that begins with this column.
 */
import {
  columnReference,
  orderClause,
  type Parameters,
  quote,
  StatementBuilder,
  supported,
} from './conditions.ts';
import type { Tables } from './tables.ts';

export interface ByValue {
  /** Contains text. */
  column: string;
  /** The column by which the index sorts the rows with one value. */
  sortedBy: string;
  /** The values of each parent. */
  parents: readonly (readonly string[])[];
}

/** A query as for Prisma. */
export interface PageQuery {
  where: object;
  orderBy?: unknown;
  take: number;
}

interface Statement {
  text: string;
  values: Parameters;
}

/** One row `(parent, id)` for each row of a list, in the order of the query, at most `take` for each value of a parent. */
export function idsByValueStatement(
  tables: Tables,
  model: string,
  { where, orderBy, take }: PageQuery,
  by: ByValue,
): Statement | null {
  return build(tables, model, by, (builder, { table, from, alias }) => {
    const terms = builder.orderTerms(table, orderBy, alias);
    const order = orderClause(terms);
    const columns = new Set([
      columnReference(table, 'id', alias),
      ...terms.flatMap(({ columns }) => columns),
    ]);
    const matching = `SELECT ${[...columns].join(', ')} FROM ${from(where)}`;
    const isSorted = terms[0]?.columns[0] === columnReference(table, by.sortedBy, alias);
    // Without `OFFSET`, PostgreSQL may read all rows in this order, not only those with the value.
    const rows = isSorted ? matching : `SELECT * FROM (${matching} OFFSET 0) ${alias}`;
    const page = `${rows}${order} LIMIT ${builder.addValue(take)}`;
    const sorted = ['p.parent', ...terms.map(({ sql }) => sql)].join(', ');
    return `SELECT p.parent, ${alias}.id FROM ${PARENTS} CROSS JOIN LATERAL (${page}) ${alias} ORDER BY ${sorted}`;
  });
}

/** One row `(parent, count)` for each value of a parent. */
export function countByValueStatement(
  tables: Tables,
  model: string,
  where: object,
  by: ByValue,
): Statement | null {
  return build(
    tables,
    model,
    by,
    (_builder, { from }) =>
      `SELECT p.parent, n.count FROM ${PARENTS} CROSS JOIN LATERAL (SELECT count(*)::int AS count FROM ${from(where)}) n`,
  );
}

const PARENTS = 'unnest($1::int[], $2::text[]) AS p(parent, value)';

interface Source {
  table: Tables[string];
  alias: string;
  /** The table with the condition for the rows with the value of `p`. */
  from(where: object): string;
}

function build(
  tables: Tables,
  model: string,
  { column, parents }: ByValue,
  write: (builder: StatementBuilder, source: Source) => string,
): Statement | null {
  return supported(() => {
    const builder = new StatementBuilder(tables);
    builder.addValue(parents.flatMap((values, parent) => values.map(() => parent)));
    builder.addValue(parents.flat());
    const table = builder.findTable(model);
    const alias = builder.nextAlias();
    const from = (where: object) => {
      const isOwn = `${columnReference(table, column, alias)} = p.value`;
      const conditions = [isOwn, ...builder.conditions(table, where, alias)];
      return `${quote(table.name)} ${alias} WHERE ${conditions.join(' AND ')}`;
    };
    return { text: write(builder, { table, alias, from }), values: builder.values };
  });
}
