/** The suites of exported contacts and of imported do-not-call lists, on one server. */
import { doNotCallSuite } from './do-not-call.suite.ts';
import { exportSuite } from './export.suite.ts';
import { useContactServer } from './server.ts';

useContactServer();
exportSuite();
doNotCallSuite();
