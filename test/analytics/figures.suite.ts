/** Figures agree with a count by hand, before and after days are rolled up. */
import { beforeAll, describe, expect, it } from 'vitest';
import { rolledUpDays } from '../../src/analytics/rollups.ts';
import { publicId } from '../../src/ids.ts';
import { type CountedCall, expectFigures, keyByHand } from './by-hand.ts';
import {
  agentIds,
  analytics,
  campaignIds,
  changeSome,
  expectUnit,
  FIGURES,
  inRange,
  MOVED_HOURS,
  RANGE,
  rollUp,
  server,
} from './server.ts';

/** Of which all but Kathmandu change their clocks in that range, Lord Howe by half an hour. */
const ZONES = [
  'Europe/Berlin',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'Pacific/Chatham',
];

const UNITS = ['HOUR', 'DAY', 'WEEK', 'MONTH', 'HOUR_OF_WEEK'];

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

export function figuresSuite(): void {
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
}
