/** A GraphQL client over HTTP for typed documents, and for arbitrary text such as invalid documents. */
import type { TypedDocumentString } from '../generated/graphql.ts';

export interface GraphQLClient {
  readonly url: string;
  readonly key: string | null;
  /** Returns the data. Throws if there is any error. */
  ok<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    ...[variables]: Variables extends Record<string, never> ? [] : [Variables]
  ): Promise<Result>;
  /** Returns the whole response. */
  send(document: unknown, variables?: unknown, options?: SendOptions): Promise<Answer>;
}

export interface SendOptions {
  headers?: Record<string, string>;
  operationName?: string;
}

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the query asked for
  data: any;
  errors?: { message: string; path?: (string | number)[]; extensions: Record<string, unknown> }[];
  extensions?: Record<string, unknown>;
}

export function createClient(url: string, key: string | null): GraphQLClient {
  async function send(document: unknown, variables?: unknown, options: SendOptions = {}) {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...options.headers,
      },
      body: JSON.stringify({
        query: String(document),
        variables,
        operationName: options.operationName,
      }),
    });
    const text = await response.text();
    const body = JSON.parse(text) as Answer;
    return { ...body, status: response.status, headers: response.headers };
  }
  return {
    url,
    key,
    send,
    async ok(document, ...[variables]) {
      const answer = await send(document, variables);
      if (answer.errors) {
        throw new Error(
          `${JSON.stringify(answer.errors, null, 2)}\n\nfrom\n${document}\nwith ${JSON.stringify(variables)}`,
        );
      }
      return answer.data;
    },
  };
}
