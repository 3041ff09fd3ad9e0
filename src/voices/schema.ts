import { VoiceType } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId, toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { isInSync } from '../sync/status.ts';
import { isVoiceProvider, settingsOf } from './providers.ts';
import { createVoice, deleteVoice, ensureVoices, listedVoices, updateVoice } from './service.ts';

const VoiceTypeEnum = builder.enumType('VoiceType', {
  description: 'Where a voice comes from.',
  values: {
    [VoiceType.SYSTEM]: { description: 'Offered by Ultravox to everybody; cannot be changed.' },
    [VoiceType.REFERENCE]: {
      description: 'Brought by you with `createVoice`: it lives at another provider.',
    },
  } as const,
});

const VoiceProviderEnum = builder.enumType('VoiceProvider', {
  description: 'Who turns the text into sound.',
  values: {
    ELEVEN_LABS: { value: 'eleven_labs', description: 'ElevenLabs. `speed` 0.7 to 1.2.' },
    CARTESIA: { value: 'cartesia', description: 'Cartesia. `speed` 0.6 to 1.5.' },
    LMNT: { value: 'lmnt', description: 'LMNT. `speed` 0.25 to 2.' },
    GOOGLE: { value: 'google', description: 'Google. `speed` 0.25 to 2; no `model`.' },
    INWORLD: { value: 'inworld', description: 'Inworld. `speed` 0.5 to 1.5.' },
    RESPEECHER: { value: 'respeecher', description: 'Respeecher. `speed` cannot be set.' },
  } as const,
});

export const VoiceNode = builder.prismaNode('Voice', {
  description:
    'A voice that agents speak with. Ultravox offers many; others are brought along from a provider.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`voc_` and a UUID; used as `voiceId` of an agent.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    deletedAt: null,
  }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'For people. Need not be unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'How it sounds or what it is for; at most 240 characters when it is yours.',
    }),
    provider: t.field({
      type: VoiceProviderEnum,
      nullable: true,
      description: 'Who serves it; null when Ultravox does not say or names one not known here.',
      resolve: (voice) => (isVoiceProvider(voice.provider) ? voice.provider : null),
    }),
    providerVoiceId: t.exposeString('providerVoiceId', {
      nullable: true,
      description: "The provider's own id of the voice, where it is known.",
    }),
    type: t.expose('type', { type: VoiceTypeEnum, description: "Ultravox's, or yours." }),
    model: t.string({
      nullable: true,
      description: "The provider's model, as it was given; null when it was not, or not to you.",
      select: { definition: true },
      resolve: (voice) => settingsOf(voice).model ?? null,
    }),
    speed: t.float({
      nullable: true,
      description: 'How fast it speaks, as it was given; null when it was not, or not to you.',
      select: { definition: true },
      resolve: (voice) => settingsOf(voice).speed ?? null,
    }),
    language: t.expose('language', {
      type: 'LanguageTag',
      nullable: true,
      description: 'What it speaks best; null when nothing is said about that.',
    }),
    languageLabel: t.exposeString('languageLabel', {
      nullable: true,
      description: 'The language for people, with a flag, such as `🇺🇸 English (United States)`.',
    }),
    previewUrl: t.exposeString('previewUrl', {
      nullable: true,
      description: 'Where a sample can be heard.',
    }),
    status: t.expose('status', {
      type: SyncStatusEnum,
      description: 'ACTIVE as soon as agents can speak with it; a system voice always is.',
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description:
        'What Ultravox said when it last refused the voice or could not be reached; null when all is well. A refused voice is deleted and made again.',
    }),
    isInSync: t.boolean({
      description: 'Whether Ultravox has it exactly as it is here.',
      select: { revision: true, syncedRevision: true },
      resolve: isInSync,
    }),
    withdrawnAt: t.expose('withdrawnAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Since when Ultravox no longer offers it: agents that have it keep it, others cannot be given it. Null while it is offered.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it appeared here.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When anything of it last changed here.',
    }),
  }),
});

export const VoiceConnection = connectionOf(VoiceNode);

const VoiceFilterInput = builder.inputType('VoiceFilter', {
  description: 'Which voices are wanted; what is given must all hold.',
  fields: (t) => ({
    search: t.string({ description: 'Part of the name or of the description, in any case.' }),
    provider: t.field({ type: VoiceProviderEnum, description: 'Served by this provider.' }),
    language: t.field({
      type: 'LanguageTag',
      description: 'Speaks this language. `en` also finds `en-US`; `en-US` does not find `en`.',
    }),
    type: t.field({ type: VoiceTypeEnum, description: "Only Ultravox's, or only yours." }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
  }),
});

const VoiceOrderFieldEnum = builder.enumType('VoiceOrderField', {
  description: 'What voices can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When they appeared here.' },
    NAME: { value: 'name', description: 'Their names.' },
    LANGUAGE: { value: 'language', description: 'Their language tags, those without one last.' },
  } as const,
});

const VoiceOrderInput = builder.inputType('VoiceOrder', {
  description: 'The order of a list of voices.',
  fields: (t) => ({
    field: t.field({ type: VoiceOrderFieldEnum, required: true, description: 'What counts.' }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

builder.queryFields((t) => ({
  voices: t.withAuth({ read: true }).prismaConnection(
    {
      type: VoiceNode,
      cursor: 'id',
      description: 'The voices to choose from, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: VoiceFilterInput, description: 'Leaves out the others.' }),
        orderBy: t.arg({ type: VoiceOrderInput, description: 'Default: newest first.' }),
      },
      totalCount: async (_root, { filter }, { app, viewer }) => {
        await ensureVoices(app, viewer!.organizationId);
        return app.db.voice.count({ where: listedVoices(viewer!, filter ?? {}) });
      },
      resolve: async (query, _root, args, { app, viewer }) => {
        checkPage(args);
        await ensureVoices(app, viewer.organizationId);
        const { field, direction } = args.orderBy ?? { field: 'createdAt', direction: 'desc' };
        const by =
          field === 'language'
            ? { language: { sort: direction, nulls: 'last' as const } }
            : { [field]: direction };
        return app.db.voice.findMany({
          ...query,
          where: listedVoices(viewer, args.filter ?? {}),
          orderBy: [by, { id: direction }],
        });
      },
    },
    VoiceConnection,
  ),
  voice: t.withAuth({ read: true }).prismaField({
    type: VoiceNode,
    nullable: true,
    description: 'One voice; null when there is none with this id in your organization.',
    args: { id: t.arg.id({ required: true, description: 'A `voc_…` id.' }) },
    resolve: (query, _root, args, { app, viewer }) =>
      app.db.voice.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('Voice', args.id), deletedAt: null },
      }),
  }),
}));

mutation('createVoice', {
  description:
    'Brings a voice from another provider, to which the Ultravox account must have access. It is ACTIVE in the answer unless Ultravox is away (then it follows by itself) or refuses it (`status` FAILED, `syncError`).',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: 'For people; 1 to 100 characters.' }),
    description: t.string({ description: 'How it sounds; at most 240 characters.' }),
    provider: t.field({ type: VoiceProviderEnum, description: 'Default ELEVEN_LABS.' }),
    providerVoiceId: t.string({
      required: true,
      description: "The provider's id of the voice; 1 to 200 characters.",
    }),
    language: t.field({
      type: 'LanguageTag',
      description: 'What it speaks; a BCP 47 tag of at most 10 characters.',
    }),
    model: t.string({ description: "The provider's model. Default: Ultravox's choice." }),
    speed: t.float({
      description: 'How fast it speaks, 1 being normal. The range is the one of the provider.',
    }),
  }),
  run: async (input, { app, viewer }) => ({ voice: await createVoice(app, viewer, input) }),
  payload: (t) => ({
    voice: t.field({
      type: VoiceNode,
      nullable: true,
      description: 'The new voice.',
      resolve: (payload) => payload.voice ?? null,
    }),
  }),
});

mutation('updateVoice', {
  description: 'Changes what a voice of yours is called. What is not sent stays.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `voc_…` id of a REFERENCE voice.' }),
    name: t.string({ description: '1 to 100 characters; cannot be null.' }),
    description: t.string({ description: 'At most 240 characters; null clears it.' }),
  }),
  run: async (input, { app, viewer }) => ({ voice: await updateVoice(app, viewer, input) }),
  payload: (t) => ({
    voice: t.field({
      type: VoiceNode,
      nullable: true,
      description: 'The voice as it is now.',
      resolve: (payload) => payload.voice ?? null,
    }),
  }),
});

mutation('deleteVoice', {
  description:
    'Deletes a voice of yours, here and at Ultravox. Refused with IN_USE while agents speak with it; `details.agentIds` names up to 100 of them.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `voc_…` id of a REFERENCE voice.' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedVoiceId: toPublicId('Voice', await deleteVoice(app, viewer, input.id)),
  }),
  payload: (t) => ({
    deletedVoiceId: t.id({
      nullable: true,
      description: 'The id that is no longer there.',
      resolve: (payload) => payload.deletedVoiceId ?? null,
    }),
  }),
});
