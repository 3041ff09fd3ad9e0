/** Building blocks for the shapes of request bodies. */
import type { Shape } from './shape.ts';

export const text: Shape = { kind: 'string' };
export const boolean: Shape = { kind: 'boolean' };
export const number: Shape = { kind: 'number' };
export const anyObject: Shape = { kind: 'anyObject' };
export const texts: Shape = { kind: 'list', of: text };
export const textMap: Shape = { kind: 'map', of: text };
export const duration: Shape = { kind: 'duration' };
export const wait: Shape = { kind: 'duration', positive: true };

export function oneOf(...values: string[]): Shape {
  return { kind: 'string', values };
}
export function between(min: number, max: number): Shape {
  return { kind: 'number', min, max };
}
export function object(fields: Record<string, Shape>, required: string[] = []): Shape {
  return { kind: 'object', fields, required };
}
