/** Figures compared with an independent count of the same calls, across clock changes in several time zones. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rolledUpDays, rollUpCalls } from '../../src/analytics/rollups.ts';
import type { Prisma } from '../../src/generated/prisma/client.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { randomFrom } from '../support/random.ts';
import { insertRows } from '../support/rows.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { type CountedCall, expectFigures, keyByHand } from './by-hand.ts';

const CALLS = 4_000;
/** Further calls within two hours of each clock change below. */
const CALLS_NEAR_CHANGE = 150;
/** How many calls are billed late, analyzed again, without their analysis, and deleted. */
const CHANGED = 60;
const RANGE = { from: '2026-03-25T05:17:00.000Z', to: '2026-04-08T21:43:11.000Z' };
/** Of which all but Kathmandu change their clocks in that range, Lord Howe by half an hour. */
const ZONES = [
  'Europe/Berlin',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'Pacific/Chatham',
];
/** Ranges that begin or end within the hour that a clock change skips, repeats or cuts in half. */
const MOVED_HOURS = [
  // Spring: 02:00 becomes 03:00 at 01:00 UTC. Autumn: 03:00 becomes 02:00 at 01:00 UTC.
  ['Europe/Berlin', '2026-03-29T00:40:00.000Z', '2026-03-29T01:20:00.000Z'],
  ['Europe/Berlin', '2026-10-25T00:20:00.000Z', '2026-10-25T01:40:00.000Z'],
  ['Europe/Berlin', '2026-10-25T01:10:00.000Z', '2026-10-25T03:00:00.000Z'],
  // 02:00 becomes 01:30 at 15:00 UTC.
  ['Australia/Lord_Howe', '2026-04-04T14:20:00.000Z', '2026-04-04T15:10:00.000Z'],
  ['Australia/Lord_Howe', '2026-04-04T14:50:00.000Z', '2026-04-04T16:05:00.000Z'],
  // 03:45 becomes 02:45 at 14:00 UTC.
  ['Pacific/Chatham', '2026-04-04T13:20:00.000Z', '2026-04-04T14:40:00.000Z'],
  ['Pacific/Chatham', '2026-04-04T14:10:00.000Z', '2026-04-04T15:30:00.000Z'],
] as const;
const REASONS = ['HANGUP', 'AGENT_HANGUP', 'NO_ANSWER', 'BUSY'] as const;
const ANSWERERS = ['HUMAN', 'VOICEMAIL', 'UNKNOWN', null] as const;

let server: TestServer;
let agentIds: string[];
let numberIds: (string | null)[];
let campaignIds: (string | null)[];
let calls: CountedCall[];

beforeAll(async () => {
  server = await startTestServer();
  const { organizationId, client } = server;
  const caller = await prepareCaller(client);
  const { agentId, voiceId } = caller;
  const { db } = server.app;
  const agent = await db.agent.findUniqueOrThrow({ where: { id: agentId.slice(4) } });
  const second = { ...agent, id: newId(), name: 'Bea', remoteId: null, inactivityMessages: [] };
  await db.agent.create({ data: second as Prisma.AgentUncheckedCreateInput });
  expect(voiceId).toBeTruthy();
  agentIds = [agent.id, second.id];
  const number = await db.phoneNumber.findFirstOrThrow({ where: { organizationId } });
  numberIds = [number.id, null];
  const campaigns = [0, 1].map((series) =>
    createCampaign({ client, caller }, { contacts: people(1, { series }) }),
  );
  campaignIds = [null, ...(await Promise.all(campaigns)).map(({ id }) => id.slice(4))];
  const random = randomFrom(20261128);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const start = Date.parse('2026-03-20T00:00:00Z');
  const created = [
    ...Array.from({ length: CALLS }, () => start + Math.floor(random() * 25 * 86_400_000)),
    ...MOVED_HOURS.flatMap(([, from]) =>
      Array.from({ length: CALLS_NEAR_CHANGE }, () =>
        Math.floor(Date.parse(from) + (random() - 0.4) * 10_800_000),
      ),
    ),
  ];
  calls = created.map((at) => {
    const createdAt = new Date(at);
    const answered = random() < 0.7;
    const ended = random() < 0.95;
    const answeredAt = answered ? new Date(createdAt.getTime() + 7_000) : null;
    const lasts = Math.floor(random() ** 3 * 400_000);
    return {
      id: newId(),
      organizationId,
      agentId: pick(agentIds),
      phoneNumberId: pick(numberIds),
      campaignId: pick(campaignIds),
      direction: 'OUTBOUND',
      medium: 'SIP',
      status: ended ? 'COMPLETED' : 'IN_PROGRESS',
      placement: 'ACCEPTED',
      ultravoxId: newId(),
      claimedAt: createdAt,
      endReason: ended ? pick(REASONS) : null,
      answeredBy: answered ? pick(ANSWERERS) : null,
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      createdAt,
      answeredAt,
      endedAt: ended ? new Date((answeredAt ?? createdAt).getTime() + lasts) : null,
      costAmount: ended && answered ? (random() * 3).toFixed(6) : null,
      costCurrency: ended && answered ? pick(['USD', 'USD', 'EUR']) : null,
      success: answered && random() < 0.6 ? random() < 0.5 : null,
      tokens: answered && random() < 0.5 ? Math.floor(random() * 5000) : null,
    };
  });
  const rows = calls.map(({ success: _s, tokens: _t, ...call }) => call);
  await insertRows(server, 'Call', rows);
  await insertRows(
    server,
    'CallAnalysis',
    calls
      .filter(({ success, tokens }) => success !== null || tokens !== null)
      .map(({ id, success, tokens }) => ({
        callId: id!,
        organizationId,
        status: 'DONE' as const,
        success,
        inputTokens: tokens,
      })),
  );
  await changeSome(() => true);
});

/** Rolls up all days with a few calls. @returns how many are rolled up. */
async function rollUp(): Promise<number> {
  const where = { organizationId: server.organizationId };
  await server.app.db.callRollupProgress.deleteMany({ where });
  await rollUpCalls(server.app, { minCalls: 10 });
  return server.app.db.callRollupDay.count({ where });
}

/** What happens to calls later: bills, new verdicts, deletion. */
async function changeSome(which: (call: CountedCall) => boolean): Promise<void> {
  const { db } = server.app;
  const over = calls.filter((call) => call.endedAt && which(call));
  const take = (): CountedCall[] => over.splice(0, CHANGED);
  for (const call of take()) {
    const data = { costAmount: '1.250000', costCurrency: 'USD' };
    Object.assign(call, data);
    await db.call.update({ where: { id: call.id! }, data });
  }
  for (const call of take()) {
    Object.assign(call, { success: !call.success, tokens: 77 });
    const verdict = { success: call.success, inputTokens: 70, outputTokens: 7 };
    await db.callAnalysis.upsert({
      where: { callId: call.id! },
      create: {
        callId: call.id!,
        organizationId: server.organizationId,
        status: 'DONE',
        ...verdict,
      },
      update: verdict,
    });
  }
  for (const call of take()) Object.assign(call, { success: null, tokens: null });
  const without = calls.filter(({ success, tokens }) => success === null && tokens === null);
  await db.callAnalysis.deleteMany({ where: { callId: { in: without.map(({ id }) => id!) } } });
  const deleted = take().map(({ id }) => publicId('Call', id!));
  await runMutation(server.client, 'deleteCalls', { ids: deleted }, 'deletedCallIds');
  calls = calls.filter(({ id }) => !deleted.includes(publicId('Call', id!)));
}

afterAll(() => server?.close());

const FIGURES = `calls answered answerRate successful successRate averageHandleSeconds
  medianHandleSeconds totalHandleSeconds cost { amount currency } tokens`;

// biome-ignore lint/suspicious/noExplicitAny: whatever the query asks for
async function analytics(variables: object, range: object = RANGE): Promise<any> {
  const answer = await server.client.send(
    `query ($range: AnalyticsRange!, $timezone: String, $filter: AnalyticsFilter, $groupBy: [AnalyticsGroupBy!]) {
      analytics(range: $range, timezone: $timezone, filter: $filter, groupBy: $groupBy) {
        total { ${FIGURES} }
        groups { agent { id } campaign { id } phoneNumber { id } endReason answeredBy start weekday hour figures { ${FIGURES} } } } }`,
    { range, ...variables },
  );
  if (answer.errors) throw new Error(answer.errors[0]?.message);
  return answer.data.analytics;
}

const inRange = ({ from, to } = RANGE): CountedCall[] =>
  calls.filter(({ createdAt }) => createdAt! >= new Date(from) && createdAt! < new Date(to));

interface GroupView {
  start: string | null;
  weekday: number | null;
  hour: number | null;
  figures: { calls: number };
}

const UNITS = ['HOUR', 'DAY', 'WEEK', 'MONTH', 'HOUR_OF_WEEK'];

async function expectUnit(unit: string, timezone: string, range: typeof RANGE): Promise<void> {
  const { groups, total } = await analytics({ timezone, groupBy: [unit] }, range);
  const byHand = Map.groupBy(inRange(range), (call) => keyByHand(unit, timezone, call));
  expect(byHand.size).toBeGreaterThan(0);
  const keyOf = ({ start, weekday, hour }: GroupView): string =>
    start ? new Date(start).toISOString() : `${weekday}/${hour}`;
  expect(groups.map(keyOf).sort()).toEqual([...byHand.keys()].sort());
  for (const group of groups) expectFigures(group.figures, byHand.get(keyOf(group)) ?? []);
  expectFigures(total, inRange(range));
}

interface Owner {
  id: string;
  figures: object;
}

interface Dimension {
  // biome-ignore lint/suspicious/noExplicitAny: a group
  ofGroup: (group: any) => string | null;
  ofCall: (call: CountedCall) => string | null;
}

const publicOrNull = (type: Parameters<typeof publicId>[0], id?: string | null) =>
  id ? publicId(type, id) : null;

const DIMENSIONS: Record<string, Dimension> = {
  AGENT: {
    ofGroup: ({ agent }) => agent.id,
    ofCall: (call) => publicOrNull('Agent', call.agentId),
  },
  CAMPAIGN: {
    ofGroup: ({ campaign }) => campaign?.id ?? null,
    ofCall: (call) => publicOrNull('Campaign', call.campaignId),
  },
  PHONE_NUMBER: {
    ofGroup: ({ phoneNumber }) => phoneNumber?.id ?? null,
    ofCall: (call) => publicOrNull('PhoneNumber', call.phoneNumberId),
  },
  END_REASON: {
    ofGroup: ({ endReason }) => endReason,
    ofCall: ({ endReason }) => endReason ?? null,
  },
  ANSWERED_BY: {
    ofGroup: ({ answeredBy }) => answeredBy,
    ofCall: ({ answeredBy }) => answeredBy ?? null,
  },
};

function agreesWithCountByHand(): void {
  for (const timezone of ZONES) {
    it.each(UNITS)(`by %s agrees with a count by hand in ${timezone}`, (unit) =>
      expectUnit(unit, timezone, RANGE));
  }

  it.each(MOVED_HOURS)('agrees with a count by hand in %s from %s to %s', async (...change) => {
    const [timezone, from, to] = change;
    for (const unit of UNITS) await expectUnit(unit, timezone, { from, to });
  });

  it.each(Object.entries(DIMENSIONS))('by %s agrees with a count by hand', async (groupBy, {
    ofGroup,
    ofCall,
  }) => {
    const { groups, total } = await analytics({ groupBy: [groupBy] });
    const byHand = Map.groupBy(inRange(), ofCall);
    expect(byHand.size).toBeGreaterThan(1);
    expect(new Set(groups.map(ofGroup))).toEqual(new Set(byHand.keys()));
    expect(groups).toHaveLength(byHand.size);
    for (const group of groups) expectFigures(group.figures, byHand.get(ofGroup(group)) ?? []);
    expectFigures(total, inRange());
  });

  it('gives each agent and campaign of a list its own figures', async () => {
    const { data } = await server.client.send(
      `query ($range: AnalyticsRange) {
        agents { nodes { id figures(range: $range) { ${FIGURES} } } }
        campaigns { nodes { id figures(range: $range) { ${FIGURES} } } } }`,
      { range: RANGE },
    );
    const agents = new Map(data.agents.nodes.map((one: Owner) => [one.id.slice(4), one.figures]));
    const campaigns = new Map(
      data.campaigns.nodes.map((one: Owner) => [one.id.slice(4), one.figures]),
    );
    for (const id of agentIds) {
      expectFigures(
        agents.get(id) as object,
        inRange().filter((call) => call.agentId === id),
      );
    }
    for (const id of campaignIds.filter((id) => id !== null)) {
      const own = inRange().filter(({ campaignId }) => campaignId === id);
      expect(own.length).toBeGreaterThan(0);
      expectFigures(campaigns.get(id) as object, own);
    }
  });

  it('groups by several things at once, with a filter', async () => {
    const wanted = inRange().filter(
      ({ endReason, agentId }) => endReason && endReason !== 'BUSY' && agentId === agentIds[0],
    );
    const { groups } = await analytics({
      timezone: 'Asia/Kolkata',
      groupBy: ['END_REASON', 'DAY', 'PHONE_NUMBER', 'AGENT', 'ANSWERED_BY'],
      filter: {
        agentId: [publicId('Agent', agentIds[0]!)],
        endReason: ['HANGUP', 'AGENT_HANGUP', 'NO_ANSWER'],
      },
    });
    const byHand = Map.groupBy(wanted, (call) =>
      [
        call.endReason,
        keyByHand('DAY', 'Asia/Kolkata', call),
        call.phoneNumberId ? publicId('PhoneNumber', call.phoneNumberId) : null,
        publicId('Agent', call.agentId),
        call.answeredBy,
      ].join(),
    );
    // biome-ignore lint/suspicious/noExplicitAny: a group
    const keyOf = (group: any): string =>
      [
        group.endReason,
        new Date(group.start).toISOString(),
        group.phoneNumber?.id ?? null,
        group.agent.id,
        group.answeredBy,
      ].join();
    expect(groups.map(keyOf).sort()).toEqual([...byHand.keys()].sort());
    for (const group of groups) expectFigures(group.figures, byHand.get(keyOf(group)) ?? []);
  });
}

describe('analytics of single calls', agreesWithCountByHand);

describe('analytics of days that are rolled up', () => {
  beforeAll(async () => {
    expect(await rollUp()).toBeGreaterThan(25);
  });
  agreesWithCountByHand();
});

describe('analytics of days that are rolled up, of which half have changed since', () => {
  beforeAll(async () => {
    const rolledUp = await rollUp();
    await changeSome(({ createdAt }) => new Date(createdAt!).getUTCDate() % 2 === 0);
    const { organizationId } = server;
    const range = { from: new Date('2026-01-01'), to: new Date('2027-01-01') };
    const days = await rolledUpDays(server.app.db, organizationId, range);
    expect(days.length).toBeGreaterThan(rolledUp / 3);
    expect(days.length).toBeLessThan(rolledUp);
  });
  agreesWithCountByHand();
});

describe('analytics', () => {
  it('agree with a count by hand when changed days are rolled up again', async () => {
    const { callRollupChange } = server.app.db;
    // Of a day that is not rolled up.
    await callRollupChange.create({ data: { organizationId: newId(), day: new Date(0) } });
    await rollUp();
    expect(await callRollupChange.count()).toBe(0);
    await expectUnit('WEEK', 'UTC', RANGE);
  });

  it('count a change that is committed while its day is rolled up', async () => {
    await rollUp();
    const { db } = server.app;
    const [call] = calls.filter(({ endedAt }) => endedAt);
    await db.$transaction(async (tx) => {
      Object.assign(call!, { costAmount: '9.000000', costCurrency: 'USD' });
      const data = { costAmount: '9', costCurrency: 'USD' };
      await tx.call.update({ where: { id: call!.id! }, data });
      // Skips the day, whose change is not committed.
      await rollUp();
    });
    await expectUnit('DAY', 'UTC', RANGE);
    await rollUp();
    await expectUnit('DAY', 'UTC', RANGE);
  });

  it('costs as many objects as it can have groups', async () => {
    const month = { from: '2026-03-01T00:00:00Z', to: '2026-03-31T00:00:00Z' };
    const costOf = (groupBy: string, groups = 'groups { start figures { calls } }') =>
      server.client
        .send(
          `query ($range: AnalyticsRange!) {
            ${Array.from({ length: 60 }, (_, n) => `a${n}: analytics(range: $range, groupBy: ${groupBy}) { ${groups} }`).join(' ')} }`,
          { range: month },
        )
        .then(({ errors }) => errors?.[0]?.extensions.cost as number | undefined);
    expect(await costOf('[END_REASON, DAY]')).toBeUndefined();
    // 720 hours with 13 end reasons, two objects each.
    expect(await costOf('[END_REASON, HOUR]')).toBe(60 * (50 + 2 * 720 * 13));
    expect(await costOf('[AGENT]')).toBe(60 * (50 + 2 * 10_000));
  });

  it('refuses a range over two years, too many groups and a zone that is none, with the number', async () => {
    const years = { from: '2020-01-01T00:00:00Z', to: '2023-01-01T00:00:00Z' };
    await expect(analytics({}, years)).rejects.toThrow('1096 days; at most 731');
    const long = { from: '2025-01-01T00:00:00Z', to: '2026-12-31T00:00:00Z' };
    await expect(analytics({ groupBy: ['HOUR'] }, long)).rejects.toThrow('17,496 rows');
    await expect(analytics({ groupBy: ['DAY', 'MONTH'] })).rejects.toThrow('one unit of time');
    await expect(analytics({ timezone: 'Mars/Base' })).rejects.toThrow('Mars/Base');
    await expect(analytics({}, { from: RANGE.to, to: RANGE.from })).rejects.toThrow('after');
  });

  it('has each change of a call at once, and forgets a deleted one', async () => {
    const other = await server.newOrganization();
    const caller = await prepareCaller(other.client);
    const range = { from: new Date(Date.now() - 3_600_000), to: new Date(Date.now() + 3_600_000) };
    const query = `query ($range: AnalyticsRange!, $id: ID!) {
      analytics(range: $range) { total { calls answered cost { amount } } }
      agent(id: $id) { figures { calls answered totalHandleSeconds cost { amount } } } }`;
    const look = async () => {
      return (await other.client.send(query, { range, id: caller.agentId })).data;
    };
    expect((await look()).analytics.total).toMatchObject({ calls: 0 });
    const { id } = await caller.call();
    expect((await look()).analytics.total).toMatchObject({ calls: 1 });
    const call = await until('the bill', async () => {
      const { data } = await other.client.send(
        `{ call(id: "${id}") { billingStatus durationSeconds cost { amount } } }`,
      );
      return data.call.billingStatus === 'BILLED' && data.call;
    });
    const seen = await look();
    expect(seen.agent.figures).toEqual({
      calls: 1,
      answered: 1,
      totalHandleSeconds: call.durationSeconds,
      cost: { amount: expect.any(String) },
    });
    expect(Number(seen.agent.figures.cost.amount)).toBe(Number(call.cost.amount));
    expect(Number(seen.analytics.total.cost.amount)).toBe(Number(call.cost.amount));
    await other.client.send(
      `mutation { deleteCalls(input: { ids: ["${id}"] }) { deletedCallIds } }`,
    );
    expect((await look()).analytics.total).toMatchObject({ calls: 0 });
  });
});
