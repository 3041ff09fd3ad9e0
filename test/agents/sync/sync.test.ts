/** The suites of agents on their way to Ultravox, on one server. */
import { changesSuite } from './changes.suite.ts';
import { referencesSuite } from './references.suite.ts';
import { resendSuite } from './resend.suite.ts';
import { useSyncServer } from './server.ts';

useSyncServer();
changesSuite();
referencesSuite();
resendSuite();
