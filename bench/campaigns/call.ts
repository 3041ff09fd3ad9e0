/**
 * Cost of a campaign call, and delay of its events: `npx node bench/campaigns/call.ts [seconds] [situations…]`.
 * Four processes share one PostgreSQL and one Redis. One organization has 50 concurrent calls and three new ones per
 * second, or 100 concurrent shorter calls. The delay is measured from the arrival of Ultravox's `call.ended`
 * webhook at a load balancer in front of the processes to the subscriber. `STATEMENTS=1` prints each
 * statement and how often a call needs it. Needs `redis-server`.
 */
import { createServer, type Server as HttpServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient as createSocketClient } from 'graphql-ws';
import WebSocket from 'ws';
import {
  act,
  createCampaign,
  type Operator,
  people,
  prepareOperator,
} from '../../test/campaigns/support.ts';
import { createClient } from '../../test/support/graphql.ts';
import { startRedis } from '../../test/support/servers/redis.ts';
import { until } from '../../test/support/wait.ts';
import { type BenchDatabase, postgresCpuSeconds, startBenchDatabase } from '../support/database.ts';
import { freePort, type Server, startServer } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { countStatements, resetStatements, type Statements } from '../support/statements.ts';
import { startThisServer } from '../support/this-server.ts';

const PROCESSES = 4;
interface Situation {
  name: string;
  atOnce: number;
  perSecond: number;
  /** Number of calls that are made one by one afterward. */
  singleCalls: number;
}

const SITUATIONS: readonly Situation[] = [
  { name: 'three a second', atOnce: 50, perSecond: 3, singleCalls: 20 },
  { name: 'at load', atOnce: 100, perSecond: 12, singleCalls: 0 },
  // The most that one campaign can make with the shortest calls; keeps two cores busy.
  { name: 'short calls', atOnce: 100, perSecond: 30, singleCalls: 0 },
];
const SIMULATOR_KEY = 'SimuDemo.0123456789abcdefghijklmnopqrstuv';
const ENDED = new Set(['COMPLETED', 'FAILED', 'CANCELLED']);

/** Distributes webhooks over the processes, and records when `call.ended` of each call arrived. */
interface Balancer {
  url: string;
  targets: string[];
  endedAt: Map<string, number>;
  close(): void;
}

async function startBalancer(): Promise<Balancer> {
  const targets: string[] = [];
  const endedAt = new Map<string, number>();
  let turn = 0;
  const server: HttpServer = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const { event, call } = JSON.parse(String(body)) as {
        event: string;
        call: { metadata: { callId: string } };
      };
      const { callId } = call.metadata;
      if (event === 'call.ended' && !endedAt.has(callId)) endedAt.set(callId, performance.now());
      turn += 1;
      const target = new URL(incoming.url ?? '/', targets[turn % targets.length]);
      const { method, headers } = incoming;
      const forwarded = request(target, { method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502);
        answer.pipe(outgoing);
      });
      forwarded.on('error', () => outgoing.writeHead(502).end());
      forwarded.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    targets,
    endedAt,
    close: () => void server.close(),
  };
}

/** The delays in milliseconds from `call.ended` to a subscriber, as they arrive. */
function measureDelays(
  url: string,
  key: string,
  endedAt: Map<string, number>,
): { delays: number[]; stop: () => void } {
  const delays: number[] = [];
  let isStopped = false;
  const client = createSocketClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { Authorization: `Bearer ${key}` },
  });
  client.subscribe<{ callEvents: { type: string; callId: string } }>(
    { query: 'subscription { callEvents { cursor type callId } }' },
    {
      next({ data }) {
        if (!data || !ENDED.has(data.callEvents.type)) return;
        const arrivedAt = endedAt.get(data.callEvents.callId);
        if (arrivedAt !== undefined) delays.push(performance.now() - arrivedAt);
      },
      error: (error) => {
        if (!isStopped) throw error;
      },
      complete: () => undefined,
    },
  );
  return {
    delays,
    stop() {
      isStopped = true;
      void client.dispose();
    },
  };
}

async function startSimulatorProcess({ atOnce, perSecond }: Situation): Promise<Server> {
  const port = await freePort();
  return startServer({
    name: 'simulator',
    args: ['src/simulator/main.ts'],
    env: {
      SIMULATOR_PORT: String(port),
      SIMULATOR_API_KEY: SIMULATOR_KEY,
      SIMULATOR_SETTINGS: JSON.stringify({
        ringSeconds: 2,
        talkSeconds: atOnce / perSecond - 2.5,
        jitter: 0.2,
      }),
    },
    ready: /steering/,
    port,
  });
}

interface Process {
  server: Server;
  key: string;
}

function startProcess(
  database: BenchDatabase,
  settings: { redis: string; simulator: string; webhooks: string; situation: Situation },
): Promise<Process> {
  const { atOnce, perSecond } = settings.situation;
  return startThisServer(database, {
    REDIS_URL: settings.redis,
    ULTRAVOX_API_KEY: SIMULATOR_KEY,
    ULTRAVOX_BASE_URL: settings.simulator,
    PUBLIC_URL: settings.webhooks,
    ANALYSIS_BASE_URL: `${settings.simulator}/v1`,
    ANALYSIS_API_KEY: SIMULATOR_KEY,
    ANALYSIS_MODEL: 'simulator',
    // High limits per second and minute, so that only the end of a call makes room for a new one.
    ULTRAVOX_MAX_CALLS_PER_SECOND: String(perSecond * 4),
    ULTRAVOX_MAX_CALLS_PER_MINUTE: String(perSecond * 240),
    ULTRAVOX_MAX_CONCURRENT_CALLS: String(atOnce),
  });
}

interface Measured {
  calls: number;
  seconds: number;
  statements: Statements;
  cpu: number;
  databaseCpu: number;
  delays: number[];
}

async function measure(
  database: BenchDatabase,
  processes: readonly Process[],
  { seconds, delays }: { seconds: number; delays: number[] },
): Promise<Measured> {
  const cpuOf = async (): Promise<number> => {
    const each = await Promise.all(processes.map(({ server }) => server.cpuSeconds()));
    return each.reduce((sum, one) => sum + one, 0);
  };
  await resetStatements(database.client);
  const [cpu, databaseCpu, first] = [
    await cpuOf(),
    await postgresCpuSeconds(database),
    delays.length,
  ];
  const endedBefore = await endedCalls(database);
  const began = performance.now();
  await pause(seconds * 1_000);
  const statements = await countStatements(database.client);
  return {
    calls: (await endedCalls(database)) - endedBefore,
    seconds: (performance.now() - began) / 1_000,
    statements,
    cpu: (await cpuOf()) - cpu,
    databaseCpu: (await postgresCpuSeconds(database)) - databaseCpu,
    delays: delays.slice(first),
  };
}

/** The delays of single calls that end one after another, while nothing else happens. */
async function measureQuiet(
  database: BenchDatabase,
  { caller }: Operator,
  { delays, calls }: { delays: readonly number[]; calls: number },
): Promise<number[]> {
  if (calls === 0) return [];
  await until(
    'the last call of the campaign',
    async () => {
      const { rowCount } = await database.client.query(
        'SELECT FROM calls WHERE ended_at IS NULL LIMIT 1',
      );
      return rowCount === 0;
    },
    60_000,
  );
  const first = delays.length;
  for (let made = 0; made < calls; made += 1) {
    await caller.call();
    await pause(500);
  }
  await until('the quiet calls', () => delays.length >= first + calls, 60_000);
  return delays.slice(first);
}

async function endedCalls(database: BenchDatabase): Promise<number> {
  const { rows } = await database.client.query<{ count: string }>(
    'SELECT count(*) FROM calls WHERE campaign_contact_id IS NOT NULL AND ended_at IS NOT NULL',
  );
  return Number(rows[0]?.count ?? 0);
}

function quantile(values: readonly number[], part: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * part));
  return (sorted[at] ?? Number.NaN).toFixed(0);
}

interface Figures {
  busy: Measured;
  /** Delays of single calls. */
  quiet: number[];
}

async function measureSituation(situation: Situation, seconds: number): Promise<Figures> {
  const redis = await startRedis();
  const database = await startBenchDatabase({ counting: true });
  const simulator = await startSimulatorProcess(situation);
  const balancer = await startBalancer();
  const processes: Process[] = [];
  try {
    for (let index = 0; index < PROCESSES; index += 1) {
      const started = await startProcess(database, {
        redis: redis.url,
        simulator: simulator.url,
        webhooks: balancer.url,
        situation,
      });
      processes.push(started);
      balancer.targets.push(started.server.url);
    }
    const [{ server, key } = { server: { url: '' }, key: '' }] = processes;
    const { delays, stop } = measureDelays(server.url, key, balancer.endedAt);
    const operator = await prepareOperator(createClient(server.url, key));
    const { id } = await createCampaign(operator, {
      contacts: people(situation.perSecond * (seconds + 60) + 2 * situation.atOnce),
      maxConcurrentCalls: situation.atOnce,
      scheduleType: 'IMMEDIATE',
    });
    // Waits until as many calls end as start.
    const { atOnce } = situation;
    await until('ended calls', async () => (await endedCalls(database)) >= atOnce, 120_000);
    const busy = await measure(database, processes, { seconds, delays });
    await act(operator, 'pauseCampaign', id);
    const quiet = await measureQuiet(database, operator, {
      delays,
      calls: situation.singleCalls,
    });
    stop();
    if (process.env.STATEMENTS) printStatements(busy);
    return { busy, quiet };
  } finally {
    await Promise.all(processes.map(({ server }) => server.stop()));
    balancer.close();
    await simulator.stop();
    await redis.stop();
    await database.stop();
  }
}

/** @param situations names of the situations; default: all */
export async function benchCampaignCalls(
  seconds: number,
  situations: readonly string[] = SITUATIONS.map(({ name }) => name),
): Promise<Section[]> {
  const costs: string[][] = [];
  const delays: string[][] = [];
  for (const situation of SITUATIONS.filter(({ name }) => situations.includes(name))) {
    const { busy, quiet } = await measureSituation(situation, seconds);
    costs.push(costRow(situation, busy));
    delays.push(delayRow(situation.name, busy.delays));
    if (quiet.length > 0) delays.push(delayRow('single calls', quiet));
    process.stderr.write(`${costs.at(-1)?.join(' ')}\n`);
  }
  return [
    {
      title: 'A campaign call',
      text: `Everything that ${PROCESSES} processes do, divided by the number of calls that ended. The calls belong to one campaign, and are answered and analyzed. Statements include BEGIN and COMMIT, and what the processes poll while they wait; only transactions of several statements are counted as transactions. Each row is a single run of ${seconds} s.`,
      table: table(
        [
          'situation',
          'calls at once',
          'new a second',
          'statements',
          'of these by the job queue',
          'transactions',
          'ms of CPU',
          'ms of CPU of PostgreSQL',
        ],
        costs,
      ),
    },
    {
      title: 'Live',
      text: 'Milliseconds from the arrival of the webhook `call.ended` until a subscriber has the event: in the situations of a campaign call above, and for single calls while nothing else happens. Each situation is a single run.',
      table: table(['situation', 'calls', 'median', '95 %', '99 %'], delays),
    },
  ];
}

function costRow({ name, atOnce }: Situation, measured: Measured): string[] {
  const { calls, seconds, statements, cpu, databaseCpu } = measured;
  const perCall = (figure: number): string => (figure / calls).toFixed(1);
  return [
    name,
    String(atOnce),
    (calls / seconds).toFixed(1),
    perCall(statements.count),
    perCall(statements.ofJobQueue),
    perCall(statements.transactions),
    perCall(cpu * 1_000),
    perCall(databaseCpu * 1_000),
  ];
}

function delayRow(name: string, values: readonly number[]): string[] {
  return [name, String(values.length), ...[0.5, 0.95, 0.99].map((part) => quantile(values, part))];
}

function printStatements({ calls, statements }: Measured): void {
  const lines = [...statements.byText]
    .sort(([, a], [, b]) => b - a)
    .map(
      ([text, count]) =>
        `${(count / calls).toFixed(2).padStart(6)}  ${text.replace(/\s+/g, ' ').slice(0, 200)}`,
    );
  process.stderr.write(`${lines.join('\n')}\n`);
}

if (import.meta.main) {
  const [, , seconds = '30', ...situations] = process.argv;
  const sections = await (situations.length > 0
    ? benchCampaignCalls(Number(seconds), situations)
    : benchCampaignCalls(Number(seconds)));
  for (const { title, text, table: rows } of sections) {
    process.stdout.write(`## ${title}\n\n${text}\n\n${rows}\n\n`);
  }
  process.exit(0);
}
