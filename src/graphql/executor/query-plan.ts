/** Plans of queries and subscription events: the selected fields of each type, computed once per operation. */
import {
  type DocumentNode,
  type ExecutionArgs,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  GraphQLIncludeDirective,
  type GraphQLLeafType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getDirectiveValues,
  getNamedType,
  getOperationAST,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type OperationTypeNode,
  type SelectionNode,
  type SelectionSetNode,
  TypeNameMetaFieldDef,
  type VariableValues,
  visit,
} from 'graphql';
import type { Column } from '../../infra/rows/tables.ts';
import { type LoadedField, loadedField } from '../reading/loaded-columns.ts';
import { isGranted, type Scopes } from '../scopes.ts';

export interface OperationPlan {
  operation: OperationDefinitionNode;
  fragments: Record<string, FragmentDefinitionNode>;
  root: GraphQLObjectType;
  fields: readonly FieldPlan[];
}

/**
 * Reads and completes a value from the loaded row. Undefined if the row has not loaded all of it, or if the
 * field has to be resolved for another reason, such as a missing scope.
 */
type ReadLoaded = (row: Record<string, unknown>, scopes: Scopes) => unknown;

export interface FieldPlan {
  /** Name in the response. */
  key: string;
  definition: GraphQLField<unknown, unknown>;
  nodes: readonly [FieldNode, ...FieldNode[]];
  readLoaded: ReadLoaded | null;
  /** Columns from which `readLoaded` computes its value, and which must have the types that Prisma returns. */
  derivedFrom: readonly Column[];
  /** The fields selected on objects of `type`, which is a type that the field can return. */
  fieldsOf(type: GraphQLObjectType): readonly FieldPlan[];
}

/**
 * An object of the response. It inherits nothing, because a key may be the name of a member of `Object`. V8 is
 * slower with objects that `Object.create(null)` returns.
 */
export class ResultObject {}
Object.setPrototypeOf(ResultObject.prototype, null);

/** Plans kept for each operation, which may have one for each combination of the values of its conditions. */
const MAX_PLANS = 16;
/** Maximum in all plans that are kept, since callers choose the operations. A field takes up to 800 bytes of memory. */
const MAX_PLANNED_FIELDS = 100_000;

/** Directives that plans take into account: they decide whether a field or fragment is selected. */
const CONDITIONS = new Set([GraphQLSkipDirective.name, GraphQLIncludeDirective.name]);

interface OperationPlans {
  operation: OperationDefinitionNode;
  /** The plan for these variables. Null if it is left to graphql-js. */
  planFor(variables: VariableValues): OperationPlan | null;
}

let plans = new WeakMap<OperationDefinitionNode, OperationPlans | null>();
/** Number of fields planned since `plans` was empty. */
let plannedFields = 0;
/** Plans by the field nodes that resolvers receive. */
const fieldPlans = new WeakMap<readonly FieldNode[], FieldPlan>();

/** The plan of the field that is being resolved. Null when graphql-js executes the operation. */
export function fieldPlanOf({ fieldNodes }: GraphQLResolveInfo): FieldPlan | null {
  return fieldPlans.get(fieldNodes) ?? null;
}

/**
 * Whether the rows that the field returns, also in a connection, are only shown: the plans read everything that is
 * selected on them, and no resolver receives one.
 */
export function onlyShowsRows({ definition, fieldsOf }: FieldPlan): boolean {
  const type = getNamedType(definition.type);
  if (!isObjectType(type)) return isLeafType(type);
  const isRow = type.extensions.pothosPrismaModel !== undefined;
  return fieldsOf(type).every(
    (field) => field.readLoaded !== null || (!isRow && onlyShowsRows(field)),
  );
}

/** Whether the field returns no rows, which may have to be read, and only leaf fields of its objects are selected. */
export function showsOnlyLeaves({ definition, fieldsOf }: FieldPlan): boolean {
  const type = getNamedType(definition.type);
  if (!isObjectType(type) || type.extensions.pothosPrismaModel !== undefined) return false;
  return fieldsOf(type).every((field) => isLeafType(getNamedType(field.definition.type)));
}

/** The columns of the rows that the field returns, and of rows below them, from which values are computed. */
export function columnsDerivedFrom({ definition, fieldsOf }: FieldPlan): Column[] {
  const type = getNamedType(definition.type);
  if (!isObjectType(type)) return [];
  return fieldsOf(type).flatMap((field) => [...field.derivedFrom, ...columnsDerivedFrom(field)]);
}

/** The plans of an operation. Null for an operation of another kind, or with directives other than conditions. */
export function plansOf(
  { schema, document, operationName }: ExecutionArgs,
  kind: OperationTypeNode,
): OperationPlans | null {
  const operation = getOperationAST(document, operationName);
  if (!operation || operation.operation !== kind) return null;
  let found = plans.get(operation);
  if (found === undefined) {
    found = createPlans(schema, document, operation);
    plans.set(operation, found);
  }
  return found;
}

function createPlans(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): OperationPlans | null {
  const names = conditionVariables(document);
  if (!names) return null;
  const known = new Map<string, OperationPlan | null>();
  return {
    operation,
    planFor(variables) {
      const values = names.map((name) => variables.coerced[name]);
      // Reported as errors of the fields.
      if (values.includes(null)) return null;
      // Variables that are conditions only in other operations may have values of any type.
      const key = values.map((value) => value === true).join();
      let plan = known.get(key);
      if (plan === undefined) {
        if (known.size >= MAX_PLANS) known.clear();
        plan = createPlan(schema, document, { operation, variables });
        known.set(key, plan);
      }
      return plan;
    },
  };
}

/** Names of the variables on which the selection depends. Null if the document has other directives. */
function conditionVariables(document: DocumentNode): string[] | null {
  const names = new Set<string>();
  let hasOthers = false;
  visit(document, {
    Directive({ name, arguments: values = [] }) {
      hasOthers ||= !CONDITIONS.has(name.value);
      for (const { value } of values) {
        if (value.kind === Kind.VARIABLE) names.add(value.name.value);
      }
    },
  });
  return hasOthers ? null : [...names];
}

function createPlan(
  schema: GraphQLSchema,
  document: DocumentNode,
  { operation, variables }: { operation: OperationDefinitionNode; variables: VariableValues },
): OperationPlan | null {
  const root = schema.getRootType(operation.operation);
  if (!root) return null;
  const fragments: Record<string, FragmentDefinitionNode> = Object.create(null);
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] = definition;
  }
  const planner = new Planner(schema, fragments, variables);
  return { operation, fragments, root, fields: planner.fieldsOf(root, [operation.selectionSet]) };
}

/** Forgets all plans when they have too many fields. Those in use are made again, each at its next execution. */
function countPlanned(fields: number): void {
  plannedFields += fields;
  if (plannedFields <= MAX_PLANNED_FIELDS) return;
  plannedFields = 0;
  plans = new WeakMap();
}

class Planner {
  readonly #schema: GraphQLSchema;
  readonly #fragments: Record<string, FragmentDefinitionNode>;
  /** Any that have the values of the conditions for which the plan is made. */
  readonly #variables: VariableValues;

  constructor(
    schema: GraphQLSchema,
    fragments: Record<string, FragmentDefinitionNode>,
    variables: VariableValues,
  ) {
    this.#schema = schema;
    this.#fragments = fragments;
    this.#variables = variables;
  }

  fieldsOf(type: GraphQLObjectType, selectionSets: readonly SelectionSetNode[]): FieldPlan[] {
    const nodes = new Map<string, [FieldNode, ...FieldNode[]]>();
    const visited = new Set<string>();
    for (const selectionSet of selectionSets) this.#collect(type, selectionSet, nodes, visited);
    const fields: FieldPlan[] = [];
    for (const [key, same] of nodes) {
      const definition = this.#schema.getField(type, same[0].name.value);
      if (definition) fields.push(this.#field(type, key, definition, same));
    }
    countPlanned(fields.length);
    return fields;
  }

  #collect(
    type: GraphQLObjectType,
    { selections }: SelectionSetNode,
    nodes: Map<string, [FieldNode, ...FieldNode[]]>,
    visited: Set<string>,
  ): void {
    for (const selection of selections) {
      if (!this.#isIncluded(selection)) continue;
      if (selection.kind === Kind.FIELD) {
        const key = selection.alias?.value ?? selection.name.value;
        const same = nodes.get(key);
        if (same) same.push(selection);
        else nodes.set(key, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        if (this.#applies(selection.typeCondition?.name.value, type)) {
          this.#collect(type, selection.selectionSet, nodes, visited);
        }
      } else if (!visited.has(selection.name.value)) {
        visited.add(selection.name.value);
        const fragment = this.#fragments[selection.name.value];
        if (fragment && this.#applies(fragment.typeCondition.name.value, type)) {
          this.#collect(type, fragment.selectionSet, nodes, visited);
        }
      }
    }
  }

  #isIncluded(node: SelectionNode): boolean {
    if (!node.directives || node.directives.length === 0) return true;
    const skip = getDirectiveValues(GraphQLSkipDirective, node, this.#variables);
    const include = getDirectiveValues(GraphQLIncludeDirective, node, this.#variables);
    return skip?.if !== true && include?.if !== false;
  }

  #applies(condition: string | undefined, type: GraphQLObjectType): boolean {
    if (condition === undefined || condition === type.name) return true;
    const conditional = this.#schema.getType(condition);
    return isAbstractType(conditional) && this.#schema.isSubType(conditional, type);
  }

  #field(
    type: GraphQLObjectType,
    key: string,
    definition: GraphQLField<unknown, unknown>,
    nodes: FieldPlan['nodes'],
  ): FieldPlan {
    const selections = new Map<GraphQLObjectType, readonly FieldPlan[]>();
    const fieldsOf = (returned: GraphQLObjectType): readonly FieldPlan[] => {
      let fields = selections.get(returned);
      if (!fields) {
        const sets = nodes.flatMap(({ selectionSet }) => selectionSet ?? []);
        fields = this.fieldsOf(returned, sets);
        selections.set(returned, fields);
      }
      return fields;
    };
    const loaded = loadedField(definition.resolve);
    const readLoaded =
      definition === TypeNameMetaFieldDef
        ? () => type.name
        : loaded && createReader(definition.type, loaded, fieldsOf);
    const derivedFrom = loaded?.derivedFrom ?? [];
    const plan: FieldPlan = { key, definition, nodes, readLoaded, derivedFrom, fieldsOf };
    fieldPlans.set(nodes, plan);
    return plan;
  }
}

function createReader(
  type: GraphQLOutputType,
  { read, required }: LoadedField,
  fieldsOf: FieldPlan['fieldsOf'],
): ReadLoaded | null {
  const complete = completerOf(type, fieldsOf);
  if (!complete) return null;
  // All rows of an execution are read with the same scopes.
  let checked: Scopes | undefined;
  let granted = false;
  return (row, scopes) => {
    const value = read(row);
    if (scopes !== checked) {
      checked = scopes;
      granted = isGranted(scopes, required);
    }
    return value === undefined || !granted ? undefined : complete(value, scopes);
  };
}

/** Scalars whose strings are returned unchanged. Rows that are only shown have their dates as strings. */
const TEXTS = new Set(['String', 'ID', 'DateTime']);

type Complete = (value: unknown, scopes: Scopes) => unknown;

/** Completes values of a type. Null for a type whose values need more than the row has loaded. */
function completerOf(type: GraphQLOutputType, fieldsOf: FieldPlan['fieldsOf']): Complete | null {
  const isNullable = !isNonNullType(type);
  const bare = isNonNullType(type) ? type.ofType : type;
  const complete = isListType(bare)
    ? listCompleter(bare.ofType, fieldsOf)
    : isLeafType(bare)
      ? leafCompleter(bare)
      : isObjectType(bare)
        ? objectCompleter(fieldsOf(bare))
        : null;
  return (
    complete &&
    ((value, scopes) => {
      if (value === null) return isNullable ? null : undefined;
      return complete(value, scopes);
    })
  );
}

function leafCompleter(type: GraphQLLeafType): Complete {
  const isText = TEXTS.has(type.name);
  return (value) => {
    if (isText && typeof value === 'string') return value;
    try {
      return type.coerceOutputValue(value) ?? undefined;
    } catch {
      // The resolver reports the error.
      return undefined;
    }
  };
}

function listCompleter(type: GraphQLOutputType, fieldsOf: FieldPlan['fieldsOf']): Complete | null {
  const complete = completerOf(type, fieldsOf);
  if (!complete) return null;
  return (value, scopes) => {
    if (!Array.isArray(value)) return undefined;
    const items: unknown[] = [];
    for (const each of value) {
      const item = complete(each, scopes);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  };
}

function objectCompleter(fields: readonly FieldPlan[]): Complete | null {
  if (fields.some(({ readLoaded }) => !readLoaded)) return null;
  return (row, scopes) => {
    const result = new ResultObject() as Record<string, unknown>;
    for (const { key, readLoaded } of fields) {
      const value = readLoaded?.(row as Record<string, unknown>, scopes);
      if (value === undefined) return undefined;
      result[key] = value;
    }
    return result;
  };
}
