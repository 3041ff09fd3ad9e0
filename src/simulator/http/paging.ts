/** Query parameters of lists, and their pages. */
import { invalid, type Json, type JsonObject } from '../json.ts';
import type { Reply, Request } from '../world.ts';

const DEFAULT_PAGE_SIZE = 10;
const MAX_PAGE_SIZE = 100;

/**
 * Returns one page. `items` is the whole filtered list in its final order; `key` identifies an item
 * permanently, so that page boundaries stay in place while items are added and removed.
 */
export function page<T>(
  request: Request,
  items: T[],
  key: (item: T) => string,
  present: (item: T) => Json,
): Reply {
  const size = pageSize(request);
  const cursor = readCursor(request);
  let start = 0;
  if (cursor !== undefined) {
    const found = items.findIndex((item) => key(item) === cursor.anchor);
    const anchored = found < 0 ? cursor.offset : found;
    start = cursor.backwards ? anchored - size : found < 0 ? anchored : anchored + 1;
  }
  start = Math.min(Math.max(start, 0), items.length);
  const shown = items.slice(start, start + size);
  const first = shown[0];
  const last = shown.at(-1);
  const hasNext = last !== undefined && start + size < items.length;
  const body: JsonObject = {
    next: hasNext ? link(request, `p=${start + size}&a=${key(last)}`) : null,
    previous:
      start > 0 && first !== undefined ? link(request, `r=1&p=${start}&a=${key(first)}`) : null,
    total: items.length,
    results: shown.map(present),
  };
  return { status: 200, body };
}

function pageSize(request: Request): number {
  const given = request.query.get('pageSize');
  if (given === null) return DEFAULT_PAGE_SIZE;
  const size = Number(given);
  if (!Number.isInteger(size) || size < 1)
    throw invalid('pageSize', 'A valid integer is required.');
  return Math.min(size, MAX_PAGE_SIZE);
}

function readCursor(
  request: Request,
): { anchor: string; offset: number; backwards: boolean } | undefined {
  const given = request.query.get('cursor');
  if (given === null || given === '') return undefined;
  const fields = new URLSearchParams(Buffer.from(given, 'base64').toString());
  const anchor = fields.get('a');
  const offset = Number(fields.get('p'));
  if (anchor === null || !Number.isInteger(offset)) throw invalid('detail', 'Invalid cursor');
  return { anchor, offset, backwards: fields.get('r') === '1' };
}

function link(request: Request, cursor: string): string {
  const query = new URLSearchParams(request.query);
  query.set('cursor', Buffer.from(cursor).toString('base64'));
  return `${request.origin}${request.path}?${query}`;
}

/** The `search` parameter in lower case; it must not be empty. */
export function searchTerm(request: Request): string | undefined {
  const term = request.query.get('search');
  if (term === null) return undefined;
  if (term === '') throw invalid('search', 'This field may not be blank.');
  return term.toLowerCase();
}

/** A query parameter with a fixed list of values. */
export function choice(request: Request, name: string, values: readonly string[]) {
  const given = request.query.get(name);
  if (given === null) return undefined;
  if (!values.includes(given)) throw invalid(name, `"${given}" is not a valid choice.`);
  return given;
}
