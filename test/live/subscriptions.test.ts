import { describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { startTestServer } from '../support/servers/server.ts';
import { type LiveStream, openSocket, orderProblems, subscribe } from '../support/subscribe.ts';
import { quickest, until } from '../support/wait.ts';
import {
  caller,
  eventCursor,
  eventsAfter,
  eventsOf,
  flood,
  me,
  server,
  useLiveServer,
  WHOLE_LIFE,
  wholeCall,
} from './support.ts';

useLiveServer();

describe.each(['socket', 'sse'] as const)('callEvents over %s', (transport) => {
  it('delivers every event of every call once, in order, numbered from 1', async () => {
    const stream = subscribe(transport, me, { after: await eventCursor() });
    const ids = await Promise.all([1, 2, 3, 4, 5].map(async () => (await caller.call()).id));
    const events = await stream.atLeast(ids.length * WHOLE_LIFE.length);
    await stream.close();
    expect(orderProblems(events)).toEqual([]);
    for (const id of ids) {
      const own = events.filter(({ callId }) => callId === id);
      expect(own.map(({ type }) => type)).toEqual(WHOLE_LIFE);
      expect(own.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
      expect(own[0]?.call?.id).toBe(id);
    }
    expect(events).toHaveLength(ids.length * WHOLE_LIFE.length);
    expect(stream.errors).toEqual([]);
  });

  it('continues a snapshot with missed and live events, without gap or repetition', async () => {
    const before = await wholeCall();
    const snapshot = await server.client.send(
      '{ eventCursor calls(first: 1) { nodes { id status } } }',
    );
    expect(snapshot.data.calls.nodes[0]).toEqual({ id: before, status: 'COMPLETED' });
    const missed = await wholeCall();
    const underway = await caller.call();
    const stream = subscribe(transport, me, { after: snapshot.data.eventCursor });
    const live = await caller.call();
    const events = await stream.atLeast(3 * WHOLE_LIFE.length);
    await stream.close();
    expect(orderProblems(events)).toEqual([]);
    expect(new Set(events.map(({ callId }) => callId))).toEqual(
      new Set([missed, underway.id, live.id]),
    );
    expect(BigInt(events[0]!.cursor)).toBeGreaterThan(BigInt(snapshot.data.eventCursor));
  });

  it('continues after the cursor of any delivered event', async () => {
    const start = await eventCursor();
    const id = await wholeCall();
    const all = await eventsOf(server.client, id);
    for (const [index, { cursor }] of all.slice(0, -1).entries()) {
      const stream = subscribe(transport, me, { after: cursor, callId: id });
      const rest = await stream.atLeast(all.length - index - 1);
      expect(rest.map((event) => event.cursor)).toEqual(
        all.slice(index + 1).map((event) => event.cursor),
      );
      await stream.close();
    }
    const beginning = subscribe(transport, me, { after: '0' });
    const events = await beginning.atLeast(Number(BigInt(start)) > 0 ? WHOLE_LIFE.length : 1);
    await until('the newest', () => beginning.events.at(-1)?.cursor === all.at(-1)?.cursor);
    expect(orderProblems(events)).toEqual([]);
    await beginning.close();
  });

  it('shows nothing of a deleted call, also right after another subscriber has read its events', async () => {
    const after = await eventCursor();
    const id = await wholeCall();
    const earlier = subscribe(transport, me, { after });
    expect((await earlier.atLeast(WHOLE_LIFE.length))[0]?.call?.id).toBe(id);
    await earlier.close();
    await runMutation(server.client, 'deleteCalls', { ids: [id] }, 'deletedCallIds');
    const later = subscribe(transport, me, { after });
    const events = await later.atLeast(WHOLE_LIFE.length);
    await later.close();
    expect(events.filter(({ callId }) => callId === id).length).toBeGreaterThan(3);
    expect(events.filter(({ callId, call }) => callId === id && call)).toEqual([]);
  });

  it('starts with new events when no cursor is given', async () => {
    await wholeCall();
    const now = await eventCursor();
    const stream = subscribe(transport, me);
    const first = await until('the first event', async () => {
      await caller.call();
      return stream.events[0];
    });
    expect(BigInt(first.cursor)).toBeGreaterThan(BigInt(now));
    await stream.close();
  });

  it('rejects a cursor ahead of the log and a malformed cursor', async () => {
    const ahead = String(BigInt(await eventCursor()) + 1000n);
    for (const after of [ahead, 'yesterday', '-1']) {
      const stream = subscribe(transport, me, { after });
      await stream.finished;
      expect(stream.events).toEqual([]);
      expect(stream.errors).toHaveLength(1);
      expect(stream.errors[0]?.extensions?.code).toBe('BAD_USER_INPUT');
    }
  });

  it('filters by call, agent and event types', async () => {
    const { client, key } = await server.newOrganization();
    const first = await prepareCaller(client);
    const second = await prepareCaller(client);
    const after = await eventCursor(client);
    const types = ['CREATED', 'COMPLETED'];
    const open = (variables: object) =>
      subscribe(transport, { url: server.url, key }, { after, ...variables });
    const openAll = () => ({
      byAgent: open({ agentId: second.agentId }),
      byType: open({ types }),
      byBoth: open({ agentId: second.agentId, types: ['BILLED'] }),
      everything: open({}),
    });
    const live = openAll();
    const mine = await wholeCall(client, first);
    const { id: other } = await second.call();
    await live.everything.atLeast(2 * WHOLE_LIFE.length);
    const replayed = openAll();
    const name = { [mine]: 'mine', [other]: 'other' };
    const whole = (who: string) => WHOLE_LIFE.map((type) => `${type} ${who}`);
    const seen = async (stream: LiveStream, count: number) =>
      (await stream.atLeast(count)).map(({ type, callId }) => `${type} ${name[callId]}`);
    for (const { byAgent, byType, byBoth, everything } of [live, replayed]) {
      expect(await seen(everything, 10)).toEqual([...whole('mine'), ...whole('other')]);
      expect(await seen(byAgent, 5)).toEqual(whole('other'));
      expect(await seen(byType, 4)).toEqual(
        ['mine', 'other'].flatMap((who) => types.map((type) => `${type} ${who}`)),
      );
      expect(await seen(byBoth, 1)).toEqual(['BILLED other']);
    }
    const byCall = open({ callId: other });
    expect(await seen(byCall, 5)).toEqual(whole('other'));
    await wholeCall(client, first);
    await flood(other, 500);
    await byCall.atLeast(505);
    expect(new Set(byCall.events.map(({ callId }) => callId))).toEqual(new Set([other]));
    await Promise.all(
      [byCall, ...Object.values(live), ...Object.values(replayed)].map((stream) => stream.close()),
    );
  });

  it('delivers no events of another organization', async () => {
    const other = await server.newOrganization();
    const theirs = await prepareCaller(other.client);
    const stream = subscribe(transport, { url: server.url, key: other.key }, { after: '0' });
    const id = await wholeCall();
    const reader = { url: server.url, key: other.key };
    for (const variables of [
      { after: '0', callId: id },
      { after: '0', agentId: caller.agentId },
      { after: '0', callId: publicId('Call', newId()) },
    ]) {
      const peeking = subscribe(transport, reader, variables);
      await peeking.finished;
      expect(peeking.events).toEqual([]);
      expect(peeking.errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    }
    const own = await wholeCall(other.client, theirs);
    const events = await stream.atLeast(WHOLE_LIFE.length);
    expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([own]));
    await stream.close();
  });

  it('rejects a wrong API key', async () => {
    const stream = subscribe(transport, { url: server.url, key: `truedy_${'x'.repeat(32)}` });
    await stream.finished;
    expect(stream.events).toEqual([]);
    expect(stream.errors).toHaveLength(1);
    if (transport === 'socket') expect(stream.errors[0]?.extensions.closeCode).toBe(4403);
  });

  it('ends when the API key behind it expires, even while no event occurs', async () => {
    const { key } = await runMutation(
      server.client,
      'createApiKey',
      { name: 'Short', scopes: ['ADMIN'], expiresAt: new Date(Date.now() + 5_000) },
      'key',
    );
    const token = await runMutation(
      createClient(server.url, key),
      'createAccessToken',
      { expiresInSeconds: 600 },
      'accessToken',
    );
    const streams = [key, token.accessToken].map((credential) =>
      subscribe(transport, { url: server.url, key: credential }),
    );
    await Promise.all(streams.map(({ finished }) => finished));
    for (const { errors } of streams) {
      // A stock client connects again after 4403, with a new token from its connectionParams.
      if (transport === 'socket') expect(errors[0]?.extensions.closeCode).toBe(4403);
      else expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
    }
  });

  it('ends at once when its API key is revoked', async () => {
    const delay = await quickest(2_000, async () => {
      const made = await runMutation(
        server.client,
        'createApiKey',
        { name: 'To be revoked', scopes: ['READ'] },
        'key apiKey { id }',
      );
      const stream = subscribe(transport, { url: server.url, key: made.key }, { after: '0' });
      await stream.atLeast(1);
      const began = Date.now();
      await runMutation(server.client, 'revokeApiKey', { id: made.apiKey.id }, 'apiKey { id }');
      await stream.finished;
      if (transport === 'socket') expect(stream.errors[0]?.extensions.closeCode).toBe(4403);
      else expect(stream.errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
      return Date.now() - began;
    });
    expect(delay).toBeLessThan(2_000);
  });

  it('delivers only the call of an access token that is limited to one call', async () => {
    const id = await wholeCall();
    const other = await wholeCall();
    const { accessToken } = await runMutation(
      server.client,
      'createAccessToken',
      { callId: id },
      'accessToken',
    );
    const holder = { url: server.url, key: accessToken as string };
    const refused = subscribe(transport, holder, { after: '0', callId: other });
    await refused.finished;
    expect(refused.events).toEqual([]);
    expect(refused.errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    for (const variables of [{ after: '0' }, { after: '0', callId: id }]) {
      const stream = subscribe(transport, holder, variables);
      const events = await stream.atLeast(WHOLE_LIFE.length);
      await caller.call();
      await wholeCall();
      expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([id]));
      await stream.close();
    }
  });

  it('releases the subscription when the server closes or the client leaves', async () => {
    const second = await startTestServer();
    const to = { url: second.url, key: second.key };
    const left = subscribe(transport, to, { after: '0' });
    const stays = subscribe(transport, to, { after: '0' });
    const ours = await prepareCaller(second.client);
    await ours.call();
    await Promise.all([left.atLeast(1), stays.atLeast(1)]);
    await left.close();
    await second.close();
    await stays.finished;
  });
});

describe('a subscription', () => {
  it('shows the values of each field in its own form', async () => {
    const after = await eventCursor();
    await wholeCall();
    const client = openSocket(me.url, me.key);
    const query = `subscription ($after: Cursor) { callEvents(after: $after, types: [COMPLETED]) {
      times: call { answeredAt endedAt } duration: call { durationSeconds } } }`;
    const { value } = await client.iterate({ query, variables: { after } }).next();
    await client.dispose();
    expect(value.errors).toBeUndefined();
    const { times, duration } = value.data.callEvents;
    const lasted = Date.parse(times.endedAt) - Date.parse(times.answeredAt);
    expect(duration).toEqual({ durationSeconds: lasted / 1000 });
  });

  it.each([
    ['callEvents(callId: "")', 'not an ID of this API'],
    ['callEvents(agentId: "")', 'not an ID of this API'],
    ['callEvents(campaignId: "")', 'not an ID of this API'],
    ['agentUpdated(agentId: "")', 'not an ID of this API'],
    [`callEvents(agentId: "${publicId('Agent', newId())}")`, 'not found'],
    [`agentUpdated(agentId: "${publicId('Agent', newId())}")`, 'not found'],
  ])('rejects %s, which would be about everything or nothing', async (field, message) => {
    const socket = openSocket(me.url, me.key);
    const results = socket.iterate({ query: `subscription { ${field} { __typename } }` });
    await expect(results.next()).rejects.toMatchObject([
      { message: expect.stringContaining(message), extensions: { code: 'BAD_USER_INPUT' } },
    ]);
    await socket.dispose();
  });
});

// Last, since events of one call are out of order then.
describe.each(['socket', 'sse'] as const)('callEvents over %s', (transport) => {
  it('brings subscribers with different filters each its own events when they catch up together', async () => {
    const [watched, other] = [await wholeCall(), await wholeCall()];
    const after = await eventCursor();
    // So that much of what both have missed begins and ends with the same events, however it is divided.
    await flood(watched, 500, { among: { callId: other, every: 5 } });
    const all = await until('the events to be numbered', async () => {
      const found = await eventsAfter(after);
      return found.length === 500 && found;
    });
    const own = all.filter(({ callId }) => callId === watched);
    expect(own).toHaveLength(400);
    const filters = [{}, { callId: watched }, {}, { callId: watched }];
    const streams = filters.map((filter) => subscribe(transport, me, { after, ...filter }));
    for (const [index, stream] of streams.entries()) {
      const expected = index % 2 === 0 ? all : own;
      const events = await stream.atLeast(expected.length);
      await stream.close();
      expect(events.map(({ cursor }) => cursor)).toEqual(expected.map(({ cursor }) => cursor));
    }
  });
});
