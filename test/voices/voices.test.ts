import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { syncVoices } from '../../src/voices/service.ts';
import { insertAgent } from '../support/agent-rows.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { untilRetried } from '../support/jobs.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

let server: TestServer;
/** How far the clock of the server is ahead, in milliseconds. */
let ahead = 0;
beforeAll(async () => {
  server = await startTestServer({ now: () => new Date(Date.now() + ahead) });
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

const VOICE =
  'id name description provider providerVoiceId type language languageLabel model speed status syncError isInSync withdrawnAt updatedAt';
const ERRORS = 'userErrors { code message path details }';

async function mutate(
  client: GraphQLClient,
  name: string,
  input: unknown,
  headers: Record<string, string> = {},
) {
  const payload = name === 'deleteVoice' ? 'deletedVoiceId' : `voice { ${VOICE} }`;
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { result: ${name}(input: $input) { ${payload} ${ERRORS} } }`,
    { input },
    { headers },
  );
  expect(answer.errors).toBeUndefined();
  return answer.data.result;
}

async function list(client: GraphQLClient, args: Record<string, unknown> = {}) {
  const answer = await client.send(
    `query ($filter: VoiceFilter, $orderBy: VoiceOrder, $first: Int) {
      voices(filter: $filter, orderBy: $orderBy, first: $first) { totalCount nodes { ${VOICE} } }
    }`,
    { first: 100, ...args },
  );
  expect(answer.errors).toBeUndefined();
  return answer.data.voices;
}

async function linksToSamples(): Promise<string[]> {
  const answer = await server.client.send('{ voices(first: 5) { nodes { previewUrl } } }');
  return answer.data.voices.nodes.map((node: { previewUrl: string }) => node.previewUrl);
}

async function linkToSample(index = 0): Promise<string> {
  const previewUrl = (await linksToSamples())[index];
  if (previewUrl === undefined) throw new Error('There are too few voices');
  return previewUrl;
}

function lastSampleRequest(): string {
  return server.simulator.requests().findLast(({ path }) => path.endsWith('/preview'))?.path ?? '';
}

async function read(client: GraphQLClient, id: string) {
  const answer = await client.send(`query ($id: ID!) { voice(id: $id) { ${VOICE} } }`, { id });
  expect(answer.errors).toBeUndefined();
  return answer.data.voice;
}

interface RemoteVoice {
  voiceId: string;
  name: string;
  definition: unknown;
}

async function remote(name: string): Promise<RemoteVoice[]> {
  const found: RemoteVoice[] = [];
  for await (const voice of server.app.ultravox.voices.listAll({ search: name })) found.push(voice);
  return found;
}

const uuid = (id: string): string => id.slice(4);

/** Inserts an agent with this voice directly into the database. */
async function agentWith(voiceId: string): Promise<string> {
  const voice = await server.app.db.voice.findUniqueOrThrow({ where: { id: uuid(voiceId) } });
  const { organizationId, id } = voice;
  return publicId('Agent', await insertAgent(server.app, { organizationId, voiceId: id }));
}

const create = async (client: GraphQLClient) =>
  (await mutate(client, 'createVoice', { name: 'Mine', providerVoiceId: 'x' })).voice;

describe('voices', () => {
  it('lists the system voices in a new organization, under ids of its own', async () => {
    const [one, two] = [await server.newOrganization(), await server.newOrganization()];
    const first = await list(one.client);
    const second = await list(two.client);
    expect(first.totalCount).toBeGreaterThan(5);
    expect(second.totalCount).toBe(first.totalCount);
    expect(new Set([...first.nodes, ...second.nodes].map(({ id }) => id)).size).toBe(
      2 * first.totalCount,
    );
    const mark = first.nodes.find((voice: { name: string }) => voice.name === 'Mark');
    expect(mark).toMatchObject({
      type: 'SYSTEM',
      status: 'ACTIVE',
      provider: 'ELEVEN_LABS',
      providerVoiceId: 'demo-mark',
      language: 'en-US',
      withdrawnAt: null,
    });
    expect(mark.id).toMatch(/^voc_[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(await read(two.client, mark.id)).toBeNull();
  });

  it('filters by language with its regions, by provider and by literal text', async () => {
    const { client } = await server.newOrganization();
    const languages = async (language: string) =>
      (await list(client, { filter: { language } })).nodes.map(
        (voice: { language: string }) => voice.language,
      );
    expect(new Set(await languages('EN'))).toEqual(new Set(['en-US', 'en-GB', 'en-AU']));
    expect(new Set(await languages('en-us'))).toEqual(new Set(['en-US']));
    expect(await languages('e')).toEqual([]);
    const google = await list(client, { filter: { provider: 'GOOGLE' } });
    expect(google.totalCount).toBe(google.nodes.length);
    expect(new Set(google.nodes.map(({ provider }: { provider: string }) => provider))).toEqual(
      new Set(['GOOGLE']),
    );
    expect((await list(client, { filter: { search: 'mARk' } })).nodes).toHaveLength(1);
    expect((await list(client, { filter: { search: 'M%k' } })).nodes).toEqual([]);
    expect((await list(client, { filter: { search: 'M_rk' } })).nodes).toEqual([]);
    const byName = await list(client, { orderBy: { field: 'NAME', direction: 'ASC' } });
    // The collation of the database decides how accented letters sort.
    const names: string[] = byName.nodes
      .map(({ name }: { name: string }) => name)
      .filter((name: string) => /^[A-Z]/.test(name));
    expect(names).toEqual([...names].sort((a, b) => a.localeCompare(b)));
  });

  it('follows the voices that Ultravox lists and writes only those that differ', async () => {
    const { client, id: organizationId } = await server.newOrganization();
    const before = (await list(client)).nodes;
    const [changed, gone, used, same] = before;
    const db = server.app.db;
    await db.voice.update({ where: { id: uuid(changed.id) }, data: { name: 'Old name' } });
    for (const [voice, remoteId] of [
      [gone, 'not-listed-1'],
      [used, 'not-listed-2'],
    ]) {
      await db.voice.update({ where: { id: uuid(voice.id) }, data: { remoteId } });
    }
    await agentWith(used.id);
    await Promise.all([syncVoices(server.app), syncVoices(server.app)]);

    const after = (await list(client)).nodes;
    const find = (id: string) => after.find((voice: { id: string }) => voice.id === id);
    expect(find(changed.id).name).toBe(changed.name);
    expect(find(gone.id)).toBeUndefined();
    expect((await read(client, gone.id)).withdrawnAt).not.toBeNull();
    expect(find(used.id).withdrawnAt).not.toBeNull();
    expect(find(same.id)).toEqual(same);
    // The two that were renamed to ids that Ultravox does not list got new rows under their true ids.
    expect(await db.voice.count({ where: { organizationId } })).toBe(before.length + 2);

    const [row] = await db.voice.findMany({ where: { organizationId, name: same.name } });
    await db.voice.update({ where: { id: row!.id }, data: { withdrawnAt: new Date() } });
    await syncVoices(server.app);
    expect((await read(client, same.id)).withdrawnAt).toBeNull();
  });

  it('is empty while Ultravox cannot be reached, which is asked once, and complete half a minute later', async () => {
    const { client, id } = await server.newOrganization();
    const other = await server.newOrganization();
    const requests = () =>
      server.simulator.requests().filter(({ path }) => path.startsWith('/api/voices')).length;
    server.simulator.setFaults([{ kind: 'status', status: 500, path: '^/api/voices' }]);
    const before = requests();
    const aliases = ['a', 'b', 'c', 'd', 'e'].map(
      (name) => `${name}: voices { totalCount nodes { id } }`,
    );
    const [answer] = await Promise.all([
      client.send(`{ ${aliases.join(' ')} }`),
      client.send(`{ ${aliases.join(' ')} }`),
      list(other.client),
    ]);
    expect(answer.data.e).toEqual({ totalCount: 0, nodes: [] });
    const asked = requests() - before;
    expect(asked).toBeGreaterThan(0);
    // One request with its repetitions.
    expect(asked).toBeLessThanOrEqual(3);
    expect(await list(client)).toEqual({ totalCount: 0, nodes: [] });
    expect(requests() - before).toBe(asked);
    server.simulator.clearFaults();
    expect(await list(client)).toEqual({ totalCount: 0, nodes: [] });
    ahead += 31_000;
    expect((await list(client)).totalCount).toBeGreaterThan(0);
    expect((await list(other.client)).totalCount).toBeGreaterThan(0);
    expect(await server.app.db.voice.count({ where: { organizationId: id } })).toBeGreaterThan(0);
  });

  it('asks Ultravox once for the first queries of a new organization', async () => {
    const { client } = await server.newOrganization();
    const requests = () =>
      server.simulator.requests().filter(({ path }) => path.startsWith('/api/voices')).length;
    const before = requests();
    await list(client);
    const pages = requests() - before;
    const next = await server.newOrganization();
    const first = 'voices(first: 1) { totalCount nodes { id } }';
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => next.client.send(`{ ${first} again: ${first} }`)),
    );
    for (const { data } of answers) expect(data.again.totalCount).toBeGreaterThan(0);
    expect(requests() - before).toBe(2 * pages);
  });

  it('links to a sample that a browser can play, whatever type Ultravox gives it', async () => {
    const previewUrl = await linkToSample();
    expect(previewUrl.startsWith(`${server.url}/voice-previews?`)).toBe(true);
    const whole = await fetch(previewUrl);
    expect([whole.status, whole.headers.get('content-type')]).toEqual([200, 'audio/wav']);
    const sample = Buffer.from(await whole.arrayBuffer());
    expect(whole.headers.get('content-length')).toBe(String(sample.byteLength));
    const part = await fetch(previewUrl, { headers: { range: 'bytes=0-1' } });
    expect([part.status, part.headers.get('content-range')]).toEqual([
      206,
      `bytes 0-1/${sample.byteLength}`,
    ]);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(sample.subarray(0, 2));
    const beyond = await fetch(previewUrl, { headers: { range: 'bytes=99999999-' } });
    expect(beyond.status).toBe(416);
  });

  it.each([
    [404, 404, 1],
    [400, 404, 2],
    [500, 502, 3],
    [429, 503, 3],
  ])('answers %i of Ultravox for a sample with %i', async (status, expected, voice) => {
    const previewUrl = await linkToSample(voice);
    server.simulator.setFaults([{ kind: 'status', status, path: '/preview$' }]);
    expect((await fetch(previewUrl)).status).toBe(expected);
  });

  it('reads a sample from Ultravox once for many players', async () => {
    const previewUrl = await linkToSample(4);
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(previewUrl)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const [, id] = /voices\/([^/]+)\/preview/.exec(lastSampleRequest()) ?? [];
    const reads = server.simulator.requests().filter(({ path }) => path.includes(`${id}/preview`));
    expect(reads).toHaveLength(1);
  });

  it('does not follow the link to a sample once it has expired or was changed', async () => {
    const previewUrl = await linkToSample();
    expect((await fetch(`${previewUrl}x`)).status).toBe(403);
    ahead = 16 * 60_000;
    try {
      expect((await fetch(previewUrl)).status).toBe(403);
    } finally {
      ahead = 0;
    }
  });

  it('refuses to change or delete system voices', async () => {
    const { nodes } = await list(server.client, { filter: { type: 'SYSTEM' } });
    for (const name of ['updateVoice', 'deleteVoice']) {
      const { userErrors } = await mutate(server.client, name, { id: nodes[0].id });
      expect(userErrors).toMatchObject([{ code: 'INVALID_STATE', path: ['id'] }]);
    }
  });
});

describe('createVoice', () => {
  const INPUT = {
    name: 'Our Sophie',
    providerVoiceId: 'el-123',
    language: 'en-gb',
    model: 'eleven_flash_v2_5',
    speed: 1.1,
  };

  it('registers the voice at Ultravox under our id', async () => {
    const { voice, userErrors } = await mutate(server.client, 'createVoice', INPUT);
    expect(userErrors).toEqual([]);
    expect(voice).toMatchObject({
      name: 'Our Sophie',
      type: 'REFERENCE',
      provider: 'ELEVEN_LABS',
      providerVoiceId: 'el-123',
      language: 'en-GB',
      model: 'eleven_flash_v2_5',
      speed: 1.1,
      status: 'ACTIVE',
      syncError: null,
      isInSync: true,
    });
    expect(voice.languageLabel).toContain('English');
    const found = await remote(voice.id);
    expect(found).toMatchObject([
      {
        name: voice.id,
        definition: {
          elevenLabs: { voiceId: 'el-123', model: 'eleven_flash_v2_5', speed: 1.1 },
        },
      },
    ]);
    const own = await list(server.client, { filter: { type: 'REFERENCE' } });
    expect(own.nodes.map(({ id }: { id: string }) => id)).toContain(voice.id);
  });

  it.each([
    ['CARTESIA', { cartesia: { voiceId: 'x', generationConfig: { speed: 0.8 } } }],
    ['LMNT', { lmnt: { voiceId: 'x', speed: 0.8 } }],
    ['GOOGLE', { google: { voiceId: 'x', speakingRate: 0.8 } }],
    ['INWORLD', { inworld: { voiceId: 'x', speakingRate: 0.8 } }],
  ])('sends the speed in the format of %s', async (provider, definition) => {
    const input = { name: 'V', providerVoiceId: 'x', provider, speed: 0.8 };
    const { voice } = await mutate(server.client, 'createVoice', input);
    expect(voice).toMatchObject({ status: 'ACTIVE', model: null, speed: 0.8 });
    expect(await remote(voice.id)).toMatchObject([{ definition }]);
  });

  it('reports every problem of the input at once', async () => {
    const { voice, userErrors } = await mutate(server.client, 'createVoice', {
      name: ' ',
      description: 'x'.repeat(241),
      provider: 'GOOGLE',
      providerVoiceId: '',
      language: 'not a tag',
      model: 'm',
      speed: 3,
    });
    expect(voice).toBeNull();
    expect(userErrors.map(({ path }: { path: string[] }) => path[0]).sort()).toEqual([
      'description',
      'language',
      'model',
      'name',
      'providerVoiceId',
      'speed',
    ]);
    const respeecher = { name: 'a', providerVoiceId: 'b', provider: 'RESPEECHER', speed: 1 };
    expect((await mutate(server.client, 'createVoice', respeecher)).userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['speed'] },
    ]);
  });

  it('returns a FAILED voice with the reason when Ultravox refuses it', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 400, method: 'POST', path: '^/api/voices', count: 1 },
    ]);
    const { voice } = await mutate(server.client, 'createVoice', INPUT);
    expect(voice.status).toBe('FAILED');
    expect(voice.syncError).toBeTruthy();
    const deleted = await mutate(server.client, 'deleteVoice', { id: voice.id });
    expect(deleted.deletedVoiceId).toBe(voice.id);
  });

  it('adopts the remote voice after a lost response and creates no second one', async () => {
    server.simulator.setFaults([
      { kind: 'dropAfter', method: 'POST', path: '^/api/voices', count: 1 },
    ]);
    const { voice } = await mutate(server.client, 'createVoice', INPUT);
    expect(voice.status).toBe('DRAFT');
    expect(voice.syncError).toBeTruthy();
    await untilRetried(
      server,
      'the voice',
      async () => (await read(server.client, voice.id)).status === 'ACTIVE',
    );
    const row = await server.app.db.voice.findUniqueOrThrow({ where: { id: uuid(voice.id) } });
    expect((await remote(voice.id)).map(({ voiceId }) => voiceId)).toEqual([row.remoteId]);
  });

  it('returns the same voice for the same idempotency key after a crash of the first run', async () => {
    const headers = { 'x-idempotency-key': `voice-${newId()}` };
    const first = await mutate(server.client, 'createVoice', INPUT, headers);
    // The state that a crash before the response was stored leaves behind.
    await server.app.db.idempotencyKey.updateMany({
      data: { response: null, leaseUntil: new Date(0) },
    });
    const second = await mutate(server.client, 'createVoice', INPUT, headers);
    expect(second.voice.id).toBe(first.voice.id);
    expect(await remote(first.voice.id)).toHaveLength(1);
  });
});

describe('updateVoice', () => {
  it('changes only the fields that were sent', async () => {
    const { id } = await create(server.client);
    const described = await mutate(server.client, 'updateVoice', { id, description: 'Warm' });
    expect(described.voice).toMatchObject({ name: 'Mine', description: 'Warm' });
    const renamed = await mutate(server.client, 'updateVoice', { id, name: 'Ours' });
    expect(renamed.voice).toMatchObject({ name: 'Ours', description: 'Warm', status: 'ACTIVE' });
    const cleared = await mutate(server.client, 'updateVoice', { id, description: null });
    expect(cleared.voice).toMatchObject({ name: 'Ours', description: null });
    const refused = await mutate(server.client, 'updateVoice', {
      id: 'agt_01890000-0000-7000-8000-000000000000',
      name: null,
    });
    expect(refused.userErrors).toMatchObject([
      { code: 'INVALID_ID', path: ['id'] },
      { code: 'REQUIRED', path: ['name'] },
    ]);
  });

  it('rejects a voice of another organization, as does deleteVoice', async () => {
    const { id } = await create(server.client);
    const { client } = await server.newOrganization();
    for (const name of ['updateVoice', 'deleteVoice']) {
      const { userErrors } = await mutate(client, name, { id });
      expect(userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    }
    expect(await read(client, id)).toBeNull();
    expect((await list(client, { filter: { type: 'REFERENCE' } })).totalCount).toBe(0);
    const node = await client.send('query ($id: ID!) { node(id: $id) { id } }', { id });
    expect(node.errors).toBeUndefined();
    expect(node.data.node).toBeNull();
  });
});

describe('deleteVoice', () => {
  it('rejects a voice that agents use and lists those agents', async () => {
    const { id } = await create(server.client);
    const agentId = await agentWith(id);
    const { userErrors } = await mutate(server.client, 'deleteVoice', { id });
    expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { agentIds: [agentId] } }]);
    expect(await read(server.client, id)).not.toBeNull();
    await server.app.db.agent.update({
      where: { id: uuid(agentId) },
      data: { deletedAt: new Date() },
    });
    expect((await mutate(server.client, 'deleteVoice', { id })).deletedVoiceId).toBe(id);
  });

  it('removes the voice at Ultravox, later when Ultravox fails at first', async () => {
    const { id } = await create(server.client);
    server.simulator.setFaults([
      { kind: 'status', status: 500, method: 'DELETE', path: '^/api/voices', count: 1 },
    ]);
    expect((await mutate(server.client, 'deleteVoice', { id })).deletedVoiceId).toBe(id);
    expect(await read(server.client, id)).toBeNull();
    expect(await remote(id)).toHaveLength(1);
    await untilRetried(server, 'the removal', async () => (await remote(id)).length === 0);
  });
});
