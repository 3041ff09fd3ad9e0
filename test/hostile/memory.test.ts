/** Documents that would take hundreds of times their size if the server kept them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { liveBytes } from '../support/memory.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

const MB = 2 ** 20;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
});
afterAll(() => server?.close());

/** Growth in MB after each of these many documents was sent once. */
async function growth(
  client: GraphQLClient,
  count: number,
  document: (index: number) => string,
): Promise<number> {
  const send = async (index: number) => {
    expect((await client.send(document(index))).errors).toBeDefined();
  };
  await send(count);
  const before = await liveBytes();
  for (let index = 0; index < count; index += 1) await send(index);
  return ((await liveBytes()) - before) / MB;
}

/** Valid, though the list is too long for the argument. */
const valid =
  (name: string) =>
  (index: number): string =>
    `{ ${name}${index}: __typename nodes(ids: [${'"" '.repeat(6_000)}]) { id } }`;
const invalid = (index: number): string =>
  `query ($x: [ID!] = [${'1 '.repeat(9_000)}]) { a${index}: __typename }`;

describe('many large documents', () => {
  it('of a caller without a key are not kept', async () => {
    expect(await growth(createClient(server.url, null), 40, valid('a'))).toBeLessThan(20);
  });

  it('that are invalid are not kept', async () => {
    expect(await growth(server.client, 30, invalid)).toBeLessThan(20);
  });

  it('of a key are kept up to a limit in all', async () => {
    expect(await growth(server.client, 60, valid('b'))).toBeLessThan(60);
  });

  it('of a key have only so many query plans in all, of which conditions need several', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const fields = Array.from({ length: 1_300 }, (_, index) => `f${index}: status`).join(' ');
    const document = (index: number): string => `
      query (${names.map((name) => `$${name}: Boolean!`).join()}) {
        ${names.map((name) => `${name}${index}: __typename @include(if: $${name})`).join(' ')}
        calls(first: 1) { nodes { ${fields} } } }`;
    const sendAll = async (index: number) => {
      for (let values = 0; values < 16; values += 1) {
        const variables = names.map((name, bit) => [name, (values & (1 << bit)) > 0]);
        await server.client.send(document(index), Object.fromEntries(variables));
      }
    };
    await sendAll(0);
    const before = await liveBytes();
    for (let index = 1; index <= 10; index += 1) await sendAll(index);
    expect(((await liveBytes()) - before) / MB).toBeLessThan(120);
  });
});
