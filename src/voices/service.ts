/** Voices: what agents speak with. Those of Ultravox itself, and those an organisation brings. */
import type { App } from '../app.ts';
import { userError } from '../errors.ts';
import type { Prisma, Voice } from '../generated/prisma/client.ts';
import type { SyncStatus, VoiceType } from '../generated/prisma/enums.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { literal } from '../infra/like.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { lockForDeletion } from '../sync/references.ts';
import { enqueueSync, NotReadyError, trySync } from '../sync/service.ts';
import { providerOf, type VoiceProvider } from './providers.ts';
import { voiceSync } from './sync.ts';

export { ensureVoices, syncVoices } from './catalogue.ts';

const MAX_NAME = 100;
const MAX_DESCRIPTION = 240;

/** Voices an agent may be given now: a withdrawn one only stays where it is. */
export function selectableVoices(viewer: Viewer): Prisma.VoiceWhereInput {
  return { ...ownedBy(viewer), deletedAt: null, withdrawnAt: null };
}

/**
 * The id to put into an agent's template.
 *
 * @throws NotReadyError while Ultravox does not have the voice; `resyncAgents` follows when it has.
 */
export function ultravoxVoiceId(voice: Pick<Voice, 'id' | 'ultravoxId'>): string {
  if (voice.ultravoxId) return voice.ultravoxId;
  throw new NotReadyError(`The voice ${publicId('voc', voice.id)} is not at Ultravox yet.`);
}

export interface VoiceFilter {
  search?: string | null | undefined;
  provider?: VoiceProvider | null | undefined;
  /** `en` also finds `en-US`. */
  language?: string | null | undefined;
  type?: VoiceType | null | undefined;
  /** Any of these; empty is as if it were not given. */
  status?: readonly SyncStatus[] | null | undefined;
}

/** What a list shows: a voice that was withdrawn only while an agent speaks with it. */
export function listedVoices(viewer: Viewer, filter: VoiceFilter = {}): Prisma.VoiceWhereInput {
  const { search, provider, language, type, status } = filter;
  const text = search ? { contains: literal(search), mode: 'insensitive' as const } : null;
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(provider ? { provider } : {}),
    ...(type ? { type } : {}),
    ...(status?.length ? { status: { in: [...status] } } : {}),
    AND: [
      { OR: [{ withdrawnAt: null }, { agents: { some: { deletedAt: null } } }] },
      ...(text ? [{ OR: [{ name: text }, { description: text }] }] : []),
      ...(language
        ? [
            {
              OR: [
                { language: { equals: literal(language), mode: 'insensitive' as const } },
                {
                  language: {
                    startsWith: `${literal(language)}-`,
                    mode: 'insensitive' as const,
                  },
                },
              ],
            },
          ]
        : []),
    ],
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
 * Registers a voice that another provider serves.
 *
 * Order: the row and its job are committed, then the voice is registered at Ultravox.
 * If the second step fails: the row says so. Unreachable, the job goes on until it is there; it
 * looks for the voice by our id first. Refused, the row is FAILED and can only be deleted.
 */
export async function createVoice(
  app: App,
  viewer: Viewer,
  input: CreateVoiceInput,
): Promise<Voice> {
  const checks = new Checks();
  const word = input.provider ?? 'eleven_labs';
  const provider = providerOf(word);
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  checks.text(input.providerVoiceId, ['providerVoiceId'], { min: 1, max: 200 });
  const model = checks.text(input.model, ['model'], { min: 1, max: 100 });
  const language = checkLanguage(checks, input.language);
  if (model !== undefined && !provider.models) {
    checks.add('INVALID_INPUT', 'This provider has no models to choose from: leave `model` out.', [
      'model',
    ]);
  }
  let speed: number | undefined;
  if (provider.speed) {
    speed = checks.number(input.speed, ['speed'], provider.speed);
  } else if (typeof input.speed === 'number') {
    checks.add('INVALID_INPUT', 'The pace of this provider cannot be set: leave `speed` out.', [
      'speed',
    ]);
  }
  checks.throwIfAny();

  const id = newObjectId(viewer);
  const made =
    viewer.idempotency && (await app.db.voice.findFirst({ where: { ...ownedBy(viewer), id } }));
  if (!made) {
    await app.db.$transaction(async (tx) => {
      await tx.voice.create({
        data: {
          ...ownedBy(viewer),
          id,
          type: 'REFERENCE',
          status: 'DRAFT',
          name: input.name,
          description: input.description || null,
          provider: word,
          providerVoiceId: input.providerVoiceId,
          definition: provider.settings({ model, speed }) as Prisma.InputJsonObject,
          language: language ?? null,
        },
      });
      await enqueueSync(app, tx, voiceSync, id);
    });
  }
  await trySync(app, voiceSync, id);
  return app.db.voice.findUniqueOrThrow({ where: { id } });
}

/** Ultravox takes 10 characters; the tag is kept in its canonical form. */
function checkLanguage(checks: Checks, tag: string | null | undefined): string | undefined {
  if (tag === null || tag === undefined) return undefined;
  try {
    const [canonical] = Intl.getCanonicalLocales(tag);
    if (canonical && canonical.length <= 10) return canonical;
  } catch {
    // Not a language tag: said below, with the ones that are too long.
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

/** Changes what a reference voice is called here. Ultravox knows it by our id and is not asked. */
export async function updateVoice(
  app: App,
  viewer: Viewer,
  input: UpdateVoiceInput,
): Promise<Voice> {
  const checks = new Checks();
  const id = checks.id('voc', 'Voice', input.id, ['id']);
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
  if (!changed[0]) throw userError('NOT_FOUND', 'There is no such voice.', ['id']);
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
  if (!voice) checks.add('NOT_FOUND', 'There is no such voice.', ['id']);
  else if (voice.type !== 'REFERENCE') {
    checks.add(
      'INVALID_STATE',
      'This is a system voice: it belongs to Ultravox and can be neither changed nor deleted.',
      ['id'],
    );
  }
}

/**
 * Deletes a reference voice that no agent speaks with.
 *
 * Order: the row is marked as deleted, with a job, and then removed at Ultravox.
 * If the second step fails: the voice is gone here, and the job goes on until it is gone there.
 *
 * @returns the id of the row.
 */
export async function deleteVoice(
  app: App,
  viewer: Viewer,
  publicVoiceId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('voc', 'Voice', publicVoiceId, ['id']);
  await checkOwnReference(app, viewer, checks, id);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    if (!(await lockForDeletion(tx, 'voices', viewer.organizationId, id!))) {
      throw userError('NOT_FOUND', 'There is no such voice.', ['id']);
    }
    const agents = await tx.agent.findMany({
      where: { ...ownedBy(viewer), voiceId: id!, deletedAt: null },
      select: { id: true },
      orderBy: { id: 'asc' },
      take: 100,
    });
    if (agents.length > 0) {
      throw userError(
        'IN_USE',
        'Agents speak with this voice. Give them another one, or delete them, first.',
        ['id'],
        { details: { agentIds: agents.map((agent) => publicId('agt', agent.id)) } },
      );
    }
    await tx.voice.update({ where: { id: id! }, data: { deletedAt: app.now() } });
    await enqueueSync(app, tx, voiceSync, id!);
  });
  await trySync(app, voiceSync, id!);
  return id!;
}
