import { defineConfig } from 'prisma/config';

// `prisma generate` insists on having a native migration engine, which it would download and does
// not use. We have no use for it either (see src/infra/migrations/migrations.ts): any program will do.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath;

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
});
