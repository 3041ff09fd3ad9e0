import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/infra/ids.ts';
import { newAgent } from '../phone-numbers/support.ts';
import { recordStatements } from '../support/queries.ts';
import { insertRows } from '../support/rows.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';

const COUNT = 130;
let server: TestServer;
let agents: { id: string; uuid: string }[];

beforeAll(async () => {
  server = await startTestServer();
  const { organizationId } = server;
  agents = [await newAgent(server, organizationId), await newAgent(server, organizationId)];
  const [one, two] = agents;
  const since = Date.now() - COUNT * 1000;
  await insertRows(
    server,
    'PhoneNumber',
    Array.from({ length: COUNT + 2 }, (_, index) => ({
      id: newId(),
      organizationId,
      phoneNumber: `+1415556${String(index).padStart(4, '0')}`,
      provider: index % 2 === 0 ? 'SIP' : 'TWILIO',
      inboundAgentId: index < COUNT ? one!.uuid : two!.uuid,
      outboundAgentId: two!.uuid,
      createdAt: new Date(since + index * 1000),
      releasedAt: index === COUNT + 1 ? new Date() : null,
    })),
  );
});
afterAll(() => server?.close());

const number = (index: number) => ({ phoneNumber: `+1415556${String(index).padStart(4, '0')}` });

describe('Agent.inboundNumbers and Agent.outboundNumbers', () => {
  it('page through the numbers that are not released, with filters and orders', async () => {
    const document = `query ($id: ID!, $after: String) { agent(id: $id) {
      inboundNumbers(first: 100, after: $after) {
        totalCount nodes { phoneNumber } pageInfo { hasNextPage endCursor } } } }`;
    const first = await server.client.send(document, { id: agents[0]!.id });
    const { totalCount, nodes, pageInfo } = first.data.agent.inboundNumbers;
    expect(totalCount).toBe(COUNT);
    expect(nodes).toHaveLength(100);
    expect(nodes[0]).toEqual(number(0));
    const after = pageInfo.endCursor;
    const second = await server.client.send(document, { id: agents[0]!.id, after });
    expect(second.data.agent.inboundNumbers).toMatchObject({
      nodes: Array.from({ length: 30 }, (_, index) => number(100 + index)),
      pageInfo: { hasNextPage: false },
    });
    const { data } = await server.client.send(
      `query ($id: ID!) { agent(id: $id) {
        inboundNumbers { nodes { phoneNumber } }
        outboundNumbers(first: 1, filter: { provider: TWILIO }, orderBy: { field: PHONE_NUMBER, direction: DESC }) {
          totalCount nodes { phoneNumber } } } }`,
      { id: agents[1]!.id },
    );
    expect(data.agent).toEqual({
      inboundNumbers: { nodes: [number(COUNT)] },
      outboundNumbers: { totalCount: COUNT / 2, nodes: [number(COUNT - 1)] },
    });
  });

  it('take one statement for the numbers of all agents', async () => {
    const api = await startApiBeside(server);
    try {
      const statements = await recordStatements(api.app, () =>
        api.client.send(
          '{ agents { nodes { inboundNumbers(first: 2) { nodes { phoneNumber } } } } }',
        ),
      );
      expect(statements).toHaveLength(1);
    } finally {
      await api.close();
    }
  });
});

describe('Agent.inboundPhoneNumbers and Agent.outboundPhoneNumbers', () => {
  it('have the hundred oldest numbers', async () => {
    const { data } = await server.client.send(
      'query ($id: ID!) { agent(id: $id) { inboundPhoneNumbers { phoneNumber } outboundPhoneNumbers { id } } }',
      { id: agents[0]!.id },
    );
    expect(data.agent.inboundPhoneNumbers).toHaveLength(100);
    expect(data.agent.inboundPhoneNumbers[99]).toEqual(number(99));
    expect(data.agent.outboundPhoneNumbers).toEqual([]);
  });
});
