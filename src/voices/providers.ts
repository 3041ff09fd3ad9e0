/** Providers whose voices can be registered, and Ultravox's names for their settings. */
import type { ExternalVoice } from '../ultravox/wire.ts';

export interface VoiceSettings {
  model?: string | undefined;
  speed?: number | undefined;
}

interface Provider {
  /** Member of the provider in Ultravox's voice definition. */
  member: keyof ExternalVoice;
  /** Whether a model can be chosen. */
  models: boolean;
  /** Range of the speaking speed; null if it cannot be set. */
  speed: { min: number; max: number } | null;
  /** Returns the settings as members of the voice definition. */
  settings(given: VoiceSettings): Record<string, unknown>;
}

const defined = (members: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));

/** Keyed by Ultravox's name for the provider, which is also stored in rows. */
export const PROVIDERS = {
  eleven_labs: {
    member: 'elevenLabs',
    models: true,
    speed: { min: 0.7, max: 1.2 },
    settings: ({ model, speed }) => defined({ model, speed }),
  },
  cartesia: {
    member: 'cartesia',
    models: true,
    speed: { min: 0.6, max: 1.5 },
    settings: ({ model, speed }) =>
      defined({ model, generationConfig: speed === undefined ? undefined : { speed } }),
  },
  lmnt: {
    member: 'lmnt',
    models: true,
    speed: { min: 0.25, max: 2 },
    settings: ({ model, speed }) => defined({ model, speed }),
  },
  google: {
    member: 'google',
    models: false,
    speed: { min: 0.25, max: 2 },
    settings: ({ speed }) => defined({ speakingRate: speed }),
  },
  inworld: {
    member: 'inworld',
    models: true,
    speed: { min: 0.5, max: 1.5 },
    settings: ({ model, speed }) => defined({ modelId: model, speakingRate: speed }),
  },
  respeecher: {
    member: 'respeecher',
    models: true,
    speed: null,
    settings: ({ model }) => defined({ model }),
  },
} as const satisfies Record<string, Provider>;

export type VoiceProvider = keyof typeof PROVIDERS;

export function isVoiceProvider(name: string | null): name is VoiceProvider {
  return name !== null && Object.hasOwn(PROVIDERS, name);
}

export function providerOf(name: VoiceProvider): Provider {
  return PROVIDERS[name];
}

/** Reads model and speed from the stored definition. System voices have none. */
export function settingsOf(row: { definition: unknown }): VoiceSettings {
  const { model, modelId, speed, speakingRate, generationConfig } = (row.definition ?? {}) as {
    [member: string]: unknown;
  };
  const rate =
    speed ?? speakingRate ?? (generationConfig as { speed?: unknown } | undefined)?.speed;
  const modelName = model ?? modelId;
  return {
    model: typeof modelName === 'string' ? modelName : undefined,
    speed: typeof rate === 'number' ? rate : undefined,
  };
}
