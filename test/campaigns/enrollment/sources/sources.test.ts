/** Sources of contacts: folders, ids, rows and files. */
import { filesSuite } from './files.suite.ts';
import { givenContactsSuite } from './given-contacts.suite.ts';
import { useDesk } from './server.ts';

useDesk();
givenContactsSuite();
filesSuite();
