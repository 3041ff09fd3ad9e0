/**
 * The examples in docs/webhooks.md have the same members as the webhooks that are sent. To rewrite them:
 * `WRITE_EXAMPLES=1 npx vitest run test/webhooks/examples.test.ts`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { RESULTS_EVENT, TEST_EVENT, WEBHOOK_EVENTS } from '../../src/webhooks/catalog.ts';
import { uuidOf } from '../calls/support.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { runMutation } from '../support/calling.ts';
import { until } from '../support/wait.ts';
import {
  attempted,
  caller,
  createEndpoint,
  receiver,
  sendTest,
  server,
  useWebhookServer,
} from './support.ts';

useWebhookServer();

const DOCS = 'docs/webhooks.md';
const HEADING = '## Events\n';
const OTHERS: Record<string, string> = {
  [RESULTS_EVENT]: 'The results of a call, sent only to the CRM webhook of its agent.',
  [TEST_EVENT]: 'Sent by `sendTestWebhook`.',
};

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Members whose content is the user's or Ultravox's. */
const OPEN = new Set(['variables', 'metadata', 'extractedData', 'ultravox', 'toolArguments']);

/** Lines such as `data.call.status: string`; a null may be anything. */
function membersOf(value: Json, path = ''): Map<string, string> {
  if (Array.isArray(value)) {
    return new Map(value.flatMap((item) => [...membersOf(item, `${path}[]`)]));
  }
  if (typeof value !== 'object' || value === null) {
    return new Map([[path, value === null ? 'null' : typeof value]]);
  }
  return new Map(
    Object.entries(value).flatMap(([name, member]): [string, string][] => {
      const inner = path ? `${path}.${name}` : name;
      return OPEN.has(name) ? [[inner, 'open']] : [...membersOf(member, inner)];
    }),
  );
}

/** The same members, with nulls on either side standing for whatever is there on the other. */
function expectSameMembers(event: string, sent: Json, documented: Json): void {
  const [a, b] = [membersOf(sent), membersOf(documented)];
  const nulls = [...a, ...b].filter(([, kind]) => kind === 'null').map(([path]) => path);
  const covered = (path: string): boolean =>
    nulls.some(
      (other) => path === other || path.startsWith(`${other}.`) || path.startsWith(`${other}[`),
    );
  const lines = (members: Map<string, string>): string[] =>
    [...members]
      .filter(([path]) => !covered(path))
      .map((entry) => entry.join(': '))
      .sort();
  expect(lines(b), event).toEqual(lines(a));
}

/** A body with the same IDs and times in every run. */
function tidied(body: Json): Json {
  const known = new Map<string, string>();
  const id = (uuid: string): string => {
    const next = `0199a000-0000-7000-8000-${String(known.size + 1).padStart(12, '0')}`;
    known.set(uuid, known.get(uuid) ?? next);
    return known.get(uuid) as string;
  };
  const text = JSON.stringify(body)
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, id)
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '2026-03-18T14:30:00.000Z')
    .replaceAll(receiver.url, 'https://example.com');
  return JSON.parse(text, (name, value) => {
    if (name === 'cursor' && typeof value === 'string') return '17';
    if (name === 'transcript') return value.slice(0, 2);
    if (name === 'ultravox' && value) {
      const { callId, endReason, billingStatus } = value;
      return { callId, endReason, billingStatus, '…': '…' };
    }
    return value;
  });
}

async function provokeAll(): Promise<void> {
  const { client, organizationId, app } = server;
  await createEndpoint({ path: '/all' });
  await runMutation(
    client,
    'updateAgent',
    {
      id: caller.agentId,
      crmWebhookUrl: 'https://crm.example.com/',
      successCriteria: 'The person agreed to an appointment.',
      extractionSchema: { type: 'object', properties: { name: { type: 'string' } } },
    },
    'agent { id }',
  );
  // What it follows next would give the endpoint the address of the agent again.
  await until('the changes of the agent to be followed', async () => {
    const [row] = await app.db.$queryRaw<{ done: boolean }[]>`
      SELECT cursor >= last_cursor AS done FROM event_consumers JOIN event_counters USING (organization_id)
      WHERE name = 'webhooks' AND organization_id = ${organizationId}::uuid`;
    return row?.done;
  });
  await until('the CRM webhook', async () => {
    const { count } = await app.db.webhookEndpoint.updateMany({
      where: { organizationId, agentId: caller.agentId.slice(4) },
      data: { url: `${receiver.url}/crm` },
    });
    return count === 1;
  });
  const recorded = {
    agentId: caller.agentId,
    phoneNumber: '+14155550142',
    settings: { recordingEnabled: true },
  };
  const { call } = await runMutation(client, 'createCall', recorded, 'call { id }');
  const contacts = [...people(1, { series: 8 }), ...people(1, { ending: '0001', series: 9 })];
  const input = { contacts, scheduleType: 'IMMEDIATE', retryFailed: false };
  await createCampaign({ client, caller }, input);
  await app.db.$transaction((tx) =>
    appendEvents(tx, organizationId, [
      {
        type: 'CALL_RECORDING_FAILED',
        callId: uuidOf(call.id),
        sequence: 100,
        data: { status: 'COMPLETED', endReason: 'HANGUP' },
      },
    ]),
  );
  announceEvents(app, organizationId);
  await attempted(await sendTest(await createEndpoint({ path: '/gone', description: 'Old CRM' })));
  await attempted(await sendTest(await createEndpoint()));
  await until('the results of an answered call', () =>
    receiver.at('/crm').some(({ json }) => json.data.transcript.length > 1),
  );
  // Only now, because the change of an agent gives the CRM endpoint the address of the agent again.
  const voice = { name: 'Mine', providerVoiceId: 'mine' };
  await runMutation(client, 'createVoice', voice, 'voice { id }');
  server.simulator.setFaults([
    { kind: 'status', status: 400, method: 'POST', path: '^/api/voices' },
  ]);
  await runMutation(client, 'createVoice', voice, 'voice { id }');
  server.simulator.setFaults([
    { kind: 'status', status: 400, method: 'PATCH', path: '^/api/agents' },
  ]);
  const change = { id: caller.agentId, systemPrompt: 'You are very kind.' };
  await runMutation(client, 'updateAgent', change, 'agent { id }');
  server.simulator.clearFaults();
  const missing = (): string[] =>
    Object.keys(WEBHOOK_EVENTS).filter(
      (type) => !receiver.at('/all').some(({ json }) => json.event === type),
    );
  await until('every event', () => missing().length === 0).catch(() =>
    expect(missing()).toEqual([]),
  );
}

/** The received body of each type that says most. */
function examples(): Map<string, Json> {
  const best = new Map<string, Json>();
  const size = (body: Json | undefined): number => JSON.stringify(body ?? null).length;
  for (const { json } of receiver.received) {
    const body = tidied(json);
    if (size(body) > size(best.get(json.event))) best.set(json.event, body);
  }
  return best;
}

it('docs/webhooks.md shows every event with the members that are sent', async () => {
  await provokeAll();
  const sent = examples();
  const names = [...Object.keys(WEBHOOK_EVENTS), RESULTS_EVENT, TEST_EVENT];
  if (process.env.WRITE_EXAMPLES) {
    const [prose] = readFileSync(DOCS, 'utf8').split(HEADING);
    const about = { ...OTHERS } as Record<string, string>;
    for (const [name, { description }] of Object.entries(WEBHOOK_EVENTS)) about[name] = description;
    const sections = names.map(
      (name) =>
        `### \`${name}\`\n\n${about[name]}\n\n\`\`\`json\n${JSON.stringify(sent.get(name), null, 2)}\n\`\`\`\n`,
    );
    writeFileSync(DOCS, `${prose}${HEADING}\n${sections.join('\n')}`);
  }
  const text = readFileSync(DOCS, 'utf8').split(HEADING)[1] ?? '';
  const documented = new Map(
    [...text.matchAll(/^### `(.+)`\n[\s\S]*?```json\n([\s\S]*?)\n```/gm)].map(
      ([, name = '', json = '']) => [name, JSON.parse(json) as Json],
    ),
  );
  expect([...documented.keys()].sort()).toEqual([...names].sort());
  for (const name of names) {
    expectSameMembers(name, sent.get(name) as Json, documented.get(name) as Json);
  }
});
