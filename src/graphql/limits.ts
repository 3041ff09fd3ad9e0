/** What a document may be: bounded before it is parsed, validated or run, on every transport. */
import { ComplexityErrorKind, complexityFromQuery } from '@pothos/plugin-complexity';
import {
  type DocumentNode,
  type ExecutionArgs,
  type FragmentDefinitionNode,
  getOperationAST,
  getVariableValues,
  Kind,
  Lexer,
  type OperationDefinitionNode,
  OperationTypeNode,
  type ParseOptions,
  parse,
  type SelectionSetNode,
  Source,
  TokenKind,
  visit,
} from 'graphql';
import { RequestError } from '../errors.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';

const MAX_TOKENS = 10_000;
/** Brackets of any kind within each other. The parser calls itself for each. */
const MAX_NESTING = 100;
const MAX_VARIABLE_NESTING = 64;
/** As written, before fragments are expanded; validation compares fields with each other. */
const MAX_FIELDS = 2_000;
const MAX_MUTATION_FIELDS = 25;
const MAX_INTROSPECTION_FIELDS = 5;

const OPENING = new Set<string>([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const CLOSING = new Set<string>([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

/**
 * @throws RequestError QUERY_TOO_COSTLY for a document that is too long or too deep to look at,
 *   GraphQLError for a syntax error.
 */
export function parseWithinLimits(text: string | Source, options?: ParseOptions): DocumentNode {
  checkTokens(typeof text === 'string' ? new Source(text) : text);
  const document = parse(text, options);
  let fields = 0;
  visit(document, {
    Field() {
      fields += 1;
    },
  });
  if (fields > MAX_FIELDS) throw tooLarge('fields', MAX_FIELDS);
  return document;
}

/** One pass without recursion. */
function checkTokens(source: Source): void {
  const lexer = new Lexer(source);
  let tokens = 0;
  let nesting = 0;
  for (let { kind } = lexer.advance(); kind !== TokenKind.EOF; { kind } = lexer.advance()) {
    tokens += 1;
    if (tokens > MAX_TOKENS) throw tooLarge('tokens', MAX_TOKENS);
    if (OPENING.has(kind)) nesting += 1;
    else if (CLOSING.has(kind)) nesting -= 1;
    if (nesting > MAX_NESTING) throw tooLarge('levels of brackets', MAX_NESTING);
  }
}

function tooLarge(what: string, max: number): RequestError {
  return new RequestError(
    'QUERY_TOO_COSTLY',
    `The document has more than ${max} ${what}. Split it, and give values as variables.`,
    { limit: max },
  );
}

/** What is asked for in one operation, as far as can be told without running it. */
export interface OperationShape {
  operation: OperationDefinitionNode;
  /** Response name → field, at the root; fragments are expanded. */
  rootFields: ReadonlyMap<string, string>;
  /** With fragments expanded, `__typename` and introspection included. */
  fields: number;
  depth: number;
}

/** Null when the operation is not there, which execution then says. */
export function shapeOf({ document, operationName }: ExecutionArgs): OperationShape | null {
  const operation = getOperationAST(document, operationName);
  if (!operation) return null;
  const fragments = fragmentsOf(document);
  const rootFields = new Map<string, string>();
  const visited = new Set<string>();
  (function collect({ selections }: SelectionSetNode): void {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        rootFields.set(selection.alias?.value ?? selection.name.value, selection.name.value);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      else if (!visited.has(selection.name.value)) {
        visited.add(selection.name.value);
        const fragment = fragments.get(selection.name.value);
        if (fragment) collect(fragment.selectionSet);
      }
    }
  })(operation.selectionSet);
  return { operation, rootFields, ...sizeOf(operation.selectionSet, fragments, new Map()) };
}

function fragmentsOf(document: DocumentNode): Map<string, FragmentDefinitionNode> {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION)
      fragments.set(definition.name.value, definition);
  }
  return fragments;
}

interface Size {
  fields: number;
  depth: number;
}

function sizeOf(
  { selections }: SelectionSetNode,
  fragments: Map<string, FragmentDefinitionNode>,
  known: Map<string, Size>,
): Size {
  const total = { fields: 0, depth: 0 };
  for (const selection of selections) {
    let size: Size = { fields: 0, depth: 0 };
    if (selection.kind === Kind.FRAGMENT_SPREAD) {
      const name = selection.name.value;
      const fragment = fragments.get(name);
      if (fragment && !known.has(name)) {
        known.set(name, size);
        known.set(name, sizeOf(fragment.selectionSet, fragments, known));
      }
      size = known.get(name) ?? size;
    } else if (selection.selectionSet) size = sizeOf(selection.selectionSet, fragments, known);
    const own = selection.kind === Kind.FIELD ? 1 : 0;
    total.fields += size.fields + own;
    total.depth = Math.max(total.depth, size.depth + own);
  }
  return total;
}

/**
 * Before anything of a validated operation runs.
 *
 * @throws RequestError QUERY_TOO_COSTLY
 */
export function checkCost(shape: OperationShape, args: ExecutionArgs): void {
  const context = args.contextValue as Context;
  const { operation, rootFields } = shape;
  const names = [...rootFields.values()];
  if (operation.operation === OperationTypeNode.MUTATION && names.length > MAX_MUTATION_FIELDS) {
    throw new RequestError(
      'QUERY_TOO_COSTLY',
      `An operation has at most ${MAX_MUTATION_FIELDS} mutations; this one has ${names.length}. Send several operations.`,
      { limit: MAX_MUTATION_FIELDS },
    );
  }
  const introspection = names.filter((name) => name === '__schema' || name === '__type').length;
  if (introspection > MAX_INTROSPECTION_FIELDS) {
    throw new RequestError(
      'QUERY_TOO_COSTLY',
      `An operation asks for the schema at most ${MAX_INTROSPECTION_FIELDS} times.`,
      { limit: MAX_INTROSPECTION_FIELDS },
    );
  }
  if (nestingExceeds(args.variableValues, MAX_VARIABLE_NESTING)) {
    throw new RequestError(
      'QUERY_TOO_COSTLY',
      `The variables have more than ${MAX_VARIABLE_NESTING} levels.`,
      { limit: MAX_VARIABLE_NESTING },
    );
  }

  const options = builder.options.complexity;
  const limit = typeof options?.limit === 'function' ? options.limit(context) : options?.limit;
  if (!options?.complexityError || !limit) return;
  const refuse = (kind: ComplexityErrorKind, complexity: number): never => {
    throw options.complexityError?.(
      kind,
      {
        complexity,
        depth: shape.depth,
        breadth: shape.fields,
        ...(limit.complexity === undefined ? {} : { maxComplexity: limit.complexity }),
        ...(limit.depth === undefined ? {} : { maxDepth: limit.depth }),
        ...(limit.breadth === undefined ? {} : { maxBreadth: limit.breadth }),
      },
      undefined as never,
    );
  };
  if (shape.depth > (limit.depth ?? Infinity)) refuse(ComplexityErrorKind.Depth, 0);
  if (shape.fields > (limit.breadth ?? Infinity)) refuse(ComplexityErrorKind.Breadth, 0);

  const variables = args.variableValues ?? {};
  const coerced = getVariableValues(args.schema, operation.variableDefinitions ?? [], variables);
  // Execution says what is wrong with them, and does nothing.
  if (coerced.errors) return;
  const definitions = [operation, ...fragmentsOf(args.document).values()];
  const { complexity } = complexityFromQuery(
    { kind: Kind.DOCUMENT, definitions },
    { schema: args.schema, ctx: context, variables },
  );
  if (complexity > (limit.complexity ?? Infinity))
    refuse(ComplexityErrorKind.Complexity, complexity);
}

/** Without recursion, which is what it guards against. */
function nestingExceeds(value: unknown, max: number): boolean {
  let level: object[] = typeof value === 'object' && value !== null ? [value] : [];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > max) return true;
    level = level
      .flatMap((item) => Object.values(item) as unknown[])
      .filter((item): item is object => typeof item === 'object' && item !== null);
  }
  return false;
}

/** Keeps what was parsed for texts that come again, and not for long ones. */
export function documentCache<T>(): {
  get(text: string): T | undefined;
  set(text: string, value: T): void;
} {
  const entries = new Map<string, T>();
  return {
    get: (text) => entries.get(text),
    set(text, value) {
      if (text.length > 20_000) return;
      entries.delete(text);
      entries.set(text, value);
      const [oldest] = entries.keys();
      if (entries.size > 500 && oldest !== undefined) entries.delete(oldest);
    },
  };
}
