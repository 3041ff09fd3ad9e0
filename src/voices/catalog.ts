/**
 * Copies the system voices of Ultravox into every organization, so that IDs, lists and references work for them as for
 * registered voices.
 */
import type { App } from '../app.ts';
import { perInstance } from '../infra/per-instance.ts';
import type { Voice as UltravoxVoice } from '../ultravox/wire.ts';

/** Maximum time that a request waits for Ultravox's voices before it is answered without them. */
const ENSURE_TIMEOUT_MS = 10_000;
/** Time after a failure during which organizations without voices stay without them. */
const PAUSE_AFTER_FAILURE_MS = 30_000;

/**
 * Updates the system voices of all organizations. A voice that Ultravox no longer lists is marked as withdrawn and
 * keeps its row, because agents may refer to it; the mark is removed if the voice is listed again. Safe to run in
 * several processes at once.
 */
export async function syncVoices(app: App): Promise<void> {
  const listed = await listPublicVoices(app, app.closing);
  await writeVoices(app, listed, null);
  await withdrawUnlisted(app, listed);
}

interface EnsureState {
  /** Organizations that are currently getting their voices. */
  organizations: Map<string, Promise<void>>;
  /** The shared request for the voices, for which all of them wait. */
  listing: Promise<ListedVoice[]> | null;
  pausedUntil: number;
}

const ensureStateOf = perInstance<App, EnsureState>(() => ({
  organizations: new Map(),
  listing: null,
  pausedUntil: 0,
}));

/**
 * Makes sure that an organization has its system voices: a new organization has none until the next `syncVoices`, which
 * runs only in a worker. If Ultravox cannot be reached, the failure is logged and the organization keeps the voices it
 * has. This process then does not ask again for a while, so that readers neither wait for Ultravox one after another
 * nor add to its load.
 */
export function ensureVoices(app: App, organizationId: string): Promise<void> {
  const { organizations } = ensureStateOf(app);
  let running = organizations.get(organizationId);
  if (!running) {
    running = addMissingVoices(app, organizationId).finally(() =>
      organizations.delete(organizationId),
    );
    organizations.set(organizationId, running);
  }
  return running;
}

async function addMissingVoices(app: App, organizationId: string): Promise<void> {
  const any = await app.db.voice.findFirst({
    where: { organizationId, type: 'SYSTEM' },
    select: { id: true },
  });
  const state = ensureStateOf(app);
  if (any || app.now().getTime() < state.pausedUntil) return;
  try {
    state.listing ??= listPublicVoices(app, AbortSignal.timeout(ENSURE_TIMEOUT_MS)).finally(() => {
      state.listing = null;
    });
    await writeVoices(app, await state.listing, organizationId);
  } catch (error) {
    state.pausedUntil = app.now().getTime() + PAUSE_AFTER_FAILURE_MS;
    app.failures.record('ensureVoices', error, {
      message: 'Could not list the voices of Ultravox',
      organizationId,
    });
  }
}

interface ListedVoice {
  remote_id: string;
  name: string;
  description: string | null;
  provider: string | null;
  provider_voice_id: string | null;
  language: string | null;
  language_label: string | null;
  preview_url: string | null;
}

async function listPublicVoices(app: App, signal: AbortSignal): Promise<ListedVoice[]> {
  const listed = new Map<string, ListedVoice>();
  for await (const voice of app.ultravox.voices.listAll({ ownership: 'public' }, { signal })) {
    listed.set(voice.voiceId, {
      remote_id: voice.voiceId,
      name: voice.name || voice.voiceId,
      description: voice.description,
      provider: voice.provider,
      provider_voice_id: providerVoiceId(voice),
      language: voice.primaryLanguage,
      language_label: voice.languageLabel,
      preview_url: voice.previewUrl,
    });
  }
  return [...listed.values()];
}

/** Returns the provider's ID of a voice. The definitions of all providers have it in the same member. */
function providerVoiceId(voice: UltravoxVoice): string | null {
  for (const settings of Object.values(voice.definition ?? {})) {
    if (settings && 'voiceId' in settings && settings.voiceId) return settings.voiceId;
  }
  return null;
}

/**
 * Writes all rows that are new or different in one statement. It builds the UUIDv7 IDs itself because PostgreSQL has a
 * function for that only since version 18.
 */
async function writeVoices(
  app: App,
  listed: readonly ListedVoice[],
  organizationId: string | null,
): Promise<void> {
  await app.db.$executeRaw`
    INSERT INTO voices (
      id, organization_id, type, status, revision, synced_revision, remote_id,
      name, description, provider, provider_voice_id, language, language_label, preview_url,
      created_at, updated_at
    )
    SELECT
      encode(
        set_bit(set_bit(
          overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6),
          52, 1), 53, 1),
        'hex')::uuid,
      o.id, 'SYSTEM', 'ACTIVE', 1, 1, v.remote_id,
      v.name, v.description, v.provider, v.provider_voice_id, v.language, v.language_label, v.preview_url,
      now(), now()
    FROM organizations o
    CROSS JOIN jsonb_to_recordset(${JSON.stringify(listed)}::jsonb) AS v(
      remote_id text, name text, description text, provider text, provider_voice_id text,
      language text, language_label text, preview_url text
    )
    LEFT JOIN voices x ON x.organization_id = o.id AND x.remote_id = v.remote_id
    WHERE (${organizationId}::uuid IS NULL OR o.id = ${organizationId}::uuid)
      AND (x.id IS NULL OR (x.type = 'SYSTEM' AND (
        x.withdrawn_at IS NOT NULL
        OR (x.name, x.description, x.provider, x.provider_voice_id, x.language, x.language_label, x.preview_url)
          IS DISTINCT FROM
          (v.name, v.description, v.provider, v.provider_voice_id, v.language, v.language_label, v.preview_url)
      )))
    ORDER BY o.id, v.remote_id
    ON CONFLICT (organization_id, remote_id) DO UPDATE SET
      name = excluded.name,
      description = excluded.description,
      provider = excluded.provider,
      provider_voice_id = excluded.provider_voice_id,
      language = excluded.language,
      language_label = excluded.language_label,
      preview_url = excluded.preview_url,
      withdrawn_at = NULL,
      updated_at = now()
    WHERE voices.type = 'SYSTEM'`;
}

/** Marks unlisted voices as withdrawn. An empty list counts as a failure at Ultravox, not as the end of all voices. */
async function withdrawUnlisted(app: App, listed: readonly ListedVoice[]): Promise<void> {
  if (listed.length === 0) return;
  await app.db.$executeRaw`
    UPDATE voices SET withdrawn_at = now(), updated_at = now()
    WHERE type = 'SYSTEM' AND withdrawn_at IS NULL
      AND NOT (remote_id = ANY(${listed.map((voice) => voice.remote_id)}::text[]))`;
}
