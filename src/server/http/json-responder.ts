/**
 * Queries and mutations in a JSON body, answered with JSON. These usual requests are executed and answered
 * without the plugin pipeline and the web streams of graphql-yoga, which cost more than a small query.
 * Yoga answers all other requests, and writes every result with errors.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DocumentNode, ExecutionArgs, ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { RequestContext } from '../authentication.ts';
import { isSubscriptionOperation } from '../execution/documents.ts';
import type { Execute } from '../execution/execution.ts';
import { schema } from '../schema.ts';
import { JSON_TYPES } from './accept.ts';
import { apiHeaders, isDisconnected } from './http-responses.ts';
import type { GraphQLParams } from './request-params.ts';

/**
 * Executes the operation and writes its result. False if yoga has to answer; nothing has been written then,
 * and yoga does not execute an operation again.
 */
export type RespondWithJson = (
  response: ServerResponse,
  request: ValidRequest,
  context: RequestContext,
) => Promise<boolean>;

/** A request with a valid document. */
export interface ValidRequest extends GraphQLParams {
  document: DocumentNode;
}

/** Results that yoga has to write. */
const results = new WeakMap<IncomingMessage, ExecutionResult>();

export function setExistingResult(request: IncomingMessage, result: ExecutionResult): void {
  results.set(request, result);
}

/** Makes yoga write a result that already exists. */
export function existingResultPlugin(): Plugin<RequestContext> {
  return {
    onParams({ context, setResult }) {
      const { req } = context as unknown as { req: IncomingMessage };
      const result = results.get(req);
      if (result) setResult(result);
    },
  };
}

export function createJsonResponder(execute: Execute): RespondWithJson {
  return async (response, { document, operationName, variables }, context) => {
    const { req: request } = response;
    const type = responseType(request.headers.accept);
    if (!type || isSubscriptionOperation(document, operationName) !== false) return false;
    const result = await execute({
      schema,
      document,
      contextValue: context,
      variableValues: variables,
      operationName,
    } as ExecutionArgs);
    if (isDisconnected(response)) return true;
    if (result.errors) {
      setExistingResult(request, result);
      return false;
    }
    const body = JSON.stringify(result);
    response.writeHead(200, {
      ...apiHeaders(context.requestId),
      'content-type': `${type}; charset=utf-8`,
      'content-length': Buffer.byteLength(body),
    });
    // As a string, it is written together with the headers.
    response.end(body);
    return true;
  };
}

/**
 * JSON type of the response: the first one that the client names, or null. Ignores weights, like yoga.
 */
function responseType(accept = '*/*'): string | null {
  for (const range of accept.split(',')) {
    const [type = ''] = range.replace(/\s/g, '').toLowerCase().split(';');
    if (/;\s*charset=/i.test(range)) return null;
    if (JSON_TYPES.includes(type)) return type;
    if (type === '*/*' || type === 'application/*') return 'application/json';
  }
  return null;
}
