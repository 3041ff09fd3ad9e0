/**
 * Holds 5,000 sockets under load: `HOLD_SECONDS=600 npx node bench/live/hold.ts [sockets] [events a second]`. Takes
 * ten minutes, so it is not part of `npm run bench`. Each socket subscribes to `callEvents`. Another process appends
 * two events per second in the same way as its services would; all sockets receive them. Prints the resident
 * memory of the server every 30 seconds, and how much it grows. To measure live memory, garbage is collected only
 * after the first minute and at the end. Fails if a subscriber misses an event. Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { startRedis } from '../../test/support/servers/redis.ts';
import { startBenchDatabase } from '../support/database.ts';
import { startBenchApp } from '../support/event-writer.ts';
import { type Memory, openInspector } from '../support/inspector.ts';
import { freePort } from '../support/processes.ts';
import { startSubscribers } from '../support/subscribers.ts';
import { startThisServer } from '../support/this-server.ts';

const SOCKETS = Number(process.argv[2] ?? 5_000);
const PER_SECOND = Number(process.argv[3] ?? 2);
const SECONDS = Number(process.env.HOLD_SECONDS ?? 600);
const SAMPLE_SECONDS = 30;
/** Excluded from the growth, because the server allocates memory for its first events. */
const WARM_UP_SECONDS = 60;
const LIVE =
  'subscription live { callEvents { cursor type status call { id status agent { id name } } } }';
const MB = 2 ** 20;

interface Sample {
  seconds: number;
  /** Resident memory in bytes. */
  rss: number;
}

/** Growth in bytes per minute: the slope of the least-squares line. */
function growth(samples: readonly Sample[]): number {
  const meanOf = (values: number[]): number =>
    values.reduce((sum, one) => sum + one, 0) / values.length;
  const [x, y] = [
    meanOf(samples.map(({ seconds }) => seconds)),
    meanOf(samples.map(({ rss }) => rss)),
  ];
  const above = samples.reduce((sum, one) => sum + (one.seconds - x) * (one.rss - y), 0);
  const below = samples.reduce((sum, one) => sum + (one.seconds - x) ** 2, 0);
  return (60 * above) / below;
}

const redis = await startRedis();
const database = await startBenchDatabase();
const inspect = await freePort();
const { server, key } = await startThisServer(
  database,
  { REDIS_URL: redis.url, MAX_SUBSCRIPTIONS: String(2 * SOCKETS) },
  { inspect },
);
const writer = await startBenchApp(database.url, redis.url);
const inspector = await openInspector(inspect);
const shown = ({ rss, live }: Memory): string =>
  `${(rss / MB).toFixed(1)} MB resident, ${(live / MB).toFixed(1)} MB live`;
process.stdout.write(`before: ${shown(await inspector.memory())}\n`);
const subscribers = await startSubscribers({
  url: `${server.url}/graphql`,
  count: SOCKETS,
  transport: 'ws',
  headers: { authorization: `Bearer ${key}` },
  query: LIVE,
});
const { rows: calls } = await database.client.query<{ id: string; agent_id: string }>(
  'SELECT id, agent_id FROM calls ORDER BY id LIMIT 1000',
);
let sent = 0;
async function append(): Promise<void> {
  const call = calls[sent % calls.length];
  if (!call) throw new Error('There are no calls');
  sent += 1;
  const event = {
    type: 'CALL_RINGING',
    callId: call.id,
    agentId: call.agent_id,
    sequence: 1_000 + sent,
    data: { status: 'RINGING', endReason: null },
  } as const;
  await writer.db.$transaction((tx) => appendEvents(tx, database.organizationId, [event]));
  announceEvents(writer, database.organizationId);
}
// Waits until every subscriber is live.
for (let received = -1; received < SOCKETS; received = await subscribers.receivedWithin(1_000)) {
  await append();
}
const missed = sent * SOCKETS - (await subscribers.settled());

const samples: Sample[] = [];
const began = performance.now();
const elapsed = (): number => (performance.now() - began) / 1_000;
const cpu = await server.cpuSeconds();
let warm: Memory | null = null;
while (elapsed() < SECONDS) {
  const end = Math.min(SECONDS, (samples.length + 1) * SAMPLE_SECONDS);
  while (elapsed() < end) {
    await append();
    await pause(1_000 / PER_SECOND);
  }
  const sample = { rss: await server.memoryBytes(), seconds: elapsed() };
  samples.push(sample);
  process.stdout.write(
    `${sample.seconds.toFixed(0)} s: ${(sample.rss / MB).toFixed(1)} MB resident, ${sent} events\n`,
  );
  if (sample.seconds >= WARM_UP_SECONDS) warm ??= await inspector.memory();
}
await subscribers.until(sent * SOCKETS - missed);
// The heap grows back after the collection, so the first samples after it are left out.
const held = samples.filter(({ seconds }) => seconds > WARM_UP_SECONDS + 2 * SAMPLE_SECONDS);
process.stdout.write(
  `${SOCKETS} sockets for ${elapsed().toFixed(0)} s: ${sent} events, each delivered to all; ` +
    `${((100 * ((await server.cpuSeconds()) - cpu)) / elapsed()).toFixed(0)} % of a core; ` +
    `resident memory grew by ${(growth(held) / 1024).toFixed(0)} KB a minute\n`,
);
if (warm) process.stdout.write(`collected after the first minute: ${shown(warm)}\n`);
process.stdout.write(`collected at the end: ${shown(await inspector.memory())}\n`);
inspector.close();
await subscribers.stop();
await writer.close();
await server.stop();
await redis.stop();
await database.stop();
process.exit(0);
