/** Measures and limits the cost of an operation before it runs. */

import {
  type ExecutionArgs,
  type FieldNode,
  GraphQLError,
  type GraphQLField,
  type GraphQLNamedType,
  getArgumentValues,
  getNamedType,
  getVariableValues,
  isInterfaceType,
  isObjectType,
  Kind,
  type SelectionSetNode,
} from 'graphql';
import { RequestError, UserInputError } from '../../errors.ts';
import type { Context } from '../../graphql/context.ts';
import { findInputProblems } from '../../graphql/inputs/input-limits.ts';
import { isMutation, isSubscription, type OperationShape } from '../execution/operation.ts';
import { inputPath } from './input-path.ts';
import { createIntrospectionMeter, type VariableValues } from './introspection-cost.ts';
import { LIMITS } from './limits.ts';
import { VariableErrors } from './variable-errors.ts';

const MAX_DEPTH = LIMITS.depth.max;
/** Number of fields, with fragments expanded. */
const MAX_FIELDS = LIMITS.fields.max;
const MAX_MUTATION_FIELDS = LIMITS.mutationFields.max;
/** The rate limit is charged only when a subscription starts, but its selection is executed for every event. */
const MAX_EVENT_COST = LIMITS.eventCost.max;
/** Cost of a field with a selection, in addition to its objects: it may take a statement, however few they are. */
const SELECTION_COST = 5;
/** Bytes of introspection that cost as much as one object. */
const INTROSPECTION_BYTES_PER_OBJECT = 100;

/**
 * Cost of an operation: the number of objects that it could return if every list were full, plus the cost of its
 * counts and of its fields with a selection.
 *
 * @throws RequestError QUERY_TOO_COSTLY over a limit. UserInputError for text that cannot be stored.
 *   VariableErrors for variables of the wrong type.
 */
export function measureCost(shape: OperationShape, args: ExecutionArgs): number {
  const { app } = args.contextValue as Context;
  let cost = costs.get(shape);
  if (cost === undefined) {
    checkSize(shape);
    const variables = coerceVariables(shape, args);
    cost = createCostMeter(shape, args, variables)() + SELECTION_COST * shape.selections;
    if (!shape.operation.variableDefinitions?.length) costs.set(shape, cost);
  }
  const maxCost = Math.min(
    app.config.MAX_QUERY_COST,
    isSubscription(shape) ? MAX_EVENT_COST : cost,
  );
  if (cost > maxCost) throw tooCostly('cost', { cost, maxCost });
  return cost;
}

/** Costs of operations without variables. */
const costs = new WeakMap<OperationShape, number>();

function coerceVariables({ operation }: OperationShape, args: ExecutionArgs): VariableValues {
  const coerced = getVariableValues(
    args.schema,
    operation.variableDefinitions ?? [],
    args.variableValues ?? {},
    { maxErrors: LIMITS.variableErrors.max },
  );
  if (coerced.errors) {
    throw new VariableErrors(coerced.errors, { document: args.document, operation });
  }
  return coerced.variableValues;
}

function checkSize(shape: OperationShape): void {
  const mutations = isMutation(shape) ? shape.rootFields.size : 0;
  if (mutations > MAX_MUTATION_FIELDS) {
    throw new RequestError(
      'QUERY_TOO_COSTLY',
      `An operation may have at most ${MAX_MUTATION_FIELDS} mutations; this one has ${mutations}. Send several operations.`,
      { limit: MAX_MUTATION_FIELDS },
    );
  }
  const { depth, fields } = shape;
  if (depth > MAX_DEPTH) throw tooCostly('depth', { depth, maxDepth: MAX_DEPTH });
  if (fields > MAX_FIELDS) throw tooCostly('fields', { fields, maxFields: MAX_FIELDS });
}

function tooCostly(what: string, figures: Record<string, number>): RequestError {
  return new RequestError(
    'QUERY_TOO_COSTLY',
    `The operation is too costly (${what}). Select fewer fields, smaller pages or fewer levels.`,
    figures,
  );
}

/** The `complexity` of a field. It depends only on the arguments of the field; see the complexity plugin of Pothos. */
type Complexity = number | { field?: number; multiplier?: number };

/** Cost of a selection: of its fields for each object, and of some fields once for the whole list. */
interface SelectionCost {
  each: number;
  once: number;
}

function createCostMeter(
  shape: OperationShape,
  { schema, contextValue }: ExecutionArgs,
  variables: VariableValues,
): () => number {
  const known = new Map<SelectionSetNode, Map<string, SelectionCost>>();
  const introspection = createIntrospectionMeter(schema, shape, variables);
  const mutationType = schema.getMutationType();

  function costOfSelections(selectionSet: SelectionSetNode, type: GraphQLNamedType): SelectionCost {
    const costs = known.get(selectionSet) ?? new Map<string, SelectionCost>();
    known.set(selectionSet, costs);
    const found = costs.get(type.name);
    if (found) return found;
    const cost: SelectionCost = { each: 0, once: 0 };
    for (const selection of selectionSet.selections) {
      if (selection.kind === Kind.FIELD) {
        const field = fieldOf(type, selection);
        const { costOnce } = (field?.extensions ?? {}) as { costOnce?: number };
        if (costOnce === undefined) cost.each += costOfField(selection, type);
        else cost.once += costOnce;
      } else {
        const fragment =
          selection.kind === Kind.INLINE_FRAGMENT
            ? selection
            : shape.fragments[selection.name.value];
        const condition = fragment?.typeCondition;
        const inner = condition ? schema.getType(condition.name.value) : type;
        if (fragment && inner) {
          const { each, once } = costOfSelections(fragment.selectionSet, inner);
          cost.each += each;
          cost.once += once;
        }
      }
    }
    costs.set(type.name, cost);
    return cost;
  }

  function costOfField(node: FieldNode, type: GraphQLNamedType): number {
    const name = node.name.value;
    if (name === '__typename') return 0;
    if (name.startsWith('__')) return introspection(node) / INTROSPECTION_BYTES_PER_OBJECT;
    const field = fieldOf(type, node);
    if (!field) return 0;
    const args = argumentsOf(node, field, variables);
    // A mutation checks its own input, and reports a user error.
    if (type !== mutationType) checkArguments(field, args);
    const { complexity } = field.extensions as { complexity?: unknown };
    const own: Complexity =
      typeof complexity === 'function' ? complexity(args, contextValue, field) : (complexity ?? 1);
    const { field: base = 1, multiplier = 1 } = typeof own === 'number' ? { field: own } : own;
    const below = node.selectionSet
      ? costOfSelections(node.selectionSet, getNamedType(field.type))
      : { each: 0, once: 0 };
    return base + Math.max(0, multiplier) * below.each + below.once;
  }

  return () => {
    const root = schema.getRootType(shape.operation.operation);
    if (!root) return 0;
    const { each, once } = costOfSelections(shape.operation.selectionSet, root);
    return each + once;
  };
}

function fieldOf(
  type: GraphQLNamedType,
  { name }: FieldNode,
): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name.value] : undefined;
}

function argumentsOf(
  node: FieldNode,
  field: GraphQLField<unknown, unknown>,
  variables: VariableValues,
): Record<string, unknown> {
  if (field.args.length === 0) return {};
  try {
    return getArgumentValues(field, node, variables);
  } catch (error) {
    // Execution reports the error at the path of the field.
    if (error instanceof GraphQLError) return {};
    throw error;
  }
}

function checkArguments(
  field: GraphQLField<unknown, unknown>,
  args: Record<string, unknown>,
): void {
  for (const argument of field.args) {
    const value = args[argument.name];
    if (value === undefined) continue;
    const [problem] = findInputProblems(argument, value, {
      path: [argument.name],
      isSearched: true,
    });
    if (problem) throw new UserInputError([{ ...problem, path: inputPath(problem.path) }]);
  }
}
