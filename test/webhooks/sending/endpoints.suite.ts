/** Creating webhook endpoints, and the events that they receive. */
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { createCampaign, people } from '../../campaigns/support.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import type { Received } from '../receiver.ts';
import {
  CALL_EVENTS,
  caller,
  createEndpoint,
  deliveriesOf,
  eventsAt,
  problemsOf,
  receiver,
  removeEndpoint,
  sendTest,
  server,
  verifiesByRecipe,
} from '../support.ts';

function byCursor(a: Received, b: Received): number {
  return Number(BigInt(a.json.data.cursor) - BigInt(b.json.data.cursor));
}

export function endpointsSuite(): void {
  describe('createWebhookEndpoint', () => {
    it.each([
      'http://example.com/hook',
      'https://127.0.0.1/hook',
      'https://[::1]/hook',
      'https://[::ffff:10.0.0.1]/hook',
      'https://2130706433/hook',
      'https://0x7f.1/hook',
      'https://169.254.169.254/latest/meta-data',
      'https://[fd00:ec2::254]/latest',
      'https://100.64.0.1/hook',
      'https://localhost/hook',
      'https://intranet/hook',
      'https://db.internal/hook',
      'https://user:secret@example.com/hook',
      'ftp://example.com/hook',
    ])('refuses %s', async (url) => {
      const [problem] = await problemsOf('createWebhookEndpoint', { url });
      expect(problem).toMatchObject({ code: 'INVALID_INPUT', path: ['url'] });
    });

    it('refuses a path beside the allowed one', async () => {
      const url = receiver.url.replace('127.0.0.1', 'localhost');
      expect(await problemsOf('createWebhookEndpoint', { url })).toMatchObject([{ path: ['url'] }]);
      const agent = { id: caller.agentId, crmWebhookUrl: url };
      expect(await problemsOf('updateAgent', agent)).toMatchObject([{ path: ['crmWebhookUrl'] }]);
    });

    it('returns the secret once, and keeps it out of the graph and the database', async () => {
      const endpoint = await createEndpoint();
      expect(endpoint.secret).toMatch(/^whsec_[A-Za-z0-9+/]{32}$/);
      const tables = await server.app.db.$queryRaw<object[]>`
      SELECT to_jsonb(e)::text AS row FROM webhook_endpoints e`;
      expect(JSON.stringify(tables)).not.toContain(endpoint.secret.slice(6));
      await removeEndpoint(endpoint);
      expect(await deliveriesOf(endpoint.id)).toBeNull();
    });

    it('refuses more than 20 endpoints, and an endpoint of another organization', async () => {
      const other = await server.newOrganization();
      const made = await Promise.all(
        Array.from({ length: 21 }, () =>
          createEndpoint({}, other.client).catch((error: Error) => error.message),
        ),
      );
      const refused = made.filter((result) => typeof result === 'string');
      expect(refused).toEqual([expect.stringContaining('LIMIT_EXCEEDED')]);
      const [theirs] = made.filter((result) => typeof result !== 'string');
      for (const name of ['sendTestWebhook', 'rotateWebhookSecret', 'deleteWebhookEndpoint']) {
        expect(await problemsOf(name, { id: theirs?.id })).toMatchObject([{ code: 'NOT_FOUND' }]);
      }
    });
  });

  describe('a webhook endpoint', () => {
    it('receives the events of a call, signed for both kinds of receivers', async () => {
      const eventTypes = ['CALL_STARTED', 'CALL_JOINED', 'CALL_ENDED', 'CALL_BILLED'];
      const endpoint = await createEndpoint({ eventTypes });
      const { id } = await caller.call();
      const got = await eventsAt(endpoint.path, CALL_EVENTS);
      expect(got.map(({ json }) => json.event).sort()).toEqual([...CALL_EVENTS].sort());
      for (const request of got) {
        new Webhook(endpoint.secret).verify(
          request.body,
          request.headers as Record<string, string>,
        );
        expect(verifiesByRecipe(request, endpoint.secret)).toBe(true);
        expect(verifiesByRecipe(request, `${endpoint.secret}x`)).toBe(false);
        expect(request.headers['webhook-id']).toBe(request.json.id);
        expect(request.json.data).toMatchObject({ eventId: request.json.id, call: { id } });
      }
      const [{ body, headers }] = got as [Received];
      const forged = { ...headers, 'webhook-id': 'evt_another' };
      expect(() => new Webhook(endpoint.secret).verify(body, forged as never)).toThrow();

      expect([...got].sort(byCursor).map(({ json }) => json.event)).toEqual(CALL_EVENTS);
      const { data } = await server.client.send(
        'query ($id: ID!) { call(id: $id) { durationSeconds cost { amount currency } events { nodes { cursor } } } }',
        { id },
      );
      const cursors = data.call.events.nodes.map(({ cursor }: { cursor: string }) => cursor);
      expect(cursors).toEqual(
        expect.arrayContaining(got.map(({ json }) => json.data.cursor as string)),
      );
      const bill = got.find(({ json }) => json.event === 'call.billed');
      const { events: _events, ...figures } = data.call;
      expect(bill?.json.data.call).toMatchObject(figures);
      expect(bill?.json.data.ultravox).toMatchObject({ billingStatus: 'BILLING_STATUS_BILLED' });
      expect(JSON.stringify(got.map(({ body }) => body))).not.toContain('joinUrl');
      await removeEndpoint(endpoint);
    });

    it('receives only the types it wants, and campaigns’ events among them', async () => {
      const endpoint = await createEndpoint({
        eventTypes: ['BATCH_STATUS_CHANGED', 'BATCH_COMPLETED', 'CALL_FAILED'],
      });
      const operator = { client: server.client, caller };
      const { id } = await createCampaign(operator, {
        contacts: people(2, { ending: '0001', series: 7 }),
        scheduleType: 'IMMEDIATE',
        retryFailed: false,
      });
      const types = ['batch.status.changed', 'batch.completed', 'call.failed'];
      await eventsAt(endpoint.path, types);
      const got = await until('both calls and both changes', () => {
        const all = receiver.at(endpoint.path);
        const count = (type: string) => all.filter(({ json }) => json.event === type).length;
        return count('call.failed') >= 2 && count('batch.status.changed') >= 2 && all;
      });
      const changes = got
        .filter(({ json }) => json.event === 'batch.status.changed')
        .sort(byCursor)
        .map(({ json }) => [json.data.batchId, json.data.status]);
      expect(changes).toEqual([
        [id, 'ACTIVE'],
        [id, 'COMPLETED'],
      ]);
      expect(new Set(got.map(({ json }) => json.event))).toEqual(new Set(types));
      expect(
        got.find(({ json }) => json.event === 'batch.completed')?.json.data.campaign,
      ).toMatchObject({ id, counts: { total: 2, called: 2, failed: 2 } });
      await removeEndpoint(endpoint);
    });

    it('receives events of agents and voices', async () => {
      const endpoint = await createEndpoint();
      await runMutation(
        server.client,
        'updateAgent',
        { id: caller.agentId, name: 'Bea' },
        'agent { id }',
      );
      await runMutation(
        server.client,
        'createVoice',
        { name: 'Mine', providerVoiceId: 'mine' },
        'voice { id }',
      );
      const got = await eventsAt(endpoint.path, ['agent.synced', 'voice.training.completed']);
      expect(got.find(({ json }) => json.event === 'agent.synced')?.json.data).toMatchObject({
        agentId: caller.agentId,
        agent: { name: 'Bea' },
      });
      const trained = got.find(({ json }) => json.event === 'voice.training.completed');
      expect(trained?.json.data.voice).toMatchObject({ name: 'Mine', provider: 'ELEVEN_LABS' });
      await removeEndpoint(endpoint);
    });

    it('receives nothing from before its creation, and nothing of another organization', async () => {
      await caller.call();
      const endpoint = await createEndpoint();
      const other = await server.newOrganization();
      const theirs = await createEndpoint({}, other.client);
      const { id } = await caller.call();
      const got = await eventsAt(endpoint.path, CALL_EVENTS);
      expect(got.filter(({ json }) => json.event === 'call.started')).toHaveLength(1);
      expect(got.find(({ json }) => json.event === 'call.started')?.json.data.call.id).toBe(id);
      await sendTest(theirs, other.client);
      await eventsAt(theirs.path, ['webhook.test']);
      expect(receiver.at(theirs.path)).toHaveLength(1);
      await removeEndpoint(endpoint);
    });
  });

  describe('the CRM webhook of an agent', () => {
    it('receives the results of each call of that agent, signed with its own secret', async () => {
      await until('the results of earlier calls', async () => {
        if ((await server.app.db.call.count({ where: { endedAt: null } })) > 0) return false;
        const where = { kind: 'EVENT', status: 'PENDING' } as const;
        return (await server.app.db.postCallStep.count({ where })) === 0;
      });
      const crm = {
        crmWebhookUrl: `${receiver.url}/crm`,
        crmWebhookSecret: 'crm secret 17',
      };
      await runMutation(
        server.client,
        'updateAgent',
        { id: caller.agentId, ...crm },
        'agent { id }',
      );
      const endpoint = await until('the endpoint', async () => {
        const { data } = await server.client.send(
          'query ($id: ID!) { agent(id: $id) { crmWebhookEndpoint { id url agent { id } } } }',
          { id: caller.agentId },
        );
        return data.agent.crmWebhookEndpoint;
      });
      expect(endpoint).toMatchObject({ url: crm.crmWebhookUrl, agent: { id: caller.agentId } });
      const { id } = await caller.call();
      const [request] = await eventsAt('/crm', ['call.results']);
      expect(request!.json.data).toMatchObject({ status: 'COMPLETED', call: { id } });
      expect(request!.json.data.transcript).toContainEqual(
        expect.objectContaining({ speaker: 'USER', text: expect.any(String) }),
      );
      const busy = await caller.call('+14155570001');
      await until('the results of a busy call', () =>
        receiver.at('/crm').some(({ json }) => json.data.call.id === busy.id),
      );
      await until('its bill', async () => {
        const { data } = await server.client.send(`{ call(id: "${id}") { billingStatus } }`);
        return data.call.billingStatus === 'BILLED';
      });
      expect(verifiesByRecipe(request!, crm.crmWebhookSecret)).toBe(true);
      new Webhook(crm.crmWebhookSecret, { format: 'raw' }).verify(
        request!.body,
        request!.headers as Record<string, string>,
      );
      const input = { id: caller.agentId, crmWebhookUrl: null, crmWebhookSecret: null };
      await runMutation(server.client, 'updateAgent', input, 'agent { id }');
      await until('its end', async () => (await deliveriesOf(endpoint.id)) === null);
      expect(receiver.at('/crm').map(({ json }) => json.data.call.id)).toEqual([id, busy.id]);
    });
  });
}
