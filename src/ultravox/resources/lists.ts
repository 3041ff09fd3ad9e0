/** Lists of a resource: single pages or all items. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { ReadOptions, Transport } from '../transport.ts';
import type { Page } from '../wire.ts';

/** Ultravox documents no maximum; its examples go up to 100. */
export const LARGE_PAGE = 100;

/** Functions with which those of a resource are built. */
export type Api = Transport & ReturnType<typeof listsOf>;

export function listsOf({ pages }: Transport) {
  /**
   * `list` reads one page, and fails if an item is invalid. `listAll` reads that page and all following ones, without
   * invalid items.
   */
  function listOf<Item, Filter extends object>(listPath: string, schema: z.ZodType<Item>) {
    return {
      list: (filter?: Filter, options: RequestOptions = {}): Promise<Page<Item>> =>
        firstPage(listPath, schema, filter, options),
      listAll: (
        filter?: Filter,
        options: ReadOptions = {},
      ): AsyncGenerator<Item, void, undefined> => everyItem(listPath, schema, filter, options),
    };
  }

  async function firstPage<Item>(
    listPath: string,
    schema: z.ZodType<Item>,
    filter: object = {},
    options: RequestOptions,
  ): Promise<Page<Item>> {
    const list = pages({ path: listPath, query: { ...filter }, ...options }, schema);
    const first = await list.next();
    if (first.done) throw new Error('A list must have a first page');
    return first.value;
  }

  async function* everyItem<Item>(
    listPath: string,
    schema: z.ZodType<Item>,
    filter: object = {},
    options: ReadOptions,
  ): AsyncGenerator<Item, void, undefined> {
    const query = { pageSize: LARGE_PAGE, ...filter };
    const request = { path: listPath, query, skipInvalid: true, ...options };
    for await (const page of pages(request, schema)) {
      yield* page.results;
    }
  }

  return { listOf, everyItem };
}
