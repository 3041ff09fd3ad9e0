/** The server that the suites of analytics share, and its calls. */
import { afterAll, beforeAll, expect } from 'vitest';
import { rollUpCalls } from '../../src/analytics/rollups.ts';
import type { Prisma } from '../../src/generated/prisma/client.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { randomFrom } from '../support/random.ts';
import { insertRows } from '../support/rows.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { type CountedCall, expectFigures, keyByHand } from './by-hand.ts';

export const CALLS = 4_000;

/** Further calls within two hours of each clock change below. */
export const CALLS_NEAR_CHANGE = 150;

/** How many calls are billed late, analyzed again, without their analysis, and deleted. */
export const CHANGED = 60;

export const RANGE = { from: '2026-03-25T05:17:00.000Z', to: '2026-04-08T21:43:11.000Z' };

/** Ranges that begin or end within the hour that a clock change skips, repeats or cuts in half. */
export const MOVED_HOURS = [
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

export const REASONS = ['HANGUP', 'AGENT_HANGUP', 'NO_ANSWER', 'BUSY'] as const;
export const ANSWERERS = ['HUMAN', 'VOICEMAIL', 'UNKNOWN', null] as const;

export let server: TestServer;
export let agentIds: string[];
export let numberIds: (string | null)[];
export let campaignIds: (string | null)[];
export let calls: CountedCall[];

/** Rolls up all days with a few calls. @returns how many are rolled up. */
export async function rollUp(): Promise<number> {
  const where = { organizationId: server.organizationId };
  await server.app.db.callRollupProgress.deleteMany({ where });
  await rollUpCalls(server.app, { minCalls: 10 });
  return server.app.db.callRollupDay.count({ where });
}

/** What happens to calls later: bills, new verdicts, deletion. */
export async function changeSome(which: (call: CountedCall) => boolean): Promise<void> {
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

export const FIGURES = `calls answered answerRate successful successRate averageHandleSeconds
  medianHandleSeconds totalHandleSeconds cost { amount currency } tokens`;

// biome-ignore lint/suspicious/noExplicitAny: whatever the query asks for
export async function analytics(variables: object, range: object = RANGE): Promise<any> {
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

export const inRange = ({ from, to } = RANGE): CountedCall[] =>
  calls.filter(({ createdAt }) => createdAt! >= new Date(from) && createdAt! < new Date(to));

export interface GroupView {
  start: string | null;
  weekday: number | null;
  hour: number | null;
  figures: { calls: number };
}

export async function expectUnit(
  unit: string,
  timezone: string,
  range: typeof RANGE,
): Promise<void> {
  const { groups, total } = await analytics({ timezone, groupBy: [unit] }, range);
  const byHand = Map.groupBy(inRange(range), (call) => keyByHand(unit, timezone, call));
  expect(byHand.size).toBeGreaterThan(0);
  const keyOf = ({ start, weekday, hour }: GroupView): string =>
    start ? new Date(start).toISOString() : `${weekday}/${hour}`;
  expect(groups.map(keyOf).sort()).toEqual([...byHand.keys()].sort());
  for (const group of groups) expectFigures(group.figures, byHand.get(keyOf(group)) ?? []);
  expectFigures(total, inRange(range));
}

/** Starts the server, with 4,000 calls, before the tests of the file that calls this. */
export function useAnalyticsServer(): void {
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
  afterAll(() => server?.close());
}
