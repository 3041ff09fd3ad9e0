import type { TestProject } from 'vitest/node';
import { startTestPostgres } from '../servers/database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the PostgreSQL of this test run; see `createTestDatabase`. */
    databaseAdminUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { adminUrl, stop } = await startTestPostgres();
  project.provide('databaseAdminUrl', adminUrl);
  return stop;
}
