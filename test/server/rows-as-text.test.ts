import { describe, expect, it } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { rowsFromText, rowsToText } from '../../src/server/execution/rows-as-text.ts';

describe('rowsToText', () => {
  it('keeps what JSON does not', () => {
    const row = {
      id: 'a',
      count: 12n,
      at: new Date('2026-11-30T00:00:00.123Z'),
      cost: new Prisma.Decimal('0.000001'),
      nothing: null,
      lists: [[], ['date', '2026-11-30']],
      json: JSON.parse('{"$ref":"#/a","__proto__":{"date":1}}'),
    };
    const copy = rowsFromText(rowsToText(row)) as typeof row;
    expect(copy).toEqual(row);
    expect(copy.cost.plus(1).toString()).toBe('1.000001');
    expect(Object.keys(copy.json)).toEqual(['$ref', '__proto__']);
  });

  it('omits undefined members, and throws for what it cannot keep', () => {
    expect(rowsFromText(rowsToText({ a: undefined, b: 1 }))).toEqual({ b: 1 });
    for (const value of [new Map(), () => 1, { a: Buffer.from('x') }]) {
      expect(() => rowsToText(value)).toThrow('cannot be stored');
    }
  });
});
