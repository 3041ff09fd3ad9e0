/**
 * Runs the server with a clock that is ahead of the system clock by the milliseconds in the file CLOCK_FILE,
 * which `startServerProcess` sets. Prints the lines of the banner for which `startServerProcess` waits.
 */
import { readFileSync } from 'node:fs';
import { readConfig } from '../../../src/config.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { start } from '../../../src/start.ts';

const file = process.env.CLOCK_FILE ?? '';
const now = (): Date => new Date(Date.now() + Number(readFileSync(file, 'utf8')));

const config = readConfig(process.env);
const running = await start(config, createLogger({ level: config.LOG_LEVEL }), { now });
const key = running.firstKey ? `  API key    ${running.firstKey}\n` : '';
process.stdout.write(`  Ultravox   ${running.parts.ultravox}\n${key}\n`);
process.on('SIGTERM', () => void running.close().then(() => process.exit(0)));
