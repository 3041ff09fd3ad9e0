/** Planning of contacts when they are added and when the schedule changes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../../src/app.ts';
import { moveContactsOf } from '../../../src/campaigns/contacts/contact-transitions.ts';
import { checkSource } from '../../../src/campaigns/enrollment/contact-sources.ts';
import { addFirstContacts } from '../../../src/campaigns/enrollment/first-contacts.ts';
import {
  MAX_WAITING_PER_NEW,
  planDraft,
  planWaiting,
} from '../../../src/campaigns/enrollment/planning.ts';
import {
  resumeReplans,
  STEP_CONTACTS,
  storeReplan,
} from '../../../src/campaigns/enrollment/replan.ts';
import type { Window } from '../../../src/campaigns/schedule/calling-window.ts';
import { type Campaign, Prisma } from '../../../src/generated/prisma/client.ts';
import { Checks } from '../../../src/infra/checks.ts';
import { newId } from '../../../src/infra/ids.ts';
import { brief, refusals } from '../../contacts/support.ts';
import { runMutation } from '../../support/calling.ts';
import { recordStatements } from '../../support/queries.ts';
import { until } from '../../support/wait.ts';
import { createCampaign, type Desk, miscounted, numbers, openDesk, rowsOf } from '../lists.ts';
import { planContacts, toRuns } from '../schedule/without-yielding.ts';

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
});
afterAll(() => desk.server.close());

/** A Monday at 9:00 in Berlin, so far in the future that no call is placed. */
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
/** Instants of June 2037, from days and times such as `01 07:00`. */
const june = (...times: string[]) =>
  times.map((time) => `2037-06-${time.replace(' ', 'T')}:00.000Z`);

/** Runs `work` in a transaction with the campaign locked, as services do. */
async function inCampaign<T>(id: string, work: (tx: Tx, campaign: Campaign) => Promise<T>) {
  return desk.server.app.db.$transaction(
    async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM campaigns WHERE id = ${id.slice(4)}::uuid FOR UPDATE`;
      return work(tx, await tx.campaign.findUniqueOrThrow({ where: { id: id.slice(4) } }));
    },
    { timeout: 60_000 },
  );
}

const noneLeft = async (id: string) =>
  (await desk.server.app.db.campaignReplan.count({ where: { campaignId: id.slice(4) } })) === 0;

describe('planning of added contacts', () => {
  it('waits for scheduleCampaign in a draft', async () => {
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
    const payload = await runMutation(
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

  it('makes all contacts due when the window opens, without a daily limit', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      scheduledAt: '2037-06-05T16:00:00Z',
      contacts: numbers(3),
    });
    // After closing time on a Friday, so on Monday.
    expect(await timesOf(campaign.id)).toEqual(june('08 07:00', '08 07:00', '08 07:00'));
  });

  it('uses the capacity that earlier contacts left of each day', async () => {
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      maxCallsPerDay: 4,
      contacts: numbers(5),
    });
    const more = { campaignId: campaign.id, contacts: numbers(9) };
    await runMutation(desk.server.client, 'addCampaignContacts', more, 'addedCount');
    const times = await timesOf(campaign.id);
    expect(times.slice(4)).toEqual(
      june('02 07:00', '02 07:00', '02 09:40', '02 12:20', '03 07:00'),
    );
    expect(await miscounted(desk)).toEqual([]);
  });

  it('counts calls by calendar day in the time zone of the campaign', async () => {
    // From 18:00 to 2:00 in New York, where midnight is at 4:00 UTC.
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
    await runMutation(
      desk.server.client,
      'addCampaignContacts',
      { campaignId: campaign.id, contacts: numbers(5) },
      'addedCount',
    );
    expect((await timesOf(campaign.id)).at(-1)).toBe(june('03 04:00')[0]);
  });

  it('writes the times of planContacts for a list of mixed time zones', async () => {
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
      // `scheduleCampaign` plans a draft in the same way.
      const draft = await createCampaign(desk, { ...OFFICE, maxCallsPerDay, contacts });
      const schedule = { id: draft.campaign.id, scheduledAt: MONDAY };
      await runMutation(desk.server.client, 'scheduleCampaign', schedule, '__typename');
      expect(await timesOf(draft.campaign.id)).toEqual(await timesOf(campaign.id));
    }
    expect(await miscounted(desk)).toEqual([]);
  });

  it('skips contacts in whose time zone the window never opens, with a warning', async () => {
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
    // A running campaign skips added contacts as well.
    const more = { campaignId: campaign.id, contacts: [{ ...far, clientId: 'again' }] };
    const added = await runMutation(
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

  it('rejects contacts that would take years, and warns of those that wait for a later window', async () => {
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

    // 30 calls fit in the window of one hour, so 40 contacts do not.
    const narrow = { ...SCHEDULED, endTime: '10:00', maxConcurrentCalls: 1 };
    const { campaign, warnings } = await createCampaign(desk, {
      ...narrow,
      contacts: numbers(25),
    });
    expect(warnings).toEqual([]);
    const add = async (count: number, series: number) => {
      const contacts = numbers(count, series);
      const input = { campaignId: campaign.id, contacts };
      const selection = 'warnings { code contacts }';
      return (await runMutation(desk.server.client, 'addCampaignContacts', input, selection))
        .warnings;
    };
    // Waiting contacts count too, if they are not too many.
    expect(await add(15, 2)).toEqual([{ code: 'SPILLS_OVER', contacts: 10 }]);
    await add(MAX_WAITING_PER_NEW, 3);
    expect(await add(1, 4)).toEqual([]);
    expect(await add(2, 5)).toEqual([{ code: 'SPILLS_OVER', contacts: 113 }]);
  });
});

describe('a changed schedule', () => {
  it('plans contacts again that were never called, around existing attempts', async () => {
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
      data: { status: 'COMPLETED', attempts: 1, nextEligibleAt: null, finishedAt: new Date() },
    });
    await db.campaignContact.update({
      where: { id: second!.id },
      data: { attempts: 1, nextEligibleAt: retryAt },
    });
    // A due contact that was deferred.
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
    // Monday has two attempts and a pending retry, so capacity for one more call.
    const input = { id: campaign.id, maxCallsPerDay: 4 };
    await runMutation(desk.server.client, 'updateCampaign', input, 'campaign { id }');
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

    // Contacts added later are planned around all of them.
    await runMutation(
      desk.server.client,
      'addCampaignContacts',
      { campaignId: campaign.id, contacts: numbers(4, 3) },
      'addedCount',
    );
    expect((await timesOf(campaign.id)).slice(8)).toEqual(
      june('03 07:00', '03 09:40', '03 12:20', '04 07:00'),
    );
  });

  it('skips contacts that it never fits, and is rejected if it fits none', async () => {
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
    const { warnings } = await runMutation(
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

  it('gives contacts the times of planContacts in steps, also after a crash', async () => {
    const zones = [null, 'Europe/Berlin', 'Europe/London', 'Europe/Berlin', null];
    const timezones = Array.from(
      { length: STEP_CONTACTS + 500 },
      (_, i) => zones[(i * i) % 5] ?? null,
    );
    const contacts = numbers(timezones.length, 7).map((row, i) => ({
      ...row,
      timezone: timezones[i],
    }));
    const { campaign } = await createCampaign(desk, {
      ...SCHEDULED,
      maxCallsPerDay: 100,
      contacts,
    });
    const planned = (
      maxCallsPerDay: number | null,
      list = timezones,
      alreadyPerDay = new Map<string, number>(),
    ) =>
      planContacts({
        window: WINDOW,
        startAt: Temporal.Instant.from(MONDAY),
        maxCallsPerDay,
        contacts: toRuns(list),
        alreadyPerDay,
      }).map((time) => time && new Date(time.epochMilliseconds).toISOString());
    for (const maxCallsPerDay of [370, null]) {
      const input = { id: campaign.id, maxCallsPerDay };
      const statements = await recordStatements(desk.server.app, () =>
        runMutation(desk.server.client, 'updateCampaign', input, 'campaign { id }'),
      );
      expect(await timesOf(campaign.id)).toEqual(planned(maxCallsPerDay));
      // The segments may be megabytes: written once, and read once in each of two steps and at the end.
      const moving = statements.filter((statement) => statement.includes('"segments"'));
      expect(moving).toHaveLength(4);
    }

    const { app } = desk.server;
    await inCampaign(campaign.id, async (tx, { id }) => {
      const row = await tx.campaign.update({ where: { id }, data: { maxCallsPerDay: 210 } });
      // The first contact is being called while the plan is made, and waits again afterwards.
      const setAttempts = (attempts: number) =>
        tx.campaignContact.updateMany({
          where: { campaignId: id, position: 0 },
          data: { attempts },
        });
      await setAttempts(1);
      const { plan } = await planWaiting(app, tx, row);
      await storeReplan(tx, row, plan!);
      await setAttempts(0);
      await tx.$executeRaw`UPDATE campaign_replans SET updated_at = now() - interval '1 hour'`;
    });
    await resumeReplans(app);
    await until('all to have their times', () => noneLeft(campaign.id));
    const others = planned(210, timezones.slice(1), new Map([['2037-06-01', 1]]));
    const withoutZone = others.filter((_, i) => timezones[i + 1] === null);
    // There is one more than when the plan was made, so the last one keeps its time.
    const expected = timezones.map((zone, i) =>
      zone === null ? (withoutZone.shift() ?? MONDAY) : others[i - 1],
    );
    expect(await timesOf(campaign.id)).toEqual(expected);
    expect(await miscounted(desk)).toEqual([]);
  });

  it('gives each contact a time when more wait than were planned', async () => {
    const contacts = numbers(2, 8);
    const { campaign } = await createCampaign(desk, { ...SCHEDULED, contacts });
    const { app } = desk.server;
    await inCampaign(campaign.id, async (tx, row) => {
      const first = { campaignId: row.id, position: 0 };
      // While the plan is made, the first contact is being called, and the second one is reopened.
      await tx.campaignContact.updateMany({ where: first, data: { attempts: 1 } });
      const query = Prisma.sql`
        SELECT id, 'SKIPPED' AS status, 'NEVER_OPEN' AS skip_reason,
          NULL::timestamptz AS next_eligible_at
        FROM campaign_contacts WHERE campaign_id = ${row.id}::uuid AND position = 1`;
      await moveContactsOf(tx, 'SKIP', query, app.now());
      const { plan } = await planWaiting(app, tx, row);
      await storeReplan(tx, row, plan!);
      await tx.campaignContact.updateMany({ where: first, data: { attempts: 0 } });
      await tx.$executeRaw`UPDATE campaign_replans SET updated_at = now() - interval '1 hour'`;
    });
    await resumeReplans(app);
    await until('the end of the plan', () => noneLeft(campaign.id));
    expect(await rowsOf(desk, campaign.id)).toMatchObject([
      { status: 'SCHEDULED', nextEligibleAt: new Date(MONDAY) },
      { status: 'SCHEDULED', nextEligibleAt: expect.any(Date) },
    ]);
    expect(await miscounted(desk)).toEqual([]);
  });

  it('plans nothing without waiting contacts', async () => {
    const { campaign } = await createCampaign(desk, {});
    const { app } = desk.server;
    const replanned = await inCampaign(campaign.id, (tx, row) => planDraft(app, tx, row));
    expect(replanned.warnings).toEqual([]);
  });
});

it('planning 100,000 contacts does not block the event loop', async () => {
  const { server, viewer } = desk;
  const { campaign } = await createCampaign(desk, { ...OFFICE, maxCallsPerDay: 2_000 });
  const { id: folderId } = await server.app.db.contactFolder.create({
    data: { id: newId(), organizationId: server.organizationId, name: 'All' },
  });
  // Consecutive contacts differ in their zone, which makes the longest list of runs.
  const zones = Intl.supportedValuesOf('timeZone');
  await server.app.db.$executeRaw`
    INSERT INTO contacts (id, organization_id, folder_id, phone_number, timezone, search_text, updated_at)
    SELECT new_id(), ${server.organizationId}::uuid, ${folderId}::uuid, '+1212' || (2000000 + i),
      (${zones}::text[])[1 + i % ${zones.length}::int], '', now()
    FROM generate_series(1, 100000) AS i`;
  const source = await checkSource(server.app, viewer, new Checks(), {
    input: { contactFolderId: `fld_${folderId}` },
    required: true,
  });
  // Processor time of the thread, which does not count how long a busy machine lets it wait.
  const used = () => process.threadCpuUsage().user / 1_000;
  let longest = 0;
  let last = used();
  const watching = setInterval(() => {
    longest = Math.max(longest, used() - last);
    last = used();
  }, 5);
  const { added } = await inCampaign(campaign.id, (tx, row) =>
    addFirstContacts(server.app, tx, { campaign: row, source: source!, plan: true }),
  );
  clearInterval(watching);
  expect(added.addedCount).toBe(100_000);
  // Without yielding it would take more than a second.
  expect(longest).toBeLessThan(500);
});
