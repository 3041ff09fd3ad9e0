/** Decides whether an operation may run, before it starts. */
import { type ExecutionArgs, type GraphQLSchema, OperationTypeNode } from 'graphql';
import { forbiddenError, mayUse } from '../../graphql/scopes.ts';
import type { Viewer } from '../../viewer.ts';
import type { RequestContext } from '../authentication.ts';
import { checkListSizes } from '../limits/list-sizes.ts';
import { measureCost } from '../limits/query-cost.ts';
import { type Budget, operationsOf, type RateLimits } from '../limits/rate-limits.ts';
import { isMutation, type OperationShape, shapeOf } from './operation.ts';

export interface AdmittedOperation {
  shape: OperationShape;
  cost: number;
}

/**
 * Checks the caller's access to the root fields, then the rate limit, then list sizes, and only then coerces
 * variables and measures the cost, which is charged to the rate limit.
 *
 * @returns null when the document has no such operation, which execution reports.
 * @throws RequestError, or GraphQLError for variables of the wrong type
 */
export async function admit(
  args: ExecutionArgs,
  rateLimits: RateLimits,
): Promise<AdmittedOperation | null> {
  const { viewer, address } = args.contextValue as RequestContext;
  const caller = { viewer, address };
  const shape = shapeOf(args);
  if (!shape) return null;
  checkAuthorized(args.schema, shape, viewer);
  const { budget, operations } = budgetOf(args.schema, shape);
  // A request without a credential was charged on arrival.
  if (viewer) await rateLimits.charge(caller, budget, operations);
  checkListSizes(args);
  const cost = measureCost(shape, args);
  const extra = operationsOf(cost) - operations;
  if (extra > 0) await rateLimits.charge(caller, budget, extra, operations);
  return { shape, cost };
}

/**
 * Rejects an operation if the caller may not use any of its root fields. If some are allowed, execution
 * rejects the others.
 */
function checkAuthorized(
  schema: GraphQLSchema,
  { operation, rootFields }: OperationShape,
  viewer: Viewer | null,
): void {
  const root = schema.getRootType(operation.operation);
  const names = [...rootFields.values()].filter((name) => !name.startsWith('__'));
  const refused = names.find((name) => {
    const field = root?.getFields()[name];
    return field && !mayUse(viewer, field);
  });
  if (refused === undefined) return;
  const allRefused = names.every((name) => {
    const field = root?.getFields()[name];
    return field && !mayUse(viewer, field);
  });
  if (allRefused || !viewer) throw forbiddenError(viewer, `${root?.name}.${refused}`);
}

/** The budget of the operation and its minimum charge: each mutation counts as one. */
function budgetOf(
  schema: GraphQLSchema,
  shape: OperationShape,
): { budget: Budget; operations: number } {
  const type = shape.operation.operation;
  if (type === OperationTypeNode.SUBSCRIPTION) return { budget: 'subscriptions', operations: 1 };
  if (!isMutation(shape)) return { budget: 'operations', operations: 1 };
  const fields = schema.getMutationType()?.getFields() ?? {};
  const names = [...shape.rootFields.values()];
  const onlyStops = names.every((name) => fields[name]?.extensions.stops === true);
  return { budget: onlyStops ? 'stops' : 'operations', operations: names.length };
}
