/** Shapes of external voices. */
import type { Shape } from './shape.ts';
import {
  anyObject,
  between,
  boolean,
  number,
  object,
  oneOf,
  text,
  textMap,
  texts,
} from './shape-parts.ts';

const elevenLabs = object({
  voiceId: text,
  model: text,
  speed: between(0.7, 1.2),
  useSpeakerBoost: boolean,
  style: between(0, 1),
  similarityBoost: between(0, 1),
  stability: between(0, 1),
  pronunciationDictionaries: {
    kind: 'list',
    of: object({ dictionaryId: text, versionId: text }),
  },
  optimizeStreamingLatency: number,
  maxSampleRate: number,
  enableSsmlParsing: boolean,
});

export const VOICE_PROVIDERS = [
  'elevenLabs',
  'cartesia',
  'lmnt',
  'google',
  'inworld',
  'respeecher',
  'generic',
] as const;

export const externalVoice: Shape = {
  kind: 'object',
  exactlyOne: VOICE_PROVIDERS,
  fields: {
    elevenLabs,
    cartesia: object({
      voiceId: text,
      model: text,
      speed: number,
      emotion: text,
      emotions: texts,
      generationConfig: object({
        volume: between(0.5, 2),
        speed: between(0.6, 1.5),
        emotion: text,
        pronunciationDictId: text,
      }),
    }),
    lmnt: object({ voiceId: text, model: text, speed: between(0.25, 2), conversational: boolean }),
    google: object({ voiceId: text, speakingRate: between(0.25, 2) }),
    inworld: object({
      voiceId: text,
      modelId: text,
      speakingRate: between(0.5, 1.5),
      temperature: between(0, 2),
      applyTextNormalization: { kind: 'any' },
    }),
    respeecher: object({
      voiceId: text,
      model: text,
      seed: number,
      temperature: number,
      topK: number,
      topP: number,
      minP: number,
      presencePenalty: number,
      repetitionPenalty: number,
      frequencyPenalty: number,
    }),
    generic: object({
      url: text,
      headers: textMap,
      body: anyObject,
      responseSampleRate: number,
      responseWordsPerMinute: number,
      responseMimeType: text,
      jsonAudioFieldPath: text,
      jsonByteEncoding: oneOf(
        'JSON_BYTE_ENCODING_UNSPECIFIED',
        'JSON_BYTE_ENCODING_BASE64',
        'JSON_BYTE_ENCODING_HEX',
      ),
    }),
  },
};
