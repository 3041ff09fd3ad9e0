/** Object types of the nested settings of an agent. */
import { builder } from '../../graphql/builder.ts';
import type {
  BuiltInConfig,
  GreetingSettings,
  InactivityMessage,
  TransferConfig,
  VadSettings,
} from '../settings.ts';
import { FirstSpeakerEnum, InactivityEndBehaviorEnum } from './agent-inputs.ts';

export const GreetingSettingsType = builder
  .objectRef<GreetingSettings>('GreetingSettings')
  .implement({
    description: 'Settings for the beginning of a call.',
    fields: (t) => ({
      firstSpeaker: t.expose('firstSpeaker', {
        type: FirstSpeakerEnum,
        description: 'Party that speaks first.',
      }),
      text: t.exposeString('text', {
        nullable: true,
        description: 'Exact words of the greeting. Null if the agent chooses its own words.',
      }),
      delay: t.expose('delay', {
        type: 'Duration',
        nullable: true,
        description:
          'Pause before the greeting. With USER, the silence after which the agent speaks first. Null if none is set.',
      }),
      uninterruptible: t.exposeBoolean('uninterruptible', {
        description: 'Whether the greeting continues when the user speaks.',
      }),
    }),
  });

export const InactivityMessageType = builder
  .objectRef<InactivityMessage>('InactivityMessage')
  .implement({
    description: 'Message that the agent speaks when the user has been silent for some time.',
    fields: (t) => ({
      duration: t.expose('duration', {
        type: 'Duration',
        description: 'Silence before the message, counted from the previous message in the list.',
      }),
      message: t.exposeString('message', { description: 'Text that the agent speaks.' }),
      endBehavior: t.expose('endBehavior', {
        type: InactivityEndBehaviorEnum,
        description: 'Action after the message.',
      }),
    }),
  });

export const VadSettingsType = builder.objectRef<VadSettings>('VadSettings').implement({
  description: 'Settings for voice activity detection. Null fields use the defaults of Ultravox.',
  fields: (t) => ({
    turnEndpointDelay: t.expose('turnEndpointDelay', {
      type: 'Duration',
      nullable: true,
      description: 'Silence that ends the turn of the user. Null means 0.384 seconds.',
    }),
    minimumTurnDuration: t.expose('minimumTurnDuration', {
      type: 'Duration',
      nullable: true,
      description: 'Minimum duration of speech that counts as a turn. Null means 0 seconds.',
    }),
    minimumInterruptionDuration: t.expose('minimumInterruptionDuration', {
      type: 'Duration',
      nullable: true,
      description: 'Minimum duration of speech that interrupts the agent. Null means 0.09 seconds.',
    }),
    frameActivationThreshold: t.exposeFloat('frameActivationThreshold', {
      nullable: true,
      description: 'Probability from which audio counts as speech, 0.1 to 1. Null means 0.1.',
    }),
  }),
});

const TransferConfigType = builder.objectRef<TransferConfig>('TransferConfig').implement({
  description: 'Settings for transferring calls to another party.',
  fields: (t) => ({
    cold: t.exposeBoolean('cold', {
      description: 'Whether the agent can transfer a call and leave it.',
    }),
    warm: t.exposeBoolean('warm', {
      description: 'Whether the agent can call the target first and then connect the two.',
    }),
    target: t.exposeString('target', {
      nullable: true,
      description:
        'Transfer target, a SIP URI or a phone number. Null only if `cold` and `warm` are false.',
    }),
  }),
});

export const BuiltInConfigType = builder.objectRef<BuiltInConfig>('BuiltInConfig').implement({
  description: 'Built-in tools of Ultravox that the agent can use.',
  fields: (t) => ({
    transfer: t.field({
      type: TransferConfigType,
      nullable: true,
      description: 'Call transfers. Null if none are configured.',
      resolve: (config) => config.transfer,
    }),
    hangUp: t.exposeBoolean('hangUp', { description: 'Whether the agent can end a call.' }),
    leaveVoicemail: t.exposeBoolean('leaveVoicemail', {
      description:
        'Whether the agent can leave a message on an answering machine and end the call.',
    }),
  }),
});
