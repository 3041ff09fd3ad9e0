/** Calls that wait while Ultravox cannot be reached. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { creationHold } from '../../../../src/calls/placement/creation-hold.ts';
import { placeWaitingCalls } from '../../../../src/calls/placement/placement.ts';
import { startSimulator } from '../../../../src/simulator/simulator.ts';
import { startTestServer } from '../../../support/servers/server.ts';
import { until } from '../../../support/wait.ts';
import {
  dial,
  isBilled,
  newCaller,
  resumeCreations,
  typesOf,
  uuidOf,
  waitForCall,
} from '../../support.ts';
import { TALKED } from './server.ts';

export function unreachableSuite(): void {
  describe('placeWaitingCalls while Ultravox is unreachable', () => {
    it('keeps calls waiting, and places them once Ultravox is back', async () => {
      const server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
      const caller = await newCaller(server);
      const { port } = new URL(server.simulator.url);
      await server.simulator.close();
      const made = [await dial(caller), await dial(caller)];
      const ids = made.map(({ id }) => uuidOf(id));
      const calls = { where: { id: { in: ids } } };
      // Also when they have waited for capacity before.
      await server.app.db.call.updateMany({
        ...calls,
        data: { createdAt: new Date(Date.now() - 1_800_000) },
      });
      await resumeCreations(server);
      await placeWaitingCalls(server.app);
      await until('another hold', () => creationHold(server.app));
      const rows = await server.app.db.call.findMany(calls);
      expect(rows.map(({ status }) => status)).toEqual(['CREATED', 'CREATED']);
      await resumeCreations(server);
      const again = await startSimulator({
        port: Number(port),
        databasePath: path.join(server.app.config.DATA_DIR, 'simulator.db'),
        speed: 50,
      });
      try {
        for (const { id } of made) {
          const call = await waitForCall(caller.client, id, 'billed', isBilled);
          expect(typesOf(call)).toEqual(TALKED);
        }
        expect(again.dials()).toHaveLength(made.length);
      } finally {
        await again.close();
        await server.close();
      }
    });
  });
}
