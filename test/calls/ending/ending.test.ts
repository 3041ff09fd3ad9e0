/** Browser test calls, and ending calls. */
import { hangUpSuite } from './hang-up.suite.ts';
import { useEndingServer } from './server.ts';
import { testCallsSuite } from './test-calls.suite.ts';

useEndingServer();
testCallsSuite();
hangUpSuite();
