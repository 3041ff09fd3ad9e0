/** The suites of events that many subscribers receive, on one server. */
import { missedEventsSuite } from './missed-events.suite.ts';
import { useFanOutServer } from './server.ts';
import { sharedResultsSuite } from './shared-results.suite.ts';

useFanOutServer();
sharedResultsSuite();
missedEventsSuite();
