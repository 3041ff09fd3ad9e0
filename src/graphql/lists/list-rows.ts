/** Database reads of lists: rows, counts, and whether there are more rows. */
import { type App, shareConnections } from '../../app.ts';
import { TABLES } from '../../generated/tables.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { ByValue } from '../../infra/rows/lists-by-value.ts';
import { batched, type Reader } from '../reading/batched.ts';
import type { RowSelection } from '../reading/row-selection.ts';
import { count, findMany } from '../reading/rows.ts';
import { type CursorScope, cursorWriter } from './cursors.ts';
import { beyondLimits, orderBy, type Position, reversed, type SortValue } from './keyset.ts';
import { type Connection, connectionOfPage, type Page } from './page.ts';

type Where = Record<string, unknown>;

/**
 * Limits concurrent reads that may take long, so that one organization does not take all connections from the others:
 * counts of whole lists, and reads of all rows with the values of parents.
 */
const slowReads = perInstance(({ config }: App) => {
  const { reading } = shareConnections(config.DATABASE_CONNECTIONS);
  return createKeyedLimiter(Math.max(1, Math.floor(reading / 2)));
});

/** A read that waits longer than a statement may take fails like such a statement. */
function limitSlowRead<Result>(
  { app, viewer }: Reader,
  read: () => Promise<Result>,
): Promise<Result> {
  const maxWaitMs = app.config.READ_TIMEOUT_SECONDS * 1000;
  return slowReads(app).run(viewer.organizationId, read, maxWaitMs);
}

/** A row with at least its sort columns. */
export type SortedRow = Record<string, SortValue>;

/** The rows that a field reads for its arguments. */
export interface ListRequest {
  /** Condition for the rows of the list. */
  where: Where;
  /** Whether `filter` was given. */
  isFiltered: boolean;
  scope: CursorScope;
  page: Page<Position>;
}

/** Prisma query for the rows of the page plus one more, if there is one. */
export function rowsQuery({ where, scope: { terms }, page }: ListRequest) {
  const { after, before, backwards, size } = page;
  const limits = [
    ...(after ? [{ terms, position: after }] : []),
    ...(before ? [{ terms: reversed(terms), position: before }] : []),
  ];
  return {
    where: beyondLimits(terms, where, limits),
    orderBy: orderBy(backwards ? reversed(terms) : terms),
    take: size + 1,
  };
}

/** Like `rowsQuery`, for rows that lead to those of the list through a relation. */
export function rowsQueryThrough(relation: string, request: ListRequest) {
  const { where, orderBy: terms, take } = rowsQuery(request);
  return {
    where: { [relation]: where },
    orderBy: terms.map((term) => ({ [relation]: term })),
    take,
  };
}

/** Prisma query for a row outside the page: up to and including `after`, or from `before` onward. */
function outsideQuery({ where, scope, page }: ListRequest, side: 'after' | 'before') {
  const terms = side === 'after' ? reversed(scope.terms) : scope.terms;
  const limit = { terms, position: page[side] ?? [], inclusive: true };
  return {
    where: beyondLimits(terms, where, [limit]),
    // Otherwise any row will do, whichever PostgreSQL finds first.
    ...(terms[0]?.nulls ? { orderBy: orderBy(terms) } : {}),
    take: 1,
  };
}

/** Writes the cursors of rows, whose dates may be text. */
function cursorOf({ app }: Reader, { scope, model }: { scope: CursorScope; model: string }) {
  const write = cursorWriter(app.cipher, scope);
  const columns = TABLES[model]?.columns;
  const sortValue = (row: SortedRow, column: string): SortValue => {
    const value = row[column] ?? null;
    const isText = typeof value === 'string' && columns?.[column]?.type === 'DateTime';
    return isText ? new Date(value) : value;
  };
  return (row: SortedRow) => write(scope.terms.map(({ column }) => sortValue(row, column)));
}

interface RootSource {
  model: string;
  /** The columns and relations that the operation selects. */
  selection: RowSelection;
  prepare: () => Promise<void>;
}

export function rootConnection(
  reader: Reader,
  request: ListRequest,
  { model, selection, prepare }: RootSource,
): Connection<SortedRow> {
  const { app, execution } = reader;
  return connectionOfPage(request.page, {
    cursorOf: cursorOf(reader, { scope: request.scope, model }),
    async rows() {
      await prepare();
      const query = { ...selection.query, ...rowsQuery(request) };
      return findMany<SortedRow>(app, model, query, { ...selection.options, execution });
    },
    async hasOutside(side) {
      const [{ column } = { column: 'id' }] = request.scope.terms;
      const query = { ...outsideQuery(request, side), select: { [column]: true } };
      return (await findMany(app, model, query)).length > 0;
    },
    async totalCount() {
      await prepare();
      return limitSlowRead(reader, () => count(app, model, request.where));
    },
  });
}

/** The values of a parent in a column of the rows of its list. */
export interface OwnValues<Column extends string = string> {
  column: Column;
  /** The column by which an index sorts the rows with one value. */
  sortedBy: Column;
  values: readonly string[];
}

interface ValuesSource {
  model: string;
  selection: RowSelection;
  /** The rows that the viewer may see. */
  visible: Where;
  /** The field of the operation. All parents that have it are read together. */
  place: string;
  by: OwnValues;
}

export function valuesConnection(
  reader: Reader,
  request: ListRequest,
  { model, selection, visible, place, by }: ValuesSource,
): Connection<SortedRow> {
  // Otherwise the index leads to the rows of the page, and only to them.
  const isSlow = request.isFiltered || request.scope.terms[0]?.column !== by.sortedBy;
  const own = { model, by, group: place, isSlow };
  return connectionOfPage(request.page, {
    cursorOf: cursorOf(reader, { scope: request.scope, model }),
    rows: () => loadRowsByValue(reader, { ...own, query: rowsQuery(request), selection, visible }),
    async hasOutside(side) {
      const query = outsideQuery(request, side);
      return (
        (await loadIdsByValue(reader, { ...own, group: `${place} ${side}`, query })).length > 0
      );
    },
    totalCount: () => loadCountByValue(reader, { ...own, where: request.where }),
  });
}

/** A list of one parent. Those with the same `group` differ only in the values. */
interface ValuesKey {
  group: string;
  model: string;
  by: OwnValues;
}

interface IdsKey extends ValuesKey {
  /** Whether all rows with the values may have to be read. */
  isSlow: boolean;
  query: { where: Where; orderBy?: Where[]; take: number };
}

interface RowsKey extends IdsKey {
  selection: RowSelection;
  visible: Where;
}

const loadIdsByValue = batchedInGroups<IdsKey, string[]>(findIds);

const loadRowsByValue = batchedInGroups<RowsKey, SortedRow[]>(async (reader, keys) => {
  const lists = await findIds(reader, keys);
  const [{ model, selection, visible }] = keys;
  const where = { AND: [visible, { id: { in: [...new Set(lists.flat())] } }] };
  const query = { ...selection.query, where };
  const { app, execution } = reader;
  const rows = await findMany<SortedRow>(app, model, query, { ...selection.options, execution });
  const byId = new Map(rows.map((row) => [row.id, row]));
  return lists.map((ids) => ids.map((id) => byId.get(id)).filter((row) => row !== undefined));
});

const loadCountByValue = batchedInGroups<ValuesKey & { where: Where }, number>((reader, keys) => {
  const [{ model, where }] = keys;
  return limitSlowRead(reader, () => reader.app.rows.countByValue(model, where, byValue(keys)));
});

function findIds(reader: Reader, keys: Group<IdsKey>): Promise<string[][]> {
  const [{ model, query, isSlow }] = keys;
  const read = () => reader.app.rows.findIdsByValue(model, query, byValue(keys));
  return isSlow ? limitSlowRead(reader, read) : read();
}

function byValue(keys: Group<ValuesKey>): ByValue {
  const { column, sortedBy } = keys[0].by;
  return { column, sortedBy, parents: keys.map(({ by }) => by.values) };
}

type Group<Key> = readonly [Key, ...Key[]];

/** A loader that calls `read` for the keys of each group, one group after another. */
function batchedInGroups<Key extends { group: string }, Value>(
  read: (reader: Reader, keys: Group<Key>) => Promise<readonly Value[]>,
) {
  return batched<Key, Value>(async (reader, keys) => {
    const values = new Map<Key, Value>();
    for (const group of Map.groupBy(keys, (key) => key.group).values()) {
      const found = await read(reader, group as unknown as Group<Key>);
      for (const [index, key] of group.entries()) values.set(key, found[index] as Value);
    }
    return keys.map((key) => values.get(key) as Value);
  });
}

/** A relation of one parent. Keys with the same `group` are read together. */
interface RelationKey {
  /** Model of the parent. */
  parent: string;
  relation: string;
  /** The relation that leads from its rows to those of the list. Undefined if its rows are the list. */
  through: string | undefined;
  id: string;
  /** The field and its arguments. */
  group: string;
}

interface RelationRead extends RelationKey {
  where: Where;
}

interface RelatedSource {
  model: string;
  key: RelationKey;
  rows: readonly SortedRow[] | undefined;
}

export function relatedConnection(
  reader: Reader,
  request: ListRequest,
  { model, key, rows }: RelatedSource,
): Connection<SortedRow> {
  return connectionOfPage(request.page, {
    cursorOf: cursorOf(reader, { scope: request.scope, model }),
    rows: () => rows ?? [],
    hasOutside: (side) =>
      loadHasRows(reader, {
        ...key,
        group: `${key.group} ${side}`,
        where: relatedWhere(key, outsideQuery(request, side).where),
      }),
    totalCount: () => loadCount(reader, { ...key, where: relatedWhere(key, request.where) }),
  });
}

function relatedWhere({ through }: RelationKey, where: Where): Where {
  return through ? { [through]: where } : where;
}

const loadCount = batchedByParent<number>(0, async (reader, { parent, relation, where }, ids) => {
  const query = {
    where: { id: { in: ids } },
    select: { id: true, _count: { select: { [relation]: { where } } } },
  };
  const rows = await limitSlowRead(reader, () =>
    findMany<{ id: string; _count: Record<string, number> }>(reader.app, parent, query),
  );
  return rows.map(({ id, _count }) => [id, _count[relation] ?? 0]);
});

const loadHasRows = batchedByParent<boolean>(
  false,
  async ({ app }, { parent, relation, where }, ids) => {
    const rows = await findMany<{ id: string }>(app, parent, {
      where: { id: { in: ids }, [relation]: { some: where } },
      select: { id: true },
    });
    return rows.map(({ id }) => [id, true]);
  },
);

/** A loader that runs one statement per group. Parents without a value get `absent`. */
function batchedByParent<Value>(
  absent: Value,
  read: (reader: Reader, group: RelationRead, ids: string[]) => Promise<[string, Value][]>,
) {
  return batchedInGroups<RelationRead, Value>(async (reader, reads) => {
    const ids = [...new Set(reads.map(({ id }) => id))];
    const values = new Map(await read(reader, reads[0], ids));
    return reads.map(({ id }) => values.get(id) ?? absent);
  });
}
