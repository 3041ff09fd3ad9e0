/** The suites of webhook endpoints and what they are sent, on one server. */
import { useWebhookServer } from '../support.ts';
import { endpointsSuite } from './endpoints.suite.ts';
import { receiversSuite } from './receivers.suite.ts';
import { replaysSuite } from './replays.suite.ts';

useWebhookServer();
endpointsSuite();
receiversSuite();
replaysSuite();
