/** Reads the rows of the graph: with `app.rows` if it supports the query, otherwise with Prisma. */
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import type PrismaTypes from '../../generated/pothos.ts';
import { rangesOf, type SortedQuery } from '../../infra/rows/ranges.ts';
import type { SelectOptions } from '../../infra/rows/select-statements.ts';

/**
 * Maximum size of the rows that one statement returns for the graph, as JSON in bytes. PostgreSQL compares it, and
 * does not send a larger result, which would take several times its size in this process.
 */
export const MAX_READ_BYTES = 16 * 2 ** 20;

/** Likewise, of the rows that an operation reads in all. */
export const MAX_OPERATION_BYTES = 32 * 2 ** 20;

interface ReadOptions extends SelectOptions {
  /** The execution of the operation that the rows are for; see `Context`. Absent if others share the rows. */
  execution?: object;
}

const readBytes = new WeakMap<object, number>();

/**
 * Counts a result, unless it is refused: it is dropped, and smaller ones may follow.
 *
 * @throws RequestError QUERY_TOO_COSTLY if the execution would have read too much
 */
export function addReadBytes(execution: object, bytes: number): void {
  const all = (readBytes.get(execution) ?? 0) + bytes;
  if (all <= MAX_OPERATION_BYTES) {
    readBytes.set(execution, all);
    return;
  }
  throw new RequestError(
    'QUERY_TOO_COSTLY',
    `The operation reads more than ${MAX_OPERATION_BYTES / 2 ** 20} MiB. Request fewer objects, or omit fields with large values.`,
    { limit: MAX_OPERATION_BYTES },
  );
}

interface Delegate {
  findMany(query: object): Promise<unknown[]>;
  count(query: object): Promise<number>;
}

/** The delegate of a model in Prisma's client. */
function delegateOf({ db }: App, model: string): Delegate {
  const name = `${model[0]?.toLowerCase()}${model.slice(1)}`;
  return (db as unknown as Record<string, Delegate>)[name] as Delegate;
}

/** The selected members of the rows. `Row` is not checked. Even with `datesAsText`, a date may be a `Date`. */
export function findMany<Row>(
  app: App,
  model: string,
  query: object,
  { execution, ...options }: ReadOptions = {},
): Promise<Row[]> {
  const onResult = execution && ((bytes: number) => addReadBytes(execution, bytes));
  const limits = { maxBytes: MAX_READ_BYTES, onResult };
  const rows =
    app.rows.findMany(model, query, { ...options, ...limits }) ??
    findRanges(delegateOf(app, model), query);
  return rows as Promise<Row[]>;
}

/** Reads a range only if those before it have fewer rows than the query takes. */
async function findRanges(delegate: Delegate, query: SortedQuery): Promise<unknown[]> {
  const { where, ranges } = rangesOf(query);
  const rows: unknown[] = [];
  for (const range of ranges) {
    const take = query.take === undefined ? undefined : query.take - rows.length;
    if (take === 0) break;
    const { orderBy } = range;
    const found = { ...query, where: { AND: [where, range.where] }, orderBy, take };
    rows.push(...(await delegate.findMany(found)));
  }
  return rows;
}

/** The first row. Its type is that of the whole model, but it has only the selected members. */
export async function findFirst<Model extends keyof PrismaTypes>(
  app: App,
  model: Model,
  query: object,
  options?: ReadOptions,
): Promise<PrismaTypes[Model]['Shape'] | null> {
  const one = { ...query, take: 1 };
  const [row] = await findMany<PrismaTypes[Model]['Shape']>(app, model, one, options);
  return row ?? null;
}

export function count(app: App, model: string, where: object): Promise<number> {
  return app.rows.count(model, where) ?? delegateOf(app, model).count({ where });
}
