/**
 * Delay of webhooks to good endpoints when there is also a dead one, as a ratio to the delay without it, in one run:
 * `npx node bench/webhooks/out.ts [events]`. Nine endpoints accept immediately; the dead one accepts connections but
 * never responds. The delay is measured from the commit of an event to its arrival.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../src/app.ts';
import { newId } from '../../src/infra/ids.ts';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { createWebhookEndpoint, deleteWebhookEndpoint } from '../../src/webhooks/endpoints.ts';
import { table } from '../support/results.ts';
import { withBenchServer } from '../support/server.ts';

const EVENTS = Number(process.argv[2] ?? 1_000);
const HEALTHY_ENDPOINTS = 9;
const PER_SECOND = 50;

/** Commit time of each event, and the delays to each good endpoint. */
const committedAt = new Map<number, number>();
let delays: number[] = [];

function listen(server: Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    );
  });
}

const healthy = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { data } = JSON.parse(String(Buffer.concat(chunks)));
    delays.push(performance.now() - (committedAt.get(data.revision) ?? 0));
    response.writeHead(204).end();
  });
});
const dead = createServer((request) => request.resume());

let revision = 0;

/** Commits the events at a steady rate and waits until all have arrived. */
async function measure(app: App, organizationId: string, agentId: string): Promise<number[]> {
  delays = [];
  for (let sent = 0; sent < EVENTS; sent += 1) {
    revision += 1;
    const event = { type: 'AGENT_SYNCED' as const, agentId, data: { revision } };
    await app.db.$transaction((tx) => appendEvents(tx, organizationId, [event]));
    committedAt.set(revision, performance.now());
    announceEvents(app, organizationId);
    await pause(1000 / PER_SECOND);
  }
  while (delays.length < EVENTS * HEALTHY_ENDPOINTS) await pause(50);
  return delays.sort((a, b) => a - b);
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? 0;

const [healthyUrl, deadUrl] = [await listen(healthy), await listen(dead)];
const settings = { DEMO_DATA: 'false', WEBHOOK_ALLOWED_URLS: `${healthyUrl},${deadUrl}` };
try {
  await withBenchServer(async ({ app, viewer }) => {
    const { organizationId } = viewer;
    const voiceId = newId();
    const agentId = newId();
    const common = { organizationId, status: 'ACTIVE', syncedRevision: 1 } as const;
    await app.db.voice.create({ data: { id: voiceId, ...common, type: 'SYSTEM', name: 'Voice' } });
    await app.db.agent.create({
      data: {
        id: agentId,
        ...common,
        name: 'Ada',
        voiceId,
        systemPrompt: 'You are Ada.',
        model: 'ultravox-v0.7',
        temperature: 0,
        recordingEnabled: false,
      },
    });
    for (let index = 0; index < HEALTHY_ENDPOINTS; index += 1) {
      await createWebhookEndpoint(app, viewer, { url: `${healthyUrl}${index}` });
    }
    // Once to warm up, then without the dead endpoint, with it, and without it again.
    await measure(app, organizationId, agentId);
    const before = await measure(app, organizationId, agentId);
    const { webhookEndpoint: endpoint } = await createWebhookEndpoint(app, viewer, {
      url: deadUrl,
    });
    const beside = await measure(app, organizationId, agentId);
    await deleteWebhookEndpoint(app, viewer, `whe_${endpoint.id}`);
    const after = await measure(app, organizationId, agentId);
    const alone = [...before, ...after].sort((a, b) => a - b);
    const row = (name: string, share: number): string[] => {
      const [without, withDead] = [at(alone, share), at(beside, share)];
      return [
        name,
        `${without.toFixed(1)} ms`,
        `${withDead.toFixed(1)} ms`,
        (withDead / without).toFixed(2),
      ];
    };
    const head = ['delay', 'nine good endpoints', 'beside a dead one', 'ratio'];
    const rows = [row('median', 0.5), row('95 %', 0.95), row('99 %', 0.99)];
    process.stdout.write(`${EVENTS} events, ${PER_SECOND} a second\n\n${table(head, rows)}\n`);
  }, settings);
} finally {
  healthy.close();
  dead.closeAllConnections();
  dead.close();
}
