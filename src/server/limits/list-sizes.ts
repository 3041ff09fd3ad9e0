/** Enforces the `maxItems` of list arguments before coercion. */
import {
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLSchema,
  getNamedType,
  isInputObjectType,
  isListType,
  isNonNullType,
  Kind,
  TypeInfo,
  type ValueNode,
  visit,
  visitWithTypeInfo,
} from 'graphql';
import { type Problem, type ProblemPath, RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { inputPath } from './input-path.ts';

type InputElement = GraphQLArgument | GraphQLInputField;

interface InputValue {
  element: InputElement;
  value: ValueNode;
}

interface Values {
  raw: Record<string, unknown>;
  /** Default values of variables. */
  defaults: Map<string, ValueNode>;
  /** Variables that were already checked, by input element. */
  seen: Map<InputElement, Set<string>>;
}

const inputValuesOf = new WeakMap<DocumentNode, InputValue[]>();

/**
 * Checks only lengths, and stops at the first list that is too long. The document has been
 * validated; the variables have not.
 *
 * @throws RequestError BAD_USER_INPUT
 */
export function checkListSizes({ schema, document, variableValues }: ExecutionArgs): void {
  let inputValues = inputValuesOf.get(document);
  if (!inputValues) {
    inputValues = findInputValues(schema, document);
    inputValuesOf.set(document, inputValues);
  }
  if (inputValues.length === 0) return;
  const values: Values = {
    raw: variableValues ?? {},
    defaults: defaultsOf(document),
    seen: new Map(),
  };
  for (const { element, value } of inputValues) {
    checkLiteral({ element, path: [element.name] }, element.type, value, values);
  }
}

/** The arguments in the document that are or contain lists. */
function findInputValues(schema: GraphQLSchema, document: DocumentNode): InputValue[] {
  const inputValues: InputValue[] = [];
  const types = new TypeInfo(schema);
  visit(
    document,
    visitWithTypeInfo(types, {
      Argument(node) {
        const element = types.getArgument();
        if (element && holdsLists(element)) inputValues.push({ element, value: node.value });
        return false;
      },
    }),
  );
  return inputValues;
}

const listHolders = new WeakMap<InputElement, boolean>();

function holdsLists(element: InputElement): boolean {
  const known = listHolders.get(element);
  if (known !== undefined) return known;
  listHolders.set(element, false);
  const type = getNamedType(element.type);
  const holds =
    maxItemsOf(element) !== undefined ||
    (isInputObjectType(type) && Object.values(type.getFields()).some(holdsLists));
  listHolders.set(element, holds);
  return holds;
}

function maxItemsOf(element: InputElement): number | undefined {
  return element.extensions.maxItems as number | undefined;
}

function defaultsOf(document: DocumentNode): Map<string, ValueNode> {
  const defaults = new Map<string, ValueNode>();
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    for (const { variable, defaultValue } of definition.variableDefinitions ?? []) {
      if (defaultValue) defaults.set(variable.name.value, defaultValue);
    }
  }
  return defaults;
}

/** An argument or input field, and the path to its value. */
interface InputLocation {
  element: InputElement;
  path: ProblemPath;
}

function checkLiteral(
  location: InputLocation,
  type: GraphQLInputType,
  value: ValueNode,
  values: Values,
): void {
  const { element, path } = location;
  const bare = isNonNullType(type) ? type.ofType : type;
  if (value.kind === Kind.VARIABLE) {
    const name = value.name.value;
    const seen = values.seen.get(element) ?? new Set();
    if (seen.has(name)) return;
    values.seen.set(element, seen.add(name));
    const fallback = values.defaults.get(name);
    if (Object.hasOwn(values.raw, name)) checkValue(location, bare, values.raw[name]);
    else if (fallback) checkLiteral(location, bare, fallback, values);
  } else if (isListType(bare)) {
    const items = value.kind === Kind.LIST ? value.values : [value];
    checkLength(location, items.length);
    for (const [index, item] of items.entries()) {
      checkLiteral({ element, path: [...path, index] }, bare.ofType, item, values);
    }
  } else if (isInputObjectType(bare) && value.kind === Kind.OBJECT) {
    const members = bare.getFields();
    for (const { name, value: member } of value.fields) {
      const field = members[name.value];
      if (!field || !holdsLists(field)) continue;
      checkLiteral({ element: field, path: [...path, field.name] }, field.type, member, values);
    }
  }
}

function checkValue(location: InputLocation, type: GraphQLInputType, value: unknown): void {
  const { element, path } = location;
  const bare = isNonNullType(type) ? type.ofType : type;
  if (isListType(bare)) {
    const items = Array.isArray(value) ? value : [value];
    checkLength(location, items.length);
    if (!isInputObjectType(getNamedType(bare))) return;
    for (const [index, item] of items.entries()) {
      checkValue({ element, path: [...path, index] }, bare.ofType, item);
    }
  } else if (isInputObjectType(bare) && typeof value === 'object' && value !== null) {
    const members = bare.getFields();
    for (const [name, field] of Object.entries(members)) {
      if (!holdsLists(field) || !Object.hasOwn(value, name)) continue;
      const member = (value as Record<string, unknown>)[name];
      checkValue({ element: field, path: [...path, name] }, field.type, member);
    }
  }
}

function checkLength({ element, path }: InputLocation, count: number): void {
  const maxItems = maxItemsOf(element);
  if (maxItems === undefined || count <= maxItems) return;
  const [given, most] = [count, maxItems].map(formatNumber);
  const message = `\`${element.name}\` has ${given} items; it may have at most ${most}.`;
  const problem: Problem = { code: 'LIMIT_EXCEEDED', message, path: inputPath(path).map(String) };
  throw new RequestError('BAD_USER_INPUT', message, { maxItems, problems: [problem] });
}
