/**
 * Incoming webhooks of Ultravox: `npx node bench/webhooks/in.ts [webhooks]`. Each bills another call. They are
 * verified, stored, acknowledged and applied with their events. Compared with a bare server that only inserts the
 * same bodies.
 */
import { Agent, request } from 'node:http';
import { createCipher } from '../../src/infra/cipher.ts';
import { signWebhook } from '../../src/ultravox/signature.ts';
import { until } from '../../test/support/wait.ts';
import { type BenchDatabase, startBenchDatabase } from '../support/database.ts';
import { freePort, median, type Server, startServer } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { ENCRYPTION_KEY, startThisServer } from '../support/this-server.ts';

const CONNECTIONS = 20;
const ROUNDS = 3;
const WARM_UP_WEBHOOKS = 500;

/** Delivers the webhooks over a few connections. */
async function deliver(url: string, bodies: readonly string[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const secret = createCipher(ENCRYPTION_KEY).derive('ultravox-webhook');
  const waiting = [...bodies];
  const post = (body: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const timestamp = new Date().toISOString();
      const headers = {
        'content-type': 'application/json',
        'x-ultravox-webhook-timestamp': timestamp,
        'x-ultravox-webhook-signature': signWebhook(secret, body, timestamp),
      };
      const sent = request(
        `${url}/webhooks/ultravox`,
        { agent, method: 'POST', headers },
        (answer) => {
          answer.resume();
          if (answer.statusCode === 204) answer.on('end', resolve);
          else reject(new Error(`Status ${answer.statusCode}`));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      for (let body = waiting.pop(); body; body = waiting.pop()) await post(body);
    }),
  );
  agent.destroy();
}

async function billsOf(database: BenchDatabase, count: number): Promise<string[]> {
  const { rows } = await database.client.query<{ ultravox_id: string; created_at: Date }>(
    `SELECT ultravox_id, created_at FROM calls WHERE billing_status = 'PENDING' LIMIT $1`,
    [count],
  );
  if (rows.length < count) throw new Error(`Only ${rows.length} calls of ${count} can be billed`);
  return rows.map(({ ultravox_id: callId, created_at }) =>
    JSON.stringify({
      event: 'call.billed',
      call: {
        callId,
        created: created_at,
        joined: created_at,
        ended: new Date(created_at.getTime() + 60_000),
        endReason: 'hangup',
        billingStatus: 'BILLING_STATUS_BILLED',
        billedDuration: '60s',
        maxDuration: '600s',
        joinTimeout: '60s',
        systemPrompt: 'You are Ada, the assistant of a bank. '.repeat(40),
        metadata: {},
      },
    }),
  );
}

interface Measured {
  /** Webhooks per second. */
  acknowledged: number;
  /** Webhooks per second. */
  applied: number;
  /** CPU time per webhook. */
  cpuMs: number;
}

async function measure(
  server: Server,
  bodies: readonly string[],
  isDone: () => Promise<boolean>,
): Promise<Measured> {
  const [began, cpu] = [performance.now(), await server.cpuSeconds()];
  await deliver(server.url, bodies);
  const acknowledged = (performance.now() - began) / 1_000;
  await until('all webhooks', isDone, 120_000);
  const applied = (performance.now() - began) / 1_000;
  const cpuMs = (((await server.cpuSeconds()) - cpu) * 1_000) / bodies.length;
  return { acknowledged: bodies.length / acknowledged, applied: bodies.length / applied, cpuMs };
}

export async function benchWebhooksIn(count: number): Promise<Section> {
  const database = await startBenchDatabase();
  const { server: ours } = await startThisServer(database);
  const bare = await startServer({
    name: 'bare server',
    args: ['bench/peers/bare-insert.ts'],
    env: { DATABASE_URL: database.url },
    ready: /ready/,
    port: await freePort(),
  });
  const pending = async (): Promise<number> => {
    const { rows } = await database.client.query<{ count: string }>(
      `SELECT count(*) FROM calls WHERE billing_status = 'PENDING'`,
    );
    return Number(rows[0]?.count ?? 0);
  };
  try {
    const measureOwn = async (bodies: readonly string[]): Promise<Measured> => {
      const left = (await pending()) - bodies.length;
      return measure(ours, bodies, async () => (await pending()) <= left);
    };
    const measureBare = (bodies: readonly string[]): Promise<Measured> =>
      measure(bare, bodies, async () => true);
    const own: Measured[] = [];
    const floor: Measured[] = [];
    // Round 0 only warms up.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const bodies = await billsOf(database, round === 0 ? WARM_UP_WEBHOOKS : count);
      const measured = [await measureOwn(bodies), await measureBare(bodies)] as const;
      if (round === 0) continue;
      own.push(measured[0]);
      floor.push(measured[1]);
    }
    const row = (name: string, figures: readonly Measured[]): string[] => {
      const cell = (what: keyof Measured, digits: number): string => {
        const figure = median(figures.map((each) => each[what]));
        const ratio = figure / median(floor.map((each) => each[what]));
        return `${figure.toFixed(digits)} (${ratio.toFixed(2)})`;
      };
      return [name, cell('acknowledged', 0), cell('applied', 0), cell('cpuMs', 2)];
    };
    return {
      title: 'Webhooks in',
      text: `${count} webhooks from Ultravox over ${CONNECTIONS} connections to one process, each about a different call, and the ratio to a bare INSERT of the body. This server verifies, stores and acknowledges a webhook, and applies it together with its event. Median of ${ROUNDS} interleaved rounds.`,
      table: table(
        ['server', 'acknowledged a second', 'applied a second', 'ms of CPU each'],
        [row('this server', own), row('bare INSERT', floor)],
      ),
    };
  } finally {
    await Promise.all([ours.stop(), bare.stop()]);
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchWebhooksIn(Number(process.argv[2] ?? 5_000));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
