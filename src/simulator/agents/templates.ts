/** Variables in the call templates of agents. */
import { Ajv, type ValidateFunction } from 'ajv';
import Mustache from 'mustache';
import { atPath, HttpError, isObject, type Json, type JsonObject, type Problems } from '../json.ts';
import type { SimulatorSettings } from '../settings.ts';

/** The strings of a template that are rendered, each with its path. */
function templatedStrings(template: JsonObject): { path: string; text: string }[] {
  const found: { path: string; text: string }[] = [];
  const collect = (path: string, value: Json | undefined): void => {
    if (typeof value === 'string') found.push({ path, text: value });
    else if (Array.isArray(value)) {
      value.forEach((item, index) => {
        collect(`${path}.${index}`, item);
      });
    } else if (isObject(value)) {
      for (const [key, item] of Object.entries(value)) collect(`${path}.${key}`, item);
    }
  };
  for (const key of ['systemPrompt', 'languageHint', 'timeExceededMessage']) {
    collect(key, template[key]);
  }
  collect('inactivityMessages', template.inactivityMessages);
  collect('selectedTools', template.selectedTools);
  return found;
}

/** Reports invalid templates and invalid context schemas. */
export function checkTemplates(template: JsonObject, path: string, problems: Problems): void {
  for (const { path: inner, text } of templatedStrings(template)) {
    if (!text.includes('{{')) continue;
    try {
      Mustache.parse(text);
    } catch (error) {
      problems.add(`${path}.${inner}`, `Invalid template: ${messageOf(error)}`);
    }
  }
  if (isObject(template.contextSchema)) {
    try {
      validator(template.contextSchema);
    } catch (error) {
      problems.add(`${path}.contextSchema`, `Invalid JSON schema: ${messageOf(error)}`);
    }
  }
}

/** Rejects a context that does not match the schema or, without a schema, lacks a variable. */
export function checkContext(
  template: JsonObject,
  context: JsonObject,
  settings: SimulatorSettings,
): void {
  if (isObject(template.contextSchema)) {
    const validate = validator(template.contextSchema);
    if (validate(context)) return;
    const messages = (validate.errors ?? []).map((error) =>
      `${error.instancePath.slice(1).replaceAll('/', '.')} ${error.message ?? 'is invalid'}`.trim(),
    );
    throw new HttpError(400, { templateContext: messages });
  }
  if (!settings.requireTemplateVariables) return;
  const missing = new Set<string>();
  for (const { text } of templatedStrings(template)) {
    for (const name of variablesOf(text)) {
      if (atPath(context, name) === undefined) missing.add(name);
    }
  }
  if (missing.size > 0) {
    throw new HttpError(400, {
      templateContext: Array.from(missing, (name) => `'${name}' is a required property`),
    });
  }
}

/** The template with every templated member rendered. */
export function renderTemplate(
  template: JsonObject,
  context: JsonObject,
  settings: SimulatorSettings,
): JsonObject {
  const options = settings.escapeTemplates ? {} : { escape: (value: unknown) => String(value) };
  const render = (value: Json | undefined): Json => {
    if (value === undefined) return null;
    if (typeof value === 'string') {
      return value.includes('{{') ? Mustache.render(value, context, {}, options) : value;
    }
    if (Array.isArray(value)) return value.map(render);
    if (isObject(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, render(item)]));
    }
    return value;
  };
  const rendered = { ...template };
  for (const key of [
    'systemPrompt',
    'languageHint',
    'timeExceededMessage',
    'inactivityMessages',
    'selectedTools',
  ]) {
    if (template[key] !== undefined) rendered[key] = render(template[key]);
  }
  return rendered;
}

const variables = new Map<string, string[]>();

/** Variables that a template requires, without those inside a section. */
function variablesOf(text: string): string[] {
  if (!text.includes('{{')) return [];
  const known = variables.get(text);
  if (known !== undefined) return known;
  const names = Mustache.parse(text)
    .filter(([type, name]) => ['name', '&', '{'].includes(type) && name !== '.')
    .map(([, name]) => name);
  remember(variables, text, names);
  return names;
}

const validators = new Map<string, ValidateFunction>();

function validator(schema: JsonObject): ValidateFunction {
  const key = JSON.stringify(schema);
  const known = validators.get(key);
  if (known !== undefined) return known;
  const { $schema: _dialect, ...plain } = schema;
  const compiled = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(
    plain,
  );
  remember(validators, key, compiled);
  return compiled;
}

function remember<T>(cache: Map<string, T>, key: string, value: T): void {
  if (cache.size >= 500) cache.delete(cache.keys().next().value ?? key);
  cache.set(key, value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
