import { type LoggerOptions as PinoOptions, pino } from 'pino';

type Write = {
  (fields: object, message?: string): void;
  (message: string): void;
};

/** What everything below the entry points may ask of a logger. */
export interface Logger {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LoggerOptions {
  level: LogLevel;
  /** One readable line per entry, for a terminal. The default is one JSON object per line. */
  pretty?: boolean;
}

const secretFields = [
  'authorization',
  'Authorization',
  'cookie',
  'x-api-key',
  'X-API-Key',
  'X-Api-Key',
  'apiKey',
  'api_key',
  'password',
  'token',
  'accessToken',
  'refreshToken',
  'secret',
  'clientSecret',
  'webhookSecret',
  'privateKey',
  'joinUrl',
  'databaseUrl',
  'redisUrl',
  'connectionString',
];

/** Secrets are cut wherever they are usually carried: in the entry itself, or up to two objects deep. */
const secretPaths = secretFields.flatMap((field) => {
  const key = `["${field}"]`;
  return [key, `*${key}`, `*.*${key}`];
});

/** Nothing that opens a door is ever printed, whatever object somebody logs in a hurry. */
export function createLogger({ level, pretty = false }: LoggerOptions): Logger {
  const options: PinoOptions = {
    level,
    base: null,
    redact: { paths: secretPaths, censor: '[redacted]' },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
  };
  return pretty
    ? pino(options, { write: (line) => process.stdout.write(readable(line)) })
    : pino(options);
}

function readable(line: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 19);
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${compact(value)}`);
  const stack =
    typeof err === 'object' && err !== null && 'stack' in err ? `\n${String(err.stack)}` : '';
  return `${clock} ${String(level).padEnd(5)} ${msg === undefined ? '' : String(msg)}${fields.join('')}${stack}\n`;
}

function compact(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
