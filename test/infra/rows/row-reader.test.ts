import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
});
afterAll(() => server?.close());

describe('$queryRaw past Prisma', () => {
  it('sends and decodes the values of every type as Prisma does', async () => {
    const at = new Date('2026-03-01T23:59:59.123Z');
    const id = '019cbd4d-0000-7000-8000-000000000000';
    const query = Prisma.sql`SELECT
      1::int AS int, 9007199254740993::bigint AS bigint, 1.50::numeric(10, 2) AS numeric,
      1.5::float8 AS float, true AS yes, NULL::text AS nothing, 'ä"''' AS text,
      ${at}::timestamptz AS at, timestamp '2026-03-01 23:59:59.123' AS local, date '2026-03-01' AS day,
      ${JSON.stringify({ a: [1, null] })}::jsonb AS json, '"text"'::jsonb AS json_text,
      'CREATED'::"CallStatus" AS status, ${id}::uuid AS id, ${[id]}::uuid[] AS ids,
      ${['a,b', '"', '{}', '']}::text[] AS texts, ${[]}::text[] AS none, ${[1, 2]}::int[] AS ints,
      ${[at]}::timestamptz[] AS instants, ${12n}::bigint AS given, ${false}::boolean AS no,
      ${null}::text AS missing`;
    const { app } = server;
    // A statement is prepared at its third use.
    for (let use = 0; use < 4; use += 1) {
      expect(await app.rows.$queryRaw(query)).toEqual(await app.db.$queryRaw(query));
    }
    expect(await app.rows.$queryRaw`SELECT ${at}::timestamptz AS at`).toEqual([{ at }]);
  });

  it('prepares statements however many others clients have made by what they select', async () => {
    const { rows } = server.app;
    const columns = ['name', 'model', 'temperature', 'status', 'createdAt', 'voiceId', 'revision'];
    const orders = ['name', 'createdAt', 'status', 'model', 'id'];
    for (const order of orders) {
      for (let bits = 0; bits < 2 ** columns.length; bits += 1) {
        const chosen = columns.filter((_, bit) => bits & (1 << bit));
        const select = Object.fromEntries(['id', ...chosen].map((name) => [name, true]));
        const query = { select, orderBy: { [order]: 'asc' }, take: 1 };
        await Promise.all([1, 2, 3].map(() => rows.findMany('Agent', query)));
      }
    }
    for (let use = 0; use < 3; use += 1) await rows.$queryRaw`SELECT 42 AS own`;
    const prepared = await rows.$queryRaw<object[]>`
      SELECT 1 FROM pg_prepared_statements WHERE statement LIKE 'SELECT 42 AS own'`;
    expect(prepared).toHaveLength(1);
  });

  it('rejects with the error of the server, and goes on', async () => {
    const { rows } = server.app;
    await expect(rows.$queryRaw`SELECT 1 / ${0}::int`).rejects.toMatchObject({ code: '22012' });
    expect(await rows.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }]);
  });
});

describe('findMany past Prisma', () => {
  const read = (model: string) => server.app.rows.findMany(model, { select: { id: true } });

  it('does not wait for a slow statement that was sent with it', async () => {
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    let reads: Promise<unknown>[] = [];
    await server.app.db.$transaction(async (tx) => {
      await tx.$executeRawUnsafe('LOCK TABLE agents IN ACCESS EXCLUSIVE MODE');
      reads = [
        read('Agent')!.then(note('slow')),
        read('Tool')!.then(note('tools')),
        read('Voice')!.then(note('voices')),
      ];
      await Promise.all(reads.slice(1));
    });
    await Promise.all(reads);
    expect(order).toEqual(['tools', 'voices', 'slow']);
  });

  it('compares the size of several rows before it builds them, after a query for one row', async () => {
    const { rows } = server.app;
    const select = { id: true, systemPrompt: true };
    const statements: string[] = [];
    const { onStatement } = rows;
    rows.onStatement = (text) => statements.push(text);
    for (const take of [1, 100, 1]) {
      await rows.findMany('Agent', { select, take }, { sharesSelect: true, maxBytes: 1_000 });
    }
    rows.onStatement = onStatement;
    expect(statements.map((text) => text.includes('octet_length'))).toEqual([false, true, false]);
  });

  it('sends the statements behind one that fails again', async () => {
    const { db } = server.app;
    await db.$executeRawUnsafe('ALTER TABLE tools RENAME TO tools_away');
    const results = await Promise.allSettled([read('Agent'), read('Tool'), read('Voice')]);
    await db.$executeRawUnsafe('ALTER TABLE tools_away RENAME TO tools');
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});
