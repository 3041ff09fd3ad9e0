/** Mutations of voices. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { createVoice, deleteVoice, MAX_DESCRIPTION, MAX_NAME, updateVoice } from '../service.ts';
import { VoiceNode, VoiceProviderEnum } from './voice.ts';

mutation('createVoice', {
  description:
    'Registers a voice of another provider, to which the Ultravox account must have access. The returned voice is usually ACTIVE. It is DRAFT when Ultravox could not be reached, in which case registration is retried automatically, and FAILED when Ultravox refused it; `syncError` gives the reason.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: `Display name, 1 to ${MAX_NAME} characters.` }),
    description: t.string({
      description: `Description of how the voice sounds, at most ${MAX_DESCRIPTION} characters.`,
    }),
    provider: t.field({
      type: VoiceProviderEnum,
      description: 'Provider that hosts the voice. Default: ELEVEN_LABS.',
    }),
    providerVoiceId: t.string({
      required: true,
      description: 'ID of the voice at its provider, 1 to 200 characters.',
    }),
    language: t.field({
      type: 'LanguageTag',
      description: 'Primary language as a BCP 47 tag of at most 10 characters.',
    }),
    model: t.string({
      description:
        'Text-to-speech model of the provider, 1 to 100 characters. Default: chosen by Ultravox. Not supported by GOOGLE.',
    }),
    speed: t.float({
      description:
        'Speaking speed, where 1 is normal. `VoiceProvider` gives the range of each provider.',
    }),
  }),
  run: async (input, { app, viewer }) => ({ voice: await createVoice(app, viewer, input) }),
  payload: {
    voice: { type: VoiceNode, description: 'The registered voice.' },
  },
});

mutation('updateVoice', {
  description:
    'Updates the name and description of a registered voice. Omitted fields stay unchanged.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of a REFERENCE voice (`voc_…`).' }),
    name: t.string({ description: `New name, 1 to ${MAX_NAME} characters. Cannot be null.` }),
    description: t.string({
      description: `New description, at most ${MAX_DESCRIPTION} characters. Null removes it.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({ voice: await updateVoice(app, viewer, input) }),
  payload: {
    voice: { type: VoiceNode, description: 'The updated voice.' },
  },
});

mutation('deleteVoice', {
  description:
    'Deletes a registered voice, here and at Ultravox. Fails with IN_USE while agents use it; `details.agentIds` lists up to 100 of them.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of a REFERENCE voice (`voc_…`).' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedVoiceId: publicId('Voice', await deleteVoice(app, viewer, input.id)),
  }),
  payload: {
    deletedVoiceId: { type: 'ID', description: 'ID of the deleted voice.' },
  },
});
