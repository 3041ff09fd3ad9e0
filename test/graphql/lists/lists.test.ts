/** Paging through every list of the graph, also while rows are deleted and changed between pages. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import {
  type ExecutionArgs,
  execute,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isLeafType,
  isObjectType,
  parse,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { executeQuery } from '../../../src/graphql/executor/query-executor.ts';
import { loadedField } from '../../../src/graphql/reading/loaded-columns.ts';
import { authenticate } from '../../../src/organizations/authentication.ts';
import { schema } from '../../../src/server/schema.ts';
import { startApiBeside, startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  conditionsOn,
  keylessQuery,
  MODELS,
  matchingQuery,
  nestedQuery,
  sortedByRelatedQuery,
  wholeQuery,
} from '../row-queries.ts';
import { CALL_CASES } from './call-list-cases.ts';
import { cursorSuite } from './cursors.suite.ts';
import {
  createWorld,
  type ListCase,
  RESOURCE_CASES,
  type RowSeed,
  type World,
} from './list-cases.ts';
import { PHONE_NUMBER_CASES } from './phone-number-list-cases.ts';
import { WEBHOOK_CASES } from './webhook-list-cases.ts';

const CASES = [...RESOURCE_CASES, ...PHONE_NUMBER_CASES, ...CALL_CASES, ...WEBHOOK_CASES];

let main: TestServer;
let server: TestServer;
let world: World;

beforeAll(async () => {
  main = await startTestServer();
  server = await startApiBeside(main);
  world = await createWorld(server);
});
afterAll(async () => {
  await server?.close();
  await main?.close();
});

interface PageArgs {
  first?: number;
  last?: number;
  after?: string;
  before?: string;
}
interface Order {
  field: string;
  direction: 'ASC' | 'DESC';
}
interface Page {
  totalCount: number;
  edges: { cursor: string; node: Record<string, unknown> }[];
  nodes: Record<string, unknown>[];
  pageInfo: {
    hasNextPage: boolean;
    hasPreviousPage: boolean;
    startCursor: string | null;
    endCursor: string | null;
  };
}

/** A list with its rows: sends queries for pages of it. */
class Subject {
  readonly #case: ListCase;
  readonly #parent: string | undefined;
  readonly #order: Order | undefined;

  constructor(listCase: ListCase, parent: string | undefined, order: Order | undefined) {
    this.#case = listCase;
    this.#parent = parent;
    this.#order = order;
  }

  document(args: PageArgs, fields: string): string {
    const [type, field] = this.#case.list.split('.');
    const given = Object.entries(args).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
    const order = this.#order;
    if (order) given.push(`orderBy: { field: ${order.field}, direction: ${order.direction} }`);
    if (this.#case.args) given.push(this.#case.args);
    const list = `${field}${given.length > 0 ? `(${given.join(', ')})` : ''} { ${fields} }`;
    if (this.#case.within) return this.#case.within.document(list);
    return type === 'Query'
      ? `{ ${list} }`
      : `{ node(id: "${this.#parent}") { ... on ${type} { ${list} } } }`;
  }

  async page(args: PageArgs): Promise<Page> {
    const identity = this.#case.identity ?? 'id';
    const fields = `totalCount edges { cursor node { ${identity} } } nodes { ${identity} }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }`;
    const answer = await server.client.send(this.document(args, fields));
    if (answer.errors) throw new Error(JSON.stringify(answer.errors));
    const [type, field] = this.#case.list.split('.');
    const path = this.#case.within?.path ?? (type === 'Query' ? [field!] : ['node', field!]);
    return path.reduce((value, name) => value[name], answer.data);
  }

  idsOf(page: Page): string[] {
    return page.nodes.map((node) => String(node[this.#case.identity ?? 'id']));
  }

  async all(): Promise<string[]> {
    return this.idsOf(await this.page({ first: 100 }));
  }
}

const seeds = (maxLength: number) =>
  fc.array(fc.record({ a: fc.nat(2), b: fc.nat(2) }), { minLength: 1, maxLength });
const direction = fc.constantFrom('ASC' as const, 'DESC' as const);

async function subjectOf(
  listCase: ListCase,
  rows: readonly RowSeed[],
  order: Order | undefined,
): Promise<Subject> {
  return new Subject(listCase, await listCase.fill(world, rows), order);
}

const orders = CASES.flatMap((listCase) =>
  (listCase.sort ?? [undefined]).map(
    (field) => [`${listCase.list}${field ? ` by ${field}` : ''}`, listCase, field] as const,
  ),
);

describe.each(orders)('%s', (_name, listCase, field) => {
  const orderOf = (chosen: 'ASC' | 'DESC') => (field ? { field, direction: chosen } : undefined);

  it('neither repeats nor skips rows while others are deleted or moved between pages', async () => {
    const change = fc.record({
      kind: fc.constantFrom('remove', 'removeLast', ...(listCase.move ? ['move'] : [])),
      pick: fc.nat(),
      row: fc.record({ a: fc.nat(2), b: fc.nat(2) }),
    });
    await fc.assert(
      fc.asyncProperty(
        seeds(16),
        fc.record({
          chosen: direction,
          backwards: fc.boolean(),
          size: fc.integer({ min: 1, max: 4 }),
        }),
        fc.array(fc.array(change, { maxLength: 2 }), { maxLength: 16 }),
        async (rows, { chosen, backwards, size }, changes) => {
          const subject = await subjectOf(listCase, rows, orderOf(chosen));
          const touched = new Set<string>();
          const seen: string[] = [];
          let cursor: string | null = null;
          for (let turn = 0; turn < 40; turn += 1) {
            const page: Page = await subject.page(
              backwards
                ? { last: size, ...(cursor ? { before: cursor } : {}) }
                : { first: size, ...(cursor ? { after: cursor } : {}) },
            );
            const ids = subject.idsOf(page);
            if (backwards) seen.unshift(...ids);
            else seen.push(...ids);
            cursor = backwards ? page.pageInfo.startCursor : page.pageInfo.endCursor;
            if (!(backwards ? page.pageInfo.hasPreviousPage : page.pageInfo.hasNextPage)) break;
            for (const { kind, pick, row } of changes[turn] ?? []) {
              const present = await subject.all();
              const last = backwards ? ids[0] : ids.at(-1);
              const id =
                kind === 'removeLast' && last && present.includes(last)
                  ? last
                  : present[pick % Math.max(1, present.length)];
              if (!id || listCase.isFixed?.(world, id)) continue;
              touched.add(id);
              if (kind === 'move') await listCase.move!(server.app, id, row);
              else await listCase.remove(server.app, id);
            }
          }
          const untouched = (ids: string[]) => ids.filter((id) => !touched.has(id));
          expect(untouched(seen)).toEqual(untouched(await subject.all()));
        },
      ),
      { numRuns: 6 },
    );
  });

  it('returns the page for its arguments, with correct page information', async () => {
    const position = fc.option(fc.nat(), { nil: null });
    await fc.assert(
      fc.asyncProperty(
        seeds(7),
        direction,
        fc.array(
          fc.record({
            after: position,
            before: position,
            way: fc.constantFrom('first' as const, 'last' as const, null),
            size: fc.integer({ min: 1, max: 4 }),
          }),
          { minLength: 5, maxLength: 8 },
        ),
        async (rows, chosen, requests) => {
          const subject = await subjectOf(listCase, rows, orderOf(chosen));
          const whole = await subject.page({ first: 100 });
          const all = subject.idsOf(whole);
          for (const { way, size, ...positions } of requests) {
            // An order may list none of the rows, and then there is no cursor.
            const { after, before } = all.length > 0 ? positions : { after: null, before: null };
            const from = after === null ? -1 : after % all.length;
            const to = before === null ? all.length : before % all.length;
            const page = await subject.page({
              ...(way ? { [way]: size } : {}),
              ...(after === null ? {} : { after: whole.edges[from]!.cursor }),
              ...(before === null ? {} : { before: whole.edges[to]!.cursor }),
            });
            const between = all.slice(from + 1, Math.max(from + 1, to));
            const expected =
              way === 'last' ? between.slice(-size) : between.slice(0, way ? size : 50);
            expect(subject.idsOf(page)).toEqual(expected);
            expect(page.edges.map(({ node }) => node)).toEqual(page.nodes);
            expect(page.totalCount).toBe(all.length);
            const { hasNextPage, hasPreviousPage, startCursor, endCursor } = page.pageInfo;
            expect(startCursor).toBe(page.edges[0]?.cursor ?? null);
            expect(endCursor).toBe(page.edges.at(-1)?.cursor ?? null);
            const more = between.length > expected.length;
            expect({ hasNextPage, hasPreviousPage }).toEqual({
              hasNextPage: (way !== 'last' && more) || to < all.length,
              hasPreviousPage: (way === 'last' && more) || from >= 0,
            });
          }
        },
      ),
      { numRuns: 4 },
    );
  });
});

/** The fields of the rows of a list that are shown without their resolvers, and the leaves of the objects they show. */
function shownFields(list: string): string {
  const [typeName = '', fieldName = ''] = list.split('.');
  const objectOf = (type: GraphQLOutputType) => getNamedType(type) as GraphQLObjectType;
  const connection = objectOf(
    (schema.getType(typeName) as GraphQLObjectType).getFields()[fieldName]!.type,
  );
  const row = objectOf(connection.getFields().nodes!.type);
  const leaves = (type: GraphQLObjectType) =>
    Object.values(type.getFields()).filter(
      (field) => isLeafType(getNamedType(field.type)) && field.args.length === 0,
    );
  return Object.values(row.getFields())
    .filter(({ resolve, args }) => loadedField(resolve) && args.length === 0)
    .map(({ name, type }) => {
      const shown = getNamedType(type);
      if (!isObjectType(shown)) return name;
      return `${name} { ${leaves(shown)
        .map((leaf) => leaf.name)
        .join(' ')} }`;
    })
    .join(' ');
}

describe.each(
  CASES.map((listCase) => [listCase.list, listCase] as const),
)('%s', (list, listCase) => {
  it('shows the same rows without resolvers as with them', async () => {
    const rows = [
      { a: 0, b: 1 },
      { a: 2, b: 0 },
    ];
    const subject = await subjectOf(listCase, rows, undefined);
    const fields = shownFields(list);
    const document = parse(subject.document({ first: 5 }, `nodes { ${fields} }`));
    const viewer = await authenticate(server.app, server.key, null);
    const { feed, url } = server.server!;
    const read = async (run: (args: ExecutionArgs) => unknown) => {
      const contextValue = { app: server.app, feed, viewer, publicUrl: url, execution: {} };
      const result = await run({ schema, document, contextValue });
      return JSON.parse(JSON.stringify(result)) as { data?: unknown; errors?: unknown };
    };
    const { first: shown, resolved } = await until(
      'two equal answers',
      async () => {
        const [first, resolved] = [await read(executeQuery), await read(execute)];
        const again = await read(executeQuery);
        return isDeepStrictEqual(first, again) && { first, resolved };
      },
      10_000,
    );
    expect(shown.errors).toBeUndefined();
    expect(shown.data).toEqual(resolved.data);
  });
});

const delegateOf = (model: string) =>
  server.app.db[`${model[0]!.toLowerCase()}${model.slice(1)}` as 'agent'];

/** The rows as `app.rows` and as Prisma read them, at a moment when no job changed them. */
async function readTwice(model: string, query: object) {
  return until(`two equal reads of ${model}`, async () => {
    const ours = (await server.app.rows.findMany(model, query)) ?? [];
    const expected: object[] = await delegateOf(model).findMany(query);
    const again = await server.app.rows.findMany(model, query);
    return isDeepStrictEqual(ours, again) && { ours, expected };
  });
}

/** Likewise, the number of rows. */
async function countTwice(model: string, where: object) {
  return until(`two equal counts of ${model}`, async () => {
    const ours = await server.app.rows.count(model, where);
    const expected = await delegateOf(model).count({ where });
    const again = await server.app.rows.count(model, where);
    return ours === again && { ours, expected };
  });
}

describe.each(MODELS)('rows of %s', (model) => {
  it('are the same as those of Prisma, with all columns and relations', async () => {
    for (const queryOf of [wholeQuery, keylessQuery, nestedQuery, sortedByRelatedQuery]) {
      const query = queryOf(model);
      const { ours, expected } = await readTwice(model, query);
      expect(ours).toEqual(expected);
    }
  });

  it('match the same conditions as with Prisma', async () => {
    const { ours: rows } = await readTwice(model, wholeQuery(model));
    if (rows.length === 0) return;
    await fc.assert(
      fc.asyncProperty(conditionsOn(model, rows), async (where) => {
        const { ours, expected } = await readTwice(model, matchingQuery(model, where));
        expect(ours).toEqual(expected);
        const counted = await countTwice(model, where);
        expect(counted.ours).toBe(counted.expected);
      }),
      { numRuns: 10 },
    );
  });
});

/** Orders that include only rows with a value, as their descriptions say. */
const PARTIAL_ORDERS = ['DURATION', 'COST'];

describe.each(
  CASES.flatMap(({ sort = [], ...listCase }) =>
    sort.length > 1 ? [[listCase.list, listCase, sort] as const] : [],
  ),
)('%s', (_list, listCase, sort) => {
  it('has the same items in every order', async () => {
    const rows = [0, 1, 2, 0, 1, 2].map((b, index) => ({ a: index % 2, b }));
    const parent = await listCase.fill(world, rows);
    const inOrder = async (field: string, direction: 'ASC' | 'DESC') => {
      const subject = new Subject(listCase, parent, { field, direction });
      const whole = await subject.page({ first: 100 });
      const [start, end] = [whole.pageInfo.startCursor!, whole.pageInfo.endCursor!];
      expect(subject.idsOf(await subject.page({ after: end, before: start }))).toEqual([]);
      return subject.idsOf(whole);
    };
    const expected = (await inOrder(sort[0]!, 'ASC')).sort();
    expect(expected.length).toBeGreaterThanOrEqual(rows.length);
    for (const field of sort) {
      if (PARTIAL_ORDERS.includes(field)) continue;
      const [ascending, descending] = [await inOrder(field, 'ASC'), await inOrder(field, 'DESC')];
      expect(ascending.toSorted()).toEqual(expected);
      expect(descending.toSorted()).toEqual(expected);
    }
  });
});

describe('the tested lists', () => {
  it('include every connection of the schema', () => {
    const fields = Object.values(schema.getTypeMap())
      .filter(isObjectType)
      .flatMap((type) =>
        Object.values(type.getFields())
          .filter(({ type: result }) => getNamedType(result).name.endsWith('Connection'))
          .map(({ name }) => `${type.name}.${name}`),
      );
    expect(CASES.map(({ list }) => list).sort()).toEqual(fields.sort());
  });
});

cursorSuite(() => server);
