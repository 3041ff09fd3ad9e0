/** Voices: the type, its list and its lookup. */
import { VoiceType } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { EXPIRES_WITH_CREDENTIAL } from '../../graphql/credential-expiry.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { LINK_MINUTES } from '../../organizations/download-links.ts';
import { addSyncFields } from '../../sync/graph/sync-fields.ts';
import { SyncStatusEnum } from '../../sync/graph/sync-status.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import { previewLink } from '../preview.ts';
import { isVoiceProvider, settingsOf } from '../providers.ts';
import { voicesWhere } from '../search.ts';
import { ensureVoices, listedVoices } from '../service.ts';

const VoiceTypeEnum = builder.enumType('VoiceType', {
  description: 'Origin of a voice.',
  values: {
    [VoiceType.SYSTEM]: { description: 'Provided by Ultravox. Read-only.' },
    [VoiceType.REFERENCE]: {
      description: 'Registered with `createVoice` and hosted by another provider.',
    },
  } as const,
});

export const VoiceProviderEnum = builder.enumType('VoiceProvider', {
  description: 'Text-to-speech provider that hosts a voice.',
  values: {
    ELEVEN_LABS: {
      value: 'eleven_labs',
      description: 'ElevenLabs. Supports `model`, and a `speed` of 0.7 to 1.2.',
    },
    CARTESIA: {
      value: 'cartesia',
      description: 'Cartesia. Supports `model`, and a `speed` of 0.6 to 1.5.',
    },
    LMNT: { value: 'lmnt', description: 'LMNT. Supports `model`, and a `speed` of 0.25 to 2.' },
    GOOGLE: {
      value: 'google',
      description: 'Google. Supports a `speed` of 0.25 to 2, but no `model`.',
    },
    INWORLD: {
      value: 'inworld',
      description: 'Inworld. Supports `model`, and a `speed` of 0.5 to 1.5.',
    },
    RESPEECHER: {
      value: 'respeecher',
      description: 'Respeecher. Supports `model`, but no `speed`.',
    },
  } as const,
});

export const VoiceNode = builder.prismaNode('Voice', {
  select: { id: true },
  description:
    'Voice that agents speak with: one that Ultravox provides, or one registered from another provider.',
  authScopes: { read: true },
  nullable: true,
  id: {
    field: 'id',
    description: 'Node ID, `voc_` followed by a UUID. Passed as `voiceId` to agents.',
  },
  findUnique: (id, { viewer }) => ({ id, ...ownedAndNotDeleted(viewer!) }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Display name. Not necessarily unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description of how the voice sounds or what it suits. Null if there is none.',
    }),
    provider: t.field({
      type: VoiceProviderEnum,
      nullable: true,
      description:
        'Provider that hosts the voice. Null if Ultravox reports none, or one that this enum does not list.',
      select: { provider: true },
      resolve: (voice) => (isVoiceProvider(voice.provider) ? voice.provider : null),
    }),
    providerVoiceId: t.exposeString('providerVoiceId', {
      nullable: true,
      description: 'ID of the voice at its provider. Null if unknown.',
    }),
    type: t.expose('type', {
      type: VoiceTypeEnum,
      description: 'Whether Ultravox provides the voice or you registered it.',
    }),
    model: t.string({
      nullable: true,
      description:
        'Text-to-speech model passed to `createVoice`. Null if none was given, and for system voices.',
      select: { definition: true },
      resolve: (voice) => settingsOf(voice).model ?? null,
    }),
    speed: t.float({
      nullable: true,
      description:
        'Speaking speed passed to `createVoice`, where 1 is normal. Null if none was given, and for system voices.',
      select: { definition: true },
      resolve: (voice) => settingsOf(voice).speed ?? null,
    }),
    language: t.expose('language', {
      type: 'LanguageTag',
      nullable: true,
      description: 'Primary language as a BCP 47 tag. Null if unknown.',
    }),
    languageLabel: t.exposeString('languageLabel', {
      nullable: true,
      description:
        'Display name of the language with a flag, such as `🇺🇸 English (United States)`. Null if unknown.',
    }),
    previewUrl: t.field({
      type: 'Url',
      nullable: true,
      description: `Link to an audio sample, for an audio element. Requires no API key. Expires after ${LINK_MINUTES} minutes, or with the API key or token of the request. Null if there is no sample.`,
      extensions: EXPIRES_WITH_CREDENTIAL,
      select: { id: true, previewUrl: true },
      resolve: ({ id, previewUrl }, _args, { app, viewer, publicUrl }) =>
        viewer && previewUrl ? `${publicUrl}${previewLink(app, viewer, id)}` : null,
    }),
    withdrawnAt: t.expose('withdrawnAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time since which Ultravox no longer offers the voice. Agents that use it keep it; it cannot be assigned to others. Null while it is offered.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description:
        'Time at which the voice was created or, for a system voice, first listed in your organization.',
    }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'Time of the last change.',
    }),
  }),
});

addSyncFields('Voice', {
  status: 'Sync status. Agents can use the voice once it is ACTIVE; system voices always are.',
  syncError:
    'Reason why the voice could not be registered at Ultravox. Null if there is none. A refused voice cannot be corrected; delete it and create another one.',
});

const VoiceFilterInput = builder.inputType('VoiceFilter', {
  description: 'Filters for voices. All of them must match.',
  fields: (t) => ({
    search: t.string({ description: 'Substring of the name or description, case-insensitive.' }),
    provider: t.field({ type: VoiceProviderEnum, description: 'Voices of this provider.' }),
    language: t.field({
      type: 'LanguageTag',
      description:
        'Voices for this language. `en` also matches `en-US`; `en-US` does not match `en`.',
    }),
    type: t.field({ type: VoiceTypeEnum, description: 'Voices of this type.' }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
  }),
});

const voices = new List({
  type: VoiceNode,
  items: 'voices',
  visible: listedVoices,
  filter: { type: VoiceFilterInput, where: voicesWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    NAME: { column: 'name', description: 'Sort by name.' },
    LANGUAGE: {
      column: 'language',
      nullsLast: true,
      description: 'Sort by language tag. Voices without one come last in both directions.',
    },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
  prepare: (app, viewer) => ensureVoices(app, viewer.organizationId),
});

voices.query('voices', {
  description:
    'Voices that agents of the organization can use. Voices that Ultravox withdrew are included only while an agent uses them.',
  authScopes: { read: true },
});

addLookup('voice', {
  type: VoiceNode,
  where: ownedAndNotDeleted,
  description: 'Looks up a voice by ID. Null if the organization has no such voice.',
  authScopes: { read: true },
});
