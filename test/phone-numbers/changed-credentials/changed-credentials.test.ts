/** The suites of credentials that change, here or at Ultravox, on one server. */
import { concurrentChangesSuite } from './concurrent-changes.suite.ts';
import { useCredentialsServer } from './server.ts';
import { unrecordedAccountsSuite } from './unrecorded-accounts.suite.ts';
import { updateSuite } from './update.suite.ts';

useCredentialsServer();
updateSuite();
concurrentChangesSuite();
unrecordedAccountsSuite();
