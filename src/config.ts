/**
 * All settings, read once from the environment and checked together. A test compares the README's
 * table of settings with `SETTINGS`.
 */
import { z } from 'zod';
import { ConfigError } from './errors.ts';

const url = (protocols: string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `must be an address beginning with ${protocols.map((p) => `${p}//`).join(' or ')}`,
  });
const wholeNumber = (min: number, max: number) =>
  z.coerce
    .number({ error: 'must be a number' })
    .int('must be a whole number')
    .min(min, `must be at least ${min.toLocaleString('en-US')}`)
    .max(max, `must be at most ${max.toLocaleString('en-US')}`);
const positive = (max: number) =>
  z.coerce
    .number({ error: 'must be a number' })
    .positive('must be greater than 0')
    .max(max, `must be at most ${max.toLocaleString('en-US')}`);
const flag = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .transform((text) => text === 'true');

interface Setting {
  schema: z.ZodType;
  /** As written in the environment. Absent if there is no default. */
  default?: string;
  /** One sentence for the README. */
  about: string;
}

/** In the order of the README's table. */
export const SETTINGS = {
  PORT: {
    schema: wholeNumber(0, 65535),
    default: '4000',
    about:
      'Port of the API. `0` picks a free port. If neither `PORT` nor `DATABASE_URL` is set and 4000 is in use, a free port is used.',
  },
  HOST: {
    schema: z.string(),
    default: '127.0.0.1',
    about: 'Address to listen on. `0.0.0.0` in a container or behind a proxy.',
  },
  PUBLIC_URL: {
    schema: url(['http:', 'https:']),
    about:
      'Public address of this server, to which Ultravox sends its webhooks. Required with `ULTRAVOX_API_KEY`. Default: the address it listens on.',
  },
  ROLE: {
    schema: z.enum(['all', 'api', 'worker'], { error: 'must be all, api or worker' }),
    default: 'all',
    about: '`api` serves requests, `worker` runs jobs, `all` does both.',
  },
  DATABASE_URL: {
    schema: url(['postgres:', 'postgresql:']),
    about:
      'PostgreSQL 15 or later. Its collation determines the order of names. Default: an embedded PostgreSQL 18, kept in `DATA_DIR`.',
  },
  DATABASE_CONNECTIONS: {
    schema: wholeNumber(16, 1_000),
    default: '37',
    about:
      'Maximum number of PostgreSQL connections that this process keeps open, at least 16. Seven are for exports and the job queue, and a third of the rest is for queries and subscriptions. A few more are opened briefly at startup and when the server has stopped responding.',
  },
  PREPARED_STATEMENTS: {
    schema: flag,
    default: 'true',
    about:
      'Whether to prepare statements once per connection. Set to `false` behind a pooler that does not support prepared statements.',
  },
  DATABASE_WAIT_SECONDS: {
    schema: wholeNumber(0, 86_400),
    default: '60',
    about: 'How long to wait at startup for a database that cannot be reached.',
  },
  READ_TIMEOUT_SECONDS: {
    schema: positive(3600),
    default: '10',
    about:
      'Maximum time for one database statement of a query or subscription, and for a `totalCount`, a filtered or sorted `Contact.calls` or a query that costs more than 2,500 to wait for others of the same organization. Mutations, jobs and exports have no time limit.',
  },
  REDIS_URL: {
    schema: url(['redis:', 'rediss:']),
    about:
      'Redis for live updates between processes. Default: live updates stay within the process.',
  },
  DATA_DIR: {
    schema: z.string().min(1),
    default: '.data',
    about: "Directory of the embedded database, the simulator's state and generated keys.",
  },
  ENCRYPTION_KEY: {
    schema: z.string().min(32, 'must be at least 32 characters'),
    about:
      'Key that encrypts stored third-party secrets. Required with `DATABASE_URL`; otherwise generated once and kept in `DATA_DIR`.',
  },
  ULTRAVOX_API_KEY: {
    schema: z
      .string()
      .regex(
        /^[a-zA-Z0-9]{8}\.[a-zA-Z0-9]{32}$/,
        'must have the form of an Ultravox key: 8 letters or digits, a dot, 32 letters or digits',
      ),
    about:
      'API key of an Ultravox account. Default: the built-in simulator and a demo organization.',
  },
  ULTRAVOX_BASE_URL: {
    schema: url(['http:', 'https:']),
    default: 'https://api.ultravox.ai',
    about: 'Address of Ultravox, without `/api`.',
  },
  ANALYSIS_BASE_URL: {
    schema: url(['http:', 'https:']),
    about:
      'Address of an OpenAI-compatible API that analyzes calls, such as `https://api.openai.com/v1`. Transcripts are sent to it. Default: the simulator; with `ULTRAVOX_API_KEY`, none, and calls are not analyzed.',
  },
  ANALYSIS_API_KEY: {
    schema: z.string().regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces'),
    about: 'API key for `ANALYSIS_BASE_URL`. Default: no key is sent.',
  },
  ANALYSIS_MODEL: {
    schema: z.string().max(200),
    about: 'Name of the model to use at `ANALYSIS_BASE_URL`. Required with `ANALYSIS_BASE_URL`.',
  },
  ALLOW_ULTRAVOX_CHANGE: {
    schema: flag,
    default: 'false',
    about:
      'Whether to accept a database that belongs to the simulator or to another Ultravox account, and assign it to the current one.',
  },
  ULTRAVOX_MAX_CALLS_PER_SECOND: {
    schema: wholeNumber(1, 10_000),
    default: '5',
    about: 'Maximum calls created per second, across all processes (Ultravox plan).',
  },
  ULTRAVOX_MAX_CALLS_PER_MINUTE: {
    schema: wholeNumber(1, 100_000),
    default: '30',
    about: 'Maximum calls created per minute, across all processes (Ultravox plan).',
  },
  ULTRAVOX_MAX_CONCURRENT_CALLS: {
    schema: wholeNumber(1, 100_000),
    default: '5',
    about: 'Maximum concurrent calls, across all processes (Ultravox plan).',
  },
  ORGANIZATION_MAX_CONCURRENT_CALLS: {
    schema: wholeNumber(1, 100_000),
    default: '100',
    about:
      'Maximum concurrent calls of one organization. If it is lower than `ULTRAVOX_MAX_CONCURRENT_CALLS`, some slots stay free for the others.',
  },
  CALLING_WINDOW_MARGIN_SECONDS: {
    schema: wholeNumber(0, 30),
    default: '2',
    about:
      'Time before the end of each calling window during which campaigns start no more calls, 0 to 30. A creation request that Ultravox has not answered by the end of the window is abandoned, so set this longer than such a request usually takes.',
  },
  ULTRAVOX_TIMEOUT_SECONDS: {
    schema: positive(300),
    default: '30',
    about: 'Timeout of one request to Ultravox.',
  },
  ULTRAVOX_WEBHOOK_TOLERANCE_SECONDS: {
    schema: wholeNumber(1, 3600),
    default: '60',
    about: 'Maximum age of a webhook from Ultravox.',
  },
  CALL_CHECK_SECONDS: {
    schema: positive(3600),
    default: '60',
    about:
      'A live call that has had no update for this long is looked up at Ultravox; after 5 seconds at most if its end was requested.',
  },
  CALL_LOST_AFTER_SECONDS: {
    schema: positive(3600),
    default: '120',
    about:
      'How long after its maximum duration a call whose end was never reported is closed as lost. Also how long to look for a call at Ultravox when the outcome of its creation request is unknown.',
  },
  CALL_REFUSED_AFTER_SECONDS: {
    schema: positive(3600),
    default: '60',
    about:
      'How long after a 503 for its creation request a call is looked for at Ultravox before it is dialed again. It holds a slot for at most ten seconds of that. Set it longer than a gateway may take to carry out a request that it has answered with 503, or a phone may ring twice.',
  },
  PRICE_PER_MINUTE: {
    schema: z.string().regex(/^\d{1,6}(\.\d{1,6})?$/, 'must be a decimal number such as 0.05'),
    default: '0.05',
    about: 'Price of a billed minute.',
  },
  PRICE_CURRENCY: {
    schema: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as USD'),
    default: 'USD',
    about: 'Currency of `PRICE_PER_MINUTE`.',
  },
  EVENT_RETENTION_DAYS: {
    schema: wholeNumber(1, 3650),
    default: '30',
    about:
      'Retention time of the event log. Events are dropped by partition, so they are kept up to a tenth longer, or up to a day longer if that is more.',
  },
  EVENT_POLL_SECONDS: {
    schema: positive(60),
    default: '2',
    about: 'Interval at which the event log is polled for subscribers when no wake-up arrives.',
  },
  RUN_INTERVAL_SECONDS: {
    schema: positive(60),
    default: '1',
    about:
      'Minimum time between two runs of the campaigns, and between two batches of the steps after calls, while calls end constantly. With a higher value, more calls share the statements of a run, but free slots and next steps wait up to that much longer.',
  },
  TRANSCRIPT_RETENTION_DAYS: {
    schema: wholeNumber(1, 3650),
    about:
      'Retention time of transcripts. After it, what was said is removed, also from the event log and from webhooks; summaries and analyses are kept. Default: kept until the call is deleted.',
  },
  RATE_LIMIT_PER_MINUTE: {
    schema: wholeNumber(0, 1_000_000),
    default: '1000',
    about:
      "Operations per organization and minute, across all processes with `REDIS_URL`. Each mutation field counts as one operation, and so does every 250 of an operation's cost. The same number of invalid documents is allowed in addition. Requests without a key are limited to 120 per address. `0` disables both limits.",
  },
  MAX_SUBSCRIPTIONS: {
    schema: wholeNumber(1, 1_000_000),
    default: '1000',
    about:
      'Maximum open subscriptions per organization, across all processes with `REDIS_URL`. One API key may use half of them.',
  },
  MAX_UPLOADS: {
    schema: wholeNumber(1, 1_000),
    default: '20',
    about: 'Maximum concurrent multipart uploads per process. Each takes up to 250 MB of disk.',
  },
  MAX_QUERY_COST: {
    schema: wholeNumber(1, 100_000_000),
    default: '150000',
    about:
      'Maximum cost of an operation: the number of objects it could return, with every list counted as full, plus 5 for each field with a selection, 20 for each `totalCount` and 1,000 for each forecast.',
  },
  DEMO_API_KEY: {
    schema: z
      .string()
      .regex(/^truedy_[A-Za-z0-9]{32}$/, 'must be truedy_ and 32 letters or digits'),
    about: 'Fixed API key of the demo organization, for scripts. Default: generated once.',
  },
  DEMO_DATA: {
    schema: flag,
    default: 'true',
    about: 'Whether the demo organization starts with an agent, a number and a few calls.',
  },
  ALLOW_PRIVATE_ADDRESSES: {
    schema: flag,
    default: 'false',
    about:
      'Whether to accept webhook and tool addresses that are not public HTTPS. For local development only.',
  },
  WEBHOOK_ALLOWED_URLS: {
    schema: z
      .string()
      .transform((text) =>
        text
          .split(',')
          .map((entry) => entry.trim())
          .filter(Boolean),
      )
      .refine(
        (entries) => entries.every((entry) => /^https?:/i.test(entry) && URL.canParse(entry)),
        {
          message: 'must be addresses beginning with http:// or https://, separated by commas',
        },
      )
      .transform((entries) => entries.map((entry) => new URL(entry).href)),
    about:
      'Comma-separated webhook addresses to accept, with everything below their paths, even if they are not public HTTPS. Default: the receiver of the built-in simulator.',
  },
  WEBHOOK_TIMEOUT_SECONDS: {
    schema: positive(60),
    default: '15',
    about: 'Time within which a webhook receiver must respond.',
  },
  TRUST_PROXY: {
    schema: flag,
    default: 'false',
    about:
      'Whether to take the client address from the last entry of `X-Forwarded-For`. Only for use behind a proxy that sets this header.',
  },
  SIMULATOR_PORT: {
    schema: wholeNumber(0, 65535),
    default: '4010',
    about: 'Port of the built-in simulator. If it is in use, a free port is used.',
  },
  SIMULATOR_SPEED: {
    schema: positive(10_000),
    default: '1',
    about: 'Speed of simulated calls, as a multiple of real time.',
  },
  LOG_LEVEL: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent'], {
      error: 'must be debug, info, warn, error or silent',
    }),
    default: 'info',
    about: 'Minimum level of logged messages.',
  },
  LOG_FORMAT: {
    schema: z.enum(['pretty', 'json'], { error: 'must be pretty or json' }),
    default: 'pretty',
    about: '`pretty` logs one readable line per entry, `json` one JSON object.',
  },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof SETTINGS;
type Value<N extends Name> = z.output<(typeof SETTINGS)[N]['schema']>;
type HasDefault<N extends Name> = (typeof SETTINGS)[N] extends { default: string } ? true : false;

/** Typed settings by name. A setting without a default may be undefined. */
export type Config = {
  readonly [N in Name]: HasDefault<N> extends true ? Value<N> : Value<N> | undefined;
};

/** Whether an address is on this machine. A service there can reach this server without PUBLIC_URL. */
export function isLoopback(address: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(address).hostname);
}

/**
 * Reads and checks all settings.
 *
 * @throws ConfigError that names every wrong setting at once.
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries<Setting>(SETTINGS)) {
    const text = environment[name]?.trim() || setting.default;
    if (text === undefined) continue;
    const result = setting.schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else problems.push(`${name} ${result.error.issues.map((issue) => issue.message).join(', ')}`);
  }
  const given = (name: Name): boolean => Boolean(environment[name]?.trim());
  if (given('DATABASE_URL') && !given('ENCRYPTION_KEY')) {
    problems.push(
      'ENCRYPTION_KEY is required with DATABASE_URL: at least 32 characters, the same for every process',
    );
  }
  const ultravox = values.ULTRAVOX_BASE_URL;
  const nearby = typeof ultravox === 'string' && isLoopback(ultravox);
  if (given('ULTRAVOX_API_KEY') && !nearby && !given('PUBLIC_URL')) {
    problems.push(
      'PUBLIC_URL is required with ULTRAVOX_API_KEY: Ultravox sends its webhooks there',
    );
  }
  if (given('ULTRAVOX_BASE_URL') && !given('ULTRAVOX_API_KEY')) {
    problems.push('ULTRAVOX_API_KEY is required with ULTRAVOX_BASE_URL');
  }
  if (given('ANALYSIS_BASE_URL') !== given('ANALYSIS_MODEL')) {
    problems.push('ANALYSIS_BASE_URL and ANALYSIS_MODEL are required together');
  }
  if (given('ANALYSIS_API_KEY') && !given('ANALYSIS_BASE_URL')) {
    problems.push('ANALYSIS_BASE_URL is required with ANALYSIS_API_KEY');
  }
  if (!given('DATABASE_URL') && ['api', 'worker'].includes(environment.ROLE?.trim() ?? '')) {
    problems.push(
      'DATABASE_URL is required with ROLE api or worker: the embedded database serves one process',
    );
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values as Config;
}
