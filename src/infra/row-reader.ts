/** Reads rows past Prisma; see `select-statements.ts`. */
import type { Pool } from 'pg';
import { createPipeline } from './pipeline.ts';
import { type Row, type SelectOptions, selectStatement, type Tables } from './select-statements.ts';

export interface RowReader {
  /** Reads like Prisma's `findMany`. Null for a query that only Prisma can answer. */
  findMany(model: string, query: object, options?: SelectOptions): Promise<Row[]> | null;
  /** Called with each statement. For tests, which count them. */
  onStatement: (sql: string) => void;
}

interface RowReaderOptions {
  pool: Pool;
  tables: Tables;
  /** The name of the prepared statement for a text; '' for none. */
  nameOf: (sql: string) => string;
}

export function createRowReader({ pool, tables, nameOf }: RowReaderOptions): RowReader {
  const send = createPipeline<{ rows: ReturnType<typeof JSON.parse> }>(pool);
  const reader: RowReader = {
    findMany(model, query, options) {
      const statement = selectStatement(tables, model, query, options);
      if (!statement) return null;
      const { text, values, decode } = statement;
      reader.onStatement(text);
      return send({ name: nameOf(text), text, values }).then(([result]) =>
        decode(result?.rows ?? []),
      );
    },
    onStatement: () => {},
  };
  return reader;
}
