/** The suites of carrier accounts, on one server. */
import { importSuite } from './import.suite.ts';
import { readingSuite } from './reading.suite.ts';
import { removalSuite } from './removal.suite.ts';
import { useCarriersServer } from './server.ts';

useCarriersServer();
importSuite();
removalSuite();
readingSuite();
