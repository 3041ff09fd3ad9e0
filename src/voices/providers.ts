/** The providers whose voices can be brought along, and what Ultravox calls their settings. */
import type { ExternalVoice } from '../ultravox/wire.ts';

export interface VoiceSettings {
  model?: string | undefined;
  speed?: number | undefined;
}

interface Provider {
  /** The member of an Ultravox voice definition. */
  member: keyof ExternalVoice;
  /** Where the provider has no models to choose from: false. */
  models: boolean;
  /** Null: the pace cannot be set. */
  speed: { min: number; max: number } | null;
  /** The settings as members of the definition. */
  settings(given: VoiceSettings): Record<string, unknown>;
}

const defined = (members: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));

/** By Ultravox's word for the provider of a voice, which is also what the rows hold. */
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

export function isVoiceProvider(word: string | null): word is VoiceProvider {
  return word !== null && Object.hasOwn(PROVIDERS, word);
}

export function providerOf(word: VoiceProvider): Provider {
  return PROVIDERS[word];
}

/** The settings in a row's definition, by our names for them. Those of Ultravox's own are not kept. */
export function settingsOf(row: { definition: unknown }): VoiceSettings {
  const { model, modelId, speed, speakingRate, generationConfig } = (row.definition ?? {}) as {
    [member: string]: unknown;
  };
  const pace =
    speed ?? speakingRate ?? (generationConfig as { speed?: unknown } | undefined)?.speed;
  const name = model ?? modelId;
  return {
    model: typeof name === 'string' ? name : undefined,
    speed: typeof pace === 'number' ? pace : undefined,
  };
}
