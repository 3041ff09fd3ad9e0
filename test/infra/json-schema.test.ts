import { describe, expect, it } from 'vitest';
import { schemaProblem } from '../../src/infra/json-schema/schema-problem.ts';
import { schemaViolation } from '../../src/infra/json-schema/validate.ts';

const each = <Item>(count: number, item: (index: number) => [string, Item]) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => item(index)));

const text = { type: 'string' };
const object = (properties: object, more: object = {}) => ({ type: 'object', properties, ...more });
const nested = (levels: number): object =>
  levels === 0 ? text : object({ a: nested(levels - 1) });

/** As large as is allowed, in the ways in which a compiler may take long. */
const LARGE: Record<string, Record<string, unknown>> = {
  properties: object(each(990, (index) => [`p${index}`, text])),
  'references to one large definition': object(
    each(199, (index) => [`r${index}`, { $ref: '#/$defs/large' }]),
    { $defs: { large: object(each(790, (index) => [`p${index}`, text])) } },
  ),
  'references in a chain': object(
    { a: { $ref: '#/$defs/d0' } },
    {
      $defs: each(199, (index) => [
        `d${index}`,
        index === 198 ? text : { $ref: `#/$defs/d${index + 1}` },
      ]),
    },
  ),
  patterns: object(
    each(490, (index) => [`p${index}`, text]),
    {
      additionalProperties: false,
      patternProperties: each(490, (index) => [`^a${index}$`, text]),
    },
  ),
  formats: object(each(990, (index) => [`p${index}`, { ...text, format: 'date-time' }])),
  levels: nested(30) as Record<string, unknown>,
};

const VALID: Record<string, Record<string, unknown>> = {
  'anchors and pointers': object(
    { a: { $ref: '#here' }, b: { $ref: '#/$defs/a~1b%20c' }, c: { $ref: '#' } },
    { $defs: { x: { $anchor: 'here', ...text }, 'a/b c': text } },
  ),
  'its own identifier': object(
    { a: { $ref: 'https://example.com/s#/$defs/x' } },
    { $id: 'https://example.com/s', $defs: { x: text } },
  ),
  'inner identifiers': object(
    { a: { $ref: 'https://example.com/inner' } },
    { $defs: { x: { $id: 'https://example.com/inner', ...text } } },
  ),
  'data like keywords': object(
    { id: text, nullable: { type: 'boolean' }, pattern: text },
    { examples: [{ id: 'x', nullable: true, pattern: '(' }], default: { $ref: '#/none' } },
  ),
  'draft-07': object(
    { a: { $ref: '#/definitions/x' }, b: { type: 'array', items: [text], additionalItems: false } },
    { $schema: 'http://json-schema.org/draft-07/schema#', definitions: { x: text } },
  ),
};

const INVALID: [string, Record<string, unknown>][] = [
  ['more than 64 levels', nested(40) as Record<string, unknown>],
  [
    'more than 1,000 objects and lists',
    object({ a: { enum: Array.from({ length: 1_000 }, () => []) } }),
  ],
  ['more than 200 references', object(each(201, (index) => [`r${index}`, { $ref: '#' }]))],
  ["can't resolve reference", object({ a: { $ref: '#/$defs/x' } })],
  ["can't resolve reference", object({ a: { $ref: '#/%' } })],
  ["can't resolve reference", object({ a: { $ref: 'https://example.com/other' } })],
  ['"id" is not supported', object({ a: { id: 'x' } })],
  ['"nullable" needs "type"', object({ a: { nullable: true } })],
  ['is not a regular expression', object({}, { patternProperties: { '[': text } })],
  ['must be', object({ a: { type: 'text' } })],
  [
    '"$schema" is not supported',
    object({ a: text }, { $schema: 'http://json-schema.org/draft-04/schema#' }),
  ],
];

const maxObjects = 1_000;

describe('schemaProblem', () => {
  it.each(INVALID)('says %j of a schema that cannot be used', async (problem, schema) => {
    expect(schemaProblem(schema, { maxObjects })).toContain(problem);
  });
});

describe('schemaViolation', () => {
  it.each(
    Object.entries({ ...LARGE, ...VALID }),
  )('validates with every schema that is accepted: %s', async (_, schema) => {
    expect(schemaProblem(schema, { maxObjects })).toBeNull();
    expect(await schemaViolation({ schema, data: {}, name: 'data' })).toBeNull();
    const other = await schemaViolation({ schema, data: 'text', name: 'data' });
    expect(other).toBe('data must be object');
  });

  it.each([
    ['date', '2026-02-28', ['2026-02-30', 'tomorrow']],
    ['time', '14:30:00Z', ['25:00:00Z', '2 pm']],
    ['date-time', '2026-02-28T14:30:00+01:00', ['2026-02-28', '2026-02-30T14:30:00Z']],
    ['duration', 'PT20M', ['20 minutes']],
    ['email', 'ada@example.com', ['ada at example.com']],
    ['hostname', 'example.com', ['example com']],
    ['ipv4', '192.0.2.1', ['192.0.2']],
    ['ipv6', '2001:db8::1', ['2001:db8']],
    ['uri', 'https://example.com/a?b', ['example.com']],
    ['uri-reference', '/a?b', ['a b']],
    ['uuid', '0199a000-0000-7000-8000-000000000001', ['17']],
    ['postal code', 'any text', []],
  ])('requires the format %s if it knows it', async (format, valid, invalid) => {
    for (const $schema of [undefined, 'http://json-schema.org/draft-07/schema#']) {
      const schema = { ...object({ a: { ...text, format } }), ...($schema ? { $schema } : {}) };
      expect(schemaProblem(schema, { maxObjects })).toBeNull();
      const violation = (a: string) => schemaViolation({ schema, data: { a }, name: 'data' });
      expect(await violation(valid)).toBeNull();
      for (const value of invalid) {
        expect(await violation(value)).toBe(`data/a must match format "${format}"`);
      }
    }
  });

  it.each([
    'date',
    'time',
    'date-time',
    'duration',
    'email',
    'hostname',
    'ipv4',
    'ipv6',
    'uri',
    'uri-reference',
    'uuid',
  ])('validates the format %s of long hostile data quickly', async (format) => {
    const schema = object({ a: { type: 'array', items: { ...text, format } } });
    const parts = ['a', 'a.', 'a-', '1', '1:', ':', '0.', 'http://', 'P1', 'a@a.', '-', '/', 'Z'];
    const a = parts.map((part) => `${part.repeat(100_000 / part.length)} `);
    const problem = await schemaViolation({ schema, data: { a }, name: 'data' }, 2_000);
    expect(problem).toContain('must match format');
  });

  it('knows nothing of earlier schemas with the same identifier', async () => {
    const $id = 'https://example.com/customer';
    const schema = object({ name: text }, { $id, required: ['name'] });
    const other = object({ name: { type: 'number' } }, { $id });
    const data = { name: 1 };
    expect(await schemaViolation({ schema, data, name: 'data' })).toBe('data/name must be string');
    expect(await schemaViolation({ schema: other, data, name: 'data' })).toBeNull();
    expect(
      await schemaViolation({
        schema: object({ a: { $ref: $id } }),
        data: { a: {} },
        name: 'data',
      }),
    ).toContain("can't resolve reference");
  });

  it('does not wait for one that takes long, and serves again after it was ended', async () => {
    const schema = object({ a: { ...text, pattern: '^(a+)+$' } });
    const data = { a: `${'a'.repeat(40)}!` };
    const late = schemaViolation({ schema, data, name: 'slow' }, 3_000);
    const order: string[] = [];
    await Promise.all([
      late.then((problem) => order.push(problem ?? 'fits')),
      ...Array.from({ length: 5 }, async () => {
        const problem = await schemaViolation({ schema, data: { a: 'aa' }, name: 'quick' });
        order.push(problem ?? 'fits');
      }),
    ]);
    expect(order).toEqual([...Array(5).fill('fits'), 'slow could not be validated within 3000 ms']);
    expect(await schemaViolation({ schema, data: { a: 'b' }, name: 'next' })).toContain('pattern');
  });

  it('does not keep others waiting, and ends', async () => {
    const doubled = (index: number) => ({ $ref: `#/$defs/d${index + 1}` });
    const schema = object(
      { a: { $ref: '#/$defs/d0' } },
      {
        $defs: each(60, (index) => [
          `d${index}`,
          index === 59 ? text : { allOf: [doubled(index), doubled(index)] },
        ]),
      },
    );
    expect(schemaProblem(schema, { maxObjects })).toBeNull();
    let turns = 0;
    const turn = setInterval(() => {
      turns += 1;
    }, 5);
    const problem = await schemaViolation({ schema, data: { a: 'x' }, name: 'data' }, 1_500);
    clearInterval(turn);
    expect(problem).toContain('data could not be validated');
    expect(turns).toBeGreaterThan(10);
  });
});
