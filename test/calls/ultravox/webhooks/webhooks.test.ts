/** Webhooks from Ultravox that are forged, repeated, reordered or failed. */
import { describe } from 'vitest';
import { deletionsAndBillsSuite } from './deletions-and-bills.suite.ts';
import { failuresSuite } from './failures.suite.ts';
import { receiptSuite } from './receipt.suite.ts';
import { useWebhookServer } from './server.ts';

describe('receiveUltravoxWebhook', () => {
  useWebhookServer();
  receiptSuite();
  failuresSuite();
  deletionsAndBillsSuite();
});
