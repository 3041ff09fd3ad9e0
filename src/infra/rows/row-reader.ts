/** Reads rows without Prisma; see `select-statements.ts`. */
import { type Sql, sqltag as sql } from '@prisma/client/runtime/client';
import type { Pool, QueryResultRow } from 'pg';
import { createPipeline, createReadPipeline } from '../database/pipeline.ts';
import type { StatementName } from '../database/prepared-statements.ts';
import { RAW_TYPES, rawValue } from '../database/raw-types.ts';
import {
  type ByValue,
  countByValueStatement,
  idsByValueStatement,
  type PageQuery,
} from './lists-by-value.ts';
import type { Row } from './select-results.ts';
import {
  countStatement,
  type SelectOptions,
  type SelectStatement,
  selectStatement,
} from './select-statements.ts';
import type { Tables } from './tables.ts';

/** A Prisma client, one of its transactions, or a `RowReader`. */
export interface RawReader {
  $queryRaw<T>(query: TemplateStringsArray | Sql, ...values: unknown[]): Promise<T>;
}

export interface FindOptions extends SelectOptions {
  /** Called with the size of the result, in about as many bytes, before it is decoded. May throw. */
  onResult?: ((bytes: number) => void) | undefined;
}

export interface RowReader extends RawReader {
  /** Like Prisma's `findMany`. Null for a query that only Prisma can answer. */
  findMany(model: string, query: object, options?: FindOptions): Promise<Row[]> | null;
  /** Like Prisma's `count`. Null for a condition that only Prisma supports. */
  count(model: string, where: object): Promise<number> | null;
  /**
   * The ids of the rows of each parent, at most as many as the query takes. Supports every condition of a list.
   *
   * @throws Error for a condition that is not supported
   */
  findIdsByValue(model: string, query: PageQuery, by: ByValue): Promise<string[][]>;
  /** The number of rows of each parent. Supports the same conditions. */
  countByValue(model: string, where: object, by: ByValue): Promise<number[]>;
  /**
   * Runs a statement in its own transaction and decodes its rows like Prisma's method of the same name, with
   * half the work. No column may be an array of bigint, numeric, date or timestamp without time zone.
   */
  $queryRaw<T>(query: TemplateStringsArray | Sql, ...values: unknown[]): Promise<T>;
  /**
   * Like `$queryRaw` for several statements, each in its own transaction, which are sent together. Each runs after the
   * previous one has been committed or has failed.
   */
  queryInOrder(...queries: Sql[]): Promise<unknown[]>[];
  /** Called with each statement, for tests that count them. */
  onStatement: (sql: string) => void;
}

/** The rows of a query take more than its `maxBytes`. */
export class ResultTooLargeError extends Error {
  override name = 'ResultTooLargeError';
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    super(`The result has more than ${maxBytes} bytes`);
    this.maxBytes = maxBytes;
  }
}

interface RowReaderOptions {
  pool: Pool;
  tables: Tables;
  nameOf: StatementName;
  /** Names the statements of `findMany` and `count`, whose texts depend on what clients select, filter and sort by. */
  nameOfSelect: StatementName;
}

export function createRowReader(options: RowReaderOptions): RowReader {
  const { pool, tables, nameOf, nameOfSelect } = options;
  const send = createReadPipeline(pool);
  const sendRaw = createPipeline<never>(pool);

  /** Over a connection of its own, for statements that may take long and would delay those behind them. */
  async function run<Result extends QueryResultRow>(
    statement: Pick<SelectStatement, 'text' | 'values'> | null,
  ): Promise<Result[]> {
    if (!statement) throw new Error('A condition of a list is not supported');
    const { text, values } = statement;
    reader.onStatement(text);
    return (await pool.query<Result>({ name: nameOfSelect(text), text, values })).rows;
  }

  const reader: RowReader = {
    $queryRaw<T>(query: TemplateStringsArray | Sql, ...values: unknown[]) {
      const [rows] = reader.queryInOrder('text' in query ? query : sql(query, ...values));
      return rows as Promise<T>;
    },
    queryInOrder(...queries) {
      const statements = queries.map(({ text, values }) => {
        reader.onStatement(text);
        return { name: nameOf(text), text, values: values.map(rawValue), types: RAW_TYPES };
      });
      return sendRaw(statements);
    },
    findMany(model, query, selectOptions) {
      const statement = selectStatement(tables, model, query, selectOptions);
      if (!statement) return null;
      const { text, values, decode } = statement;
      reader.onStatement(text);
      return send({ name: nameOfSelect(text), text, values }).then((json) => {
        if (json !== null) selectOptions?.onResult?.(json.length);
        const rows = decode(json === null ? null : JSON.parse(json));
        if (!rows) throw new ResultTooLargeError(selectOptions?.maxBytes ?? 0);
        return rows;
      });
    },
    count(model, where) {
      const statement = countStatement(tables, model, where);
      if (!statement) return null;
      return run<{ count: string }>(statement).then(([row]) => Number(row?.count));
    },
    async findIdsByValue(model, query, by) {
      const statement = idsByValueStatement(tables, model, query, by);
      const lists = by.parents.map((): string[] => []);
      for (const { parent, id } of await run<{ parent: number; id: string }>(statement)) {
        const list = lists[parent];
        if (list && list.length < query.take) list.push(id);
      }
      return lists;
    },
    async countByValue(model, where, by) {
      const statement = countByValueStatement(tables, model, where, by);
      const counts = by.parents.map(() => 0);
      for (const { parent, count } of await run<{ parent: number; count: number }>(statement)) {
        counts[parent] = (counts[parent] ?? 0) + count;
      }
      return counts;
    },
    onStatement: () => {},
  };
  return reader;
}
