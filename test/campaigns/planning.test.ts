import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/app.ts';
import { planContacts, toRuns } from '../../src/campaigns/plan.ts';
import { addContacts, replanContacts } from '../../src/campaigns/planning.ts';
import { checkSource } from '../../src/campaigns/sources.ts';
import type { Window } from '../../src/campaigns/window.ts';
import type { Campaign } from '../../src/generated/prisma/client.ts';
import { Checks } from '../../src/infra/checks.ts';
import { newId } from '../../src/infra/ids.ts';
import { brief, refusals } from '../contacts/support.ts';
import { perform } from '../support/calling.ts';
import { createCampaign, type Desk, miscounted, numbers, openDesk, rowsOf } from './lists.ts';

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
});
afterAll(() => desk.server.close());

/** A Monday, nine o'clock in Berlin: far enough ahead that nobody is called. */
const MONDAY = '2037-06-01T07:00:00.000Z';
const OFFICE = { timezone: 'Europe/Berlin', startTime: '09:00', endTime: '17:00' };
const SCHEDULED = { ...OFFICE, scheduledAt: MONDAY };
const WINDOW: Window = {
  timezone: 'Europe/Berlin',
  workingDays: [1, 2, 3, 4, 5],
  startMinute: 9 * 60,
  endMinute: 17 * 60,
};

const timesOf = async (id: string) =>
  (await rowsOf(desk, id)).map(({ scheduledAt }) => scheduledAt?.toISOString() ?? null);
/** Hours and minutes of days in June. */
const june = (...times: string[]) =>
  times.map((time) => `2037-06-${time.replace(' ', 'T')}:00.000Z`);

/** With the campaign locked, as the services do. */
async function inCampaign<T>(id: string, work: (tx: Tx, campaign: Campaign) => Promise<T>) {
  return desk.server.app.db.$transaction(
    async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM campaigns WHERE id = ${id.slice(4)}::uuid FOR UPDATE`;
      return work(tx, await tx.campaign.findUniqueOrThrow({ where: { id: id.slice(4) } }));
    },
    { timeout: 60_000 },
  );
}

describe('contacts that are added', () => {
  it('wait without a time in a draft, and get one when it is scheduled', async () => {
    const { campaign, warnings } = await createCampaign(desk, {
      ...OFFICE,
      maxCallsPerDay: 2,
      contacts: numbers(3),
    });
    expect(warnings).toEqual([]);
    expect(await rowsOf(desk, campaign.id)).toMatchObject(
      new Array(3).fill({ status: 'PENDING', scheduledAt: null, nextEligibleAt: null }),
    );
    const input = { id: campaign.id, scheduledAt: MONDAY };
    const payload = await perform(
      desk.server.client,
      'scheduleCampaign',
      input,
      'campaign { status } warnings { code }',
    );
    expect(payload).toMatchObject({ campaign: { status: 'SCHEDULED' }, warnings: [] });
    expect(await timesOf(campaign.id)).toEqual(june('01 07:00', '01 11:00', '02 07:00'));
    expect(await rowsOf(desk, campaign.id)).toMatchObject(
      june('01 07:00', '01 11:00', '02 07:00').map((time) => ({
        status: 'SCHEDULED',
        nextEligibleAt: new Date(time),
      })),
    );
    expect(await miscounted(desk)).toEqual([]);
  });

  it('are all due as the window opens where there is no limit for a day', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      scheduledAt: '2037-06-05T16:00:00Z',
      contacts: numbers(3),
    });
    // After five on a Friday: on Monday.
    expect(await timesOf(campaign.id)).toEqual(june('08 07:00', '08 07:00', '08 07:00'));
  });

  it('take the room that those before them have left of each day', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      maxCallsPerDay: 4,
      contacts: numbers(5),
    });
    const more = { campaignId: campaign.id, contacts: numbers(9) };
    await perform(desk.server.client, 'addCampaignContacts', more, 'addedCount');
    const times = await timesOf(campaign.id);
    expect(times.slice(4)).toEqual(
      june('02 07:00', '02 07:00', '02 09:40', '02 12:20', '03 07:00'),
    );
    expect(await miscounted(desk)).toEqual([]);
  });

  it('count by the day of the campaign, whatever day it is elsewhere', async () => {
    // From six in the evening to two at night in New York: midnight is at four o'clock UTC.
    const { campaign } = await createCampaign(desk, {
      timezone: 'America/New_York',
      startTime: '18:00',
      endTime: '02:00',
      scheduledAt: '2037-06-01T12:00:00Z',
      maxCallsPerDay: 2,
      contacts: numbers(4),
    });
    expect(await timesOf(campaign.id)).toEqual(
      june('01 22:00', '02 01:00', '02 04:00', '03 00:00'),
    );
    await perform(
      desk.server.client,
      'addCampaignContacts',
      { campaignId: campaign.id, contacts: numbers(5) },
      'addedCount',
    );
    expect((await timesOf(campaign.id)).at(-1)).toBe(june('03 04:00')[0]);
  });

  it('have the very times of the plan, in a list of mixed zones', async () => {
    const zones = [null, 'America/New_York', 'Europe/Berlin', 'Asia/Tokyo', 'Europe/London', null];
    const timezones = Array.from({ length: 400 }, (_, i) => zones[(i * i + i) % 7] ?? null);
    const contacts = numbers(400, 1).map((row, i) => ({ ...row, timezone: timezones[i] }));
    for (const maxCallsPerDay of [37, null]) {
      const { campaign } = await createCampaign(desk, { ...SCHEDULED, maxCallsPerDay, contacts });
      const planned = planContacts({
        window: WINDOW,
        startAt: Temporal.Instant.from(MONDAY),
        maxCallsPerDay,
        contacts: toRuns(timezones),
      });
      expect(await timesOf(campaign.id)).toEqual(
        planned.map((time) => time && new Date(time.epochMilliseconds).toISOString()),
      );
      // The same for a draft that is scheduled.
      const draft = await createCampaign(desk, { ...OFFICE, maxCallsPerDay, contacts });
      const schedule = { id: draft.campaign.id, scheduledAt: MONDAY };
      await perform(desk.server.client, 'scheduleCampaign', schedule, '__typename');
      expect(await timesOf(draft.campaign.id)).toEqual(await timesOf(campaign.id));
    }
    expect(await miscounted(desk)).toEqual([]);
  });

  it('are skipped when no time suits both zones, and it is said why', async () => {
    const far = { phoneNumber: '+14155550101', timezone: 'Australia/Brisbane' };
    const { campaign, warnings, addedCount } = await createCampaign(desk, {
      ...SCHEDULED,
      contacts: [...numbers(2), far],
    });
    expect(addedCount).toBe(3);
    expect(warnings).toMatchObject([{ code: 'NEVER_OPEN', contacts: 1 }]);
    const [, , skipped] = await rowsOf(desk, campaign.id);
    expect(skipped).toMatchObject({
      status: 'SKIPPED',
      skipReason: 'NEVER_OPEN',
      scheduledAt: null,
      nextEligibleAt: null,
    });
    expect(skipped?.finishedAt).not.toBeNull();
    const decisions = () =>
      desk.server.app.db.campaignDecision.findMany({
        where: { campaignId: campaign.id.slice(4), outcome: 'SKIPPED' },
      });
    expect(await decisions()).toMatchObject([
      { campaignContactId: skipped?.id, reason: 'NEVER_OPEN' },
    ]);
    // In a campaign that goes on without them, too.
    const more = { campaignId: campaign.id, contacts: [{ ...far, clientId: 'again' }] };
    const added = await perform(
      desk.server.client,
      'addCampaignContacts',
      more,
      'addedCount warnings { code }',
    );
    expect(added).toMatchObject({ addedCount: 1, warnings: [{ code: 'NEVER_OPEN' }] });
    expect(await decisions()).toHaveLength(2);
    expect(await miscounted(desk)).toEqual([]);

    const before = await desk.server.app.db.campaign.count();
    const input = { name: 'Autumn', agentId: desk.caller.agentId, ...SCHEDULED, contacts: [far] };
    const [refusal] = await refusals(desk.server.client, 'createCampaign', input);
    expect(refusal).toMatchObject({ code: 'WINDOW_TOO_SMALL', details: { contacts: 1 } });
    expect(await desk.server.app.db.campaign.count()).toBe(before);
  });

  it('are refused when their end is years away, and warned of when they have to wait', async () => {
    const before = await desk.server.app.db.campaign.count();
    const input = { name: 'Autumn', agentId: desk.caller.agentId, ...SCHEDULED };
    const slow = { ...input, maxCallsPerDay: 1, contacts: numbers(2_000) };
    const [refusal] = await refusals(desk.server.client, 'createCampaign', slow);
    expect(refusal).toMatchObject({
      code: 'WINDOW_TOO_SMALL',
      message: expect.stringContaining('maxCallsPerDay'),
      details: { endsAt: expect.stringMatching(/^204\d-/) },
    });
    expect(await desk.server.app.db.campaign.count()).toBe(before);

    // Thirty an hour, one after the other: the window of an hour is too small for forty.
    const narrow = { ...SCHEDULED, endTime: '10:00', maxConcurrentCalls: 1 };
    const { campaign, warnings } = await createCampaign(desk, {
      ...narrow,
      contacts: numbers(25),
    });
    expect(warnings).toEqual([]);
    // What waits already counts too.
    const more = { campaignId: campaign.id, contacts: numbers(15, 2) };
    const added = await perform(
      desk.server.client,
      'addCampaignContacts',
      more,
      'warnings { code contacts }',
    );
    expect(added.warnings).toEqual([{ code: 'SPILLS_OVER', contacts: 10 }]);
  });
});

describe('an edit of the schedule', () => {
  it('plans anew who was never called, around what the days have had', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      maxCallsPerDay: 10,
      contacts: numbers(8),
    });
    const { db } = desk.server.app;
    const [first, second, third] = await rowsOf(desk, campaign.id);
    const retryAt = new Date('2037-06-01T08:00:00Z');
    await db.campaignContact.update({
      where: { id: first!.id },
      data: { status: 'COMPLETED', attempts: 1, nextEligibleAt: null },
    });
    await db.campaignContact.update({
      where: { id: second!.id },
      data: { attempts: 1, nextEligibleAt: retryAt },
    });
    // Its turn had come, and it had to wait.
    await db.campaignContact.update({
      where: { id: third!.id },
      data: { nextEligibleAt: new Date('2037-06-01T16:00:00Z') },
    });
    await db.campaign.update({
      where: { id: campaign.id.slice(4) },
      data: { pendingCount: 7, completedCount: 1 },
    });
    await db.campaignDay.create({
      data: {
        organizationId: desk.server.organizationId,
        campaignId: campaign.id.slice(4),
        day: new Date('2037-06-01'),
        attempts: 2,
      },
    });
    // Two calls were made on Monday and a retry is due then: room for one more.
    const input = { id: campaign.id, maxCallsPerDay: 4 };
    await perform(desk.server.client, 'updateCampaign', input, 'campaign { id }');
    const rows = await rowsOf(desk, campaign.id);
    expect(rows[0]).toMatchObject({ status: 'COMPLETED', scheduledAt: first!.scheduledAt });
    expect(rows[1]).toMatchObject({
      status: 'SCHEDULED',
      scheduledAt: second!.scheduledAt,
      nextEligibleAt: retryAt,
    });
    const times = june('01 07:00', '02 07:00', '02 09:00', '02 11:00', '02 13:00', '03 07:00');
    expect(rows.slice(2)).toMatchObject(
      times.map((time) => ({ scheduledAt: new Date(time), nextEligibleAt: new Date(time) })),
    );

    // Those that follow see all of them.
    await perform(
      desk.server.client,
      'addCampaignContacts',
      { campaignId: campaign.id, contacts: numbers(4, 3) },
      'addedCount',
    );
    expect((await timesOf(campaign.id)).slice(8)).toEqual(
      june('03 07:00', '03 09:40', '03 12:20', '04 07:00'),
    );
  });

  it('skips whom it leaves no time, and is refused when that is everybody', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      contacts: [
        { phoneNumber: '+14155550101', timezone: 'America/New_York' },
        { phoneNumber: '+14155550102', timezone: 'Europe/London' },
      ],
    });
    const edit = (input: object) => ({ id: campaign.id, ...input });
    const refused = await refusals(
      desk.server.client,
      'updateCampaign',
      edit({ startTime: '09:00', endTime: '09:30' }),
    );
    expect(brief(refused)).toEqual(['WINDOW_TOO_SMALL ']);
    expect((await rowsOf(desk, campaign.id)).map(({ status }) => status)).toEqual([
      'SCHEDULED',
      'SCHEDULED',
    ]);
    const { warnings } = await perform(
      desk.server.client,
      'updateCampaign',
      edit({ endTime: '12:00' }),
      'warnings { code contacts }',
    );
    expect(warnings).toEqual([{ code: 'NEVER_OPEN', contacts: 1 }]);
    expect(await rowsOf(desk, campaign.id)).toMatchObject([
      { status: 'SKIPPED', skipReason: 'NEVER_OPEN', nextEligibleAt: null },
      { status: 'SCHEDULED', scheduledAt: new Date('2037-06-01T08:00:00Z') },
    ]);
    expect(await miscounted(desk)).toEqual([]);
  });

  it('does nothing where nobody waits', async () => {
    const { campaign } = await createCampaign(desk, {});
    const { app } = desk.server;
    const replanned = await inCampaign(campaign.id, (tx, row) => replanContacts(app, tx, row));
    expect(replanned.warnings).toEqual([]);
  });
});

it('a hundred thousand contacts do not hold up what else the process does', async () => {
  const { server, viewer } = desk;
  const { campaign } = await createCampaign(desk, { ...OFFICE, maxCallsPerDay: 2_000 });
  const { id: folderId } = await server.app.db.contactFolder.create({
    data: { id: newId(), organizationId: server.organizationId, name: 'All' },
  });
  // Each in another zone than the one before: the longest list of runs that there can be.
  const zones = Intl.supportedValuesOf('timeZone');
  await server.app.db.$executeRaw`
    INSERT INTO contacts (id, organization_id, folder_id, phone_number, timezone, search_text, updated_at)
    SELECT new_id(), ${server.organizationId}::uuid, ${folderId}::uuid, '+1212' || (2000000 + i),
      (${zones}::text[])[1 + i % ${zones.length}::int], '', now()
    FROM generate_series(1, 100000) AS i`;
  const source = await checkSource(
    server.app,
    viewer,
    new Checks(),
    { contactFolderId: `fld_${folderId}` },
    { required: true },
  );
  let longest = 0;
  let last = performance.now();
  const watching = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  const { added } = await inCampaign(campaign.id, (tx, row) =>
    addContacts(server.app, viewer, tx, row, source!, { plan: true }),
  );
  clearInterval(watching);
  expect(added.addedCount).toBe(100_000);
  // In one go it would be more than a second; a busy machine is forgiven much.
  expect(longest).toBeLessThan(500);
}, 60_000);
