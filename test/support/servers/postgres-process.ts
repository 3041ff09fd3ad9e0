import { startEmbeddedPostgres } from '../../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../../src/infra/logger.ts';

// A separate process that starts a server, prints a line, and stops the server when its input ends.
// Run by test/infra/embedded-postgres/postgres.test.ts, which also kills it.
const database = await startEmbeddedPostgres({
  directory: String(process.argv[2]),
  log: createLogger({ level: 'silent' }),
  durable: false,
});
process.stdout.write(`${JSON.stringify({ url: database.url, reused: database.reused })}\n`);
process.stdin.resume().once('end', () => void database.stop());
