/** Contents of the demo: calls with all post-call results, webhooks, three weeks of figures, and the GraphiQL tabs. */
import { getOperationAST, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from './support/servers/server.ts';
import { openSocket } from './support/subscribe.ts';
import { until } from './support/wait.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({
    settings: { DEMO_DATA: 'true' },
    simulator: { summaryDelaySeconds: 1 },
  });
});
afterAll(() => server?.close());

// biome-ignore lint/suspicious/noExplicitAny: whatever the query asks for
async function ask(query: string, variables: object = {}): Promise<any> {
  const answer = await server.client.send(query, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}

describe('calls of the demo', () => {
  it('have transcripts, summaries, recordings that can be heard, outcomes and data', async () => {
    const call = await until(
      'a call with all that follows it',
      async () => {
        const { calls } = await ask(`{ calls(first: 10) { nodes {
          answeredBy summary shortSummary outcome { success reason } extractedData
          recording { status url contentType durationSeconds }
          transcript(first: 100) { nodes { speaker text startSeconds toolName toolResult } }
          postCallSteps { kind status } } } }`);
        return calls.nodes.find(
          ({ answeredBy, postCallSteps }: Partial<Record<string, { status: string }[]>>) =>
            String(answeredBy) === 'HUMAN' &&
            postCallSteps!.length > 0 &&
            postCallSteps!.every(({ status }) => status === 'DONE'),
        );
      },
      60_000,
    );
    const { transcript, recording } = call;
    const speakers = transcript.nodes.map(({ speaker }: { speaker: string }) => speaker);
    expect(speakers).toEqual(expect.arrayContaining(['AGENT', 'USER', 'TOOL']));
    expect(call).toMatchObject({
      answeredBy: 'HUMAN',
      summary: expect.stringMatching(/\w/),
      shortSummary: expect.stringMatching(/\w/),
      outcome: { success: expect.any(Boolean), reason: expect.stringMatching(/\w/) },
      extractedData: { result: expect.any(String) },
      recording: { status: 'AVAILABLE', contentType: 'audio/wav' },
    });
    expectSound(await download(recording.url), recording.durationSeconds);
  });

  it('are those of three weeks, with figures for every working day', async () => {
    const to = new Date();
    const from = new Date(to.getTime() - 22 * 86_400_000);
    const { analytics } = await ask(
      `query ($range: AnalyticsRange!) { analytics(range: $range, groupBy: [DAY]) {
        total { calls answered successRate averageHandleSeconds cost { amount } }
        groups { start figures { calls answerRate } } } }`,
      { range: { from: from.toISOString(), to: to.toISOString() } },
    );
    expect(analytics.total.calls).toBeGreaterThan(300);
    expect(analytics.total.successRate).toBeGreaterThan(0.2);
    expect(Number(analytics.total.cost.amount)).toBeGreaterThan(10);
    const days = new Set(
      analytics.groups
        .filter(({ figures }: { figures: { calls: number } }) => figures.calls > 0)
        .map(({ start }: { start: string }) => start.slice(0, 10)),
    );
    for (let ago = 1; ago <= 20; ago += 1) {
      const day = new Date(to.getTime() - ago * 86_400_000);
      if (day.getUTCDay() === 0) continue;
      expect([...days]).toContain(day.toISOString().slice(0, 10));
    }
  });

  it('have an analysis if they have an outcome', async () => {
    const { calls } = await ask(`{ calls(first: 20, filter: { successful: true }
      orderBy: { field: CREATED_AT, direction: ASC }) { nodes { analysis { status model } } } }`);
    expect(calls.nodes).toHaveLength(20);
    for (const { analysis } of calls.nodes) {
      expect(analysis).toEqual({ status: 'DONE', model: 'demo' });
    }
  });

  it('are sent to a webhook endpoint, whose receiver shows them', async () => {
    const deliveries = await until(
      'delivered webhooks',
      async () => {
        const { webhookEndpoints } = await ask(`{ webhookEndpoints(first: 10) { nodes {
        enabled deliveries(first: 100, filter: { status: [DELIVERED] }) { nodes {
          eventId eventType attempts { nodes { statusCode } } } } } } }`);
        const [endpoint] = webhookEndpoints.nodes;
        const types = endpoint?.deliveries.nodes.map(
          ({ eventType }: { eventType: string }) => eventType,
        );
        return types?.includes('CALL_ANALYZED') && endpoint.deliveries.nodes;
      },
      60_000,
    );
    const response = await fetch(`${server.simulator.url}/simulator/receiver/demo`, {
      headers: { 'x-api-key': server.simulator.apiKey },
    });
    const { results } = (await response.json()) as { results: { body: { id: string } }[] };
    const received = new Set(results.map(({ body }) => body.id));
    for (const { eventId, attempts } of deliveries) {
      expect(received).toContain(eventId);
      expect(attempts.nodes.at(-1)).toEqual({ statusCode: 204 });
    }
  });
});

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

/** Expects a WAV file of this length with speech-like sound: loud, and with pauses. */
function expectSound(file: Buffer, durationSeconds: number): void {
  expect(file.toString('latin1', 0, 4)).toBe('RIFF');
  expect(file.toString('latin1', 8, 16)).toBe('WAVEfmt ');
  expect(file.readUInt32LE(4)).toBe(file.length - 8);
  const format = { code: file.readUInt16LE(20), rate: file.readUInt32LE(24) };
  const [byteRate, bits] = [file.readUInt32LE(28), file.readUInt16LE(34)];
  expect(format.code).toBe(1);
  expect([8, 16]).toContain(bits);
  expect(file.toString('latin1', 36, 40)).toBe('data');
  const size = file.readUInt32LE(40);
  expect(size).toBe(file.length - 44);
  expect(size / byteRate).toBeCloseTo(durationSeconds, 1);
  const amplitudeAt = (at: number): number =>
    bits === 16
      ? Math.abs(file.readInt16LE(at)) / 32_768
      : Math.abs(file.readUInt8(at) - 128) / 128;
  let loud = 0;
  const step = bits / 8;
  for (let at = 44; at + step <= file.length; at += step) if (amplitudeAt(at) > 0.05) loud += 1;
  expect(loud / (size / step)).toBeGreaterThan(0.05);
}

interface Tab {
  query: string;
  variables?: string;
}

async function tabs(): Promise<Tab[]> {
  const page = await fetch(`${server.url}/graphql`, { headers: { accept: 'text/html' } });
  const settings = /<script type="application\/json" id="settings">(.*?)<\/script>/.exec(
    await page.text(),
  );
  return JSON.parse(settings?.[1] ?? '').options.defaultTabs;
}

/** All user errors in an answer. */
function problemsIn(data: Record<string, { userErrors?: unknown[] } | null>): unknown[] {
  return Object.values(data).flatMap((payload) => payload?.userErrors ?? []);
}

describe('the GraphiQL tabs of the demo', () => {
  it('run as they are, one after another', async () => {
    const all = await until('the IDs of the demo', async () => {
      const found = await tabs();
      return !found.some(({ variables }) => variables?.includes('… from tab')) && found;
    });
    expect(all.length).toBe(20);
    const socket = openSocket(server.url, server.key);
    for (const { query, variables } of all) {
      const title = query.split('\n')[0];
      const values = JSON.parse(variables ?? '{}');
      const operation = getOperationAST(parse(query))?.operation;
      if (operation !== 'subscription') {
        const answer = await server.client.send(query, values);
        expect(answer.errors, title).toBeUndefined();
        expect(problemsIn(answer.data), title).toEqual([]);
        continue;
      }
      const events = socket.iterate({ query, variables: values });
      const first = events.next();
      // A subscription to what happens from now on gets the events of a call of tab 5.
      const call = all.find((tab) => tab.query.includes('mutation CreateCall('));
      const before = setInterval(
        () => void server.client.send(call?.query, JSON.parse(call?.variables ?? '{}')),
        1_000,
      );
      const { value } = await first.finally(() => clearInterval(before));
      expect(value.errors, title).toBeUndefined();
      expect(value.data, title).toBeTruthy();
      await events.return?.();
    }
    await socket.dispose();
  });

  it('do not name a webhook endpoint that was deleted', async () => {
    const { webhookEndpoints } = await ask('{ webhookEndpoints { nodes { id agent { id } } } }');
    const { id } = webhookEndpoints.nodes.find(({ agent }: { agent: unknown }) => !agent);
    expect(JSON.stringify(await tabs())).toContain(id);
    await server.app.db.$transaction(async (tx) => {
      // Its row remains until its deliveries are removed.
      await tx.$queryRaw`
        SELECT id FROM webhook_deliveries WHERE endpoint_id = ${id.slice(4)}::uuid LIMIT 1 FOR UPDATE`;
      await ask(
        `mutation { deleteWebhookEndpoint(input: { id: "${id}" }) { deletedWebhookEndpointId } }`,
      );
      expect(JSON.stringify(await tabs())).not.toContain(id);
    });
  });
});
