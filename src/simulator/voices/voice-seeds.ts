/** Public voices, with their real ids if those are public. */
import type { JsonObject } from '../json.ts';

const LABELS: Record<string, string> = {
  'en-US': '🇺🇸 English (United States)',
  'en-GB': '🇬🇧 English (United Kingdom)',
  'en-AU': '🇦🇺 English (Australia)',
  es: '🇪🇸 Spanish',
  'es-MX': '🇲🇽 Spanish (Mexico)',
  de: '🇩🇪 German',
  fr: '🇫🇷 French',
  'fr-CA': '🇨🇦 French (Canada)',
  hi: '🇮🇳 Hindi',
  'pt-BR': '🇧🇷 Portuguese (Brazil)',
  it: '🇮🇹 Italian',
  ja: '🇯🇵 Japanese',
  nl: '🇳🇱 Dutch',
  ar: '🇸🇦 Arabic',
};

export function languageLabel(language: string): string {
  return LABELS[language] ?? language;
}

function elevenLabs(voiceId: string): JsonObject {
  return { elevenLabs: { voiceId, model: 'eleven_turbo_v2_5', speed: 1 } };
}
function cartesia(voiceId: string): JsonObject {
  return { cartesia: { voiceId, model: 'sonic-3' } };
}
function google(voiceId: string): JsonObject {
  return { google: { voiceId, speakingRate: 1 } };
}
function inworld(voiceId: string): JsonObject {
  return { inworld: { voiceId, modelId: 'inworld-tts-1.5-max' } };
}
function lmnt(voiceId: string): JsonObject {
  return { lmnt: { voiceId, model: 'blizzard' } };
}

const made = (index: number) => `5e1f0000-0000-4000-8000-${String(index).padStart(12, '0')}`;

type Seed = [id: string, name: string, language: string, description: string, JsonObject];

const seeds: Seed[] = [
  [
    '91fa9bcf-93c8-467c-8b29-973720e3f167',
    'Mark',
    'en-US',
    'Male, friendly and clear',
    elevenLabs('demo-mark'),
  ],
  [made(1), 'Jessica', 'en-US', 'Female, warm and lively', elevenLabs('demo-jessica')],
  [made(2), 'Emily-English', 'en-GB', 'Female, calm and professional', cartesia('demo-emily')],
  [made(3), 'Oliver', 'en-GB', 'Male, unhurried', lmnt('oliver')],
  [made(4), 'Matilda', 'en-AU', 'Female, easy-going', google('en-AU-Chirp3-HD-Kore')],
  [made(5), 'Lucia', 'es', 'Female, bright', elevenLabs('demo-lucia')],
  [made(6), 'Diego-Mexico', 'es-MX', 'Male, confident', inworld('Diego')],
  [made(7), 'Johanna', 'de', 'Female, precise', inworld('Johanna')],
  [made(8), 'Karl', 'de', 'Male, deep and quiet', google('de-DE-Chirp3-HD-Charon')],
  [made(9), 'Camille', 'fr', 'Female, gentle', cartesia('demo-camille')],
  [made(10), 'Étienne', 'fr-CA', 'Male, relaxed', elevenLabs('demo-etienne')],
  [made(11), 'Aarav', 'hi', 'Male, energetic', cartesia('demo-aarav')],
  [made(12), 'Priya', 'hi', 'Female, soft', google('hi-IN-Chirp3-HD-Aoede')],
  [made(13), 'Beatriz', 'pt-BR', 'Female, cheerful', elevenLabs('demo-beatriz')],
  [made(14), 'Giulia', 'it', 'Female, expressive', cartesia('demo-giulia')],
  [made(15), 'Haruto', 'ja', 'Male, polite', google('ja-JP-Chirp3-HD-Puck')],
  [made(16), 'Sanne', 'nl', 'Female, direct', inworld('Sanne')],
  [made(17), 'Layla', 'ar', 'Female, composed', lmnt('layla')],
];

const PROVIDERS: Record<string, string> = { elevenLabs: 'eleven_labs' };

/** The provider of a definition, spelled as in the voice list. */
export function providerOf(definition: JsonObject): string | null {
  const key = Object.keys(definition)[0];
  return key === undefined ? null : (PROVIDERS[key] ?? key);
}

export const publicVoices: readonly JsonObject[] = seeds.map(
  ([voiceId, name, primaryLanguage, description, definition]) => ({
    voiceId,
    name,
    description,
    primaryLanguage,
    languageLabel: languageLabel(primaryLanguage),
    ownership: 'public',
    billingStyle: 'VOICE_BILLING_STYLE_INCLUDED',
    provider: providerOf(definition),
    definition,
  }),
);
