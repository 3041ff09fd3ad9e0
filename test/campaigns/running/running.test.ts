/**
 * The suites of running campaigns, on one server: they mostly wait for calls, and some can do so concurrently.
 *
 * To run one of them: `npx vitest run test/campaigns/running -t 'the circuit breaker'`
 */
import { contactStatsSuite } from './contact-stats.suite.ts';
import { engineSuite } from './engine.suite.ts';
import { retriesSuite, silentCallsSuite } from './retries.suite.ts';
import { rulesSuite } from './rules.suite.ts';
import { useSharedServer } from './server.ts';
import { ultravoxSuite } from './ultravox.suite.ts';

useSharedServer();
// Side by side, save for a test that measures time.
engineSuite();
rulesSuite();
retriesSuite();
contactStatsSuite();
// Alone, because they change Ultravox for all campaigns of the server.
ultravoxSuite();
silentCallsSuite();
