/** Lists of campaigns, their contacts and their decisions, and the number of statements that these lists need. */
import { contactsSuite } from './contacts.suite.ts';
import { listsSuite } from './lists.suite.ts';
import { useQueryServer } from './server.ts';
import { statementsSuite } from './statements.suite.ts';

useQueryServer();
listsSuite();
contactsSuite();
statementsSuite();
