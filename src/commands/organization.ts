/**
 * `npm run organization -- "Acme"` creates an organization and prints its first key;
 * `npm run organization -- --key org_…` creates and prints an ADMIN key.
 */
import path from 'node:path';
import { readConfig } from '../config.ts';
import { prepareDatabase } from '../deployment/deployment.ts';
import { PrismaClient } from '../generated/prisma/client.ts';
import { newAdapter } from '../infra/database/connections.ts';
import { startEmbeddedPostgres } from '../infra/embedded-postgres/postgres.ts';
import { createLogger } from '../infra/logger.ts';
import { createAdminKey, createOrganization } from '../organizations/service.ts';

async function main(): Promise<void> {
  const [name, id] = process.argv.slice(2);
  if (!name || (name === '--key' ? !id : name.startsWith('--') || id !== undefined)) {
    throw new Error(
      'A new organization: npm run organization -- "Acme"\nAnother key for one: npm run organization -- --key org_…',
    );
  }
  const config = readConfig(process.env);
  const log = createLogger({ level: 'warn' });
  const embedded = config.DATABASE_URL
    ? null
    : await startEmbeddedPostgres({ directory: path.resolve(config.DATA_DIR, 'postgres'), log });
  try {
    const databaseUrl = config.DATABASE_URL ?? embedded!.url;
    await prepareDatabase({ databaseUrl, waitSeconds: config.DATABASE_WAIT_SECONDS, log });
    const db = new PrismaClient({ adapter: newAdapter(databaseUrl) });
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
