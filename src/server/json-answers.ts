/**
 * Queries and mutations in a JSON body, answered with JSON: the usual request, executed and written
 * without the web streams of graphql-yoga, which cost more than a small query. Everything else, and
 * every result with errors, is written by yoga.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import type { Plugin, YogaServerInstance } from 'graphql-yoga';
import type { RequestContext } from './authentication.ts';
import { isGone } from './http-responses.ts';
import type { GraphQLParams } from './request-params.ts';

const JSON_TYPES = ['application/graphql-response+json', 'application/json'];

/** The pipeline of yoga's plugins, without its HTTP part. */
interface Enveloped {
  schema: ExecutionArgs['schema'];
  parse: (text: string) => DocumentNode;
  validate: (schema: ExecutionArgs['schema'], document: DocumentNode) => readonly unknown[];
  execute: (args: ExecutionArgs) => Promise<ExecutionResult>;
}

// biome-ignore lint/suspicious/noExplicitAny: the pipeline does not depend on yoga's server context
type AnyYoga = YogaServerInstance<any, any>;

/** Results that yoga has to write. */
const results = new WeakMap<IncomingMessage, ExecutionResult>();

/** Lets yoga write a result that exists already. */
export function knownResultPlugin(): Plugin<RequestContext> {
  return {
    onParams({ context, setResult }) {
      const { req } = context as unknown as { req: IncomingMessage };
      const result = results.get(req);
      if (result) setResult(result);
    },
  };
}

/**
 * Executes the operation and writes its result. False when yoga has to answer: nothing is written then,
 * and an operation that was executed is not executed again.
 */
export async function answerJson(
  yoga: AnyYoga,
  response: ServerResponse,
  params: GraphQLParams,
  context: RequestContext,
): Promise<boolean> {
  const { req: request } = response;
  const type = answerType(request.headers.accept);
  if (!type) return false;
  const pipeline = yoga.getEnveloped({ req: request, params } as never) as unknown as Enveloped;
  const document = documentOf(pipeline, params);
  if (!document) return false;
  const result = await pipeline.execute({
    schema: pipeline.schema,
    document,
    contextValue: context,
    variableValues: params.variables,
    operationName: params.operationName,
  } as ExecutionArgs);
  if (isGone(response)) return true;
  if (result.errors) {
    results.set(request, result);
    return false;
  }
  const body = JSON.stringify(result);
  response.writeHead(200, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
  });
  // A string is written together with the headers.
  response.end(body);
  return true;
}

/** The document of a valid query or mutation. Yoga reports what is wrong with others. */
function documentOf(
  { schema, parse, validate }: Enveloped,
  { query, operationName }: GraphQLParams,
): DocumentNode | null {
  let document: DocumentNode;
  try {
    document = parse(query);
  } catch {
    return null;
  }
  const operation = getOperationAST(document, operationName);
  if (!operation || operation.operation === OperationTypeNode.SUBSCRIPTION) return null;
  return validate(schema, document).length === 0 ? document : null;
}

/**
 * The JSON type that is answered with: the one that the client names first, or null. Weights are not
 * considered, as in yoga.
 */
function answerType(accept = '*/*'): string | null {
  for (const range of accept.split(',')) {
    const [type = ''] = range.replace(/\s/g, '').toLowerCase().split(';');
    if (/;\s*charset=/i.test(range)) return null;
    if (JSON_TYPES.includes(type)) return type;
    if (type === '*/*' || type === 'application/*') return 'application/json';
  }
  return null;
}
