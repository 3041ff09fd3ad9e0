/** Times of contacts whose campaign gets another schedule. */
import { describe, expect, it } from 'vitest';
import { moveContactsOf } from '../../../../src/campaigns/contacts/contact-transitions.ts';
import { planDraft, planWaiting } from '../../../../src/campaigns/enrollment/planning.ts';
import {
  resumeReplans,
  STEP_CONTACTS,
  storeReplan,
} from '../../../../src/campaigns/enrollment/replan.ts';
import { Prisma } from '../../../../src/generated/prisma/client.ts';
import { brief, refusals } from '../../../contacts/support.ts';
import { runMutation } from '../../../support/calling.ts';
import { recordStatements } from '../../../support/queries.ts';
import { until } from '../../../support/wait.ts';
import { createCampaign, miscounted, numbers, rowsOf } from '../../lists.ts';
import { planContacts, toRuns } from '../../schedule/without-yielding.ts';
import { desk, inCampaign, june, MONDAY, SCHEDULED, timesOf, WINDOW } from './server.ts';

const noneLeft = async (id: string) =>
  (await desk.server.app.db.campaignReplan.count({ where: { campaignId: id.slice(4) } })) === 0;

export function changedScheduleSuite(): void {
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
}
