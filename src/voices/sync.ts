/** Reference voices at Ultravox: registered once under our id, then only read or removed. */
import type { App, Tx } from '../app.ts';
import type { Voice } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { orGone } from '../sync/gone.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { defineSyncJob, type SyncKind, type SyncResult } from '../sync/service.ts';
import type { ExternalVoice, Voice as UltravoxVoice } from '../ultravox/wire.ts';
import { isVoiceProvider, providerOf } from './providers.ts';

/** Exactly the 40 characters that a name may have there. */
const remoteName = (row: Pick<Voice, 'id'>): string => publicId('voc', row.id);

export const voiceSync: SyncKind<Voice> = {
  table: 'voices',
  job: defineSyncJob('syncVoice'),
  load: (app, id) => app.db.voice.findUnique({ where: { id } }),

  async find(app, row) {
    const name = remoteName(row);
    const found: string[] = [];
    for await (const voice of app.ultravox.voices.listAll({ ownership: 'private', search: name })) {
      if (voice.name === name) found.push(voice.voiceId);
    }
    return found;
  },

  async create(app, row) {
    const voice = await app.ultravox.voices.create({
      name: remoteName(row),
      description: (row.description ?? row.name).slice(0, 240),
      ...(row.language ? { primaryLanguage: row.language } : {}),
      definition: definitionOf(row),
    });
    await keepWhatItSays(app, row, voice);
    return voice.voiceId;
  },

  /** What is registered never changes; it can only be gone, and reading it tells. */
  async update(app, row, ultravoxId) {
    await keepWhatItSays(app, row, await app.ultravox.voices.get(ultravoxId));
  },

  async remove(app, _row, ultravoxId) {
    await orGone(app.ultravox.voices.delete(ultravoxId));
  },

  async settled(app: App, tx: Tx, row: Voice, result: SyncResult) {
    if (result.outcome !== 'SYNCED' || result.ultravoxId === row.ultravoxId) return;
    await app.jobs.enqueue(tx, resyncAgents, { kind: 'VOICE', id: row.id });
  },
};

function definitionOf(row: Voice): ExternalVoice {
  if (!isVoiceProvider(row.provider)) throw new Error(`Voice ${row.id} has no known provider`);
  const settings = typeof row.definition === 'object' ? row.definition : {};
  return { [providerOf(row.provider).member]: { voiceId: row.providerVoiceId, ...settings } };
}

/** Label and preview are made by Ultravox. */
async function keepWhatItSays(app: App, row: Voice, voice: UltravoxVoice): Promise<void> {
  await app.db.voice.update({
    where: { id: row.id },
    data: { languageLabel: voice.languageLabel, previewUrl: voice.previewUrl },
  });
}
