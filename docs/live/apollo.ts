import {
  type ApolloCache,
  ApolloClient,
  ApolloLink,
  HttpLink,
  InMemoryCache,
} from '@apollo/client';
import { SetContextLink } from '@apollo/client/link/context';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createResumingClient } from './resuming-client.ts';

interface Options {
  /** `https://…/graphql` */
  url: string;
  getToken: () => Promise<string>;
  cache?: ApolloCache;
}

export function createApolloClient({
  url,
  getToken,
  cache = new InMemoryCache(),
}: Options): ApolloClient {
  const socket = createResumingClient({
    url: url.replace(/^http/, 'ws'),
    connectionParams: async () => ({ Authorization: `Bearer ${await getToken()}` }),
  });
  const authorize = new SetContextLink(async ({ headers }) => ({
    headers: { ...headers, authorization: `Bearer ${await getToken()}` },
  }));
  return new ApolloClient({
    cache,
    link: ApolloLink.split(
      ({ operationType }) => operationType === 'subscription',
      new GraphQLWsLink(socket),
      authorize.concat(new HttpLink({ uri: url })),
    ),
  });
}
