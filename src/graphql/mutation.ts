/** How every mutation looks: `verbNoun(input: VerbNounInput!): VerbNounPayload!`. */
import type {
  FieldMap,
  InputFieldBuilder,
  InputFieldMap,
  InputShapeFromFields,
  ObjectFieldBuilder,
} from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import { type Problem, UserInputError } from '../errors.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { builder, type SchemaTypes } from './builder.ts';
import type { Context } from './context.ts';
import { UserErrorType } from './errors.ts';

type Types = (typeof builder)['$inferSchemaTypes'];
type PayloadShape<Shape extends object> = Partial<Shape> & { userErrors: readonly Problem[] };

export interface MutationOptions<Fields extends InputFieldMap, Shape extends object> {
  description: string;
  scope: 'write' | 'admin' | 'read';
  /** The members of the input object. */
  input: (t: InputFieldBuilder<Types, 'InputObject'>) => Fields;
  /** The members of the payload beside `userErrors`; all of them must be nullable. */
  payload: (t: ObjectFieldBuilder<Types, PayloadShape<Shape>>) => FieldMap;
  /**
   * Calls one service function. A UserInputError becomes `userErrors`; `userErrors` in what it gives
   * stand beside an object that is there all the same.
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
    description: `What \`${name}\` needs.`,
    fields: options.input,
  });
  const payload = builder.objectRef<PayloadShape<Shape>>(`${typeName}Payload`).implement({
    description: `What came of \`${name}\`.`,
    fields: (t) => ({
      ...options.payload(t as never),
      userErrors: t.field({
        type: [UserErrorType],
        description: 'What has to be mended; empty when it was done.',
        resolve: (shape) => shape.userErrors as Problem[],
      }),
    }),
  });
  builder.mutationField(name, (t) =>
    t.field({
      type: payload,
      description: options.description,
      authScopes: { [options.scope]: true } as SchemaTypes['AuthScopes'],
      args: {
        input: t.arg({ type: input, required: true, description: 'See the members of the type.' }),
      },
      // Pothos cannot follow the generic input here; `run` is checked against it above.
      resolve: (async (
        _root: unknown,
        args: { input: InputShapeFromFields<Fields> },
        context: Context,
        info: GraphQLResolveInfo,
      ): Promise<PayloadShape<Shape>> => {
        try {
          const shape = await options.run(args.input, {
            app: context.app,
            viewer: viewerOf(context, info),
          });
          return { userErrors: [], ...shape };
        } catch (error) {
          if (error instanceof UserInputError) {
            return { userErrors: error.problems } as PayloadShape<Shape>;
          }
          throw error;
        }
      }) as never,
    }),
  );
}

/** The viewer, with what makes ids repeatable narrowed to this field of the operation. */
function viewerOf(context: Context, info: GraphQLResolveInfo): Viewer {
  const { viewer } = context;
  if (!viewer) throw new Error('A mutation ran without a viewer');
  if (!viewer.idempotency) return viewer;
  return {
    ...viewer,
    idempotency: { ...viewer.idempotency, seed: `${viewer.idempotency.seed}/${info.path.key}` },
  };
}
