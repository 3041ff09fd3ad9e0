/** The suites of phone numbers that need no carrier account, on one server. */
import { assignmentSuite } from './assignment.suite.ts';
import { choiceSuite } from './choice.suite.ts';
import { useNumbersServer } from './server.ts';
import { sipNumbersSuite } from './sip-numbers.suite.ts';

useNumbersServer();
sipNumbersSuite();
assignmentSuite();
choiceSuite();
