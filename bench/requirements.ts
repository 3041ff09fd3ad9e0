/** Fails if this machine lacks something that `npm run bench` needs. */
import { existsSync } from 'node:fs';
import { redisAvailable } from '../test/support/servers/redis.ts';

const missing: string[] = [];
if (!existsSync('/proc/self/stat')) {
  missing.push('/proc, from which CPU and memory of the servers are read: run it on Linux');
}
if (!redisAvailable()) missing.push('redis-server in the PATH');
if (missing.length > 0) {
  process.stderr.write(`The benchmarks need ${missing.join(', and ')}.\n`);
  process.exit(1);
}
