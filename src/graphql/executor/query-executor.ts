/**
 * Executes queries and subscription events like graphql-js, in about half the time: an operation is planned
 * once, and values that a row has loaded are read without a resolver. Mutations are left to graphql-js, as
 * are operations with directives other than `@include` and `@skip`.
 */
import {
  defaultFieldResolver,
  defaultTypeResolver,
  type ExecutionArgs,
  type ExecutionResult,
  GraphQLError,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  getArgumentValues,
  getVariableValues,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  locatedError,
  OperationTypeNode,
  responsePathAsArray,
  type VariableValues,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import type { Context } from '../context.ts';
import { MAX_VARIABLE_ERRORS } from '../inputs/input-limits.ts';
import { grantedScopes, type Scopes } from '../scopes.ts';
import {
  type FieldPlan,
  type OperationPlan,
  plansOf,
  ResultObject,
  showsOnlyLeaves,
} from './query-plan.ts';

type Path = GraphQLResolveInfo['path'];
/** Position of a value that is being completed. */
interface Position {
  field: FieldPlan;
  path: Path;
  info: GraphQLResolveInfo;
}

type MaybePromise<T> = T | Promise<T>;
type Result = Record<string, unknown>;

const NO_ARGUMENTS = Object.freeze(Object.create(null));

/** Executes a query. Null for an operation that is left to graphql-js, also because its variables are invalid. */
export function executeQuery(args: ExecutionArgs): MaybePromise<ExecutionResult> | null {
  const plans = plansOf(args, OperationTypeNode.QUERY);
  if (!plans) return null;
  const { variableValues } = getVariableValues(
    args.schema,
    plans.operation.variableDefinitions ?? [],
    args.variableValues ?? {},
    { maxErrors: MAX_VARIABLE_ERRORS },
  );
  const plan = variableValues && plans.planFor(variableValues);
  if (!plan) return null;
  const run = () => new Execution(args, plan, variableValues).run();
  return selectsOnlySchema(plan) ? introspect(plan, run) : run();
}

/** Results of the latest introspection queries, each of up to 2 MB as JSON. */
const introspections = new LRUCache<OperationPlan, ExecutionResult>({ max: 4 });

/** Whether the result is the same for all callers. With variables, one plan has several results. */
function selectsOnlySchema({ operation, fields }: OperationPlan): boolean {
  const isOfSchema = ({ definition }: FieldPlan) => definition.name.startsWith('__');
  return !operation.variableDefinitions?.length && fields.every(isOfSchema);
}

function introspect(
  plan: OperationPlan,
  run: () => MaybePromise<ExecutionResult>,
): MaybePromise<ExecutionResult> {
  const known = introspections.get(plan);
  if (known) return { ...known };
  const result = run();
  if (!(result instanceof Promise) && !result.errors) introspections.set(plan, result);
  return result;
}

/**
 * Executes a subscription for one event, the root value, like `executeSubscriptionEvent`. Null for an
 * operation that is left to graphql-js.
 */
export function executeEvent(
  args: ExecutionArgs,
  variables: VariableValues,
): MaybePromise<ExecutionResult> | null {
  const plan = plansOf(args, OperationTypeNode.SUBSCRIPTION)?.planFor(variables);
  return plan ? new Execution(args, plan, variables).run() : null;
}

/** Whether the selection is only of leaf fields of the event, which the event itself has. False if that is not known. */
export function showsOnlyEvent(args: ExecutionArgs, variables: VariableValues): boolean {
  const plan = plansOf(args, OperationTypeNode.SUBSCRIPTION)?.planFor(variables);
  return plan?.fields.every(showsOnlyLeaves) ?? false;
}

class Execution {
  readonly #args: ExecutionArgs;
  readonly #plan: OperationPlan;
  readonly #variables: VariableValues;
  readonly #context: Context;
  readonly #scopes: Scopes;
  readonly #arguments = new Map<FieldPlan, Record<string, unknown>>();
  readonly #errors: GraphQLError[] = [];
  /** Paths at which an error became null. Errors below them are not reported. */
  readonly #nulled = new Set<Path | undefined>();

  constructor(args: ExecutionArgs, plan: OperationPlan, variables: VariableValues) {
    this.#args = args;
    this.#plan = plan;
    this.#variables = variables;
    this.#context = args.contextValue as Context;
    this.#scopes = grantedScopes(this.#context.viewer);
  }

  run(): MaybePromise<ExecutionResult> {
    const respond = (data: Result | null): ExecutionResult =>
      this.#errors.length > 0 ? { errors: this.#errors, data } : { data };
    const fail = (error: unknown): ExecutionResult => {
      this.#report(error as GraphQLError, undefined);
      return respond(null);
    };
    try {
      const { root, fields } = this.#plan;
      const data = this.#executeFields(root, this.#args.rootValue, undefined, fields);
      return data instanceof Promise ? data.then(respond, fail) : respond(data);
    } catch (error) {
      return fail(error);
    }
  }

  #executeFields(
    type: GraphQLObjectType,
    source: unknown,
    path: Path | undefined,
    fields: readonly FieldPlan[],
  ): MaybePromise<Result> {
    const result = new ResultObject() as Result;
    const pending: Promise<void>[] = [];
    try {
      for (const field of fields) {
        const loaded = field.readLoaded?.(source as Result, this.#scopes);
        const value = loaded === undefined ? this.#executeField(type, source, path, field) : loaded;
        result[field.key] = value;
        if (value instanceof Promise) {
          pending.push(
            value.then((resolved) => {
              result[field.key] = resolved;
            }),
          );
        }
      }
    } catch (error) {
      ignore(pending);
      throw error;
    }
    return pending.length > 0 ? Promise.all(pending).then(() => result) : result;
  }

  #executeField(
    parentType: GraphQLObjectType,
    source: unknown,
    prev: Path | undefined,
    field: FieldPlan,
  ): unknown {
    const path: Path = { prev, key: field.key, typename: parentType.name };
    const { type } = field.definition;
    const at: Position = { field, path, info: this.#infoOf(parentType, path, field) };
    try {
      const resolve = field.definition.resolve ?? defaultFieldResolver;
      const value = resolve(source, this.#argumentsOf(field), this.#context, at.info);
      if (isPromiseLike(value)) return this.#completeLater(type, at, value);
      const completed = this.#complete(type, at, value);
      if (!(completed instanceof Promise)) return completed;
      return completed.catch((error: unknown) => this.#fail(error, type, at));
    } catch (error) {
      return this.#fail(error, type, at);
    }
  }

  /** Coerced arguments of a field, the same for all objects of an execution. */
  #argumentsOf(field: FieldPlan): Record<string, unknown> {
    if (field.definition.args.length === 0) return NO_ARGUMENTS;
    let values = this.#arguments.get(field);
    if (!values) {
      values = getArgumentValues(field.definition, field.nodes[0], this.#variables);
      this.#arguments.set(field, values);
    }
    return values;
  }

  #infoOf(parentType: GraphQLObjectType, path: Path, field: FieldPlan): GraphQLResolveInfo {
    return {
      fieldName: field.definition.name,
      fieldNodes: field.nodes,
      returnType: field.definition.type,
      parentType,
      path,
      schema: this.#args.schema,
      fragments: this.#plan.fragments,
      rootValue: this.#args.rootValue,
      operation: this.#plan.operation,
      variableValues: this.#variables,
      getAbortSignal: () => undefined,
      getAsyncHelpers: () => ({ promiseAll: (values) => Promise.all(values), track: ignore }),
    };
  }

  async #completeLater(
    type: GraphQLOutputType,
    at: Position,
    value: PromiseLike<unknown>,
  ): Promise<unknown> {
    try {
      return await this.#complete(type, at, await value);
    } catch (error) {
      return this.#fail(error, type, at);
    }
  }

  #complete(type: GraphQLOutputType, at: Position, value: unknown): unknown {
    if (value instanceof Error) throw value;
    if (isNonNullType(type)) {
      const completed = this.#complete(type.ofType, at, value);
      if (completed !== null) return completed;
      throw new Error(
        `Cannot return null for non-nullable field ${at.info.parentType}.${at.info.fieldName}.`,
      );
    }
    if (value === null || value === undefined) return null;
    if (isListType(type)) return this.#completeList(type.ofType, at, value);
    if (isLeafType(type)) return completeLeaf(type, value);
    if (!isAbstractType(type)) return this.#completeObject(type, at, value);
    const resolveType = type.resolveType ?? defaultTypeResolver;
    const name = resolveType(value, this.#context, at.info, type);
    const complete = (name: string | undefined): unknown => {
      const object = name === undefined ? undefined : this.#args.schema.getType(name);
      if (isObjectType(object)) return this.#completeObject(object, at, value);
      throw new Error(`${type} must resolve to an object type, not to ${name}`);
    };
    return isPromiseLike(name) ? Promise.resolve(name).then(complete) : complete(name);
  }

  #completeObject(type: GraphQLObjectType, at: Position, value: unknown): unknown {
    const execute = (isOfType: boolean): MaybePromise<Result> => {
      if (!isOfType) throw new GraphQLError(`Expected value of type "${type}".`);
      return this.#executeFields(type, value, at.path, at.field.fieldsOf(type));
    };
    const isOfType = type.isTypeOf?.(value, this.#context, at.info) ?? true;
    return isPromiseLike(isOfType) ? Promise.resolve(isOfType).then(execute) : execute(isOfType);
  }

  #completeList(type: GraphQLOutputType, at: Position, value: unknown): unknown {
    if (typeof value !== 'object' || value === null || !(Symbol.iterator in value)) {
      throw new GraphQLError(
        `Expected Iterable for field "${at.info.parentType}.${at.info.fieldName}".`,
      );
    }
    const items: unknown[] = [];
    let isPending = false;
    try {
      for (const item of value as Iterable<unknown>) {
        const path: Path = { prev: at.path, key: items.length, typename: undefined };
        const completed = this.#completeItem(type, { ...at, path }, item);
        isPending ||= completed instanceof Promise;
        items.push(completed);
      }
    } catch (error) {
      ignore(items);
      throw error;
    }
    return isPending ? Promise.all(items) : items;
  }

  #completeItem(type: GraphQLOutputType, at: Position, item: unknown): unknown {
    try {
      if (isPromiseLike(item)) return this.#completeLater(type, at, item);
      const completed = this.#complete(type, at, item);
      if (!(completed instanceof Promise)) return completed;
      return completed.catch((error: unknown) => this.#fail(error, type, at));
    } catch (error) {
      return this.#fail(error, type, at);
    }
  }

  /** Reports the error if the type is nullable. @throws GraphQLError if it is not */
  #fail(error: unknown, type: GraphQLOutputType, { field, path }: Position): null {
    const located = locatedError(error, field.nodes, responsePathAsArray(path));
    if (isNonNullType(type)) throw located;
    this.#report(located, path);
    return null;
  }

  #report(error: GraphQLError, path: Path | undefined): void {
    for (let above = path; above !== undefined; above = above.prev) {
      if (this.#nulled.has(above)) return;
    }
    if (this.#nulled.has(undefined)) return;
    this.#nulled.add(path);
    this.#errors.push(error);
  }
}

function completeLeaf(type: Parameters<typeof isLeafType>[0], value: unknown): unknown {
  if (!isLeafType(type)) return null;
  const coerced = type.coerceOutputValue(value);
  if (coerced !== null && coerced !== undefined) return coerced;
  throw new Error(`${type} has no representation of this value`);
}

/** Ignores rejections that nothing awaits, which would end the process. */
function ignore(values: readonly unknown[]): void {
  for (const value of values) {
    if (isPromiseLike(value)) value.then(undefined, () => {});
  }
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
