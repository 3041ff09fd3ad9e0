/** The shape of every mutation: `verbNoun(input: VerbNounInput!): VerbNounPayload!`. */
import type {
  FieldMap,
  InputFieldBuilder,
  InputFieldMap,
  InputShapeFromFields,
  ObjectFieldBuilder,
  TypeParam,
} from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import { type Problem, UserInputError } from '../errors.ts';
import { isUniqueViolation } from '../infra/database/database-errors.ts';
import type { Viewer } from '../viewer.ts';
import { builder, type SchemaTypes } from './builder.ts';
import type { Context } from './context.ts';
import { UserErrorType } from './errors/user-error.ts';
import { findInputProblems } from './inputs/input-limits.ts';

type Types = (typeof builder)['$inferSchemaTypes'];
type PayloadShape<Shape extends object> = Partial<Shape> & { userErrors: readonly Problem[] };

/** Builder of the fields of an input object. */
export type InputBuilder = InputFieldBuilder<Types, 'InputObject'>;

/** Builder of the payload fields of a mutation whose `run` returns `Shape`. */
export type PayloadBuilder<Shape extends object> = ObjectFieldBuilder<Types, PayloadShape<Shape>>;

/** Nullable payload fields that return the member of the same name. */
type PayloadFields<Shape> = {
  [Name in keyof Shape]?: { type: TypeParam<Types>; description: string };
};

export interface MutationOptions<Fields extends InputFieldMap, Shape extends object> {
  /** Without the scope, which is appended. */
  description: string;
  scope: 'write' | 'admin';
  /** Set if the mutation only stops something. Its rate limit is then separate from that of other operations. */
  stops?: true;
  /**
   * Set if the mutation changes nothing, and what it returns expires. Under an idempotency key it runs for each
   * request.
   */
  changesNothing?: true;
  /** Fields of the input object. */
  input: (t: InputBuilder) => Fields;
  /** Fields of the payload in addition to `userErrors`; fields that a function builds must be nullable. */
  payload: PayloadFields<Shape> | ((t: PayloadBuilder<Shape>) => FieldMap);
  /**
   * Calls one service function. A UserInputError becomes `userErrors`. The result may also contain
   * `userErrors`, together with an object that was created despite them.
   */
  run: (
    input: InputShapeFromFields<Fields>,
    context: { app: Context['app']; viewer: Viewer },
  ) => Promise<Shape>;
}

export function mutation<Fields extends InputFieldMap, Shape extends object>(
  name: string,
  options: MutationOptions<Fields, Shape>,
): void {
  const typeName = `${name[0]?.toUpperCase()}${name.slice(1)}`;
  const input = builder.inputType(`${typeName}Input`, {
    description: `Input of \`${name}\`.`,
    fields: options.input,
  });
  const payload = builder.objectRef<PayloadShape<Shape>>(`${typeName}Payload`).implement({
    description: `Result of \`${name}\`.`,
    fields: (t) => ({
      ...payloadFields(t as never, options.payload),
      userErrors: t.field({
        type: [UserErrorType],
        description: 'Problems that the caller can fix. Empty if the mutation succeeded.',
        resolve: (shape) => shape.userErrors as Problem[],
      }),
    }),
  });
  builder.mutationField(name, (t) =>
    t.field({
      type: payload,
      description: `${options.description} Requires the scope \`${options.scope.toUpperCase()}\`.`,
      authScopes: { [options.scope]: true } as SchemaTypes['AuthScopes'],
      extensions: { stops: options.stops === true },
      args: {
        input: t.arg({ type: input, required: true, description: `Input of \`${name}\`.` }),
      },
      // Pothos cannot follow the generic input here; `run` is checked against it above.
      resolve: (async (
        _root: unknown,
        args: { input: InputShapeFromFields<Fields> },
        context: Context,
        info: GraphQLResolveInfo,
      ): Promise<PayloadShape<Shape>> => {
        return runOnce<PayloadShape<Shape>>(context, info, options, async () => {
          checkInput(info, args.input);
          const shape = await options.run(args.input, {
            app: context.writer,
            viewer: viewerOf(context, info),
          });
          return { userErrors: [], ...shape };
        });
      }) as never,
    }),
  );
}

/**
 * Runs a mutation and turns a UserInputError into `userErrors`. Under an idempotency key, returns the result of an
 * earlier run of the operation instead, unless that result gave a time for a retry or expires.
 */
async function runOnce<Payload extends { userErrors: readonly Problem[] }>(
  { viewer }: Context,
  { path }: GraphQLResolveInfo,
  { changesNothing }: { changesNothing?: true },
  execute: () => Promise<Payload>,
): Promise<Payload> {
  const results = viewer?.idempotency?.results;
  const name = String(path.key);
  const earlier = results?.get(name);
  if (earlier) return earlier as Payload;
  try {
    const payload = await (results ? retryAfterConcurrentRun(execute) : execute());
    results?.set(name, changesNothing ? null : payload);
    return payload;
  } catch (error) {
    if (!(error instanceof UserInputError)) throw error;
    const refusal = { userErrors: error.problems } as unknown as Payload;
    const mayRetry = error.problems.some(({ retryAt }) => retryAt);
    results?.set(name, mayRetry ? null : refusal);
    return refusal;
  }
}

/**
 * Runs a mutation again after a unique violation: an earlier run of the operation, which lost its lease, may have
 * created the object after this run looked for it. The second attempt finds it.
 */
async function retryAfterConcurrentRun<Payload>(execute: () => Promise<Payload>): Promise<Payload> {
  try {
    return await execute();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    return execute();
  }
}

function payloadFields<Shape extends object>(
  t: PayloadBuilder<Shape>,
  payload: MutationOptions<InputFieldMap, Shape>['payload'],
): FieldMap {
  if (typeof payload === 'function') return payload(t);
  const field = (name: string, { type, description }: { type: unknown; description: string }) =>
    t.field({
      type: type as 'String',
      nullable: true,
      description,
      resolve: (shape) => (shape as Record<string, string>)[name] ?? null,
    });
  return Object.fromEntries(
    Object.entries(payload).map(([name, options]) => [name, field(name, options as never)]),
  );
}

/** @throws UserInputError for text, dates and JSON keys that cannot be stored. */
function checkInput(info: GraphQLResolveInfo, input: unknown): void {
  const [argument] = info.parentType.getFields()[info.fieldName]?.args ?? [];
  const problems = argument ? findInputProblems(argument, input) : [];
  if (problems.length > 0) throw new UserInputError(problems);
}

/** The viewer, with the seed for repeatable ids narrowed to this field of the operation. */
function viewerOf(context: Context, info: GraphQLResolveInfo): Viewer {
  const { viewer } = context;
  if (!viewer) throw new Error('A mutation ran without a viewer');
  if (!viewer.idempotency) return viewer;
  return {
    ...viewer,
    idempotency: { ...viewer.idempotency, seed: `${viewer.idempotency.seed}/${info.path.key}` },
  };
}
