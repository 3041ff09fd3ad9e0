/** The suites of `importContacts`, on one server. */
import { filesSuite } from './files.suite.ts';
import { rowsSuite } from './rows.suite.ts';
import { useImportServer } from './server.ts';

useImportServer();
rowsSuite();
filesSuite();
