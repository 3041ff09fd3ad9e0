/**
 * `npm run organization -- "Acme"` makes an organization and prints its first key;
 * `npm run organization -- --key org_…` prints another key with every scope.
 */
import path from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { readConfig } from '../config.ts';
import { PrismaClient } from '../generated/prisma/client.ts';
import { createLogger } from '../infra/logger.ts';
import { applyMigrations } from '../infra/migrations.ts';
import { startEmbeddedPostgres } from '../infra/postgres.ts';
import { createAdminKey, createOrganization } from './service.ts';

async function main(): Promise<void> {
  const [name, id] = process.argv.slice(2);
  if (!name || (name === '--key' ? !id : name.startsWith('--') || id !== undefined)) {
    throw new Error(
      'A new organization: npm run organization -- "Acme"\nAnother key for one: npm run organization -- --key org_…',
    );
  }
  const config = readConfig(process.env);
  const log = createLogger({ level: 'error' });
  const embedded = config.DATABASE_URL
    ? null
    : await startEmbeddedPostgres({ directory: path.resolve(config.DATA_DIR, 'postgres'), log });
  try {
    const databaseUrl = config.DATABASE_URL ?? embedded!.url;
    await applyMigrations({ databaseUrl, log });
    const db = new PrismaClient({ adapter: new PrismaPg({ connectionString: databaseUrl }) });
    const { organization, key } =
      name === '--key' && id
        ? await createAdminKey({ db }, id)
        : await createOrganization({ db }, { name });
    process.stdout.write(
      `Organization  org_${organization.id} (${organization.name})\nAPI key       ${key}   (shown once: keep it now)\n`,
    );
    await db.$disconnect();
  } finally {
    await embedded?.stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
