/** Lists, registers, changes and deletes the voices of an organization. */
import type { App } from '../app.ts';
import { userError } from '../errors.ts';
import type { Prisma, Voice } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { createAndSync, deleteAndSync, wasDeletedEarlier } from '../sync/row-lifecycle.ts';
import { notUsable } from '../sync/sync-kind.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { providerOf, type VoiceProvider } from './providers.ts';
import { voiceSync } from './sync.ts';

export { ensureVoices, syncVoices } from './catalog.ts';

export const MAX_NAME = 100;
export const MAX_DESCRIPTION = 240;

/**
 * Returns the remote ID of a voice, for the call template of an agent.
 *
 * @throws NotReadyError until the voice is at Ultravox, RefusedError if Ultravox refused it. `resyncAgents` is enqueued
 *   in both cases.
 */
export function ultravoxVoiceId(voice: Voice): string {
  if (voice.remoteId) return voice.remoteId;
  throw notUsable(voice, `voice ${publicId('Voice', voice.id)}`);
}

/** Voices included in lists. A withdrawn voice is listed only while an agent uses it. */
export function listedVoices(viewer: Viewer): Prisma.VoiceWhereInput {
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    OR: [{ withdrawnAt: null }, { agents: { some: { deletedAt: null } } }],
  };
}

export interface CreateVoiceInput {
  name: string;
  description?: string | null | undefined;
  provider?: VoiceProvider | null | undefined;
  providerVoiceId: string;
  language?: string | null | undefined;
  model?: string | null | undefined;
  speed?: number | null | undefined;
}

/**
 * Registers a voice that another provider hosts.
 *
 * Order: the row and its job are committed, then the voice is registered at Ultravox. If Ultravox cannot be reached,
 * the job retries, after looking for the voice by our ID. If Ultravox refuses the voice, the row is FAILED and can only
 * be deleted.
 */
export async function createVoice(
  app: App,
  viewer: Viewer,
  input: CreateVoiceInput,
): Promise<Voice> {
  const checks = new Checks();
  const providerName = input.provider ?? 'eleven_labs';
  const provider = providerOf(providerName);
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  checks.text(input.providerVoiceId, ['providerVoiceId'], { min: 1, max: 200 });
  const model = checks.text(input.model, ['model'], { min: 1, max: 100 });
  const language = checkLanguage(checks, input.language);
  if (model !== undefined && !provider.models) {
    checks.add('INVALID_INPUT', 'This provider does not support `model`. Omit it.', ['model']);
  }
  let speed: number | undefined;
  if (provider.speed) {
    speed = checks.number(input.speed, ['speed'], provider.speed);
  } else if (typeof input.speed === 'number') {
    checks.add('INVALID_INPUT', 'This provider does not support `speed`. Omit it.', ['speed']);
  }
  checks.throwIfAny();

  const id = newObjectId(viewer);
  await createAndSync(app, viewer, voiceSync, {
    id,
    insert: (tx) =>
      tx.voice.create({
        data: {
          ...ownedBy(viewer),
          id,
          type: 'REFERENCE',
          status: 'DRAFT',
          name: input.name,
          description: input.description || null,
          provider: providerName,
          providerVoiceId: input.providerVoiceId,
          definition: provider.settings({ model, speed }) as Prisma.InputJsonObject,
          language: language ?? null,
        },
      }),
  });
  return app.db.voice.findUniqueOrThrow({ where: { id } });
}

/** Returns the tag in canonical form. Ultravox accepts at most 10 characters. */
function checkLanguage(checks: Checks, tag: string | null | undefined): string | undefined {
  if (tag === null || tag === undefined) return undefined;
  try {
    const [canonical] = Intl.getCanonicalLocales(tag);
    if (canonical && canonical.length <= 10) return canonical;
  } catch {
    // Not a language tag; reported below like a tag that is too long.
  }
  return checks.add(
    'INVALID_INPUT',
    '`language` must be a BCP 47 tag of at most 10 characters, such as "en" or "en-US".',
    ['language'],
  );
}

export interface UpdateVoiceInput {
  id: string;
  name?: string | null | undefined;
  description?: string | null | undefined;
}

/** Changes the name or description of a reference voice. Neither is sent to Ultravox after creation. */
export async function updateVoice(
  app: App,
  viewer: Viewer,
  input: UpdateVoiceInput,
): Promise<Voice> {
  const checks = new Checks();
  const id = checks.id('Voice', input.id, ['id']);
  const name = checks.notNull(input.name, ['name']);
  checks.text(name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  await checkOwnReference(app, viewer, checks, id);
  checks.throwIfAny();
  const changed = await app.db.voice.updateManyAndReturn({
    where: { ...ownedBy(viewer), id: id!, type: 'REFERENCE', deletedAt: null },
    data: {
      ...(name === undefined ? {} : { name }),
      ...(input.description === undefined ? {} : { description: input.description || null }),
    },
  });
  if (!changed[0]) throw userError('NOT_FOUND', 'Voice not found.', ['id']);
  return changed[0];
}

async function checkOwnReference(
  app: App,
  viewer: Viewer,
  checks: Checks,
  id: string | undefined,
): Promise<void> {
  if (!id) return;
  const voice = await app.db.voice.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
    select: { type: true },
  });
  if (!voice) checks.add('NOT_FOUND', 'Voice not found.', ['id']);
  else if (voice.type !== 'REFERENCE') {
    checks.add(
      'INVALID_STATE',
      'System voices belong to Ultravox and cannot be changed or deleted.',
      ['id'],
    );
  }
}

/**
 * Deletes a reference voice that no agent uses.
 *
 * Order: the row is marked as deleted and its job committed, then the voice is removed at Ultravox.
 * If that fails, the job retries.
 *
 * @returns the UUID of the voice.
 */
export async function deleteVoice(
  app: App,
  viewer: Viewer,
  publicVoiceId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('Voice', publicVoiceId, ['id']);
  if (!id || !(await wasDeletedEarlier(app, viewer, voiceSync, id))) {
    await checkOwnReference(app, viewer, checks, id);
  }
  checks.throwIfAny();
  await deleteAndSync(app, viewer, voiceSync, {
    id: id!,
    noun: 'voice',
    remedy: 'Assign another voice to them',
    markDeleted: (tx) => tx.voice.update({ where: { id: id! }, data: { deletedAt: app.now() } }),
  });
  return id!;
}
