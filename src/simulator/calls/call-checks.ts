/** Rules for call templates and creation requests beyond the types of their members. */
import { checkTemplates } from '../agents/templates.ts';
import {
  isObject,
  type Json,
  type JsonObject,
  listAt,
  objectAt,
  Problems,
  stringAt,
  stringsAt,
} from '../json.ts';
import { MEDIA } from '../shapes/shapes.ts';
import { resolveTools } from '../tools/tools.ts';
import { checkVoices } from '../voices/voices.ts';
import type { World } from '../world.ts';

const MODELS = [
  'ultravox-v0.7',
  'ultravox-v0.6',
  'ultravox-v0.6-llama3.3-70b',
  'ultravox-v0.6-gemma3-27b',
  'fixie-ai/ultravox',
];

export function modelsOf(world: World): string[] {
  return [...MODELS, ...world.settings().moreModels];
}

const E164 = /^\+[1-9]\d{6,14}$/;
const SIP_URI = /^(?:sips?:)?[^@\s:<>]+(?::[^@\s]*)?@[^@\s]+$/i;

/** Checks rules for a template or a call beyond the types of its members. */
export function checkCallBody(
  world: World,
  body: JsonObject,
  path: string,
  problems: Problems,
): void {
  const at = (key: string) => (path === '' ? key : `${path}.${key}`);
  const model = stringAt(body, 'model');
  if (model !== undefined && !modelsOf(world).includes(model)) {
    problems.add(at('model'), `Model ${model} does not exist.`);
  }
  checkVoices(world, body, path, problems);
  checkTemplates(body, path === '' ? 'template' : path, problems);
  resolveTools(
    world,
    listAt(body, 'selectedTools').filter((tool) => isObject(tool)),
    at('selectedTools'),
    problems,
  );
  const retention = stringAt(body, 'retentionPolicy');
  if (retention?.endsWith('AUTO_DELETE') === true && !world.settings().retentionEnabled) {
    problems.add(at('retentionPolicy'), 'Retention policies are not enabled for this account.');
  }
  checkMedium(world, objectAt(body, 'medium'), at('medium'), problems);
}

export function mediumName(medium: JsonObject | undefined): (typeof MEDIA)[number] {
  return MEDIA.find((name) => medium?.[name] !== undefined) ?? 'webRtc';
}

function checkMedium(
  world: World,
  medium: JsonObject | undefined,
  path: string,
  problems: Problems,
): void {
  if (medium === undefined) return;
  const name = mediumName(medium);
  const outgoing = objectAt(objectAt(medium, name), 'outgoing');
  if (name === 'sip' && !world.settings().sipEnabled) {
    problems.add(`${path}.sip`, 'SIP is not enabled for this account.');
  }
  if (outgoing === undefined) return;
  const to = stringAt(outgoing, 'to') ?? '';
  const here = `${path}.${name}.outgoing`;
  if (name === 'sip') {
    if (!SIP_URI.test(to)) problems.add(`${here}.to`, 'Must be a SIP URI.');
    return;
  }
  const targets = name === 'plivo' ? to.split('<') : [to];
  const sipAllowed = name !== 'telnyx';
  for (const target of targets) {
    const isSip = sipAllowed && /^sips?:/i.test(target);
    if (!isSip && !E164.test(target)) {
      problems.add(`${here}.to`, 'Must be a phone number in E.164 format.');
    }
  }
  if (world.singletons.get(`telephony:${name}`) === undefined) {
    problems.add(`${path}.${name}`, `The account has no ${name} configuration.`);
  }
}

export function checkMetadata(metadata: Json | undefined, problems: Problems): void {
  if (!isObject(metadata)) return;
  for (const [key, value] of Object.entries(metadata)) {
    if (key.startsWith('ultravox.')) {
      problems.add('metadata', `Keys may not start with "ultravox.": ${key}.`);
    }
    if (typeof value !== 'string')
      problems.add('metadata', `The value of ${key} must be a string.`);
  }
}

/** The selected tools after the overrides of one call, which match by model-facing name. */
export function overrideTools(
  world: World,
  template: JsonObject,
  overrides: JsonObject | undefined,
  problems: Problems,
): JsonObject[] {
  const selected = listAt(template, 'selectedTools').filter((tool) => isObject(tool));
  if (overrides === undefined) return selected;
  const remove = stringsAt(overrides, 'remove');
  const removeAll = overrides.removeAll === true;
  if (removeAll && remove.length > 0) {
    problems.add('toolOverrides', 'remove and removeAll may not both be set.');
  }
  // Tools are resolved one by one, because a selection does not contain its model-facing name.
  const kept = selected.filter((tool) => {
    if (removeAll) return false;
    const name = resolveTools(world, [tool], 'selectedTools', new Problems())[0]?.name;
    return typeof name !== 'string' || !remove.includes(name);
  });
  return [...kept, ...listAt(overrides, 'add').filter((tool) => isObject(tool))];
}
