import { startEmbeddedPostgres } from '../../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../../src/infra/logger.ts';

// A process of its own that starts a server, says so in a line, and stops it when its input ends.
// Run by test/infra/embedded-postgres/postgres.test.ts, which also kills it.
const database = await startEmbeddedPostgres({
  directory: String(process.argv[2]),
  log: createLogger({ level: 'silent' }),
  durable: false,
});
process.stdout.write(`${JSON.stringify({ url: database.url, reused: database.reused })}\n`);
process.stdin.resume().once('end', () => void database.stop());
