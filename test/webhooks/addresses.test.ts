import { describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { until } from '../support/wait.ts';
import {
  attempted,
  caller,
  createEndpoint,
  deliveryOf,
  moveClock,
  receiver,
  removeEndpoint,
  sendTest,
  server,
  useWebhookServer,
} from './support.ts';

useWebhookServer();

describe('the address of a receiver', () => {
  it('is forgotten with its failures once it is replaced', async () => {
    const endpoint = await createEndpoint({ path: '/busy' });
    const delivery = await sendTest(endpoint);
    await attempted(delivery);
    const waiting = await sendTest(endpoint);
    const update = async (url: string) =>
      (
        await runMutation(
          server.client,
          'updateWebhookEndpoint',
          { id: endpoint.id, url },
          'webhookEndpoint { failingSince pausedUntil enabled }',
        )
      ).webhookEndpoint;
    const same = await update(`${receiver.url}/busy`);
    expect(same.failingSince).not.toBeNull();
    expect(same.pausedUntil).not.toBeNull();
    expect(await update(`${receiver.url}/ok/moved`)).toEqual({
      failingSince: null,
      pausedUntil: null,
      enabled: true,
    });
    await attempted(waiting);
    expect(await deliveryOf(waiting)).toMatchObject({ status: 'DELIVERED' });
    await removeEndpoint(endpoint);
  });

  it('does not count for its successor when it answers 410 to a late request', async () => {
    const endpoint = await createEndpoint({ path: '/closing' });
    const answers = new Promise<() => void>((resolve) => {
      receiver.on('/closing', (response) => resolve(() => response.writeHead(410).end()));
    });
    const delivery = await sendTest(endpoint);
    const answer = await answers;
    const url = `${receiver.url}/ok/successor`;
    await runMutation(
      server.client,
      'updateWebhookEndpoint',
      { id: endpoint.id, url },
      'webhookEndpoint { id }',
    );
    answer();
    expect(await attempted(delivery)).toMatchObject({
      status: 'RETRYING',
      attempts: { nodes: [{ statusCode: 410 }] },
    });
    moveClock(60);
    expect((await attempted(delivery, 2)).status).toBe('DELIVERED');
    expect(receiver.at('/ok/successor')).toHaveLength(1);
    const shown = `query ($id: ID!) { webhookEndpoint(id: $id) { enabled failingSince } }`;
    expect((await server.client.send(shown, { id: endpoint.id })).data.webhookEndpoint).toEqual({
      enabled: true,
      failingSince: null,
    });
    await removeEndpoint(endpoint);
  });

  it('is shown without its path and query to those who may only read', async () => {
    const { path, id } = await createEndpoint({ path: '/ok/with-token?token=s3cret' });
    const crmWebhookUrl = `${receiver.url}/ok/crm-token`;
    const { agent } = await runMutation(
      server.client,
      'createAgent',
      { name: 'Ada', systemPrompt: 'You are Ada.', voiceId: caller.voiceId, crmWebhookUrl },
      'agent { id }',
    );
    const query = `query ($id: ID!, $agent: ID!) {
      webhookEndpoint(id: $id) { url } agent(id: $agent) { crmWebhookUrl } }`;
    const read = async (client: GraphQLClient) =>
      (await client.send(query, { id, agent: agent.id })).data;
    expect(await read(server.client)).toEqual({
      webhookEndpoint: { url: `${receiver.url}${path}` },
      agent: { crmWebhookUrl },
    });
    const { accessToken } = await runMutation(
      server.client,
      'createAccessToken',
      {},
      'accessToken',
    );
    expect(await read(createClient(server.url, accessToken))).toEqual({
      webhookEndpoint: { url: `${receiver.url}/` },
      agent: { crmWebhookUrl: `${receiver.url}/` },
    });
    const found = async (client: GraphQLClient) => {
      const search = '{ webhookEndpoints(filter: { search: "S3CRET" }) { nodes { id } } }';
      return (await client.send(search)).data.webhookEndpoints.nodes;
    };
    expect(await found(server.client)).toEqual([{ id }]);
    expect(await found(createClient(server.url, accessToken))).toEqual([]);
    const crm = await until('the CRM webhook', async () => {
      const { data } = await server.client.send(
        'query ($id: ID!) { agent(id: $id) { crmWebhookEndpoint { id } } }',
        { id: agent.id },
      );
      return data.agent.crmWebhookEndpoint;
    });
    const refused = await server.client.send(
      `mutation ($id: ID!) { updateWebhookEndpoint(input: { id: $id, eventTypes: [CALL_FAILED] }) {
        userErrors { path message } } }`,
      { id: crm.id },
    );
    expect(refused.data.updateWebhookEndpoint.userErrors).toMatchObject([
      { path: ['eventTypes'], message: expect.stringContaining('only the results of its calls') },
    ]);
    await runMutation(server.client, 'deleteAgent', { id: agent.id }, 'agent { id }');
    await removeEndpoint({ id });
  });
});
