/** Measures the size of an introspection result without building it. */

import {
  type FieldNode,
  type GraphQLObjectType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getArgumentValues,
  getNullableType,
  isListType,
  isObjectType,
  Kind,
  SchemaMetaFieldDef,
  type SelectionSetNode,
  TypeMetaFieldDef,
} from 'graphql';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import type { OperationShape } from '../execution/operation.ts';
import { LIMITS } from './limits.ts';

/** Maximum for one operation. The usual query of tools, with descriptions, uses about a quarter. */
const MAX_RESPONSE_BYTES = LIMITS.introspectionBytes.max;

export type VariableValues = NonNullable<Parameters<typeof getArgumentValues>[2]>;

interface MeasuringContext {
  schema: GraphQLSchema;
  shape: OperationShape;
  variables: VariableValues;
  /** Bytes by selection set and schema element. */
  known: Map<SelectionSetNode, Map<unknown, number>>;
}

/**
 * Measures the `__schema` and `__type` fields of one operation.
 *
 * @returns a function that returns the size of a field's result in bytes
 * @throws RequestError QUERY_TOO_COSTLY over the limit
 */
export function createIntrospectionMeter(
  schema: GraphQLSchema,
  shape: OperationShape,
  variables: VariableValues,
): (field: FieldNode) => number {
  const context: MeasuringContext = { schema, shape, variables, known: new Map() };
  let total = 0;
  return (field) => {
    const definition = field.name.value === '__schema' ? SchemaMetaFieldDef : TypeMetaFieldDef;
    const source = resolve(context, definition, field, undefined);
    const type = getNullableType(definition.type);
    const bytes =
      source && field.selectionSet && isObjectType(type)
        ? sizeOfObject(context, type, source, field.selectionSet)
        : 0;
    total += bytes;
    checkTotal(total);
    return bytes;
  };
}

function checkTotal(bytes: number): void {
  if (bytes <= MAX_RESPONSE_BYTES) return;
  throw new RequestError(
    'QUERY_TOO_COSTLY',
    `The operation selects more than ${formatNumber(MAX_RESPONSE_BYTES)} bytes of the schema. Select fewer fields, or omit aliases.`,
    { limit: MAX_RESPONSE_BYTES },
  );
}

type Definition = typeof SchemaMetaFieldDef;

function resolve(
  { schema, variables }: MeasuringContext,
  definition: Definition,
  field: FieldNode,
  source: unknown,
): unknown {
  const args = getArgumentValues(definition, field, variables);
  const info = { schema } as GraphQLResolveInfo;
  return definition.resolve?.(source, args, undefined, info) ?? null;
}

function sizeOfObject(
  context: MeasuringContext,
  type: GraphQLObjectType,
  source: unknown,
  selectionSet: SelectionSetNode,
): number {
  let sizes = context.known.get(selectionSet);
  if (!sizes) {
    sizes = new Map();
    context.known.set(selectionSet, sizes);
  }
  const known = sizes.get(source);
  if (known !== undefined) return known;
  let bytes = 0;
  for (const selection of selectionSet.selections) {
    if (selection.kind === Kind.FIELD) bytes += sizeOfField(context, type, source, selection);
    else {
      const fragment =
        selection.kind === Kind.INLINE_FRAGMENT
          ? selection
          : context.shape.fragments[selection.name.value];
      if (fragment) bytes += sizeOfObject(context, type, source, fragment.selectionSet);
    }
    checkTotal(bytes);
  }
  sizes.set(source, bytes);
  return bytes;
}

function sizeOfField(
  context: MeasuringContext,
  type: GraphQLObjectType,
  source: unknown,
  field: FieldNode,
): number {
  const name = (field.alias ?? field.name).value.length + 4;
  const definition = type.getFields()[field.name.value];
  // `__typename`
  if (!definition) return name + type.name.length;
  const value = resolve(context, definition, field, source);
  const inner = getNullableType(definition.type);
  const itemType = isListType(inner) ? getNullableType(inner.ofType) : inner;
  const items = Array.isArray(value) ? value : [value];
  let bytes = name;
  for (const item of items) {
    bytes +=
      item !== null && isObjectType(itemType) && field.selectionSet
        ? 2 + sizeOfObject(context, itemType, item, field.selectionSet)
        : 2 + String(item).length;
    checkTotal(bytes);
  }
  return bytes;
}
