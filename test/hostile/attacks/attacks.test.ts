/** Requests and sockets from outside that try to exhaust memory, files or time of the server. */
import { connectionsSuite } from './connections.suite.ts';
import { requestsSuite } from './requests.suite.ts';
import { useAttackedServer } from './server.ts';

useAttackedServer();
requestsSuite();
connectionsSuite();
