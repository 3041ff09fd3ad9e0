/** Formats the rows of an export as CSV or JSON Lines. */
import { csvLine } from './csv-line.ts';

export type ExportFormat = 'CSV' | 'JSON_LINES';

/** Maximum number of columns for each kind of key. Further keys get no column. */
export const MAX_KEY_COLUMNS = 200;
/** Number of rows to search for keys before querying the keys of all rows. */
const MAX_SEARCHED = 10_000;

type Cell = string | number | null;

/** How rows become lines. */
export interface RowWriter<Row> {
  /** Fixed columns of the CSV, in order. */
  columns: readonly string[];
  cells: (row: Row) => readonly Cell[];
  /** Objects whose keys become columns, by the prefix of the columns, which may be empty. */
  keyed: ((row: Row) => Readonly<Record<string, unknown>>) | null;
  json: (row: Row) => object;
  /** Maximum number of columns for the keys of each prefix. Default: `MAX_KEY_COLUMNS`. */
  maxKeys?: number;
}

export interface RowSource<Row> {
  pages: () => AsyncIterable<readonly Row[]>;
  /** The keys of all rows by prefix, read with one statement. May include keys of other rows. */
  allKeys: () => Promise<Readonly<Record<string, readonly string[]>>>;
}

/** The lines of an export. For CSV the first rows are read twice: first for the keys that become columns. */
export async function* exportLines<Row>(
  format: ExportFormat,
  writer: RowWriter<Row>,
  source: RowSource<Row>,
): AsyncGenerator<string> {
  if (format === 'JSON_LINES') {
    for await (const rows of source.pages()) {
      yield rows.map((row) => `${JSON.stringify(writer.json(row))}\n`).join('');
    }
    return;
  }
  const { columns, cells, keyed } = writer;
  const keys = keyed ? yield* keyColumns({ ...writer, keyed }, source) : [];
  const keyNames = keys.map(([prefix, key]) => (prefix === '' ? key : `${prefix}.${key}`));
  yield csvLine([...columns, ...keyNames]);
  for await (const rows of source.pages()) {
    yield rows
      .map((row) => {
        const members = new Map(
          Object.entries(keyed?.(row) ?? {}).map(([prefix, value]) => [prefix, membersOf(value)]),
        );
        return csvLine([
          ...cells(row),
          ...keys.map(([prefix, key]) => cellOf(members.get(prefix)?.get(key))),
        ]);
      })
      .join('');
  }
}

/**
 * Collects the keys from the rows, unless there are many: that would take longer than clients and proxies wait for the
 * first byte. Yields an empty string after each page, so that the export ends there if the client has disconnected.
 */
async function* keyColumns<Row>(
  {
    keyed,
    maxKeys = MAX_KEY_COLUMNS,
  }: RowWriter<Row> & {
    keyed: NonNullable<RowWriter<Row>['keyed']>;
  },
  { pages, allKeys }: RowSource<Row>,
): AsyncGenerator<string, [string, string][]> {
  const keys = new Map<string, Set<string>>();
  const add = (prefix: string, names: Iterable<string>): void => {
    const known = keys.get(prefix) ?? new Set();
    keys.set(prefix, known);
    for (const name of names) if (known.size < maxKeys) known.add(name);
  };
  let searched = 0;
  for await (const rows of pages()) {
    yield '';
    for (const row of rows) {
      for (const [prefix, value] of Object.entries(keyed(row))) {
        add(prefix, membersOf(value).keys());
      }
    }
    searched += rows.length;
    if (searched < MAX_SEARCHED) continue;
    for (const [prefix, names] of Object.entries(await allKeys())) add(prefix, names);
    break;
  }
  return [...keys].flatMap(([prefix, names]) =>
    [...names].map((name): [string, string] => [prefix, name]),
  );
}

function membersOf(value: unknown): ReadonlyMap<string, unknown> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return new Map(isObject ? Object.entries(value) : []);
}

function cellOf(value: unknown): Cell {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value);
}
