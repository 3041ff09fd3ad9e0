/** Lengths and ranges of inputs: the limits in descriptions are those that are enforced. */
import { type GraphQLInputObjectType, getNamedType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../../../src/server/schema.ts';
import { createOneOfEach } from '../../support/one-of-each.ts';
import { inputWith, leavesOf, mutations } from '../../support/schema/mutation-inputs.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

interface Limit {
  /** Absent where the description names only a maximum. */
  min: string | undefined;
  max: string;
  /** A value right above the maximum. */
  above: unknown;
}

const NUMBER = String.raw`(\d[\d,.]*\d|\d)`;
const LENGTH = RegExp(
  `(?:${NUMBER} to |at most |up to )${NUMBER} (?:printable ASCII )?(?:characters|letters)`,
);
const RANGE = RegExp(`\\b${NUMBER} to ${NUMBER}\\b`);
const DURATION = /(?:`(\d+)s` to |up to )`(\d+)s`/;
const ENTRIES = RegExp(`(?:at most|up to) ${NUMBER}(?: keys|\\.)`);

function limitIn(type: string, description: string): Limit | null {
  const read = (pattern: RegExp, valueAbove: (max: number) => unknown): Limit | null => {
    const match = pattern.exec(description);
    if (!match) return null;
    const [, min, max = ''] = match.map((text) => text?.replaceAll(',', ''));
    return { min, max, above: valueAbove(Number(max)) };
  };
  switch (type) {
    case 'String':
    case 'LanguageTag':
      return read(LENGTH, (max) => 'x'.repeat(max + 1));
    case 'Url':
      return read(LENGTH, (max) => `https://example.com/${'x'.repeat(max)}`);
    case 'Int':
    case 'Float':
      return read(RANGE, (max) => max + 1);
    case 'Duration':
      return read(DURATION, (max) => `${max + 1}s`);
    case 'JSONObject': {
      const entries = ENTRIES.exec(description)?.[1];
      if (!entries) return null;
      const keys = Array.from({ length: Number(entries) + 1 }, (_, index) => [`k${index}`, '']);
      return { min: undefined, max: entries, above: Object.fromEntries(keys) };
    }
    default:
      return null;
  }
}

const limited = mutations.flatMap(({ name, field, input }) =>
  leavesOf(input).flatMap((leaf) => {
    const limit = limitIn(getNamedType(leaf.field.type).name, leaf.field.description ?? '');
    return limit ? [{ name, field, input, path: leaf.path, limit }] : [];
  }),
);

describe('limits of inputs', () => {
  let server: TestServer;
  let ids: Record<string, string>;

  beforeAll(async () => {
    server = await startTestServer();
    ids = await createOneOfEach(server, 'Limits');
  });
  afterAll(() => server?.close());

  it.each(
    limited.map((one) => [`${one.name} ${one.path.join('.')}`, one] as const),
  )('are as the description states: %s', async (_, { name, field, input, path, limit }) => {
    const sent = inputWith(input, ids, { path, value: limit.above });
    // The mapping of a file is read with the file alone.
    if (path[0] === 'mapping') sent[input.getFields().file ? 'file' : 'contactsFile'] = 'phone\n';
    const variables = { input: sent };
    const answer = await server.client.send(
      `mutation ($input: ${field.args[0]!.type}) { ${name}(input: $input) { userErrors { message path } } }`,
      variables,
    );
    const errors: { message: string; path: (string | number)[] }[] =
      answer.data?.[name]?.userErrors ?? [];
    const found = errors.filter((error) => error.path.join('.') === path.join('.'));
    expect(found, JSON.stringify(answer.errors ?? errors)).toHaveLength(1);
    const [stated = ''] = (found[0]?.message ?? '').split('; it ');
    const numbers = stated.match(/\d[\d.]*\d|\d/g) ?? [];
    expect(numbers, stated).toContain(limit.max);
    if (limit.min !== undefined) expect(numbers, stated).toContain(limit.min);
  });

  const forecast = schema.getType('CampaignForecastInput') as GraphQLInputObjectType;

  it.each(
    leavesOf(forecast).flatMap(({ path, field }) => {
      const limit = limitIn(getNamedType(field.type).name, field.description ?? '');
      return limit && path.length === 1 ? [[path[0], limit] as const] : [];
    }),
  )('are as the description states: campaignForecast %s', async (name, limit) => {
    const input = { campaignId: ids.Campaign, [name!]: limit.above };
    if (name === 'contactCount') delete (input as { campaignId?: string }).campaignId;
    const answer = await server.client.send(
      'query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { __typename } }',
      { input },
    );
    const [stated = ''] = (answer.errors?.[0]?.message ?? '').split('; it ');
    expect(stated.match(/\d+/g), stated).toEqual([limit.min, limit.max]);
  });

  it('are stated for many fields', () => {
    expect(limited.length).toBeGreaterThan(100);
  });
});
