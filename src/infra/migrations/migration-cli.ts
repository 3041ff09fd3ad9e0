/** `npm run migration`: compares the migrations with the Prisma schema and writes what is missing. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEmbeddedPostgres } from '../embedded-postgres/postgres.ts';
import { createLogger, type Logger } from '../logger.ts';
import { diffFromMigrations, migrationsDirectory } from './migrations.ts';

const usage = `npm run migration -- create <name>   write the migration that prisma/schema.prisma needs
npm run migration -- check           fail when the migrations and the schema disagree
`;

interface Options {
  directory?: string;
  schema?: string;
  /** An empty database for the comparison. Default: a temporary one. */
  emptyDatabaseUrl?: string;
  log: Logger;
}

/** The SQL that the migrations lack. Undefined if they match the Prisma schema. */
export async function findMissingMigration(options: Options): Promise<string | undefined> {
  const { emptyDatabaseUrl } = options;
  if (emptyDatabaseUrl) return diffFromMigrations({ ...options, emptyDatabaseUrl });
  const home = await mkdtemp(path.join(tmpdir(), 'migration-'));
  try {
    const database = await startEmbeddedPostgres({
      directory: home,
      log: options.log,
      durable: false,
    });
    try {
      return await diffFromMigrations({ ...options, emptyDatabaseUrl: database.url });
    } finally {
      await database.stop();
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** Writes the missing migration and returns its file. Undefined if none is missing. */
export async function createMigration(
  name: string,
  options: Options & { now: Date },
): Promise<string | undefined> {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '');
  if (slug === '') throw new Error('The migration has no name');
  const sql = await findMissingMigration(options);
  if (sql === undefined) return undefined;
  const instant = options.now.toISOString().replace(/\D/g, '').slice(0, 14);
  const directory = path.join(options.directory ?? migrationsDirectory, `${instant}_${slug}`);
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, 'migration.sql');
  await writeFile(file, sql, { flag: 'wx' });
  return file;
}

async function main([command, ...words]: string[]): Promise<number> {
  const log = createLogger({ level: 'warn', pretty: true });
  if (command === 'create' && words.length > 0) {
    const file = await createMigration(words.join(' '), { log, now: new Date() });
    const outcome =
      file === undefined
        ? 'The migrations already agree with the schema.'
        : path.relative('', file);
    process.stdout.write(`${outcome}\n`);
    return 0;
  }
  if (command === 'check' && words.length === 0) {
    const missing = await findMissingMigration({ log });
    if (missing === undefined) return 0;
    process.stdout.write(`${missing}\n`);
    process.stderr.write(
      'The migrations lack this. Write it: npm run migration -- create <name>\n',
    );
    return 1;
  }
  process.stderr.write(usage);
  return 2;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
