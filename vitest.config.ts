import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/vitest/longest-first.ts';
import { keepTemporaryFilesInMemory } from './test/support/vitest/temporary-files.ts';

// Before the workers start, which inherit it.
keepTemporaryFilesInMemory();

export default defineConfig({
  // The same `graphql` as Node gives to the packages; with Vite's own conditions there are two of it.
  ssr: { resolve: { conditions: ['module', 'node'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/vitest/global-setup.ts'],
    pool: 'forks',
    // On two cores. Many tests mostly wait, for calls that ring and for jobs that retry.
    maxWorkers: 4,
    // Most code runs a few times in a test, and costs less when it is compiled at once.
    execArgv: ['--always-sparkplug'],
    // A worker imports the server once, not once for each file; every file has databases of its own.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    // Generous, because a machine may be slow and busy: they only end a test that hangs.
    testTimeout: 180_000,
    hookTimeout: 300_000,
    // Many tests kill processes and hold locks at real time. One that passes only when repeated is marked
    // "(retry x1)", and .ci/run lists it: a defect of the test or of the product. --retry=0 looks for them.
    retry: 1,
  },
});
