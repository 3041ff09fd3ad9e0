/**
 * Calls between their claim and the request to Ultravox. No worker runs, so that the test performs each step
 * itself.
 */
import { claimedCallsSuite } from './claimed-calls.suite.ts';
import { cyclesSuite } from './cycles.suite.ts';
import { useClaimServer } from './server.ts';

useClaimServer();
claimedCallsSuite();
cyclesSuite();
