/** Times of contacts that are added to a campaign. */
import { describe, expect, it } from 'vitest';
import { checkSource } from '../../../../src/campaigns/enrollment/contact-sources.ts';
import { addFirstContacts } from '../../../../src/campaigns/enrollment/first-contacts.ts';
import { MAX_WAITING_PER_NEW } from '../../../../src/campaigns/enrollment/planning.ts';
import { Checks } from '../../../../src/infra/checks.ts';
import { newId } from '../../../../src/infra/ids.ts';
import { refusals } from '../../../contacts/support.ts';
import { runMutation } from '../../../support/calling.ts';
import { createCampaign, miscounted, numbers, rowsOf } from '../../lists.ts';
import { planContacts, toRuns } from '../../schedule/without-yielding.ts';
import { desk, inCampaign, june, MONDAY, OFFICE, SCHEDULED, timesOf, WINDOW } from './server.ts';

export function addedContactsSuite(): void {
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
      const zones = [
        null,
        'America/New_York',
        'Europe/Berlin',
        'Asia/Tokyo',
        'Europe/London',
        null,
      ];
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
}
