import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UserInputError } from '../../src/errors.ts';
import { parsePublicId, publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { chooseOutboundNumber, mediumForNumber } from '../../src/phone-numbers/service.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { codes, done, find, newAgent, newCall, newNumber, run, TRUNK } from './support.ts';

let server: TestServer;
let other: { client: GraphQLClient; id: string };

beforeAll(async () => {
  server = await startTestServer();
  other = await server.newOrganization();
});
afterAll(() => server?.close());

const importSip = (client = server.client, values: object = {}) =>
  done(client, 'importPhoneNumber', {
    phoneNumber: newNumber(),
    provider: { sip: TRUNK },
    ...values,
  });
const uuidOf = (id: string) => parsePublicId(id)!.uuid;

describe('importPhoneNumber over SIP', () => {
  it('creates a number that is ready immediately, and allows SIP calls at Ultravox', async () => {
    const phoneNumber = newNumber();
    const number = await importSip(server.client, { phoneNumber, name: 'Reception' });
    expect(number).toMatchObject({
      phoneNumber,
      name: 'Reception',
      provider: 'SIP',
      sipServer: TRUNK.server,
      sipUsername: TRUNK.username,
      status: 'ACTIVE',
      syncError: null,
      inboundAgent: null,
      outboundAgent: null,
      inboundAddress: null,
      releasedAt: null,
    });
    expect(await find(server.client, number.id)).toEqual(number);
    await until('SIP calls to be allowed', async () => {
      const { allowAllAgents } = await server.app.ultravox.sip.get();
      return allowAllAgents;
    });
  });

  it('reports all invalid fields at once', async () => {
    const existing = await importSip();
    const answer = await run(server.client, 'importPhoneNumber', {
      phoneNumber: existing.phoneNumber,
      name: 'x'.repeat(101),
      provider: {
        sip: { server: 'https://sip.example.com', username: '', password: 'p'.repeat(201) },
      },
    });
    expect(answer.phoneNumber).toBeNull();
    expect(codes(answer)).toEqual([
      'ALREADY_EXISTS phoneNumber',
      'INVALID_INPUT name',
      'INVALID_INPUT provider.sip.password',
      'INVALID_INPUT provider.sip.server',
      'REQUIRED provider.sip.username',
    ]);
  });

  it.each([
    'sip.example.com',
    '203.0.113.7:5080',
    'trunk:5060;transport=udp',
    'SIP.Example.com;transport=tcp',
  ])('accepts the server %s', async (address) => {
    const number = await importSip(server.client, {
      provider: { sip: { ...TRUNK, server: address } },
    });
    expect(number.sipServer).toBe(address);
  });

  it.each([
    '',
    'user@sip.example.com',
    'sip.example.com:0',
    'sip.example.com:65536',
    'sip.example.com;transport=ws',
    'sip.example.com;transport=tls;x=y',
    '-sip.example.com',
    'sip example.com',
    `${'a'.repeat(60)}.`.repeat(5),
  ])('rejects the server %j', async (address) => {
    const answer = await run(server.client, 'importPhoneNumber', {
      phoneNumber: newNumber(),
      provider: { sip: { ...TRUNK, server: address } },
    });
    expect(codes(answer)).toEqual(['INVALID_INPUT provider.sip.server']);
  });

  it('requires exactly one provider', async () => {
    for (const provider of [{}, { sip: TRUNK, twilio: {} }]) {
      const answer = await server.client.send(
        'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { userErrors { code } } }',
        { input: { phoneNumber: newNumber(), provider } },
      );
      expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    }
  });

  it.each([
    '4155550123',
    '+0123456789',
    '+141555501234567',
  ])('rejects %j as a number', async (phoneNumber) => {
    const answer = await run(server.client, 'importPhoneNumber', {
      phoneNumber,
      provider: { sip: TRUNK },
    });
    expect(codes(answer)).toEqual(['INVALID_INPUT phoneNumber']);
  });

  it('imports a number once when requested concurrently', async () => {
    const phoneNumber = newNumber();
    const input = { phoneNumber, provider: { sip: TRUNK } };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => run(server.client, 'importPhoneNumber', input)),
    );
    expect(answers.filter((answer) => answer.phoneNumber)).toHaveLength(1);
    const refused = answers.filter((answer) => !answer.phoneNumber);
    expect(refused.map(codes)).toEqual(Array(4).fill(['ALREADY_EXISTS phoneNumber']));
    expect((await importSip(other.client, { phoneNumber })).phoneNumber).toBe(phoneNumber);
  });

  it('returns the number of a crashed run under its idempotency key', async () => {
    const phoneNumber = newNumber();
    const input = { phoneNumber, provider: { sip: TRUNK } };
    const headers = { 'x-idempotency-key': newId() };
    const first = await run(server.client, 'importPhoneNumber', input, headers);
    await server.app.db.idempotencyKey.updateMany({
      data: { response: null, leaseUntil: new Date(0) },
    });
    const second = await run(server.client, 'importPhoneNumber', input, headers);
    expect(second).toEqual(first);
    expect(second.userErrors).toEqual([]);
  });

  it('requires the WRITE scope', async () => {
    const { data } = await server.client.send(
      'mutation { createApiKey(input: { name: "Reader", scopes: [READ] }) { key } }',
    );
    const answer = await server.client.send(
      'mutation($input: ReleasePhoneNumberInput!) { releasePhoneNumber(input: $input) { userErrors { code } } }',
      { input: { id: publicId('PhoneNumber', newId()) } },
      { headers: { authorization: `Bearer ${data.createApiKey.key}` } },
    );
    expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});

describe('updatePhoneNumber', () => {
  it('changes, keeps and removes the name', async () => {
    const number = await importSip(server.client, { name: 'Old' });
    const renamed = await done(server.client, 'updatePhoneNumber', { id: number.id, name: 'New' });
    expect(renamed).toEqual({ ...number, name: 'New', updatedAt: renamed.updatedAt });
    expect(renamed.updatedAt >= number.updatedAt).toBe(true);
    const { id } = number;
    expect(await done(server.client, 'updatePhoneNumber', { id })).toMatchObject({ name: 'New' });
    const removed = await done(server.client, 'updatePhoneNumber', { id, name: null });
    expect(removed).toMatchObject({ id, name: null });
  });

  it('reports all invalid fields at once', async () => {
    const answer = await run(server.client, 'updatePhoneNumber', {
      id: publicId('PhoneNumber', newId()),
      name: ' ',
    });
    expect(codes(answer)).toEqual(['NOT_FOUND id', 'REQUIRED name']);
  });
});

describe('assignPhoneNumber and unassignPhoneNumber', () => {
  it('set, replace and clear the agent of each direction', async () => {
    const { client, organizationId } = server;
    const [one, two] = [
      await newAgent(server, organizationId),
      await newAgent(server, organizationId),
    ];
    const { id } = await importSip();
    const assign = (agentId: string, direction: string) =>
      done(client, 'assignPhoneNumber', { id, agentId, direction });

    expect(await assign(one.id, 'INBOUND')).toMatchObject({
      inboundAgent: { id: one.id },
      outboundAgent: null,
      inboundAddress: `sip:agent_${one.remoteId}@sim.sip.ultravox.invalid`,
    });
    await assign(one.id, 'OUTBOUND');
    expect(await assign(two.id, 'INBOUND')).toMatchObject({
      inboundAgent: { id: two.id },
      outboundAgent: { id: one.id },
    });
    const agents = await client.send(
      `query($one: ID!, $two: ID!) {
        one: node(id: $one) { ...numbers } two: node(id: $two) { ...numbers }
      }
      fragment numbers on Agent { inboundPhoneNumbers { id } outboundPhoneNumbers { id phoneNumber } }`,
      { one: one.id, two: two.id },
    );
    expect(agents.data.one).toMatchObject({
      inboundPhoneNumbers: [],
      outboundPhoneNumbers: [{ id }],
    });
    expect(agents.data.two).toMatchObject({
      inboundPhoneNumbers: [{ id }],
      outboundPhoneNumbers: [],
    });

    const unassign = { id, direction: 'INBOUND' };
    expect(await done(client, 'unassignPhoneNumber', unassign)).toMatchObject({
      inboundAgent: null,
      inboundAddress: null,
      outboundAgent: { id: one.id },
    });
    expect((await done(client, 'unassignPhoneNumber', unassign)).inboundAgent).toBeNull();
  });

  it('return no inbound address until the agent is at Ultravox', async () => {
    const agent = await newAgent(server, server.organizationId, { atUltravox: false });
    const { id } = await importSip();
    const input = { id, agentId: agent.id, direction: 'INBOUND' };
    expect(await done(server.client, 'assignPhoneNumber', input)).toMatchObject({
      inboundAgent: { id: agent.id },
      inboundAddress: null,
    });
  });

  it('reject unknown agents and numbers, deleted agents and ids of other types', async () => {
    const own = await importSip();
    const theirs = await importSip(other.client);
    const theirAgent = await newAgent(server, other.id);
    const deleted = await newAgent(server, server.organizationId);
    await server.app.db.agent.update({
      where: { id: deleted.uuid },
      data: { deletedAt: new Date() },
    });
    const assign = async (id: string, agentId: string) =>
      codes(await run(server.client, 'assignPhoneNumber', { id, agentId, direction: 'INBOUND' }));
    expect(await assign(theirs.id, theirAgent.id)).toEqual(['NOT_FOUND agentId', 'NOT_FOUND id']);
    expect(await assign(own.id, deleted.id)).toEqual(['NOT_FOUND agentId']);
    expect(await assign('12', own.id)).toEqual(['INVALID_ID agentId', 'INVALID_ID id']);
    for (const mutation of ['updatePhoneNumber', 'unassignPhoneNumber', 'releasePhoneNumber']) {
      const more = {
        updatePhoneNumber: { name: 'Mine' },
        unassignPhoneNumber: { direction: 'INBOUND' },
      };
      const input = { id: theirs.id, ...more[mutation as keyof typeof more] };
      expect(codes(await run(server.client, mutation, input))).toEqual(['NOT_FOUND id']);
    }
    expect(await find(server.client, theirs.id)).toBeNull();
    expect(await find(other.client, theirs.id)).toEqual(theirs);
    const node = await server.client.send('query($id: ID!) { node(id: $id) { id } }', {
      id: theirs.id,
    });
    expect(node).toMatchObject({ data: { node: null } });
    expect(node.errors).toBeUndefined();
  });
});

describe('releasePhoneNumber', () => {
  it('removes the number from lists and agents, and lets it be imported again', async () => {
    const { client, organizationId } = server;
    const agent = await newAgent(server, organizationId);
    const number = await importSip();
    const { id } = number;
    await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
    const released = await done(client, 'releasePhoneNumber', { id });
    expect(released).toMatchObject({ id, outboundAgent: null, status: null });
    expect(released.releasedAt).not.toBeNull();
    const where = { id: uuidOf(id), credentials: { not: null } };
    expect(await server.app.db.phoneNumber.count({ where })).toBe(0);
    expect(await find(client, id)).toBeNull();
    const list = await client.send(
      'query($search: String) { phoneNumbers(filter: { search: $search }) { totalCount nodes { id } } }',
      { search: number.phoneNumber },
    );
    expect(list.data.phoneNumbers).toEqual({ totalCount: 0, nodes: [] });
    expect(await done(client, 'releasePhoneNumber', { id })).toEqual(released);
    const rename = await run(client, 'updatePhoneNumber', { id, name: 'Late' });
    expect(codes(rename)).toEqual(['NOT_FOUND id']);
    const anew = await importSip(client, { phoneNumber: number.phoneNumber });
    expect(anew.id).not.toBe(id);
  });

  it('rejects a number with calls that have not ended', async () => {
    const { client, organizationId } = server;
    const agent = await newAgent(server, organizationId);
    const { id } = await importSip();
    const call = await newCall(server, organizationId, {
      agentId: agent.uuid,
      phoneNumberId: uuidOf(id),
      ended: false,
    });
    expect(codes(await run(client, 'releasePhoneNumber', { id }))).toEqual(['INVALID_STATE id']);
    expect(await find(client, id)).toMatchObject({ releasedAt: null });
    await server.app.db.call.update({ where: { id: call.id }, data: { endedAt: new Date() } });
    expect((await done(client, 'releasePhoneNumber', { id })).releasedAt).not.toBeNull();
  });

  it('keeps the number visible to a token for one of its calls', async () => {
    const { client, organizationId } = server;
    const agent = await newAgent(server, organizationId);
    const [number, another] = [await importSip(), await importSip()];
    const call = await newCall(server, organizationId, {
      agentId: agent.uuid,
      phoneNumberId: uuidOf(number.id),
    });
    await done(client, 'releasePhoneNumber', { id: number.id });
    const made = await client.send(
      'mutation($callId: ID) { createAccessToken(input: { callId: $callId }) { accessToken } }',
      { callId: publicId('Call', call.id) },
    );
    const read = (id: string) =>
      client.send(
        'query($id: ID!) { node(id: $id) { ... on PhoneNumber { phoneNumber status } } }',
        { id },
        { headers: { authorization: `Bearer ${made.data.createAccessToken.accessToken}` } },
      );
    expect(await read(number.id)).toMatchObject({
      data: { node: { phoneNumber: number.phoneNumber, status: null } },
    });
    expect(await read(another.id)).toMatchObject({ data: { node: null } });
  });

  it('waits for a call that is being created', async () => {
    const { client, organizationId, app } = server;
    const agent = await newAgent(server, organizationId);
    const { id } = await importSip();
    await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
    const release = await app.db.$transaction(async (tx) => {
      const chosen = await chooseOutboundNumber(tx, { organizationId }, agent.uuid);
      const answer = run(client, 'releasePhoneNumber', { id });
      const statement = 'SELECT 1 FROM phone_numbers WHERE id%FOR UPDATE';
      await untilBlocked(app.db, { holder: await sessionOf(tx), statement });
      await newCall({ app: { ...app, db: tx as typeof app.db } }, organizationId, {
        agentId: agent.uuid,
        phoneNumberId: chosen.id,
        ended: false,
      });
      return { answer };
    });
    expect(codes(await release.answer)).toEqual(['INVALID_STATE id']);
  });
});

describe('phoneNumbers', () => {
  let lister: { client: GraphQLClient; id: string };
  let agent: { id: string };
  beforeAll(async () => {
    lister = await server.newOrganization();
    agent = await newAgent(server, lister.id);
    const names = ['Berlin 100%', 'Amsterdam', null];
    for (const [index, name] of names.entries()) {
      const phoneNumber = `+1212555010${index}`;
      const number = await importSip(lister.client, { phoneNumber, ...(name ? { name } : {}) });
      if (index === 0) {
        const input = { id: number.id, agentId: agent.id, direction: 'OUTBOUND' };
        await done(lister.client, 'assignPhoneNumber', input);
      }
    }
  });

  const list = async (args: string) => {
    const answer = await lister.client.send(
      `{ phoneNumbers${args} { totalCount nodes { phoneNumber } pageInfo { hasNextPage endCursor } } }`,
    );
    if (answer.errors) throw new Error(JSON.stringify(answer.errors));
    const { nodes, totalCount, pageInfo } = answer.data.phoneNumbers;
    const last = nodes.map((node: { phoneNumber: string }) => Number(node.phoneNumber.slice(-1)));
    return { last, totalCount, pageInfo };
  };

  it('sorts newest first by default', async () => {
    expect(await list('')).toMatchObject({ last: [2, 1, 0], totalCount: 3 });
    expect((await list('(orderBy: { field: PHONE_NUMBER, direction: ASC })')).last).toEqual([
      0, 1, 2,
    ]);
    expect((await list('(orderBy: { field: NAME, direction: ASC })')).last).toEqual([1, 0, 2]);
  });

  it('continues where a page ended', async () => {
    const first = await list('(first: 2)');
    expect(first).toMatchObject({ last: [2, 1], totalCount: 3, pageInfo: { hasNextPage: true } });
    expect(await list(`(first: 2, after: "${first.pageInfo.endCursor}")`)).toMatchObject({
      last: [0],
      pageInfo: { hasNextPage: false },
    });
    await expect(list('(first: 101)')).rejects.toThrow('BAD_USER_INPUT');
  });

  it.each([
    ['search: "AMST"', [1]],
    ['search: "100%"', [0]],
    ['search: "%"', [0]],
    ['search: "(212) 555-0102"', [2]],
    ['search: "+1 212"', [2, 1, 0]],
    ['search: "nothing"', []],
    ['provider: SIP', [2, 1, 0]],
    ['provider: TWILIO', []],
    ['assigned: true', [0]],
    ['assigned: false', [2, 1]],
    ['assigned: false, search: "Amsterdam"', [1]],
  ])('filters by { %s }', async (filter, expected) => {
    const found = await list(`(filter: { ${filter} })`);
    expect(found).toMatchObject({ last: expected, totalCount: expected.length });
  });

  it('filters by agent', async () => {
    expect((await list(`(filter: { agentId: "${agent.id}" })`)).last).toEqual([0]);
    await expect(list('(filter: { agentId: "num_1" })')).rejects.toThrow('BAD_USER_INPUT');
  });
});

describe('chooseOutboundNumber', () => {
  async function agentWith(count: number) {
    const agent = await newAgent(server, server.organizationId);
    const numbers: { id: string; phoneNumber: string }[] = [];
    for (let index = 0; index < count; index += 1) {
      const number = await importSip();
      await done(server.client, 'assignPhoneNumber', {
        id: number.id,
        agentId: agent.id,
        direction: 'OUTBOUND',
      });
      numbers.push(number);
    }
    return { agent, numbers };
  }
  const choose = (agentId: string, from?: string) =>
    chooseOutboundNumber(server.app.db, { organizationId: server.organizationId }, agentId, {
      from,
    });
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => null,
      (error: unknown) => (error as UserInputError).problems[0],
    );

  it('chooses the least recently used number, unused ones first', async () => {
    const { agent, numbers } = await agentWith(3);
    const used = (index: number, minutesAgo: number) =>
      newCall(server, server.organizationId, {
        agentId: agent.uuid,
        phoneNumberId: uuidOf(numbers[index]!.id),
        createdAt: new Date(Date.now() - minutesAgo * 60_000),
      });
    await used(0, 30);
    await used(0, 1);
    await used(1, 5);
    expect((await choose(agent.uuid)).phoneNumber).toBe(numbers[2]!.phoneNumber);
    await used(2, 0);
    expect((await choose(agent.uuid)).phoneNumber).toBe(numbers[1]!.phoneNumber);
    expect((await choose(agent.uuid, numbers[0]!.phoneNumber)).phoneNumber).toBe(
      numbers[0]!.phoneNumber,
    );
  });

  it('rejects an agent without numbers and a caller ID of another agent', async () => {
    const { agent, numbers } = await agentWith(1);
    const without = await newAgent(server, server.organizationId);
    expect(await refusal(choose(without.uuid, numbers[0]!.phoneNumber))).toMatchObject({
      code: 'NO_PHONE_NUMBER_CONFIGURED',
    });
    const elsewhere = (await agentWith(1)).numbers[0]!;
    expect(await refusal(choose(agent.uuid, elsewhere.phoneNumber))).toMatchObject({
      code: 'PHONE_NUMBER_NOT_ASSIGNED',
      path: ['fromNumber'],
    });
    const stranger = chooseOutboundNumber(server.app.db, { organizationId: other.id }, agent.uuid);
    expect(await refusal(stranger)).toMatchObject({ code: 'NO_PHONE_NUMBER_CONFIGURED' });
    await done(server.client, 'releasePhoneNumber', { id: numbers[0]!.id });
    expect(await refusal(choose(agent.uuid))).toMatchObject({ code: 'NO_PHONE_NUMBER_CONFIGURED' });
  });

  it('returns the medium with the trunk and credentials of the number', async () => {
    const { agent } = await agentWith(1);
    const number = await choose(agent.uuid);
    expect(mediumForNumber(server.app, number, '+4915112345678')).toEqual({
      sip: {
        outgoing: {
          to: `sip:+4915112345678@${TRUNK.server}`,
          from: number.phoneNumber,
          username: TRUNK.username,
          password: TRUNK.password,
        },
      },
    });
  });
});
