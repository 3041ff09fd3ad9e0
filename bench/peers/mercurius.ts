/** Mercurius 16 on Fastify; with the argument `jit` it compiles operations on their second run. */
import Fastify from 'fastify';
import mercurius from 'mercurius';
import { createContext, resolvers, typeDefs } from './catalog.ts';
import { peerEnvironment } from './environment.ts';

const app = Fastify();
await app.register(mercurius, {
  schema: typeDefs,
  resolvers: resolvers as never,
  context: () => createContext(),
  jit: process.argv[2] === 'jit' ? 1 : 0,
});
await app.listen({ port: peerEnvironment().port, host: '127.0.0.1' });
process.stdout.write('ready\n');
