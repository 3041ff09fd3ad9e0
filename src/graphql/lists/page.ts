/** One page of a list: its arguments, and the connection returned for it. */
import { isThenable, type MaybePromise } from '@pothos/core';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';

export const DEFAULT_PAGE_SIZE = 50;
export const MAX_PAGE_SIZE = 100;

export interface PageArgs {
  first?: number | null | undefined;
  last?: number | null | undefined;
  after?: string | null | undefined;
  before?: string | null | undefined;
}

export interface Page<Position> {
  /** The page is between these two positions, exclusive. Null for the start or end of the list. */
  after: Position | null;
  before: Position | null;
  size: number;
  /** Whether the page is taken from the end of that range, and read from the end. */
  backwards: boolean;
}

/**
 * Cost of a list: 1, plus its selection once for each item that the page can have. The list itself refuses
 * a page that is too large, with its own error.
 */
export function connectionCost({ first, last }: PageArgs) {
  const size = first ?? last ?? DEFAULT_PAGE_SIZE;
  return { field: 1, multiplier: Math.min(Math.max(1, size), MAX_PAGE_SIZE) };
}

/** Cost of a list of objects without pages: 1 and the selection for each of at most `maxItems` objects. */
export function listCost(maxItems: number) {
  return { field: maxItems, multiplier: maxItems };
}

/** @throws RequestError BAD_USER_INPUT for arguments that conflict or are out of range. */
export function readPage<Position>(
  args: PageArgs,
  readCursor: (argument: { name: 'after' | 'before'; value: string }) => Position,
): Page<Position> {
  const { first, last, after, before } = args;
  if (typeof first === 'number' && typeof last === 'number') {
    throw new RequestError(
      'BAD_USER_INPUT',
      '`first` and `last` cannot be combined. Use `first` with `after` to page forwards, or `last` with `before` to page backwards.',
    );
  }
  checkPageSize('first', first);
  checkPageSize('last', last);
  const position = (name: 'after' | 'before', value: string | null | undefined) =>
    typeof value === 'string' ? readCursor({ name, value }) : null;
  const page = { after: position('after', after), before: position('before', before) };
  return {
    ...page,
    size: first ?? last ?? DEFAULT_PAGE_SIZE,
    backwards:
      typeof last === 'number' ||
      (typeof first !== 'number' && page.before !== null && page.after === null),
  };
}

/** @throws RequestError BAD_USER_INPUT unless the size is 1 to 100 or absent. */
export function checkPageSize(name: string, size: number | null | undefined): void {
  if (typeof size !== 'number' || (size >= 1 && size <= MAX_PAGE_SIZE)) return;
  throw new RequestError(
    'BAD_USER_INPUT',
    `\`${name}\` must be from 1 to ${MAX_PAGE_SIZE}; it is ${formatNumber(size)}.`,
  );
}

export interface PageSource<Row> {
  /** Up to `size + 1` rows, starting from the end of the list if the page is read backwards. */
  rows: () => MaybePromise<readonly Row[]>;
  cursorOf: (row: Row) => string;
  /** Whether there are items up to and including `after`, or from `before` onward. */
  hasOutside: (side: 'after' | 'before') => MaybePromise<boolean>;
  totalCount: () => MaybePromise<number>;
}

/** Rows of a list between two positions. */
export interface RowsQuery<Position> {
  after: Position | null;
  before: Position | null;
  /** Whether the rows at `after` and `before` are included. */
  inclusive: boolean;
  limit: number;
  /** Whether to read from the end of the list. */
  inverted: boolean;
}

/** Source of a page that reads its rows, and checks for rows outside it, with a single loader. */
export function sourceOfPage<Position, Row>(
  { after, before, size, backwards }: Page<Position>,
  load: (query: RowsQuery<Position>) => Promise<readonly Row[]>,
): Pick<PageSource<Row>, 'rows' | 'hasOutside'> {
  return {
    rows: () => load({ after, before, inclusive: false, limit: size + 1, inverted: backwards }),
    hasOutside: async (side) => {
      const outside =
        side === 'after' ? { after: null, before: after } : { after: before, before: null };
      return (await load({ ...outside, inclusive: true, limit: 1, inverted: false })).length > 0;
    },
  };
}

export interface Connection<Row> {
  readonly edges: MaybePromise<readonly { readonly cursor: string; readonly node: Row }[]>;
  readonly pageInfo: object;
  totalCount(): MaybePromise<number>;
}

/** A connection that reads rows and encrypts cursors only if they are selected. */
export function connectionOfPage<Row>(
  page: Page<unknown>,
  source: PageSource<Row>,
): Connection<Row> {
  let reading: MaybePromise<readonly Row[]> | undefined;
  const read = (): MaybePromise<readonly Row[]> => {
    reading ??= source.rows();
    return reading;
  };
  const items = () => chain(read(), (rows) => itemsOf(page, rows));
  const hasMore = () => chain(read(), (rows) => rows.length > page.size);
  const cursorAt = (index: number) =>
    chain(items(), (rows) => {
      const row = rows.at(index);
      return row === undefined ? null : source.cursorOf(row);
    });
  const hasOutside = (side: 'after' | 'before') =>
    page[side] === null ? false : source.hasOutside(side);
  return {
    get edges() {
      return chain(items(), (rows) => rows.map((node) => new Edge(node, source.cursorOf)));
    },
    // Methods, which are called once for each field that is selected.
    pageInfo: {
      hasNextPage: () => {
        if (page.backwards) return hasOutside('before');
        return chain(hasMore(), (more) => more || hasOutside('before'));
      },
      hasPreviousPage: () => {
        if (!page.backwards) return hasOutside('after');
        return chain(hasMore(), (more) => more || hasOutside('after'));
      },
      startCursor: () => cursorAt(0),
      endCursor: () => cursorAt(-1),
    },
    totalCount: source.totalCount,
  };
}

class Edge<Row> {
  readonly node: Row;
  readonly #cursorOf: (row: Row) => string;

  constructor(node: Row, cursorOf: (row: Row) => string) {
    this.node = node;
    this.#cursorOf = cursorOf;
  }

  get cursor(): string {
    return this.#cursorOf(this.node);
  }
}

function itemsOf<Row>({ size, backwards }: Page<unknown>, rows: readonly Row[]): readonly Row[] {
  const items = rows.length > size ? rows.slice(0, size) : rows;
  return backwards ? items.toReversed() : items;
}

/** Like `Promise.then`, but synchronous for a value that is not a promise. */
function chain<A, B>(value: MaybePromise<A>, next: (value: A) => MaybePromise<B>): MaybePromise<B> {
  return isThenable(value) ? Promise.resolve(value).then(next) : next(value);
}
