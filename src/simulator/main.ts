/** Runs the simulator in its own process: `npm run simulator`. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type SimulatorOptions, type SimulatorSettings, startSimulator } from './simulator.ts';

const DEFAULT_PORT = 4010;

function number(name: string): number | undefined {
  const given = process.env[name];
  if (given === undefined || given === '') return undefined;
  const value = Number(given);
  if (!Number.isFinite(value)) throw new Error(`${name} must be a number, not "${given}".`);
  return value;
}

function settings(): Partial<SimulatorSettings> {
  const given = process.env.SIMULATOR_SETTINGS;
  if (given === undefined || given === '') return {};
  try {
    return JSON.parse(given);
  } catch {
    throw new Error('SIMULATOR_SETTINGS must be a JSON object.');
  }
}

async function main(): Promise<void> {
  const { SIMULATOR_API_KEY: apiKey, SIMULATOR_DATA: data, SIMULATOR_HOST: host } = process.env;
  const speed = number('SIMULATOR_SPEED');
  const options: SimulatorOptions = {
    port: number('SIMULATOR_PORT') ?? DEFAULT_PORT,
    settings: settings(),
    log: (level, message, details) => {
      if (level === 'debug') return;
      process.stderr.write(`${level}: ${message} ${details ? JSON.stringify(details) : ''}\n`);
    },
    ...(apiKey ? { apiKey } : {}),
    ...(host ? { host } : {}),
    ...(data ? { databasePath: data } : {}),
    ...(speed === undefined ? {} : { speed }),
  };
  if (data) mkdirSync(dirname(data), { recursive: true });
  const simulator = await startSimulator(options);
  process.stdout.write(
    [
      'Ultravox simulator',
      `  address   ${simulator.url}`,
      `  API key   ${simulator.apiKey}`,
      `  data      ${data || 'in memory'}`,
      `  speed     ${simulator.settings().speed}`,
      '  steering  docs/simulator.md',
      '',
    ].join('\n'),
  );
  const stop = () => {
    simulator.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
}

main().catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  const advice = message.includes('EADDRINUSE') ? '. Set SIMULATOR_PORT to another port.' : '';
  process.stderr.write(`${message}${advice}\n`);
  process.exitCode = 1;
});
