import type { TestProject } from 'vitest/node';
import { startTestPostgres } from '../servers/database.ts';
import { compileServer } from '../servers/process.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the PostgreSQL of this test run; see `createTestDatabase`. */
    databaseAdminUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [{ adminUrl, stop }] = await Promise.all([startTestPostgres(), compileServer()]);
  project.provide('databaseAdminUrl', adminUrl);
  return stop;
}
