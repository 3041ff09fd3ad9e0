/** Apollo Server 5, stand-alone. */
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { createContext, type PeerContext, resolvers, typeDefs } from './catalog.ts';
import { peerEnvironment } from './environment.ts';

process.env.NODE_ENV = 'production';
const server = new ApolloServer<PeerContext>({ typeDefs, resolvers: resolvers as never });
const { url } = await startStandaloneServer(server, {
  listen: { port: peerEnvironment().port, host: '127.0.0.1' },
  context: async () => createContext(),
});
process.stdout.write(`ready ${url}\n`);
