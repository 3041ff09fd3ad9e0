/** Database reads of lists: rows, counts, and whether there are more rows. */
import { type App, shareConnections } from '../../app.ts';
import { TABLES } from '../../generated/tables.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { SelectOptions } from '../../infra/rows/select-statements.ts';
import { batched, type Reader } from '../reading/batched.ts';
import { count, findMany } from '../reading/rows.ts';
import { type CursorScope, cursorWriter } from './cursors.ts';
import { beyondLimits, orderBy, type Position, reversed, type SortValue } from './keyset.ts';
import { type Connection, connectionOfPage, type Page } from './page.ts';

type Where = Record<string, unknown>;

/**
 * Limits concurrent counts of whole lists, which may take long, and reads of lists that take one statement per parent,
 * of which an operation may have thousands, so that one organization does not take all connections from the
 * others. A read that waits longer than a statement may take fails like such a statement. The counts for
 * all lists of a page are one statement.
 */
const slowReads = perInstance(({ config }: App) => {
  const { reading } = shareConnections(config.DATABASE_CONNECTIONS);
  return createKeyedLimiter(Math.max(1, Math.floor(reading / 2)));
});

/** A row with at least its sort columns. */
export type SortedRow = Record<string, SortValue>;

/** The rows that a field reads for its arguments. */
export interface ListRequest {
  /** Condition for the rows of the list. */
  where: Where;
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
  selection: object;
  options: SelectOptions;
  /** Whether the list belongs to one of possibly many parents. The number of concurrent reads is then limited. */
  ofParent: boolean;
  prepare: () => Promise<void>;
}

export function rootConnection(
  reader: Reader,
  request: ListRequest,
  { model, selection, options, ofParent, prepare }: RootSource,
): Connection<SortedRow> {
  const { app, viewer } = reader;
  const limited = <Result>(read: () => Promise<Result>): Promise<Result> =>
    slowReads(app).run(viewer.organizationId, read, app.config.READ_TIMEOUT_SECONDS * 1000);
  const find = (query: object, more?: SelectOptions): Promise<SortedRow[]> => {
    const read = () => findMany<SortedRow>(app, model, query, more);
    return ofParent ? limited(read) : read();
  };
  return connectionOfPage(request.page, {
    cursorOf: cursorOf(reader, { scope: request.scope, model }),
    async rows() {
      await prepare();
      const query = { ...selection, ...rowsQuery(request) };
      return find(query, options);
    },
    async hasOutside(side) {
      const [{ column } = { column: 'id' }] = request.scope.terms;
      const query = { ...outsideQuery(request, side), select: { [column]: true } };
      return (await find(query)).length > 0;
    },
    async totalCount() {
      await prepare();
      return limited(() => count(app, model, request.where));
    },
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

const loadCount = batchedByGroup<number>(0, async (app, { parent, relation, where }, ids) => {
  const rows = await findMany<{ id: string; _count: Record<string, number> }>(app, parent, {
    where: { id: { in: ids } },
    select: { id: true, _count: { select: { [relation]: { where } } } },
  });
  return rows.map(({ id, _count }) => [id, _count[relation] ?? 0]);
});

const loadHasRows = batchedByGroup<boolean>(
  false,
  async (app, { parent, relation, where }, ids) => {
    const rows = await findMany<{ id: string }>(app, parent, {
      where: { id: { in: ids }, [relation]: { some: where } },
      select: { id: true },
    });
    return rows.map(({ id }) => [id, true]);
  },
);

/** A loader that runs one statement per group. Parents without a value get `absent`. */
function batchedByGroup<Value>(
  absent: Value,
  read: (app: App, group: RelationRead, ids: string[]) => Promise<[string, Value][]>,
) {
  return batched<RelationRead, Value>(async ({ app }, keys) => {
    const groups = Map.groupBy(keys, ({ group }) => group);
    const values = new Map<string, Map<string, Value>>();
    for (const [name, members] of groups) {
      const ids = [...new Set(members.map(({ id }) => id))];
      const [first] = members;
      if (first) values.set(name, new Map(await read(app, first, ids)));
    }
    return keys.map(({ group, id }) => values.get(group)?.get(id) ?? absent);
  });
}
