/** JSON values, and the error responses of the simulator. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objectAt(value: JsonObject | undefined, key: string): JsonObject | undefined {
  const member = value?.[key];
  return isObject(member) ? member : undefined;
}

export function stringAt(value: JsonObject | undefined, key: string): string | undefined {
  const member = value?.[key];
  return typeof member === 'string' ? member : undefined;
}

export function listAt(value: JsonObject | undefined, key: string): Json[] {
  const member = value?.[key];
  return Array.isArray(member) ? member : [];
}

export function stringsAt(value: JsonObject | undefined, key: string): string[] {
  return listAt(value, key).filter((item) => typeof item === 'string');
}

/** The value at a dotted path such as `user.phone`, own members only. */
export function atPath(value: Json | undefined, path: string): Json | undefined {
  let current = value;
  for (const part of path.split('.')) {
    if (!isObject(current) || !Object.hasOwn(current, part)) return undefined;
    current = current[part];
  }
  return current;
}

export function setPath(target: JsonObject, path: string, value: Json): void {
  const parts = path.split('.');
  if (parts.some((part) => part === '__proto__')) return;
  let current = target;
  for (const part of parts.slice(0, -1)) {
    const inner = current[part];
    if (isObject(inner)) current = inner;
    else {
      const made: JsonObject = {};
      current[part] = made;
      current = made;
    }
  }
  current[parts.at(-1) ?? path] = value;
}

/** An error response of the simulator; `body` is sent unchanged. */
export class HttpError extends Error {
  readonly status: number;
  readonly body: Json;
  readonly headers: Record<string, string>;

  constructor(status: number, body: Json, headers: Record<string, string> = {}) {
    super(`HTTP ${status}`);
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

export function refuse(status: number, detail: string): HttpError {
  return new HttpError(status, { detail });
}

/** Field errors, collected by dotted path and returned nested, as Django REST framework does. */
export class Problems {
  readonly found: { path: string; message: string }[] = [];

  add(path: string, message: string): void {
    this.found.push({ path, message });
  }

  toBody(): JsonObject {
    const body: JsonObject = {};
    for (const { path, message } of this.found) {
      const parts = path === '' ? ['non_field_errors'] : path.split('.');
      let current = body;
      for (const part of parts.slice(0, -1)) {
        let inner = current[part];
        if (!isObject(inner)) {
          inner = Array.isArray(inner) ? { non_field_errors: inner } : {};
          current[part] = inner;
        }
        current = inner;
      }
      const last = parts.at(-1) ?? 'non_field_errors';
      const existing = current[last];
      if (Array.isArray(existing)) existing.push(message);
      else if (isObject(existing)) existing.non_field_errors = [message];
      else current[last] = [message];
    }
    return body;
  }

  throwIfAny(): void {
    if (this.found.length > 0) throw new HttpError(400, this.toBody());
  }
}

export function invalid(path: string, message: string): HttpError {
  const problems = new Problems();
  problems.add(path, message);
  return new HttpError(400, problems.toBody());
}

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const DURATION = /^-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?s$/;

export function isDuration(value: string): boolean {
  return DURATION.test(value);
}

export function durationToMs(value: Json | undefined, fallbackMs: number): number {
  return typeof value === 'string' && isDuration(value)
    ? Number(value.slice(0, -1)) * 1000
    : fallbackMs;
}

export function msToDuration(ms: number): string {
  return `${Number((ms / 1000).toFixed(3))}s`;
}
