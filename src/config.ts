/**
 * Every setting there is, read once from the environment and checked together. The README's table
 * of settings is generated from this file's `SETTINGS` by a test, so the two cannot disagree.
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
    .min(min, `must be at least ${min}`)
    .max(max, `must be at most ${max}`);
const positive = (max: number) =>
  z.coerce
    .number({ error: 'must be a number' })
    .positive('must be above 0')
    .max(max, `must be at most ${max}`);
const flag = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .transform((text) => text === 'true');

interface Setting {
  schema: z.ZodType;
  /** As one would write it in the environment; absent means there is none. */
  default?: string;
  /** One sentence for the README. */
  about: string;
}

/** In the order of the README's table. */
export const SETTINGS = {
  PORT: {
    schema: wholeNumber(0, 65535),
    default: '4000',
    about: 'Port of the API. `0` takes a free one.',
  },
  HOST: {
    schema: z.string(),
    default: '127.0.0.1',
    about: 'Address to listen on. `0.0.0.0` in a container or behind a proxy.',
  },
  PUBLIC_URL: {
    schema: url(['http:', 'https:']),
    about:
      'Where the internet reaches this server; Ultravox sends its webhooks there. Needed with `ULTRAVOX_API_KEY`. Default: the address it listens on.',
  },
  ROLE: {
    schema: z.enum(['all', 'api', 'worker'], { error: 'must be all, api or worker' }),
    default: 'all',
    about: '`api` serves requests, `worker` runs jobs, `all` does both.',
  },
  DATABASE_URL: {
    schema: url(['postgres:', 'postgresql:']),
    about: 'PostgreSQL 15 or later. Default: an embedded PostgreSQL 18, kept in `DATA_DIR`.',
  },
  REDIS_URL: {
    schema: url(['redis:', 'rediss:']),
    about: 'Redis for live updates between processes. Default: within the process.',
  },
  DATA_DIR: {
    schema: z.string().min(1),
    default: '.data',
    about: 'Where the embedded database, the simulator and generated keys are kept.',
  },
  ENCRYPTION_KEY: {
    schema: z.string().min(32, 'must be at least 32 characters'),
    about:
      'Encrypts the secrets kept for others. Needed with `DATABASE_URL`; otherwise made once in `DATA_DIR`.',
  },
  ULTRAVOX_API_KEY: {
    schema: z
      .string()
      .regex(
        /^[a-zA-Z0-9]{8}\.[a-zA-Z0-9]{32}$/,
        'must have the form of an Ultravox key: 8 letters or digits, a dot, 32 letters or digits',
      ),
    about: 'The real Ultravox. Default: the built-in simulator, and a demo organisation.',
  },
  ULTRAVOX_BASE_URL: {
    schema: url(['http:', 'https:']),
    default: 'https://api.ultravox.ai',
    about: 'Address of Ultravox, without `/api`.',
  },
  ALLOW_ULTRAVOX_CHANGE: {
    schema: flag,
    default: 'false',
    about:
      'Start on a database that belongs to the simulator or to another Ultravox account, and make it belong to this one.',
  },
  ULTRAVOX_MAX_CALLS_PER_SECOND: {
    schema: wholeNumber(1, 10_000),
    default: '5',
    about: 'Calls created per second, over all processes (Ultravox plan).',
  },
  ULTRAVOX_MAX_CALLS_PER_MINUTE: {
    schema: wholeNumber(1, 100_000),
    default: '30',
    about: 'Calls created per minute, over all processes (Ultravox plan).',
  },
  ULTRAVOX_MAX_CONCURRENT_CALLS: {
    schema: wholeNumber(1, 100_000),
    default: '5',
    about: 'Calls created and not ended at once, over all processes (Ultravox plan).',
  },
  ORGANIZATION_MAX_CONCURRENT_CALLS: {
    schema: wholeNumber(1, 100_000),
    default: '100',
    about: 'Calls placed and not ended at once, for each organization.',
  },
  ULTRAVOX_TIMEOUT_SECONDS: {
    schema: positive(300),
    default: '30',
    about: 'How long one request to Ultravox may take.',
  },
  ULTRAVOX_WEBHOOK_TOLERANCE_SECONDS: {
    schema: wholeNumber(1, 3600),
    default: '60',
    about: 'How old a webhook of Ultravox may be.',
  },
  CALL_CHECK_SECONDS: {
    schema: positive(3600),
    default: '60',
    about: 'A live call that nothing was heard of for this long is looked up at Ultravox.',
  },
  CALL_SETTLE_SECONDS: {
    schema: positive(3600),
    default: '120',
    about:
      'How long after its longest possible duration a call whose end was never reported is settled; also how long a call whose placing was interrupted is looked for.',
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
    about: 'How long the event log is kept.',
  },
  EVENT_POLL_SECONDS: {
    schema: positive(60),
    default: '2',
    about: 'How often live subscribers are served from the log when no wake-up came.',
  },
  RATE_LIMIT_PER_MINUTE: {
    schema: wholeNumber(0, 1_000_000),
    default: '1000',
    about:
      'Operations per organisation, minute and process; each mutation field is one. Requests without a key have 120 per address. `0` switches both limits off.',
  },
  MAX_QUERY_COST: {
    schema: wholeNumber(1, 100_000_000),
    default: '150000',
    about:
      'Cost above which an operation is refused: the number of objects it could give, each list taken as full.',
  },
  DEMO_API_KEY: {
    schema: z
      .string()
      .regex(/^truedy_[A-Za-z0-9]{32}$/, 'must be truedy_ and 32 letters or digits'),
    about: 'Fixes the key of the demo organisation, for scripts. Default: made once.',
  },
  DEMO_DATA: {
    schema: flag,
    default: 'true',
    about:
      'Whether the demo organisation is given an agent, a number and a few calls at its first start.',
  },
  ALLOW_PRIVATE_ADDRESSES: {
    schema: flag,
    default: 'false',
    about: 'Accept webhook and tool addresses that are not public HTTPS. For local work only.',
  },
  TRUST_PROXY: {
    schema: flag,
    default: 'false',
    about:
      'Take the client address from `X-Forwarded-For` (last entry). Only behind a proxy that sets it.',
  },
  SIMULATOR_PORT: {
    schema: wholeNumber(0, 65535),
    default: '4010',
    about: 'Port of the built-in simulator. A free one is taken when it is in use.',
  },
  SIMULATOR_SPEED: {
    schema: positive(10_000),
    default: '1',
    about: 'How many times faster than real time simulated calls run.',
  },
  LOG_LEVEL: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent'], {
      error: 'must be debug, info, warn, error or silent',
    }),
    default: 'info',
    about: 'How much is logged.',
  },
  LOG_FORMAT: {
    schema: z.enum(['pretty', 'json'], { error: 'must be pretty or json' }),
    default: 'pretty',
    about: 'One readable line, or one JSON object, per entry.',
  },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof SETTINGS;
type Value<N extends Name> = z.output<(typeof SETTINGS)[N]['schema']>;
type HasDefault<N extends Name> = (typeof SETTINGS)[N] extends { default: string } ? true : false;

/** The settings under their own names, typed; those without a default may be undefined. */
export type Config = {
  readonly [N in Name]: HasDefault<N> extends true ? Value<N> : Value<N> | undefined;
};

/** Whether an address is one of this machine's own: what runs there reaches us without PUBLIC_URL. */
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
      'ENCRYPTION_KEY is needed with DATABASE_URL: at least 32 characters, the same for every process',
    );
  }
  const ultravox = values.ULTRAVOX_BASE_URL;
  const nearby = typeof ultravox === 'string' && isLoopback(ultravox);
  if (given('ULTRAVOX_API_KEY') && !nearby && !given('PUBLIC_URL')) {
    problems.push('PUBLIC_URL is needed with ULTRAVOX_API_KEY: Ultravox sends its webhooks there');
  }
  if (given('ULTRAVOX_BASE_URL') && !given('ULTRAVOX_API_KEY')) {
    problems.push('ULTRAVOX_API_KEY is needed with ULTRAVOX_BASE_URL');
  }
  if (!given('DATABASE_URL') && ['api', 'worker'].includes(environment.ROLE?.trim() ?? '')) {
    problems.push(
      'DATABASE_URL is needed with ROLE api or worker: the embedded database serves one process',
    );
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values as Config;
}
