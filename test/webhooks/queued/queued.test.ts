/** Webhooks that wait: sent in turn, replayed, given up, or removed with their call, campaign or endpoint. */
import { useWebhookServer } from '../support.ts';
import { disabledEndpointsSuite } from './disabled-endpoints.suite.ts';
import { erasureSuite } from './erasure.suite.ts';
import { queueingSuite } from './queueing.suite.ts';

useWebhookServer();
disabledEndpointsSuite();
queueingSuite();
erasureSuite();
