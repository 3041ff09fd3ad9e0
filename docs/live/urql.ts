import { Client, type ExecutionResult, fetchExchange, subscriptionExchange } from '@urql/core';
import { createResumingClient } from './resuming-client.ts';

interface Options {
  /** `https://…/graphql` */
  url: string;
  getToken: () => Promise<string>;
}

export function createUrqlClient({ url, getToken }: Options): Client {
  const socket = createResumingClient({
    url: url.replace(/^http/, 'ws'),
    connectionParams: async () => ({ Authorization: `Bearer ${await getToken()}` }),
  });
  return new Client({
    url,
    preferGetMethod: false,
    exchanges: [
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables = {} }) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe(
              { query, variables },
              {
                next: (result) => sink.next(result as ExecutionResult),
                error: (error) => sink.error(error),
                complete: () => sink.complete(),
              },
            ),
          }),
        }),
      }),
      fetchExchange,
    ],
    fetch: async (input, init) => {
      const headers = new Headers(init?.headers);
      headers.set('authorization', `Bearer ${await getToken()}`);
      return fetch(input, { ...init, headers });
    },
  });
}
