/** Inputs of mutations, built from the schema with only the fields that a test needs. */
import {
  type GraphQLInputField,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';
import { schema } from '../../../src/server/schema.ts';

/** Path as in user errors: field names, and the index of the single item of a list. */
export type InputPath = readonly (string | number)[];

export interface InputLeaf {
  path: InputPath;
  field: GraphQLInputField;
}

export const mutations = Object.values(schema.getMutationType()!.getFields()).map((field) => ({
  name: field.name,
  field,
  input: getNamedType(field.args[0]!.type) as GraphQLInputObjectType,
}));

/** All fields of an input, at any depth, that are not input objects themselves. */
export function leavesOf(type: GraphQLInputObjectType, path: InputPath = []): InputLeaf[] {
  return Object.values(type.getFields()).flatMap((field) => {
    let at: InputPath = [...path, field.name];
    let inner = getNullableType(field.type);
    while (isListType(inner)) {
      at = [...at, 0];
      inner = getNullableType(inner.ofType);
    }
    return isInputObjectType(inner) ? leavesOf(inner, at) : [{ path: at, field }];
  });
}

/** Type of the object whose ID an input field takes, from the prefix in its description. */
export function typeOfId({ name, description }: GraphQLInputField, ids: Record<string, string>) {
  const prefix = /`([a-z]{3})_…`/.exec(description ?? '')?.[1];
  const type = Object.keys(ids).find((key) => ids[key]?.startsWith(`${prefix}_`));
  if (!type) throw new Error(`The description of ${name} names no known prefix of IDs`);
  return type;
}

/**
 * An input with all required fields, the field at `target` and its ancestors. IDs are taken from `ids` by
 * type.
 */
export function inputWith(
  type: GraphQLInputObjectType,
  ids: Record<string, string>,
  target: { path: InputPath; value: unknown },
): Record<string, unknown> {
  const { path: wanted, value } = target;
  const leadsTo = (path: InputPath) => path.every((step, index) => step === wanted[index]);
  const fill = (of: GraphQLInputType, field: GraphQLInputField, path: InputPath): unknown => {
    if (path.length === wanted.length && leadsTo(path)) return value;
    const inner = getNullableType(of);
    if (isListType(inner)) return [fill(inner.ofType, field, [...path, 0])];
    return isInputObjectType(inner) ? fillObject(inner, path) : leafValue(inner, field, ids);
  };
  const fillObject = (object: GraphQLInputObjectType, path: InputPath) => {
    const fields = Object.values(object.getFields());
    let chosen = fields.filter(
      (field) => isNonNullType(field.type) || leadsTo([...path, field.name]),
    );
    if (object.isOneOf && chosen.length === 0) chosen = fields.slice(-1);
    return Object.fromEntries(
      chosen.map((field) => [field.name, fill(field.type, field, [...path, field.name])]),
    );
  };
  return fillObject(type, []);
}

/** A value of a scalar or enum that is valid as far as the type tells. */
function leafValue(
  type: GraphQLInputType,
  field: GraphQLInputField,
  ids: Record<string, string>,
): unknown {
  if (isEnumType(type)) return type.getValues()[0]?.name;
  switch (String(type)) {
    case 'ID':
      return ids[typeOfId(field, ids)];
    case 'Int':
      return 60;
    case 'Float':
      return 0.5;
    case 'Boolean':
      return true;
    case 'E164':
      return '+14155550199';
    case 'Duration':
      return '30s';
    case 'LanguageTag':
      return 'en-US';
    case 'Url':
      return 'https://example.com/x';
    case 'Cursor':
      return '0';
    case 'DateTime':
      return '2040-01-01T00:00:00Z';
    case 'JSON':
    case 'JSONObject':
      return { type: 'object' };
    case 'Upload':
      return 'phone\n+14155550145\n';
    default:
      return field.name === 'phoneNumber' ? '+14155550199' : 'x';
  }
}
