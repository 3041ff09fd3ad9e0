/** Call slots that campaigns share: limits of organizations and of Ultravox, and fair distribution. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { runMutation } from '../../support/calling.ts';
import { recordStatements } from '../../support/queries.ts';
import type { TestServer } from '../../support/servers/server.ts';
import { quickest, until } from '../../support/wait.ts';
import { closeCampaignServer, startCampaignServer } from '../campaign-server.ts';
import {
  CREATION,
  callsAtUltravox,
  callsOf,
  mostAtOnce,
  start,
  strangers,
  timeOf,
} from '../engine-support.ts';
import {
  act,
  createCampaign,
  dialsOf,
  ended,
  type Operator,
  prepareOperator,
  uuidOf,
} from '../support.ts';

let server: TestServer;
let operator: Operator;

/** Starts a server with these limits. */
function serve(settings: Record<string, string>, talkSeconds = 80): void {
  beforeAll(async () => {
    ({ server, operator } = await startCampaignServer({ settings, simulator: { talkSeconds } }));
  });
  afterAll(() => closeCampaignServer(server));
}

async function anotherOperator(): Promise<Operator> {
  return prepareOperator((await server.newOrganization()).client);
}

/** Places single calls that last until a test ends them. */
async function longCalls({ client, caller }: Operator, count: number): Promise<string[]> {
  const settings = { maxDuration: '86400s' };
  const payloads = await Promise.all(
    strangers(count, '0008').map(({ phoneNumber }) => {
      const input = { agentId: caller.agentId, phoneNumber, settings };
      return runMutation(client, 'createCall', input, 'call { id }');
    }),
  );
  return payloads.map(({ call }) => call.id);
}

/** Ends calls, the latest first, since the end of an active call frees a slot for another. */
async function endCalls({ client }: Operator, ids: readonly string[]): Promise<void> {
  for (const id of ids.toReversed()) await runMutation(client, 'endCall', { id }, 'call { id }');
}

async function seenOf(...ids: string[]) {
  const calls = await callsAtUltravox(server.simulator);
  return calls.filter(({ campaignId }) => ids.includes(campaignId));
}

/** Largest lead of one of two organizations while both had contacts to call. */
function lead(dials: readonly string[]): number {
  const count = new Map<string, number>();
  const left = new Map(
    [...Map.groupBy(dials, (who) => who)].map(([who, all]) => [who, all.length]),
  );
  let most = 0;
  for (const who of dials) {
    count.set(who, (count.get(who) ?? 0) + 1);
    if (count.get(who) === left.get(who)) break;
    const [one = 0, other = 0] = count.values();
    most = Math.max(most, Math.abs(one - other));
  }
  return most;
}

describe('the limits of an organization and of Ultravox', () => {
  const ORGANIZATION = 4;
  const ULTRAVOX = 6;
  serve({
    ORGANIZATION_MAX_CONCURRENT_CALLS: String(ORGANIZATION),
    ULTRAVOX_MAX_CONCURRENT_CALLS: String(ULTRAVOX),
  });

  it('apply to all campaigns together', async () => {
    const other = await anotherOperator();
    // So long that calls overlap where placing them takes its time.
    server.simulator.updateSettings({ talkSeconds: 300 });
    let scheduledAt = '';
    const make = (who: Operator, count: number, maxConcurrentCalls: number) =>
      createCampaign(who, { contacts: strangers(count), maxConcurrentCalls, scheduledAt });
    /** Two campaigns that start at the same moment, also where making them takes long. */
    const pair = async (first: Operator, second: Operator, count: number, most: number) => {
      scheduledAt = new Date(Date.now() + 4_000).toISOString();
      return [(await make(first, count, most)).id, (await make(second, count, most)).id] as const;
    };
    const [a, b] = await pair(operator, operator, 6, 3);
    await Promise.all([ended(operator, a), ended(operator, b)]);
    for (const own of [a, b]) expect(mostAtOnce(await seenOf(own))).toBeLessThanOrEqual(3);
    expect(mostAtOnce(await seenOf(a, b))).toBe(ORGANIZATION);

    const [c, d] = await pair(operator, other, 10, 10);
    await Promise.all([ended(operator, c), ended(other, d)]);
    const calls = await seenOf(c, d);
    expect(calls).toHaveLength(20);
    expect(mostAtOnce(calls)).toBeLessThanOrEqual(ULTRAVOX);
    expect(mostAtOnce(calls)).toBeGreaterThan(ORGANIZATION);
    server.simulator.updateSettings({ talkSeconds: 80 });
  });

  it('do not let waiting calls of one organization block campaigns of others', async () => {
    const other = await anotherOperator();
    // More calls than Ultravox has slots.
    const calls = await longCalls(other, ORGANIZATION + ULTRAVOX + 2);
    const id = await start(operator, { contacts: strangers(2) });
    await until('the calls of the campaign', () => dialsOf(server, id).length === 2);
    await ended(operator, id);
    await endCalls(other, calls);
  });

  it('are shared by campaigns with the waiting calls of other organizations', async () => {
    const callers = [await anotherOperator(), await anotherOperator()] as const;
    // More calls than Ultravox has slots; each organization gets half of them.
    const calls = [await longCalls(callers[0], 10), await longCalls(callers[1], 10)] as const;
    const dialed = (id: string) =>
      server.simulator.dials().some(({ metadata }) => metadata.callId === id);
    await until('full slots', () => calls.flat().filter(dialed).length === ULTRAVOX);
    const id = await start(operator, { contacts: strangers(2) });
    // The first slot that is free again is not for the 14 calls that have waited longer.
    const active = calls[0].find(dialed);
    await endCalls(callers[0], active ? [active] : []);
    await until('a call of the campaign', () => dialsOf(server, id).length > 0);
    expect(calls.flat().filter(dialed)).toHaveLength(ULTRAVOX);
    await ended(operator, id);
    for (const [index, caller] of callers.entries()) await endCalls(caller, calls[index] ?? []);
  });

  it('are not used by calls that wait for the creation of their agent', async () => {
    const { caller } = await prepareOperator(operator.client);
    const agentId = uuidOf(caller.agentId);
    await server.app.db.$executeRaw`
      INSERT INTO calls (id, organization_id, agent_id, direction, medium, status, placement,
        max_duration_seconds, join_timeout_seconds, place_not_before, updated_at)
      SELECT new_id(), organization_id, id, 'OUTBOUND', 'SIP', 'CREATED', 'QUEUED', 60, 30,
        now() + interval '10 minutes', now()
      FROM agents, generate_series(1, ${ORGANIZATION}) WHERE id = ${agentId}::uuid`;
    const id = await start(operator, { contacts: strangers(2) });
    await ended(operator, id);
    expect(dialsOf(server, id)).toHaveLength(2);
    const waiting = await server.app.db.call.findMany({ where: { agentId } });
    expect(waiting.map(({ placement }) => placement)).toEqual(Array(ORGANIZATION).fill('QUEUED'));
    await endCalls(
      operator,
      waiting.map((call) => publicId('Call', call.id)),
    );
  });

  it('are not used by calls that have waited too long and cannot be ended', async () => {
    const { caller } = await prepareOperator(operator.client);
    const agentId = uuidOf(caller.agentId);
    const { db } = server.app;
    await db.$executeRaw`
      INSERT INTO calls (id, organization_id, agent_id, direction, medium, status, placement,
        max_duration_seconds, join_timeout_seconds, created_at, updated_at)
      SELECT new_id(), organization_id, id, 'OUTBOUND', 'SIP', 'CREATED', 'QUEUED', 60, 30,
        now() - interval '2 hours', now()
      FROM agents, generate_series(1, ${ORGANIZATION}) WHERE id = ${agentId}::uuid`;
    await db.$executeRawUnsafe(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'refused'; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER refuse BEFORE UPDATE ON calls
      FOR EACH ROW WHEN (OLD.agent_id = '${agentId}') EXECUTE FUNCTION refuse()`);
    try {
      const id = await start(operator, { contacts: strangers(2) });
      await until('the calls', () => dialsOf(server, id).length === 2, 20_000);
      await ended(operator, id);
    } finally {
      await db.$executeRawUnsafe('DROP FUNCTION refuse CASCADE');
      await db.call.deleteMany({ where: { agentId } });
    }
  });

  it('are waited for without polling', async () => {
    server.simulator.setFaults([
      // Long enough to create the calls that take precedence.
      { kind: 'status', status: 429, retryAfterSeconds: 4, count: 1, ...CREATION },
    ]);
    const id = await start(operator, { contacts: strangers(2), maxConcurrentCalls: 1 });
    await until('the refusal', async () => {
      const [call] = await callsOf(server, id);
      return call?.placement === 'QUEUED';
    });
    // Calls of createCall take precedence and use all slots of the organization.
    const calls = await longCalls(operator, ORGANIZATION);
    const dialed = () => server.simulator.dials().map(({ metadata }) => metadata.callId);
    await until('the calls', () => calls.every((call) => dialed().includes(call)));
    const began = Date.now();
    const statements = await recordStatements(server.app, () =>
      until('a second', () => Date.now() > began + 1_000),
    );
    expect(statements.length).toBeLessThan(400);
    expect(dialsOf(server, id)).toEqual([]);
    await act(operator, 'cancelCampaign', id);
    await endCalls(operator, calls);
    await ended(operator, id);
  });

  it('do not delay campaigns of an organization with free slots', async () => {
    const calls = await longCalls(operator, ORGANIZATION);
    const waiting = await start(operator, { contacts: strangers(1) });
    const other = await anotherOperator();
    const delay = await quickest(1_000, async () => {
      const began = Date.now();
      const late: number[] = [];
      for (const seconds of [1.1, 2.3]) {
        const scheduledAt = new Date(began + seconds * 1_000).toISOString();
        // So long that no end of a call triggers a run.
        const contacts = strangers(1, '0008');
        const { id } = await createCampaign(other, { contacts, scheduledAt });
        await until('the call', () => dialsOf(server, id).length === 1);
        late.push(timeOf(dialsOf(server, id)[0]!.at) - timeOf(scheduledAt));
        await act(other, 'cancelCampaign', id);
        for (const call of await callsOf(server, id)) {
          await endCalls(other, [publicId('Call', call.id)]);
        }
      }
      return Math.max(...late);
    });
    expect(delay).toBeLessThan(1_000);
    expect(dialsOf(server, waiting)).toEqual([]);
    await endCalls(operator, calls);
    await ended(operator, waiting);
  });

  it('give a free slot to calls of createCall first', async () => {
    const id = await start(operator, { contacts: strangers(16), maxConcurrentCalls: 10 });
    await until('a full organization', () => dialsOf(server, id).length >= ORGANIZATION);
    const asked = await operator.caller.call(strangers(1)[0]!.phoneNumber);
    const dialed = () => server.simulator.dials().map(({ metadata }) => metadata.callId);
    const before = dialed().length;
    await until('the call', () => dialed().includes(asked.id));
    expect(dialed().indexOf(asked.id)).toBeLessThan(before + 3);
    await ended(operator, id);
  });
});

describe('two organizations', () => {
  const EACH = 6;

  describe.each([
    ['one slot', { ULTRAVOX_MAX_CONCURRENT_CALLS: '1' }, 2, 10],
    ['few slots', { ULTRAVOX_MAX_CONCURRENT_CALLS: '3' }, 2, 30],
    // Calls so long that only the rate of new calls matters.
    ['few new calls per second', { ULTRAVOX_MAX_CALLS_PER_SECOND: '3' }, 2, 3_000],
  ])('that share %s', (_, settings, campaigns, talkSeconds) => {
    serve(settings, talkSeconds);

    it('get equal shares, however many campaigns each has', async () => {
      const other = await anotherOperator();
      // Later than the last campaign is made, also on a slow machine.
      const scheduledAt = new Date(Date.now() + 4_000).toISOString();
      for (let index = 0; index < campaigns; index += 1) {
        await createCampaign(operator, { contacts: strangers(EACH), scheduledAt });
      }
      await createCampaign(other, { contacts: strangers(EACH), scheduledAt });
      const order = () =>
        server.simulator.dials().map(({ metadata }) => String(metadata.organizationId));
      await until('all calls', () => order().length === (campaigns + 1) * EACH, 60_000);
      expect(lead(order())).toBeLessThanOrEqual(2);
    });

    it('get equal shares, if one has a campaign and the other has many calls of createCall', async () => {
      const [one, other] = [await anotherOperator(), await anotherOperator()];
      const before = server.simulator.dials().length;
      server.simulator.setFaults([
        // Long enough for all of them to wait.
        { kind: 'status', status: 429, retryAfterSeconds: 4, count: 1, ...CREATION },
      ]);
      const [first, ...others] = strangers(3 * EACH);
      await one.caller.call(first?.phoneNumber);
      await Promise.all(others.map(({ phoneNumber }) => one.caller.call(phoneNumber)));
      await start(other, { contacts: strangers(EACH) });
      const order = () =>
        server.simulator
          .dials()
          .slice(before)
          .map(({ metadata }) => String(metadata.organizationId));
      await until('all calls', () => order().length === 4 * EACH, 60_000);
      expect(lead(order())).toBeLessThanOrEqual(2);
    });

    it.runIf('ULTRAVOX_MAX_CALLS_PER_SECOND' in settings)(
      'get new calls, even if one has many active calls and those of the other are short',
      async () => {
        const [one, other] = [await anotherOperator(), await anotherOperator()];
        const active = await longCalls(one, EACH);
        const dialed = () => server.simulator.dials().map(({ metadata }) => metadata.callId);
        await until('the long calls', () => active.every((id) => dialed().includes(id)));
        server.simulator.updateSettings({ talkSeconds: 1 });
        const short = await start(other, { contacts: strangers(5 * EACH), maxConcurrentCalls: 50 });
        // More than the new calls of the other organization.
        await until('short calls', () => dialsOf(server, short).length > EACH + 2);
        const [first, second] = strangers(2);
        const asked = await one.caller.call(first?.phoneNumber);
        const due = await start(one, { contacts: [second] });
        await until(
          'both calls',
          () => dialed().includes(asked.id) && dialsOf(server, due).length > 0,
        );
        expect(dialsOf(server, short).length).toBeLessThan(5 * EACH);
        await act(other, 'cancelCampaign', short);
        await endCalls(one, active);
        await Promise.all([ended(one, due), ended(other, short)]);
      },
    );
  });
});
