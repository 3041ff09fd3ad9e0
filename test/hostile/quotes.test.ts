/** Errors about values of the wrong type, which may be secrets, at every input of the schema. */
import {
  type GraphQLArgument,
  type GraphQLInputField,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
} from 'graphql';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { schema } from '../../src/server/schema.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

const MARK = 'Zanzibar';
const WRONG: unknown[] = [
  { x: MARK },
  [[{ a: MARK }]],
  JSON.parse(`{"toString":"${MARK}","then":"${MARK}"}`),
  `${MARK}\n"; found: ${MARK}`,
  12345678.25,
];

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
});
afterAll(() => server?.close());

/** The way from an argument to one input of each type. */
type Way = readonly (GraphQLArgument | GraphQLInputField)[];

function inputsBelow(way: Way, seen: Set<string>): Way[] {
  const last = way.at(-1)!;
  const type = getNamedType(last.type);
  if (seen.has(String(last.type))) return [];
  seen.add(String(last.type));
  const below = isInputObjectType(type)
    ? Object.values(type.getFields()).flatMap((field) => inputsBelow([...way, field], seen))
    : [];
  return [way, ...below];
}

/** The value of the argument with `wrong` at the end of the way. */
function valueAt([first, ...rest]: Way, wrong: unknown): unknown {
  const [next] = rest;
  if (!first || !next) return wrong;
  const inner = { [next.name]: valueAt(rest, wrong) };
  return isListType(getNullableType(first.type)) ? [inner] : inner;
}

/** A way to each input, from the root field that takes it. */
function allWays(): { root: string; way: Way }[] {
  const seen = new Set<string>();
  const roots = { query: schema.getQueryType()!, mutation: schema.getMutationType()! };
  return Object.entries(roots).flatMap(([kind, type]) =>
    Object.values(type.getFields()).flatMap((field) =>
      field.args
        .flatMap((argument) => inputsBelow([argument], seen))
        .map((way) => ({
          way,
          root: `${kind} ($value: ${way[0]!.type}) { ${field.name}(${way[0]!.name}: $value) { __typename } }`,
        })),
    ),
  );
}

it('errors about values of the wrong type quote nothing of them, at any input', async () => {
  const ways = allWays();
  expect(ways.length).toBeGreaterThan(100);
  for (const { root, way } of ways) {
    // A text may be right for these, and quoted by what is said of it.
    const takesText = /^(ID|String|E164|Url)$/.test(getNamedType(way.at(-1)!.type).name);
    for (const wrong of WRONG.filter((value) => typeof value !== 'string' || !takesText)) {
      const { data, errors } = await server.client.send(root, { value: valueAt(way, wrong) });
      expect(JSON.stringify({ data, errors }), root).not.toMatch(/Zanzibar|"INTERNAL"/);
    }
  }
});
