/** Agents that are sent again because Ultravox reported that it does not have them. */
import { describe, expect, it } from 'vitest';
import { resendAgent } from '../../../src/agents/sync.ts';
import { until } from '../../support/wait.ts';
import { change, uuidOf } from '../support.ts';
import { basic, server } from './server.ts';

export function resendSuite(): void {
  describe('an agent that Ultravox does not have', () => {
    it('is sent again after an edit that was sent meanwhile, once for all who read it before', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      const row = () => server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(id) } });
      const read = await row();
      await change(server.client, 'updateAgent', { id, systemPrompt: 'Help more.' });
      const edited = await row();
      expect(edited.syncedRevision).toBe(read.revision + 1);
      const [first, second] = [
        await resendAgent(server.app, read),
        await resendAgent(server.app, read),
      ];
      expect([first, second]).toEqual([edited.revision + 1, edited.revision + 1]);
      await until('it to be sent', async () => (await row()).syncedRevision === first);
      expect(await resendAgent(server.app, edited)).toBe(first);
      expect(await resendAgent(server.app, await row())).toBe(edited.revision + 2);
    });
  });
}
