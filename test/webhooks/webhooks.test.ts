import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { createCampaign, people } from '../campaigns/support.ts';
import { runMutation } from '../support/calling.ts';
import { until } from '../support/wait.ts';
import type { Received } from './receiver.ts';
import {
  attempted,
  caller,
  createEndpoint,
  deliveriesOf,
  deliveryOf,
  eventsAt,
  moveClock,
  receiver,
  removeEndpoint,
  sendTest,
  server,
  useWebhookServer,
  verifiesByRecipe,
} from './support.ts';

useWebhookServer();

const CALL_EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'];

async function problemsOf(name: string, input: Record<string, unknown>, client = server.client) {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { userErrors { code path message } } }`,
    { input },
  );
  if (answer.errors) return answer.errors.map(({ message }) => message);
  return answer.data[name].userErrors;
}

function byCursor(a: Received, b: Received): number {
  return Number(BigInt(a.json.data.cursor) - BigInt(b.json.data.cursor));
}

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
      new Webhook(endpoint.secret).verify(request.body, request.headers as Record<string, string>);
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
    await runMutation(server.client, 'updateAgent', { id: caller.agentId, ...crm }, 'agent { id }');
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

describe('sendTestWebhook', () => {
  it('sends a test event to an endpoint that wants other types, and records the answer', async () => {
    const endpoint = await createEndpoint({ eventTypes: ['AGENT_FAILED'] });
    receiver.on(endpoint.path, (response) => response.writeHead(200).end('Thank you'));
    const delivery = await attempted(await sendTest(endpoint));
    expect(delivery).toMatchObject({
      status: 'DELIVERED',
      eventType: 'TEST',
      cursor: null,
      attempts: { nodes: [{ number: 1, statusCode: 200, error: null, responseBody: 'Thank you' }] },
    });
    expect(receiver.at(endpoint.path)[0]?.headers['webhook-id']).toBe(delivery.eventId);
    await removeEndpoint(endpoint);
  });
});

describe('a receiver that does not accept', () => {
  const CASES = [
    ['/never', { statusCode: null, error: 'No response within 3 seconds.', responseBody: null }],
    ['/hangs-up', { statusCode: null, error: expect.stringContaining('closed before a response') }],
    ['/fails', { statusCode: 500, responseBody: 'Out of order' }],
    ['/redirects', { statusCode: 302, error: expect.stringContaining('not followed') }],
  ] as const;

  it.each(CASES)('is tried again later: %s', async (path, attempt) => {
    const endpoint = await createEndpoint({ path });
    const id = await sendTest(endpoint);
    const delivery = await attempted(id);
    expect(delivery).toMatchObject({ status: 'RETRYING', attempts: { nodes: [attempt] } });
    const pause =
      Date.parse(delivery.nextAttemptAt) - Date.parse(delivery.attempts.nodes[0].startedAt);
    expect(pause / 1000).toBeGreaterThan(3.9);
    expect(pause / 1000).toBeLessThan(20);
    moveClock(10);
    await attempted(id, 2);
    const [first, second] = receiver.at(path);
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
    expect(second?.body).toBe(first?.body);
    expect(second?.headers['webhook-timestamp']).not.toBe(first?.headers['webhook-timestamp']);
    expect(receiver.at('/target')).toEqual([]);
    await removeEndpoint(endpoint);
  });

  it('has delivered when the status is 2xx, however the answer goes on', async () => {
    for (const [path, start] of [
      ['/half', 'the first half'],
      ['/huge', 'x'.repeat(1024)],
    ] as const) {
      const endpoint = await createEndpoint({ path });
      const delivery = await attempted(await sendTest(endpoint));
      expect(delivery).toMatchObject({
        status: 'DELIVERED',
        attempts: { nodes: [{ statusCode: 200, responseBody: start }] },
      });
      await removeEndpoint(endpoint);
    }
    expect(receiver.bytesWritten).toBeLessThan(50 * 1024 ** 2);
  });

  it('is left alone for as long as its Retry-After says, also with other events', async () => {
    const endpoint = await createEndpoint({ path: '/busy' });
    const first = await attempted(await sendTest(endpoint));
    const asked = Date.parse(first.attempts.nodes[0].startedAt) + 90_000;
    expect(Date.parse(first.nextAttemptAt)).toBeGreaterThanOrEqual(asked);
    const { pausedUntil } = await deliveriesOf(endpoint.id);
    expect(Date.parse(pausedUntil)).toBeGreaterThanOrEqual(asked);
    const later = await sendTest(endpoint);
    const other = await createEndpoint();
    moveClock(60);
    await attempted(await sendTest(other));
    expect(receiver.at('/busy')).toHaveLength(1);
    expect(await deliveryOf(later)).toMatchObject({ status: 'PENDING', attemptCount: 0 });
    moveClock(35);
    await attempted(later);
    await Promise.all([removeEndpoint(endpoint), removeEndpoint(other)]);
  });

  it('is disabled at once when it answers 410, which the others hear of', async () => {
    const witness = await createEndpoint({ eventTypes: ['WEBHOOK_ENDPOINT_DISABLED'] });
    const endpoint = await createEndpoint({ path: '/gone' });
    const delivery = await attempted(await sendTest(endpoint));
    expect(delivery).toMatchObject({ status: 'EXHAUSTED', nextAttemptAt: null });
    const [event] = await eventsAt(witness.path, ['webhook_endpoint.disabled']);
    expect(event!.json.data.endpoint).toMatchObject({ id: endpoint.id, disabledReason: 'GONE' });
    // Its URL may contain a token.
    expect(JSON.stringify(event!.json)).not.toContain('/gone');
    expect(await deliveriesOf(endpoint.id)).toMatchObject({
      enabled: false,
      disabledReason: 'GONE',
      disabledCursor: expect.any(String),
    });
    const listed = await server.client.send(
      '{ webhookEndpoints(filter: { enabled: false }) { nodes { id } } }',
    );
    expect(listed.data.webhookEndpoints.nodes).toEqual([{ id: endpoint.id }]);
    expect(await problemsOf('sendTestWebhook', { id: endpoint.id })).toMatchObject([
      { code: 'INVALID_STATE' },
    ]);
    await Promise.all([removeEndpoint(endpoint), removeEndpoint(witness)]);
  });
});

describe('rotateWebhookSecret', () => {
  it('keeps both secrets valid for a day, for both kinds of receivers', async () => {
    const endpoint = await createEndpoint();
    const rotated = await runMutation(
      server.client,
      'rotateWebhookSecret',
      { id: endpoint.id },
      'secret webhookEndpoint { previousSecretExpiresAt }',
    );
    expect(rotated.secret).not.toBe(endpoint.secret);
    /** Accepts what this secret verifies, as a receiver does. */
    const knows = (secret: string) =>
      receiver.on(endpoint.path, (response, request) =>
        response.writeHead(verifiesByRecipe(request, secret) ? 204 : 401).end(),
      );
    knows(endpoint.secret);
    expect(await attempted(await sendTest(endpoint))).toMatchObject({ status: 'DELIVERED' });
    const [request] = receiver.at(endpoint.path);
    expect(request!.headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);

    knows(rotated.secret);
    const id = await sendTest(endpoint);
    expect(await attempted(id)).toMatchObject({ status: 'RETRYING' });
    moveClock(10);
    expect(await attempted(id, 2)).toMatchObject({ status: 'DELIVERED' });
    // It has shown that it knows the new one.
    expect(await attempted(await sendTest(endpoint))).toMatchObject({
      status: 'DELIVERED',
      attemptCount: 1,
    });
    moveClock(86_400);
    await attempted(await sendTest(endpoint));
    const last = receiver.at(endpoint.path).at(-1)!;
    expect(last.headers['webhook-signature']).toMatch(/^v1,\S+$/);
    await removeEndpoint(endpoint);
  });

  it('tries the previous secret first when the one that was accepted has been replaced', async () => {
    const endpoint = await createEndpoint();
    const rotate = () =>
      runMutation(server.client, 'rotateWebhookSecret', { id: endpoint.id }, 'secret');
    const { secret } = await rotate();
    receiver.on(endpoint.path, (response) => response.writeHead(401).end());
    const id = await sendTest(endpoint);
    await attempted(id);
    // Rotated again while the receiver accepts the secret.
    receiver.on(endpoint.path, async (response) => {
      await rotate();
      response.writeHead(204).end();
    });
    moveClock(10);
    expect(await attempted(id, 2)).toMatchObject({ status: 'DELIVERED' });
    receiver.on(endpoint.path, (response) => response.writeHead(204).end());
    await attempted(await sendTest(endpoint));
    expect(verifiesByRecipe(receiver.at(endpoint.path).at(-1)!, secret)).toBe(true);
    await removeEndpoint(endpoint);
  });
});

describe('replays', () => {
  it('send one delivery, all that failed, and all events since a cursor, under the same ids', async () => {
    const endpoint = await createEndpoint({ eventTypes: ['CALL_ENDED', 'CALL_BILLED'] });
    const { data } = await server.client.send('{ eventCursor }');
    await caller.call();
    const first = await eventsAt(endpoint.path, ['call.ended', 'call.billed']);
    const ids = new Set(first.map(({ json }) => json.id));
    const { deliveries } = await deliveriesOf(endpoint.id);

    const fields = 'webhookDelivery { id }';
    const { id } = deliveries.nodes[0];
    await runMutation(server.client, 'replayWebhookDelivery', { id }, fields);
    await attempted(id, 2);

    // Disabled, it misses events.
    const disabled = { id: endpoint.id, enabled: false };
    await runMutation(server.client, 'updateWebhookEndpoint', disabled, 'webhookEndpoint { id }');
    await caller.call();
    await until('the bill', async () => {
      const bills = await server.app.db.event.count({
        where: { type: 'CALL_BILLED', cursor: { gt: BigInt(data.eventCursor) } },
      });
      return bills === 2;
    });
    const enabled = { id: endpoint.id, enabled: true };
    await runMutation(server.client, 'updateWebhookEndpoint', enabled, 'webhookEndpoint { id }');
    const input = { endpointId: endpoint.id, after: data.eventCursor };
    await runMutation(
      server.client,
      'replayWebhookEvents',
      input,
      'webhookEndpoint { replayCursor }',
    );
    const all = await until('all four', () => {
      const got = receiver.at(endpoint.path);
      return new Set(got.map(({ json }) => json.id)).size === 4 && got.length >= 7 && got;
    });
    expect(all.filter(({ json }) => ids.has(json.id))).toHaveLength(5);
    expect(await deliveriesOf(endpoint.id)).toMatchObject({ replayCursor: null });

    receiver.on(endpoint.path, (response) => response.writeHead(410).end());
    await attempted(await sendTest(endpoint));
    receiver.on(endpoint.path, (response) => response.writeHead(204).end());
    await runMutation(server.client, 'updateWebhookEndpoint', enabled, 'webhookEndpoint { id }');
    const replayed = await runMutation(
      server.client,
      'replayFailedWebhooks',
      { endpointId: endpoint.id },
      'deliveryCount',
    );
    expect(replayed.deliveryCount).toBe(1);
    await until('its delivery', async () => {
      const left = await deliveriesOf(endpoint.id, ', filter: { status: [DELIVERED] }');
      return left.deliveries.totalCount === 5;
    });
    expect(await problemsOf('replayWebhookEvents', { ...input, after: '999999' })).toMatchObject([
      { path: ['after'] },
    ]);
    await removeEndpoint(endpoint);
  });
});

describe('an endpoint that keeps failing', () => {
  it('is retried for three days with growing delays, and disabled after five', async () => {
    // Of a type that does not occur here: a late event of a call would be sent, and fail, in between.
    const endpoint = await createEndpoint({ path: '/fails', eventTypes: ['AGENT_SYNCED'] });
    const id = await sendTest(endpoint);
    const pauses: number[] = [];
    let delivery = await attempted(id);
    while (delivery.nextAttemptAt) {
      const [last] = delivery.attempts.nodes.slice(-1);
      pauses.push((Date.parse(delivery.nextAttemptAt) - Date.parse(last.startedAt)) / 1000);
      moveClock(pauses.at(-1)!);
      delivery = await attempted(id, delivery.attemptCount + 1);
    }
    expect(delivery.status).toBe('EXHAUSTED');
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    const days = pauses.reduce((sum, pause) => sum + pause, 0) / 86_400;
    expect(days).toBeGreaterThan(2.3);
    expect(days).toBeLessThan(3.7);
    expect((await deliveriesOf(endpoint.id)).enabled).toBe(true);
    moveClock((5.1 - days) * 86_400);
    await attempted(await sendTest(endpoint));
    const view = await until('the end', async () => {
      const seen = await deliveriesOf(endpoint.id);
      return !seen.enabled && seen;
    });
    expect(view.disabledReason).toBe('FAILING');
  });
});
