/** Inserts many rows fast; Prisma's `createMany` takes milliseconds for each. */
import { Prisma } from '../../src/generated/prisma/client.ts';
import { TABLES } from '../../src/generated/tables.ts';
import type { TestServer } from './servers/server.ts';

/**
 * Inserts rows like `createMany`. All rows must have the members of the first one. Other columns get the
 * default of the database, and `updatedAt` the current time.
 */
export async function insertRows(
  { app }: Pick<TestServer, 'app'>,
  model: string,
  rows: readonly object[],
): Promise<void> {
  const { name, columns } = TABLES[model]!;
  const names = new Map(Object.entries(columns).map(([member, column]) => [member, column.name]));
  const defaults = names.has('updatedAt') ? { updatedAt: new Date() } : {};
  const json = rows.map((row) =>
    Object.fromEntries(
      Object.entries({ ...defaults, ...row }).map(([member, value]) => [names.get(member), value]),
    ),
  );
  const list = Prisma.raw(
    Object.keys(json[0] ?? {})
      .map((column) => `"${column}"`)
      .join(', '),
  );
  const table = Prisma.raw(`"${name}"`);
  await app.db.$executeRaw`
    INSERT INTO ${table} (${list})
    SELECT ${list} FROM jsonb_populate_recordset(NULL::${table}, ${JSON.stringify(json)}::jsonb)`;
}
