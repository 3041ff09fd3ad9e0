/** Syncs reference voices with Ultravox. They are created under our ID and never changed. */
import type { App, Tx } from '../app.ts';
import type { Voice } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { idsByName } from '../sync/ids-by-name.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import {
  defineSyncJob,
  type SyncContext,
  type SyncKind,
  type SyncResult,
} from '../sync/sync-kind.ts';
import type { ExternalVoice, Voice as UltravoxVoice } from '../ultravox/wire.ts';
import { isVoiceProvider, providerOf } from './providers.ts';

/** Our public ID, which has exactly the 40 characters that Ultravox allows for a name. */
const remoteName = (row: Pick<Voice, 'id'>): string => publicId('Voice', row.id);

export const voiceSync: SyncKind<Voice, 'voices'> = {
  table: 'voices',
  job: defineSyncJob('syncVoice'),
  load: (app, id) => app.db.voice.findUnique({ where: { id } }),

  async find(app, row) {
    const name = remoteName(row);
    const listed = app.ultravox.voices.listAll({ ownership: 'private', search: name });
    return idsByName(listed, name, ({ voiceId }) => voiceId);
  },

  async create(app, row) {
    const voice = await app.ultravox.voices.create({
      name: remoteName(row),
      description: row.description ?? row.name,
      ...(row.language ? { primaryLanguage: row.language } : {}),
      definition: definitionOf(row),
    });
    await storeRemoteDetails(app, row, voice);
    return voice.voiceId;
  },

  /** Checks whether the voice still exists, since a remote voice never changes. */
  async update(app, row, remoteId) {
    await storeRemoteDetails(app, row, await app.ultravox.voices.get(remoteId));
  },

  async remove(app, _row, remoteId) {
    await nullIfNotFound(app.ultravox.voices.delete(remoteId));
  },

  async onResult(app: App, tx: Tx, row: Voice, result: SyncResult) {
    const resync = { kind: 'VOICE', id: row.id } as const;
    if (result.outcome === 'REFUSED' && !row.deletedAt) {
      // Agents that wait for it report the reason.
      await app.jobs.enqueue(tx, resyncAgents, resync, { group: row.organizationId });
      const data = { voiceId: row.id, error: result.message };
      await appendEvents(tx, row.organizationId, [{ type: 'VOICE_FAILED', data }]);
    }
    if (result.outcome !== 'SYNCED' || result.remoteId === row.remoteId) return;
    await app.jobs.enqueue(tx, resyncAgents, resync, { group: row.organizationId });
    if (row.deletedAt) return;
    await appendEvents(tx, row.organizationId, [
      { type: 'VOICE_SYNCED', data: { voiceId: row.id } },
    ]);
  },

  async afterResult(app: App, row: Voice, result: SyncResult) {
    if (result.outcome === 'SYNCED' || result.outcome === 'REFUSED') {
      announceEvents(app, row.organizationId);
    }
  },
};

function definitionOf(row: Voice): ExternalVoice {
  if (!isVoiceProvider(row.provider)) throw new Error(`Voice ${row.id} has an unknown provider`);
  const settings = typeof row.definition === 'object' ? row.definition : {};
  return { [providerOf(row.provider).member]: { voiceId: row.providerVoiceId, ...settings } };
}

/** Stores the language label and the preview URL, which come from Ultravox. */
async function storeRemoteDetails(
  app: SyncContext,
  row: Voice,
  voice: UltravoxVoice,
): Promise<void> {
  await app.db.voice.update({
    where: { id: row.id },
    data: { languageLabel: voice.languageLabel, previewUrl: voice.previewUrl },
  });
}
