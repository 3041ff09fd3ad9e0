/** Endpoints of voices. */
import { randomUUID } from 'node:crypto';
import { toneWav } from '../calls/sound.ts';
import { choice, page, searchTerm } from '../http/paging.ts';
import {
  HttpError,
  invalid,
  isObject,
  type JsonObject,
  objectAt,
  Problems,
  refuse,
  stringAt,
} from '../json.ts';
import { checkBody, type Shape } from '../shapes/shape.ts';
import { externalVoice } from '../shapes/voice-shapes.ts';
import type { Request, Route, World } from '../world.ts';
import { languageLabel, providerOf, publicVoices } from './voice-seeds.ts';

const MAX_SAMPLE_BYTES = 10 * 1024 * 1024;

const fields: Record<string, Shape> = {
  name: { kind: 'string', min: 1, max: 40 },
  description: { kind: 'string', max: 240 },
  primaryLanguage: { kind: 'string', max: 10 },
  definition: externalVoice,
  // Read-only.
  voiceId: { kind: 'any' },
  languageLabel: { kind: 'any' },
  previewUrl: { kind: 'any' },
  ownership: { kind: 'any' },
  billingStyle: { kind: 'any' },
  provider: { kind: 'any' },
};
const whole: Shape = { kind: 'object', fields, required: ['name', 'definition'] };
const partial: Shape = { kind: 'object', fields };

/** A voice by id or by name. Names of an account's own voices are unique. */
export function findVoice(world: World, idOrName: string): JsonObject | undefined {
  const own = world.voices.get(idOrName.toLowerCase());
  if (own !== undefined) return own;
  return [...world.voices.values(), ...publicVoices].find(
    (voice) => voice.voiceId === idOrName.toLowerCase() || voice.name === idOrName,
  );
}

export function checkVoices(world: World, body: JsonObject, path: string, problems: Problems) {
  const at = (key: string) => (path === '' ? key : `${path}.${key}`);
  const name = stringAt(body, 'voice');
  const overrides = objectAt(body, 'voiceOverrides');
  const voice = name === undefined ? undefined : findVoice(world, name);
  if (name !== undefined && voice === undefined) {
    problems.add(at('voice'), `Voice ${name} does not exist.`);
  }
  if (name !== undefined && body.externalVoice !== undefined) {
    problems.add(at('externalVoice'), 'Only one of voice and externalVoice may be set.');
  }
  if (overrides === undefined) return;
  if (name === undefined) {
    problems.add(at('voiceOverrides'), 'Only valid when voice is set.');
    return;
  }
  const provider = Object.keys(overrides)[0];
  const own = Object.keys(objectAt(voice, 'definition') ?? {})[0];
  if (voice !== undefined && provider !== own) {
    problems.add(at('voiceOverrides'), "Must be for the same provider as the voice's.");
  }
  const settings = provider === undefined ? undefined : objectAt(overrides, provider);
  for (const key of ['voiceId', 'model', 'modelId', 'url']) {
    if (settings?.[key] !== undefined) {
      problems.add(at('voiceOverrides'), `${key} may not be overridden.`);
    }
  }
}

function present(world: World, voice: JsonObject): JsonObject {
  return { ...voice, previewUrl: `${world.url}/previews/${voice.voiceId}.wav` };
}

function requireUniqueName(world: World, name: string, except?: string): void {
  const taken = world.voices
    .values()
    .some((voice) => voice.name === name && voice.voiceId !== except);
  if (taken) throw invalid('name', 'A voice with this name already exists.');
}

function requireCapacity(world: World): void {
  const allowed = world.settings().allowedVoices;
  if (allowed !== null && world.voices.size >= allowed) {
    throw refuse(403, 'The account has no room for another voice.');
  }
}

function privateVoice(world: World, request: Request): JsonObject {
  const id = (request.params.voiceId ?? '').toLowerCase();
  const voice = world.voices.get(id);
  if (voice !== undefined) return voice;
  if (publicVoices.some((item) => item.voiceId === id)) {
    throw refuse(403, 'You do not have permission to perform this action.');
  }
  throw refuse(404, 'No Voice matches the given query.');
}

function byId(world: World, request: Request): JsonObject {
  const id = (request.params.voiceId ?? '').toLowerCase();
  const voice = world.voices.get(id) ?? publicVoices.find((item) => item.voiceId === id);
  if (voice === undefined) throw refuse(404, 'No Voice matches the given query.');
  return voice;
}

function cloneVoice(form: FormData): JsonObject {
  const file = form.get('file');
  const name = form.get('name');
  const problems = new Problems();
  if (typeof file === 'string' || file === null) problems.add('file', 'No file was submitted.');
  else if (file.size === 0) problems.add('file', 'The submitted file is empty.');
  else if (file.size > MAX_SAMPLE_BYTES) problems.add('file', 'The file is larger than 10 MB.');
  if (typeof name !== 'string' || name === '') problems.add('name', 'This field is required.');
  else if (name.length > 40) {
    problems.add('name', 'Ensure this field has no more than 40 characters.');
  }
  problems.throwIfAny();
  const language = form.get('language');
  const description = form.get('description');
  return {
    voiceId: randomUUID(),
    name: String(name),
    description: typeof description === 'string' ? description : 'Cloned voice',
    primaryLanguage: typeof language === 'string' && language !== '' ? language : 'en',
    languageLabel: languageLabel(typeof language === 'string' && language !== '' ? language : 'en'),
    ownership: 'private',
    billingStyle: 'VOICE_BILLING_STYLE_INCLUDED',
    provider: 'cartesia',
    definition: { cartesia: { voiceId: randomUUID(), model: 'sonic-3' } },
  };
}

function readVoice(shape: Shape, request: Request): JsonObject {
  const problems = new Problems();
  return checkBody(shape, request.body, { problems, ignored: request.ignored });
}

function external(voiceId: string, body: JsonObject): JsonObject {
  const definition = objectAt(body, 'definition') ?? {};
  const language = stringAt(body, 'primaryLanguage') ?? null;
  return {
    voiceId,
    name: stringAt(body, 'name') ?? '',
    description: stringAt(body, 'description') ?? null,
    primaryLanguage: language,
    languageLabel: language === null ? null : languageLabel(language),
    ownership: 'private',
    billingStyle: 'VOICE_BILLING_STYLE_EXTERNAL',
    provider: providerOf(definition),
    definition,
  };
}

/** A preview whose pitch depends on the voice, so that voices can be told apart. */
function preview(voiceId: string): Buffer {
  return toneWav(1, 200 + (Number.parseInt(voiceId.slice(-3), 16) % 400));
}

function replaceVoice(world: World, request: Request, body: JsonObject) {
  const existing = privateVoice(world, request);
  const voice = external(String(existing.voiceId), body);
  requireUniqueName(world, String(voice.name), String(voice.voiceId));
  world.voices.put(String(voice.voiceId), {
    ...voice,
    billingStyle: existing.billingStyle ?? null,
  });
  return { status: 200, body: present(world, byId(world, request)) };
}

export const voiceRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/voices',
    handler(world, request) {
      const ownership = choice(request, 'ownership', ['private', 'public']);
      const style = choice(request, 'billingStyle', [
        'VOICE_BILLING_STYLE_INCLUDED',
        'VOICE_BILLING_STYLE_EXTERNAL',
      ]);
      const language = request.query.get('primaryLanguage')?.toLowerCase();
      const providers = request.query.getAll('provider');
      const term = searchTerm(request);
      const base = language?.split('-')[0];
      const spoken = (voice: JsonObject) => String(voice.primaryLanguage ?? '').toLowerCase();
      const items = [...world.voices.values().reverse(), ...publicVoices]
        .filter((voice) => ownership === undefined || voice.ownership === ownership)
        .filter((voice) => style === undefined || voice.billingStyle === style)
        .filter((voice) => base === undefined || spoken(voice).split('-')[0] === base)
        .filter(
          (voice) => providers.length === 0 || providers.includes(String(voice.provider ?? '')),
        )
        .filter(
          (voice) =>
            term === undefined ||
            `${voice.name} ${voice.description} ${voice.languageLabel}`
              .toLowerCase()
              .includes(term),
        )
        .sort((a, b) => Number(spoken(b) === language) - Number(spoken(a) === language));
      return page(
        request,
        items,
        (voice) => String(voice.voiceId),
        (voice) => present(world, voice),
      );
    },
  },
  {
    method: 'POST',
    path: '/api/voices',
    handler(world, request) {
      requireCapacity(world);
      const voice =
        request.form === undefined
          ? external(randomUUID(), readVoice(whole, request))
          : cloneVoice(request.form);
      requireUniqueName(world, String(voice.name));
      world.voices.put(String(voice.voiceId), voice);
      return { status: 201, body: present(world, voice) };
    },
  },
  {
    method: 'GET',
    path: '/api/voices/:voiceId',
    handler: (world, request) => ({ status: 200, body: present(world, byId(world, request)) }),
  },
  {
    method: 'PUT',
    path: '/api/voices/:voiceId',
    handler: (world, request) => replaceVoice(world, request, readVoice(whole, request)),
  },
  {
    method: 'PATCH',
    path: '/api/voices/:voiceId',
    handler: (world, request) =>
      replaceVoice(world, request, {
        ...privateVoice(world, request),
        ...readVoice(partial, request),
      }),
  },
  {
    method: 'DELETE',
    path: '/api/voices/:voiceId',
    handler(world, request) {
      world.voices.delete(String(privateVoice(world, request).voiceId));
      return { status: 204 };
    },
  },
  {
    method: 'GET',
    path: '/api/voices/:voiceId/preview',
    handler: (world, request) => ({
      status: 200,
      raw: preview(String(byId(world, request).voiceId)),
      headers: { 'content-type': 'audio/wav' },
    }),
  },
  {
    method: 'GET',
    path: '/previews/:file',
    open: true,
    handler(world, request) {
      const voiceId = (request.params.file ?? '').replace(/\.wav$/, '');
      return {
        status: 200,
        raw: preview(String(byId(world, { ...request, params: { voiceId } }).voiceId)),
        headers: { 'content-type': 'audio/wav' },
      };
    },
  },
  {
    method: 'POST',
    path: '/api/voice_preview',
    handler(_world, request) {
      if (!isObject(request.body)) throw new HttpError(400, { detail: 'A voice is required.' });
      readVoice({ kind: 'object', fields, required: ['definition'] }, request);
      return { status: 200, raw: toneWav(1, 330), headers: { 'content-type': 'audio/wav' } };
    },
  },
];
