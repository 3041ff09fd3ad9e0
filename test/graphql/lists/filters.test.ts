/** Filters of lists that have few rows, or that an index supports. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { newAgent } from '../../phone-numbers/support.ts';
import { insertRows } from '../../support/rows.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;
/** How far the clock of the server is ahead, in milliseconds. */
let ahead = 0;

beforeAll(async () => {
  server = await startTestServer({ now: () => new Date(Date.now() + ahead) });
});
afterAll(() => server?.close());

/** The codes of the errors, or the names of the nodes. */
async function listed(list: string, filter: string, name: string): Promise<string[]> {
  const { data, errors } = await server.client.send(
    `{ ${list}(filter: { ${filter} }, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { ${name} } } }`,
  );
  if (errors) return errors.map(({ extensions }) => String(extensions.code));
  return data[list].nodes.map((node: Record<string, string>) => node[name]);
}

describe('ApiKeyFilter', () => {
  it('matches a substring of the name, and keys that have expired by the clock of the server', async () => {
    const { organizationId } = server;
    const at = new Date(Date.now() + 3_600_000);
    await insertRows(
      server,
      'ApiKey',
      ['Nightly 50%', 'nightly', 'Front end'].map((name) => ({
        id: newId(),
        organizationId,
        name,
        prefix: 'test',
        hash: newId(),
        scopes: [],
        ipAllowList: [],
        expiresAt: name === 'nightly' ? at : null,
        createdAt: new Date(),
      })),
    );
    expect(await listed('apiKeys', 'name: "NIGHTLY"', 'name')).toEqual(['Nightly 50%', 'nightly']);
    expect(await listed('apiKeys', 'name: "0%"', 'name')).toEqual(['Nightly 50%']);
    expect(await listed('apiKeys', 'expired: true', 'name')).toEqual([]);
    ahead = 3_700_000;
    expect(await listed('apiKeys', 'expired: true', 'name')).toEqual(['nightly']);
    ahead = 0;
  });
});

describe('WebhookEndpointFilter', () => {
  it('matches a substring of the address or description, and the agent of a CRM webhook', async () => {
    const { organizationId } = server;
    const agent = await newAgent(server, organizationId);
    const row = { organizationId, startCursor: 0, disabledAt: new Date(), createdAt: new Date() };
    await server.app.db.webhookEndpoint.createMany({
      data: [
        { ...row, id: newId(), url: 'https://a.example.com/Hook' },
        { ...row, id: newId(), url: 'https://b.example.com/', description: 'Hooks' },
        { ...row, id: newId(), url: 'https://crm.example.com/', agentId: agent.uuid },
      ],
    });
    const urls = (filter: string) => listed('webhookEndpoints', filter, 'url');
    expect(await urls('search: "hook"')).toEqual([
      'https://a.example.com/Hook',
      'https://b.example.com/',
    ]);
    expect(await urls('search: "hook", enabled: true')).toEqual([]);
    expect(await urls(`agentId: "${agent.id}"`)).toEqual(['https://crm.example.com/']);
    expect(await urls(`agentId: "${publicId('Call', newId())}"`)).toEqual(['BAD_USER_INPUT']);
  });
});

describe('WebhookDeliveryFilter', () => {
  it('matches the ID of the event and a range of time', async () => {
    const { organizationId, app } = server;
    const endpointId = newId();
    await app.db.webhookEndpoint.create({
      data: {
        id: endpointId,
        organizationId,
        url: 'https://c.example.com',
        startCursor: 0,
        disabledAt: new Date(),
      },
    });
    const messageIds = [newId(), newId(), newId()];
    const at = (index: number) => new Date(Date.UTC(2026, 5, 1 + index));
    await app.db.webhookMessage.createMany({
      data: messageIds.map((id) => ({
        id,
        organizationId,
        type: 'webhook.test',
        body: '{}',
        createdAt: at(0),
      })),
    });
    await app.db.webhookDelivery.createMany({
      data: messageIds.map((messageId, index) => ({
        id: newId(),
        organizationId,
        endpointId,
        messageId,
        createdAt: at(index),
      })),
    });
    const found = async (filter: object) => {
      const { data, errors } = await server.client.send(
        `query ($id: ID!, $filter: WebhookDeliveryFilter) { webhookEndpoint(id: $id) {
          deliveries(filter: $filter, orderBy: { field: CREATED_AT, direction: ASC }) {
            totalCount nodes { eventId } } } }`,
        { id: publicId('WebhookEndpoint', endpointId), filter },
      );
      if (errors) return errors[0]?.extensions.code;
      const { nodes, totalCount } = data.webhookEndpoint.deliveries;
      expect(totalCount).toBe(nodes.length);
      return nodes.map(({ eventId }: { eventId: string }) =>
        messageIds.indexOf(eventId.slice('evt_'.length)),
      );
    };
    expect(await found({ eventId: `evt_${messageIds[1]}` })).toEqual([1]);
    expect(await found({ eventId: `evt_${newId()}` })).toEqual([]);
    expect(await found({ eventId: messageIds[1] })).toBe('BAD_USER_INPUT');
    expect(await found({ createdFrom: at(1) })).toEqual([1, 2]);
    expect(await found({ createdFrom: at(1), createdBefore: at(2) })).toEqual([1]);
    expect(await found({ createdBefore: at(1), status: ['DELIVERED'] })).toEqual([]);
  });
});
