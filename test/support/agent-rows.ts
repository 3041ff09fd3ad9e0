/** Inserts agents into the database, for tests of the objects that agents refer to. */
import type { App } from '../../src/app.ts';
import { newId } from '../../src/infra/ids.ts';

/** Inserts an ACTIVE agent with this voice, or with a new one. @returns the UUID of the agent */
export async function insertAgent(
  { db }: Pick<App, 'db'>,
  { organizationId, voiceId }: { organizationId: string; voiceId?: string },
): Promise<string> {
  const synced = () => ({ status: 'ACTIVE', syncedRevision: 1, remoteId: newId() }) as const;
  const ownVoice = async (): Promise<string> => {
    const data = { id: newId(), organizationId, type: 'SYSTEM', name: 'V', ...synced() } as const;
    return (await db.voice.create({ data })).id;
  };
  const agent = await db.agent.create({
    data: {
      id: newId(),
      organizationId,
      voiceId: voiceId ?? (await ownVoice()),
      name: 'Maria',
      systemPrompt: 'Be brief.',
      model: 'ultravox-v0.7',
      temperature: 0,
      recordingEnabled: false,
      ...synced(),
    },
  });
  return agent.id;
}
