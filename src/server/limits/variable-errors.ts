/** Errors of variables whose values do not fit their types, with the place of each in the input. */
import {
  BREAK,
  type DocumentNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type ValueNode,
  visit,
} from 'graphql';
import type { Problem, ProblemPath } from '../../errors.ts';
import { safeMessage } from '../../graphql/errors/error-messages.ts';
import { inputPath } from './input-path.ts';

/** Several errors of one request. */
export class VariableErrors extends Error {
  readonly errors: readonly GraphQLError[];

  /** @param errors Those that GraphQL.js found. */
  constructor(errors: readonly GraphQLError[], source: VariableSource) {
    super('The variables do not match the operation');
    this.errors = errors.map((error) => withProblems(error, source));
  }
}

/** Where the variables are used. */
interface VariableSource {
  document: DocumentNode;
  /** The operation that runs. The document may have others with variables of the same name. */
  operation: OperationDefinitionNode;
}

/** GraphQL.js gives the path in the message only. Its keys are names of the schema. */
const MESSAGE = /^Variable "\$(\w+)" has invalid value(?: at ((?:\.\w+|\[\d+\])+))?: /;
const SAFE_PREFIX = /^Variable "\$\w+" has (?:an )?invalid value(?: at "[^"]*")?: /;
const MISSING =
  /^Expected a value of non-null type|^Expected value of non-null type .* not to be null/;
const MISSING_FIELD = /^Expected value of type "\w+" to include required field "(\w+)"/;
const UNKNOWN_FIELD = /^Expected value of type "\w+" not to include unknown field "(\w{1,200})"/;

function withProblems(error: GraphQLError, source: VariableSource): GraphQLError {
  const [prefix, variable, path = ''] = MESSAGE.exec(error.message) ?? [];
  if (prefix === undefined || variable === undefined) return error;
  const reason = error.message.slice(prefix.length);
  const missing = MISSING_FIELD.exec(reason)?.[1];
  const field = missing ?? UNKNOWN_FIELD.exec(reason)?.[1];
  const problem: Problem = {
    code: missing !== undefined || MISSING.test(reason) ? 'REQUIRED' : 'INVALID_INPUT',
    message: safeMessage(error.message).replace(SAFE_PREFIX, ''),
    path: inputPath([
      ...pathOfVariable(variable, source),
      ...(path.match(/\w+/g) ?? []),
      ...(field === undefined ? [] : [field]),
    ]),
  };
  return new GraphQLError(error.message, {
    nodes: error.nodes ?? null,
    extensions: { ...error.extensions, problems: [problem] },
  });
}

/** Where the variable is used first: the name of the argument, and the path into its value. */
function pathOfVariable(variable: string, { document, operation }: VariableSource): ProblemPath {
  let source: ProblemPath = [variable];
  visit(document, {
    OperationDefinition: (node) => (node === operation ? undefined : false),
    Argument({ name, value }) {
      const path = pathTo(variable, value);
      if (!path) return false;
      source = [name.value, ...path];
      return BREAK;
    },
  });
  return source;
}

function pathTo(variable: string, value: ValueNode): ProblemPath | null {
  if (value.kind === Kind.VARIABLE) return value.name.value === variable ? [] : null;
  const members: [string | number, ValueNode][] =
    value.kind === Kind.OBJECT
      ? value.fields.map((field) => [field.name.value, field.value])
      : value.kind === Kind.LIST
        ? value.values.map((item, index) => [index, item])
        : [];
  for (const [key, member] of members) {
    const path = pathTo(variable, member);
    if (path) return [key, ...path];
  }
  return null;
}
