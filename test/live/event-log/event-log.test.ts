/** The suites of the event log and of those who read it, on one server. */
import { useLiveServer } from '../support.ts';
import { lateSubscribersSuite } from './late-subscribers.suite.ts';
import { readersSuite } from './readers.suite.ts';
import { retentionSuite } from './retention.suite.ts';

useLiveServer();
retentionSuite();
readersSuite();
lateSubscribersSuite();
