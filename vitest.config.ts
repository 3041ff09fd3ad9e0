import { defineConfig } from 'vitest/config';

export default defineConfig({
  // The same `graphql` as Node gives to the packages; with Vite's own conditions there are two of it.
  ssr: { resolve: { conditions: ['module', 'node'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
