/** Writes log entries without secrets. */
import { type LoggerOptions as PinoOptions, pino } from 'pino';

type Write = {
  (fields: object, message?: string): void;
  (message: string): void;
};

/** The part of a logger that all code except the entry points uses. */
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

/** Names of fields that contain secrets. */
const secretFields = [
  'authorization',
  'Authorization',
  'cookie',
  'x-api-key',
  'X-API-Key',
  'X-Api-Key',
  'apiKey',
  'api_key',
  'authToken',
  'credentials',
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

/** Secrets are redacted in the entry itself and up to two objects deep. */
const secretPaths = secretFields.flatMap((field) => {
  const key = `["${field}"]`;
  return [key, `*${key}`, `*.*${key}`];
});

/** Creates a logger that writes to standard output, without secrets. */
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

/**
 * Formats an entry on one line, with the stack of its error on indented lines. No value can start a line or reach
 * the terminal as a control sequence.
 */
function readable(line: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 19);
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${compact(value)}`);
  const entry = `${msg === undefined ? '' : String(msg)}${fields.join('')}`;
  const stack =
    typeof err === 'object' && err !== null && 'stack' in err
      ? String(err.stack)
          .split('\n')
          .map((frame) => `\n    ${escapeControls(frame.trim())}`)
          .join('')
      : '';
  return `${clock} ${String(level).padEnd(5)} ${escapeControls(entry)}${stack}\n`;
}

function compact(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (character) =>
    JSON.stringify(character).length > 3
      ? JSON.stringify(character).slice(1, -1)
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
