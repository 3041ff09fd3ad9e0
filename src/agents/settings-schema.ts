/** The nested settings of an agent, as they are read. */
import { builder } from '../graphql/builder.ts';
import { FirstSpeakerEnum, InactivityEndBehaviorEnum } from './inputs.ts';
import type {
  BuiltInConfig,
  GreetingSettings,
  InactivityMessage,
  TransferConfig,
  VadSettings,
} from './settings.ts';

export const GreetingSettingsType = builder
  .objectRef<GreetingSettings>('GreetingSettings')
  .implement({
    description: 'How calls of an agent begin.',
    fields: (t) => ({
      firstSpeaker: t.expose('firstSpeaker', {
        type: FirstSpeakerEnum,
        description: 'Who says the first words.',
      }),
      text: t.exposeString('text', {
        nullable: true,
        description: 'The greeting, word for word; null when the agent finds its own words.',
      }),
      delay: t.expose('delay', {
        type: 'Duration',
        nullable: true,
        description:
          'With AGENT the pause before the greeting; with USER the silence after which the agent begins.',
      }),
      uninterruptible: t.exposeBoolean('uninterruptible', {
        description: 'Whether the greeting goes on when the person speaks.',
      }),
    }),
  });

export const InactivityMessageType = builder
  .objectRef<InactivityMessage>('InactivityMessage')
  .implement({
    description: 'Something said when the person has been silent for a while.',
    fields: (t) => ({
      duration: t.expose('duration', {
        type: 'Duration',
        description: 'The silence before it, counted from the message before it.',
      }),
      message: t.exposeString('message', { description: 'What is said.' }),
      endBehavior: t.expose('endBehavior', {
        type: InactivityEndBehaviorEnum,
        description: 'What follows.',
      }),
    }),
  });

export const VadSettingsType = builder.objectRef<VadSettings>('VadSettings').implement({
  description: 'When speech is taken to begin and end; null members are left to Ultravox.',
  fields: (t) => ({
    turnEndpointDelay: t.expose('turnEndpointDelay', {
      type: 'Duration',
      nullable: true,
      description: 'The pause that ends a turn of the person.',
    }),
    minimumTurnDuration: t.expose('minimumTurnDuration', {
      type: 'Duration',
      nullable: true,
      description: 'Shorter speech is no turn.',
    }),
    minimumInterruptionDuration: t.expose('minimumInterruptionDuration', {
      type: 'Duration',
      nullable: true,
      description: 'Shorter speech does not interrupt the agent.',
    }),
    frameActivationThreshold: t.exposeFloat('frameActivationThreshold', {
      nullable: true,
      description: 'How sure it must be that sound is speech, 0.1 to 1.',
    }),
  }),
});

const TransferConfigType = builder.objectRef<TransferConfig>('TransferConfig').implement({
  description: 'Whether and to where the agent may hand over callers.',
  fields: (t) => ({
    cold: t.exposeBoolean('cold', { description: 'It may hand over and leave the call.' }),
    warm: t.exposeBoolean('warm', {
      description: 'It may call the target first and then connect the two.',
    }),
    target: t.exposeString('target', {
      nullable: true,
      description: 'A SIP URI or a phone number; always there when one of the two is on.',
    }),
  }),
});

export const BuiltInConfigType = builder.objectRef<BuiltInConfig>('BuiltInConfig').implement({
  description: "Ultravox's own tools that the agent may use.",
  fields: (t) => ({
    transfer: t.field({
      type: TransferConfigType,
      nullable: true,
      description: 'Handing over callers; null when nothing was said about it.',
      resolve: (config) => config.transfer,
    }),
    hangUp: t.exposeBoolean('hangUp', { description: 'It may end the call.' }),
    leaveVoicemail: t.exposeBoolean('leaveVoicemail', {
      description: 'It may leave a message on an answering machine and end the call.',
    }),
  }),
});
