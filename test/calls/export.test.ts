/** Exports of calls and of campaign contacts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportLines } from '../../src/infra/files/export-format.ts';
import { newId } from '../../src/infra/ids.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { accepted, type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;

beforeAll(async () => {
  // Six of these connections are not for reading, jobs or snapshots, which a test relies on.
  server = await startTestServer({
    settings: { DATABASE_CONNECTIONS: '16' },
    simulator: { talkSeconds: 5 },
  });
  client = server.client;
  caller = await prepareCaller(client);
});
afterAll(() => server?.close());

async function exported(name: string, input: object) {
  const payload = await runMutation(
    client,
    name,
    input as Record<string, unknown>,
    'url expiresAt',
  );
  const response = await fetch(payload.url);
  expect(response.status).toBe(200);
  return response;
}

/** The cells of each line by the header; no cell of these files has a line break. */
function table(csv: string): Record<string, string>[] {
  const [header = [], ...rows] = csv
    .trim()
    .split('\r\n')
    .map((line) =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) =>
        quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'),
      ),
    );
  return rows.map((cells) => Object.fromEntries(header.map((name, i) => [name, cells[i] ?? ''])));
}

async function analyze(publicId: string, extractedData: object): Promise<void> {
  const data = { status: 'DONE' as const, success: true, reason: '=1+1, she said', extractedData };
  await server.app.db.callAnalysis.upsert({
    where: { callId: publicId.slice(4) },
    create: { callId: publicId.slice(4), organizationId: server.organizationId, ...data },
    update: data,
  });
}

async function billed(id: string) {
  return until('the bill', async () => {
    const { data } = await client.send(
      `{ call(id: "${id}") { billingStatus durationSeconds cost { amount } postCallSteps { kind status } } }`,
    );
    // The step without criteria removes the analysis of a call.
    const isJudged = data.call.postCallSteps.some(
      ({ kind, status }: Record<string, string>) => kind === 'ANALYSIS' && status !== 'PENDING',
    );
    return data.call.billingStatus === 'BILLED' && isJudged && data.call;
  });
}

/** Ended calls of another organization, newest first. */
async function fillCalls(
  organizationId: string,
  count: number,
  metadataOf: (index: number) => Record<string, string>,
): Promise<void> {
  const { db } = server.app;
  const agent = await db.agent.findUniqueOrThrow({ where: { id: caller.agentId.slice(4) } });
  const [agentId, voiceId] = [newId(), newId()];
  await db.voice.create({
    data: { id: voiceId, organizationId, type: 'REFERENCE', name: 'Voice', status: 'ACTIVE' },
  });
  const own = { id: agentId, organizationId, remoteId: null, voiceId };
  await db.agent.create({ data: { ...agent, ...own, inactivityMessages: [] } as never });
  // Old enough not to count against the creation limits.
  const createdAt = new Date(Date.now() - 3_600_000);
  const first = await db.call.create({
    data: {
      id: newId(),
      organizationId,
      agentId,
      direction: 'OUTBOUND',
      medium: 'SIP',
      status: 'COMPLETED',
      ...accepted(),
      claimedAt: createdAt,
      metadata: metadataOf(0),
      summary: 'before',
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      createdAt,
      endedAt: createdAt,
    },
  });
  const metadata = Array.from({ length: count - 1 }, (_, index) =>
    JSON.stringify(metadataOf(index + 1)),
  );
  await db.$executeRaw`
    INSERT INTO calls (id, organization_id, agent_id, direction, medium, status, placement, ultravox_id,
      claimed_at, metadata, summary, max_duration_seconds, join_timeout_seconds, created_at, ended_at, updated_at)
    SELECT new_id(), organization_id, agent_id, direction, medium, status, placement, new_id(),
      claimed_at, m.text::jsonb, summary, max_duration_seconds, join_timeout_seconds,
      created_at - m.number * interval '1 ms', ended_at, updated_at
    FROM calls c, unnest(${metadata}::text[]) WITH ORDINALITY AS m(text, number)
    WHERE c.id = ${first.id}::uuid`;
}

describe('exportCalls', () => {
  it('writes outcome, duration, cost and a column for each key of extracted data', async () => {
    const { id } = await caller.call();
    const call = await billed(id);
    await analyze(id, { email: 'ada@example.com', visits: 3, tags: ['a', 'b'] });
    const response = await exported('exportCalls', { filter: { status: ['COMPLETED'] } });
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(response.headers.get('content-disposition')).toContain('calls.csv');
    expect(table(await response.text())).toEqual([
      expect.objectContaining({
        id,
        status: 'COMPLETED',
        duration_seconds: String(call.durationSeconds),
        cost: call.cost.amount,
        currency: 'USD',
        success: 'true',
        reason: "'=1+1, she said",
        'extracted.email': 'ada@example.com',
        'extracted.visits': '3',
        'extracted.tags': '["a","b"]',
      }),
    ]);
    const lines = await exported('exportCalls', { format: 'JSON_LINES' });
    expect(lines.headers.get('content-type')).toBe('application/jsonl; charset=utf-8');
    const [line] = (await lines.text()).trim().split('\n');
    expect(JSON.parse(line!)).toMatchObject({
      id,
      outcome: { success: true },
      extractedData: { visits: 3 },
      cost: { amount: call.cost.amount },
    });
  });

  it('leaves cells empty for keys that other calls have, whatever their names', async () => {
    const { id } = await caller.call();
    await billed(id);
    await analyze(id, { constructor: 'Eiffel', toString: 'yes' });
    const rows = table(await (await exported('exportCalls', {})).text());
    expect(rows.length).toBeGreaterThan(1);
    for (const row of rows) {
      const isOne = row.id === id;
      expect(row['extracted.constructor']).toBe(isOne ? 'Eiffel' : '');
      expect(row['extracted.toString']).toBe(isOne ? 'yes' : '');
    }
  });

  it('has columns for the keys of all calls also where there are too many to read twice', async () => {
    const COUNT = 10_500;
    const other = await server.newOrganization();
    await fillCalls(other.id, COUNT, (index) => ({ [`key${index === COUNT - 1 ? 2 : 1}`]: 'x' }));
    const { url } = await runMutation(other.client, 'exportCalls', {}, 'url');
    const rows = table(await (await fetch(url)).text());
    expect(rows).toHaveLength(COUNT);
    expect(rows[0]).toMatchObject({ 'metadata.key1': 'x', 'metadata.key2': '' });
    expect(rows.at(-1)).toMatchObject({ 'metadata.key1': '', 'metadata.key2': 'x' });
  });

  it('requires the scope WRITE, as other files with phone numbers do', async () => {
    const { data } = await client.send(
      'mutation { createApiKey(input: { name: "Reader", scopes: [READ] }) { key } }',
    );
    const reader = createClient(server.url, data.createApiKey.key);
    const { errors } = await reader.send('mutation { exportCalls(input: {}) { url } }');
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });

  it('shows one state of all calls, whatever changes during the download', async () => {
    const other = await server.newOrganization();
    const COUNT = 6_000;
    await fillCalls(other.id, COUNT, () => ({ note: 'x'.repeat(2_000) }));
    const { url } = await runMutation(other.client, 'exportCalls', { format: 'JSON_LINES' }, 'url');
    const response = await fetch(url);
    const reader = response.body!.getReader();
    const first = await reader.read();
    const where = { organizationId: other.id };
    await server.app.db.call.updateMany({ where, data: { summary: 'after' } });
    await server.app.db.call.deleteMany({ where: { ...where, ultravoxId: { gt: '8' } } });
    const decoder = new TextDecoder();
    let text = decoder.decode(first.value, { stream: true });
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += decoder.decode(part.value, { stream: true });
    }
    const summaries = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).summary);
    expect(summaries).toHaveLength(COUNT);
    expect(new Set(summaries)).toEqual(new Set(['before']));
  });

  it('needs one connection besides that of its snapshot, and goes on while all others are in use', async () => {
    const { url } = await runMutation(client, 'exportCalls', {}, 'url');
    const release = Promise.withResolvers<void>();
    let begun = 0;
    const others = Array.from({ length: 5 }, () =>
      server.app.db.$transaction(
        async (tx) => {
          await tx.$queryRaw`SELECT 1`;
          begun += 1;
          await release.promise;
        },
        { timeout: 120_000 },
      ),
    );
    try {
      await until('the other transactions', () => begun === others.length);
      const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
      expect(table(await response.text()).length).toBeGreaterThan(0);
    } finally {
      release.resolve();
      await Promise.allSettled(others);
    }
  });

  it('ends the download of a client that goes away, which frees its place', async () => {
    // More than sockets hold, so that it has not ended by itself.
    const other = await server.newOrganization();
    await fillCalls(other.id, 6_000, () => ({ note: 'x'.repeat(2_000) }));
    const { url } = await runMutation(other.client, 'exportCalls', {}, 'url');
    for (let round = 0; round < 8; round += 1) {
      await until('a free place', async () => {
        const stop = new AbortController();
        const { status } = await fetch(url, { signal: stop.signal });
        stop.abort();
        return status === 200;
      });
    }
    // The status is sent before the snapshot is taken.
    const whole = await until('a free place', async () => {
      const response = await fetch(url);
      return response.status === 200 && response.text();
    });
    expect(table(whole)).toHaveLength(6_000);
  });

  it('refuses a link that was changed, that is of another kind, or whose key ended', async () => {
    const { url } = await runMutation(client, 'exportCalls', {}, 'url');
    expect((await fetch(`${url}x`)).status).toBe(403);
    expect((await fetch(url.replace('/calls?', '/campaign-contacts?'))).status).toBe(403);
    const other = await server.newOrganization();
    const theirs = await runMutation(other.client, 'exportCalls', {}, 'url');
    expect((await (await fetch(theirs.url)).text()).trim().split('\r\n')).toHaveLength(1);
    await server.app.db.apiKey.updateMany({
      where: { organizationId: other.id },
      data: { revokedAt: new Date() },
    });
    expect((await fetch(theirs.url)).status).toBe(403);
  });
});

describe('exportCampaignContacts', () => {
  it('writes each contact with what became of it, in the order of the list', async () => {
    const operator = { client, caller };
    const person = { industry: 'Rail', location: 'Lyon', pinCode: '69001', keywords: 'vip' };
    const contacts = [
      { ...people(1, { series: 3 })[0], firstName: 'Ada', ...person, metadata: { city: 'Paris' } },
      { ...people(1, { ending: '0001', series: 4 })[0], firstName: 'Bea' },
    ];
    const { id } = await createCampaign(operator, {
      contacts,
      scheduleType: 'IMMEDIATE',
      retryFailed: false,
    });
    const calls = await until('the end', async () => {
      const { data } = await client.send(
        `{ campaign(id: "${id}") { status calls { nodes { id status toNumber billingStatus cost { amount } } } } }`,
      );
      const { status, calls } = data.campaign;
      const over = calls.nodes.every(
        ({ billingStatus }: { billingStatus: string }) => billingStatus !== 'PENDING',
      );
      return status === 'COMPLETED' && over && calls.nodes;
    });
    const answered = calls.find(({ status }: { status: string }) => status === 'COMPLETED');
    await analyze(answered.id, { wants: 'a call' });
    const rows = table(await (await exported('exportCampaignContacts', { campaignId: id })).text());
    expect(rows).toEqual([
      expect.objectContaining({
        first_name: 'Ada',
        industry: 'Rail',
        location: 'Lyon',
        pin_code: '69001',
        keywords: 'vip',
        status: 'COMPLETED',
        attempts: '1',
        call_id: answered.id,
        cost: answered.cost.amount,
        success: 'true',
        'extracted.wants': 'a call',
        'metadata.city': 'Paris',
      }),
      expect.objectContaining({ first_name: 'Bea', status: 'FAILED', end_reason: 'BUSY' }),
    ]);
    const some = { campaignId: id, filter: { status: ['FAILED'] }, format: 'JSON_LINES' };
    const text = await (await exported('exportCampaignContacts', some)).text();
    expect(JSON.parse(text)).toMatchObject({ firstName: 'Bea', lastCall: { outcome: null } });

    const input = { campaignId: id, format: 'JSON_LINES' };
    const { url } = await runMutation(client, 'exportCampaignContacts', input, 'url');
    await runMutation(client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');
    expect(await (await fetch(url)).text()).toBe('');
  });
});

describe('exportLines', () => {
  it('ends with its reader also while it collects the columns of a CSV', async () => {
    let ended = false;
    async function* pages() {
      try {
        for (;;) yield [{}];
      } finally {
        ended = true;
      }
    }
    const writer = { columns: [], cells: () => [], keyed: () => ({}), json: () => ({}) };
    const source = {
      async *pages() {
        // A macrotask per page, as with a database.
        for await (const page of pages()) {
          await new Promise(setImmediate);
          yield page;
        }
      },
      allKeys: async () => ({}),
    };
    const lines = exportLines('CSV', writer, source);
    await lines.next();
    await lines.return(undefined);
    expect(ended).toBe(true);
  });
});
