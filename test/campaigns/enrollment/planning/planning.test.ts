/** Planning of contacts when they are added and when the schedule changes. */
import { addedContactsSuite } from './added-contacts.suite.ts';
import { changedScheduleSuite } from './changed-schedule.suite.ts';
import { useDesk } from './server.ts';

useDesk();
addedContactsSuite();
changedScheduleSuite();
