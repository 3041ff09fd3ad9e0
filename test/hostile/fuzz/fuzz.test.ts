/**
 * Random operations from callers of every kind. Runs for FUZZ_SECONDS, always from the same seed unless FUZZ_SECONDS is
 * set. A failure names its seed; FUZZ_SEED starts with that seed.
 */
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  validate,
} from 'graphql';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { executeQuery } from '../../../src/graphql/executor/query-executor.ts';
import { authenticate } from '../../../src/organizations/authentication.ts';
import { parseWithinLimits } from '../../../src/server/limits/document-limits.ts';
import { schema } from '../../../src/server/schema.ts';
import { liveBytes } from '../../support/memory.ts';
import { createOneOfEach } from '../../support/one-of-each.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { type Chance, chanceFrom } from './chance.ts';
import { randomOperation } from './operations.ts';
import { type Answered, sendOverHttp, sendOverSocket } from './senders.ts';
import type { Pool } from './values.ts';

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 10);
const SEED = Number(process.env.FUZZ_SEED ?? (process.env.FUZZ_SECONDS ? Date.now() % 1e9 : 1));
const AT_ONCE = 4;
/**
 * Maximum growth during the second half, since caches fill first, most of them within a minute: documents with their
 * query plans (35 MB), a thousand plans of each Prisma client (10 MB each) and compiled code (10 MB). Prisma's plans
 * of batches fill for hours (20 MB). A run of a few seconds still fills the others in its second half.
 */
const MAX_GROWTH_BYTES = 60 * 1024 * 1024;
const MAX_HEALTH_MS = 3_000;
/** Answers that may take longer when the machine is busy with something else: two, or one in a hundred. */
const maxSlow = (answers: number): number => Math.max(2, Math.floor(answers / 100));
const MAX_POOL = 200;
/** Stand in the texts of the first and of the second organization. */
const MARKS = ['Zanzibar', 'Timbuktu'] as const;

interface Caller {
  name: string;
  key: string | null;
  /** What must not stand in any answer to it. */
  mustNotSee: () => RegExp | null;
}

let server: TestServer;
let callers: Caller[];
const logged: string[] = [];
/** What the first organization has, which all callers try. */
const seen: Pool = { ids: [], cursors: [] };
/** What the member must not delete, since callers depend on it. */
const needed = new Set<string>();
let succeeded = 0;

function note(printed: unknown): void {
  logged.push(String((printed as Error).stack ?? printed));
}
/** Ids that both organizations see, such as those of public voices. */
const shared = new Set<string>();

beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  vi.spyOn(server.app.log, 'error').mockImplementation((...entry: unknown[]) => {
    const { err, ...fields } = entry[0] as { err?: Error };
    logged.push(`${JSON.stringify(fields)} ${entry[1]} ${err?.stack ?? err}`);
  });
  // Nothing is to be printed past the logger either.
  process.on('warning', note);
  for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace'] as const)
    vi.spyOn(console, method).mockImplementation((...printed) => note(printed.join(' ')));
  const ids = await createOneOfEach(server, MARKS[0]);
  seen.ids.push(...Object.values(ids));
  for (const id of [ids.Call, ids.Campaign]) needed.add(id!);
  const other = await server.newOrganization(`${MARKS[1]} organization`);
  await other.client.send(
    `mutation { createContactFolder(input: { name: "${MARKS[1]} folder" }) { contactFolder { id } } }`,
  );
  for (const { id } of (await other.client.send('{ voices(first: 100) { nodes { id } } }')).data
    .voices.nodes) {
    shared.add(id);
  }
  const { client } = server;
  const make = async (name: string, input: string, selection: string) =>
    (await client.send(`mutation { ${name}(input: ${input}) { ${selection} } }`)).data[name];
  const reader = await make(
    'createApiKey',
    '{ name: "reader", scopes: [READ] }',
    'key apiKey { id }',
  );
  const ofCall = await make('createAccessToken', `{ callId: "${ids.Call}" }`, 'accessToken');
  const ofCampaign = await make(
    'createAccessToken',
    `{ campaignId: "${ids.Campaign}" }`,
    'accessToken',
  );
  const keys = (await client.send('{ apiKeys(first: 100) { nodes { id } } }')).data.apiKeys.nodes;
  for (const { id } of keys) needed.add(id);
  const narrowed = /(zanzibar|timbuktu) (key|tool|lookup|base|site|folder)/i;
  callers = [
    { name: 'stranger', key: null, mustNotSee: () => /zanzibar|timbuktu/i },
    { name: 'call token', key: ofCall.accessToken, mustNotSee: () => narrowed },
    { name: 'campaign token', key: ofCampaign.accessToken, mustNotSee: () => narrowed },
    { name: 'reader', key: reader.key, mustNotSee: () => /timbuktu/i },
    { name: 'member', key: server.key, mustNotSee: () => /timbuktu/i },
    { name: 'other', key: other.key, mustNotSee: () => /zanzibar/i },
  ];
});
afterAll(async () => {
  process.off('warning', note);
  vi.restoreAllMocks();
  await server?.close();
});

async function runOne(seed: number, failures: string[]): Promise<void> {
  const chance = chanceFrom(seed);
  const caller = chance.one(chance.is(0.5) ? callers.slice(-3) : callers);
  const isMember = caller.name === 'member';
  const ids = isMember ? seen.ids.filter((id) => !needed.has(id)) : seen.ids;
  const operation = randomOperation(chance, schema, { ...seen, ids });
  const send = chance.is(0.15) ? sendOverSocket : sendOverHttp;
  const before = logged.length;
  let answer: Answered;
  try {
    answer = await send(server.url, caller.key, operation);
  } catch (error) {
    answer = { status: 599, text: String((error as Error).cause ?? error) };
  }
  const why = problemOf(caller, answer);
  if (why) {
    const log = logged.slice(before).join('\n');
    failures.push(
      [
        `seed ${seed}, ${caller.name}: ${why}`,
        operation.document.slice(0, 1_500),
        JSON.stringify(operation.variables).slice(0, 1_500),
        answer.text.slice(0, 1_000),
        log.slice(0, 2_000),
      ].join('\n'),
    );
  }
  if (/"data":\{"(?!r0":null)/.test(answer.text)) succeeded += 1;
  if (isMember) remember(chance, answer.text);
}

function problemOf(caller: Caller, { status, text }: Answered): string | null {
  if (status !== null && status >= 500) return `status ${status}`;
  if (/"code":"(INTERNAL|UNAVAILABLE)"/.test(text)) return 'INTERNAL';
  const leak = caller.mustNotSee()?.exec(text);
  if (leak) return `it reads "${leak[0]}"`;
  if (caller.name !== 'other' && caller.name !== 'stranger') return null;
  // Within a message stands an id that was sent.
  const id = seen.ids.find((one) => !shared.has(one) && text.includes(`"${one}"`));
  return id ? `it reads the id ${id}` : null;
}

/** Keeps ids and cursors of an answer for later operations. */
function remember(chance: Chance, text: string): void {
  const add = (kept: string[], found: string[]): void => {
    for (const one of found) {
      if (kept.length < MAX_POOL) kept.push(one);
      else kept[chance.below(MAX_POOL)] = one;
    }
  };
  const ids = text.match(/\b[a-z]{3}_[0-9a-f]{8}-[0-9a-f-]{27}\b/g) ?? [];
  add(
    seen.ids,
    [...new Set(ids)].filter((id) => !seen.ids.includes(id)),
  );
  const cursors = [...text.matchAll(/"(?:f\d+|startCursor|endCursor|cursor)":"([\w-]{41,})"/g)];
  add(
    seen.cursors,
    cursors.map(([, cursor]) => cursor!),
  );
}

const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** How long each answer of /health took, asked ten times a second. */
async function watchHealth(signal: AbortSignal): Promise<number[]> {
  const times: number[] = [];
  while (!signal.aborted) {
    const start = performance.now();
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return times;
}

/** Cursors and tokens are different each time. */
const comparable = ({ data, errors }: ExecutionResult): string => {
  const sorted = errors?.map((error) => JSON.stringify(error.toJSON())).sort();
  return JSON.stringify({ data, errors: sorted }).replace(/[\w.-]{60,}/g, '*');
};

it('random queries are executed as by graphql-js', async () => {
  let compared = 0;
  for (let seed = SEED; seed < SEED + 400; seed += 1) {
    const chance = chanceFrom(seed);
    const { key } = chance.one(callers.slice(1));
    const { kind, document: text, variables } = randomOperation(chance, schema, seen);
    if (kind !== 'query') continue;
    const viewer = await authenticate(server.app, key!, null);
    let document: DocumentNode;
    try {
      document = parseWithinLimits(text);
    } catch {
      continue;
    }
    if (validate(schema, document).length > 0) continue;
    const argsOf = (): ExecutionArgs => ({
      schema,
      document,
      variableValues: variables,
      contextValue: { app: server.app, feed: server.server!.feed, viewer, execution: {} },
    });
    // Null is for what is left to graphql-js.
    const ours = async () => {
      const result = await executeQuery(argsOf());
      return result && comparable(result);
    };
    if ((await ours()) === null) continue;
    // A forecast begins now.
    const now = vi.spyOn(server.app, 'now').mockReturnValue(server.app.now());
    // Work in the background may change what they read; a true difference stays.
    let first = await ours();
    let expected = comparable(await execute(argsOf()));
    for (let again = 0; first !== expected && again < 5; again += 1) {
      first = await ours();
      expected = comparable(await execute(argsOf()));
    }
    now.mockRestore();
    expect(first, text).toBe(expected);
    compared += 1;
  }
  expect(compared).toBeGreaterThan(20);
}, 240_000);

it(
  'random operations give no INTERNAL, no value of another organization, and leave no memory behind',
  async () => {
    const failures: string[] = [];
    let next = SEED;
    const run = async (enough: () => boolean): Promise<void> => {
      const worker = async (): Promise<void> => {
        while (!enough() && failures.length < 5) {
          next += 1;
          await runOne(next - 1, failures);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    };
    const stop = new AbortController();
    const health = watchHealth(stop.signal);
    const end = Date.now() + SECONDS * 1000;
    await run(() => Date.now() > end - SECONDS * 500);
    const memory = await liveBytes();
    await run(() => Date.now() > end);
    stop.abort();
    const times = await health;
    const growth = (await liveBytes()) - memory;
    process.stdout.write(
      `${next - SEED} operations, ${succeeded} with data; memory ${megabytes(memory)} MB at half time, then ${megabytes(growth)} MB more; slowest /health ${Math.max(...times).toFixed(0)} ms\n`,
    );
    expect(failures.join('\n\n')).toBe('');
    expect(logged.join('\n').slice(0, 10_000)).toBe('');
    const slow = times.filter((time) => time > MAX_HEALTH_MS);
    expect(slow.length, `took ${slow.join()} ms`).toBeLessThanOrEqual(maxSlow(times.length));
    expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
  },
  SECONDS * 1000 + 240_000,
);
