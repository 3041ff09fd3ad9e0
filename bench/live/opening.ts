/**
 * Time to open subscriptions, and to reopen them after the server was killed: `npx node bench/live/opening.ts [count]`.
 * A subscriber is done when it has received the events that it missed. Compared with a bare `ws` server that sends as
 * many messages to each. Needs `redis-server`.
 */
import { startRedis } from '../../test/support/servers/redis.ts';
import { type BenchDatabase, startBenchDatabase } from '../support/database.ts';
import { type EventPublisher, startEventPublisher } from '../support/event-publisher.ts';
import { freePort, median, type Server, startServer } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { type Subscribers, startSubscribers } from '../support/subscribers.ts';
import { keyOf, prepareThisServer } from '../support/this-server.ts';

const QUERY =
  'subscription live($after: Cursor) { callEvents(after: $after) { cursor type status } }';
const ROUNDS = 3;
/** Number of events that are appended while the server is down. */
const MISSED = 5;

interface Opener {
  key: string;
  /** Starts the server. Subscribers that continue after the returned cursor have missed one event. */
  start(): Promise<{ server: Server; after: string }>;
  /** Starts the killed server again, after this many events have been appended. */
  restart(events: number): Promise<Server>;
}

async function thisServer(
  database: BenchDatabase,
  { redisUrl, ringing, count }: { redisUrl: string; ringing: EventPublisher; count: number },
): Promise<Opener> {
  // The subscriptions of a killed server remain counted in Redis for a while.
  const limits = { MAX_SUBSCRIPTIONS: String(2 * (ROUNDS + 1) * count) };
  const ours = await prepareThisServer(database, { REDIS_URL: redisUrl, ...limits });
  const key = await keyOf(database.organizationId, ours.env);
  return {
    key,
    async start() {
      const server = await ours.start();
      const after = await eventCursor(server, key);
      await ringing.publish(1);
      return { server, after };
    },
    async restart(events) {
      await ringing.publish(events);
      return ours.start();
    },
  };
}

async function eventCursor({ url }: Server, key: string): Promise<string> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: '{"query":"{ eventCursor }"}',
  });
  const { data } = (await response.json()) as { data: { eventCursor: string } };
  return data.eventCursor;
}

function bareServer(): Opener {
  const start = async (messages: number): Promise<Server> =>
    startServer({
      name: 'bare server',
      args: ['bench/peers/bare-ws.ts'],
      env: { MISSED: String(messages) },
      ready: /ready/,
      port: await freePort(),
    });
  return {
    key: '',
    start: async () => ({ server: await start(1), after: '0' }),
    restart: (events) => start(events),
  };
}

interface Seconds {
  opening: number;
  afterKill: number;
}

async function measure(opener: Opener, count: number): Promise<Seconds> {
  const { server, after } = await opener.start();
  try {
    const subscribers = await startSubscribers({
      url: `${server.url}/graphql`,
      count,
      transport: 'ws',
      headers: { authorization: `Bearer ${opener.key}` },
      query: QUERY,
      variables: { after },
    });
    const opening = await subscribers.served();
    server.kill();
    await subscribers.disconnected();
    const afterKill = await reconnect(subscribers, opener, count);
    await subscribers.stop();
    return { opening: opening / 1_000, afterKill: afterKill / 1_000 };
  } finally {
    await server.stop();
  }
}

/** @throws Error if the subscribers receive more events than they missed */
async function reconnect(subscribers: Subscribers, opener: Opener, count: number): Promise<number> {
  const server = await opener.restart(MISSED);
  try {
    const ms = await subscribers.reconnect(`${server.url}/graphql`, MISSED);
    const received = await subscribers.settled();
    if (received !== MISSED * count) {
      throw new Error(`${server.name} sent ${received} events instead of ${MISSED * count}`);
    }
    return ms;
  } finally {
    await server.stop();
  }
}

export async function benchOpening(count: number): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const ringing = await startEventPublisher(database, redis.url);
  try {
    const ours = await thisServer(database, { redisUrl: redis.url, ringing, count });
    const bare = bareServer();
    const own: Seconds[] = [];
    const floor: Seconds[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      own.push(await measure(ours, count));
      floor.push(await measure(bare, count));
    }
    const row = (name: string, figures: readonly Seconds[]): string[] => {
      const cell = (what: keyof Seconds): string => {
        const seconds = median(figures.map((figure) => figure[what]));
        const ofFloor = median(floor.map((figure) => figure[what]));
        return `${seconds.toFixed(2)} (${(seconds / ofFloor).toFixed(2)})`;
      };
      return [name, cell('opening'), cell('afterKill')];
    };
    return {
      title: 'Opening subscriptions',
      text: `Seconds from the first of ${count} connections, of which at most 100 wait for their acknowledgment at a time, until every subscriber has the events after its cursor, and the ratio to a bare server that answers each subscription with the same number of messages. Opening: the server has just been started, and there is one event. After a kill: the server was killed while all were subscribed, ${MISSED} events were appended, the server was started again, and all connect with the last cursor that they saw; the time of the start is not included. Median of ${ROUNDS} interleaved rounds.`,
      table: table(
        ['server', 'opening', 'after a kill'],
        [row('this server', own), row('bare `ws`', floor)],
      ),
    };
  } finally {
    await ringing.stop();
    await redis.stop();
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchOpening(Number(process.argv[2] ?? 5_000));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
