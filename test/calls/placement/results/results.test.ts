/** Placement of calls with rejections, lost responses and crashes: no phone rings twice for one call. */
import { describe } from 'vitest';
import { agentsSuite } from './agents.suite.ts';
import { refusedSuite } from './refused.suite.ts';
import { usePlacementServer } from './server.ts';
import { unknownSuite } from './unknown.suite.ts';
import { unreachableSuite } from './unreachable.suite.ts';

describe('placeWaitingCalls', () => {
  usePlacementServer();
  refusedSuite();
  unknownSuite();
  agentsSuite();
});
unreachableSuite();
