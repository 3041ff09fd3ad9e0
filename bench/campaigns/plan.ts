/**
 * Time to plan a campaign of 100,000 contacts, as a ratio to a plain INSERT … SELECT of the same rows into
 * the same table, in the same run:
 * `npx node bench/campaigns/plan.ts [contacts] [rounds]`.
 *
 * (a) A campaign is created from a folder, with a daily cap and contacts in twelve time zones.
 * (b) A draft with the same contacts is scheduled, which plans them.
 * (c) Its schedule is changed: the initial lock of the campaign, and all steps that follow.
 *
 * Times include the commit. Every measurement starts with an empty table and a checkpoint, and uses
 * the best round of each side.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Client } from 'pg';
import type { App, Tx } from '../../src/app.ts';
import { checkSource } from '../../src/campaigns/enrollment/contact-sources.ts';
import { addFirstContacts } from '../../src/campaigns/enrollment/first-contacts.ts';
import { planDraft, planWaiting } from '../../src/campaigns/enrollment/planning.ts';
import { finishReplan, storeReplan } from '../../src/campaigns/enrollment/replan.ts';
import type { Campaign } from '../../src/generated/prisma/client.ts';
import { Checks } from '../../src/infra/checks.ts';
import { newId } from '../../src/infra/ids.ts';
import { demoAgent, withBenchServer } from '../support/server.ts';

const CONTACTS = Number(process.argv[2] ?? 100_000);
const ROUNDS = Number(process.argv[3] ?? 3);
/** Time zones of the contacts. */
const ZONES = [
  ...['America/New_York', 'America/Chicago', 'America/Denver', 'America/Los_Angeles'],
  ...['America/Sao_Paulo', 'Europe/London', 'Europe/Berlin', 'Africa/Lagos', 'Asia/Kolkata'],
  ...['Asia/Tokyo', 'Australia/Sydney'],
];

/** Creates a folder of contacts with alternating time zones; some have none. */
async function fillFolder(client: Client, organizationId: string): Promise<string> {
  const folderId = newId();
  await client.query(
    `INSERT INTO contact_folders (id, organization_id, name, updated_at) VALUES ($1, $2, 'All', now())`,
    [folderId, organizationId],
  );
  await client.query(
    `INSERT INTO contacts (id, organization_id, folder_id, phone_number, first_name, last_name,
       email, company_name, timezone, metadata, search_text, created_at, updated_at)
     SELECT new_id(), $1, $2, '+1415' || (2000000 + i), 'Ada', 'Number ' || i,
       'ada' || i || '@example.com', 'Company ' || i % 100, ($3::text[])[1 + i % $4],
       jsonb_build_object('plan', 'plan ' || i % 5), ' ada number ' || i, now(), now()
     FROM generate_series(1, $5) AS i`,
    [organizationId, folderId, ZONES, ZONES.length + 1, CONTACTS],
  );
  await client.query('VACUUM ANALYZE contacts');
  return folderId;
}

async function makeCampaign(app: App, organizationId: string, agentId: string): Promise<Campaign> {
  return app.db.campaign.create({
    data: {
      id: newId(),
      organizationId,
      agentId,
      name: 'Benchmark',
      status: 'DRAFT',
      contactSource: 'FOLDER',
      phoneRotationStrategy: 'RANDOM',
      scheduleType: 'IMMEDIATE',
      timezone: 'Europe/Berlin',
      workingDays: [1, 2, 3, 4, 5],
      maxConcurrentCalls: 100,
      maxCallsPerDay: 2_000,
      retryFailed: false,
      maxRetryAttempts: 0,
      retryDelaySeconds: 900,
    },
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

await withBenchServer(
  async (server) => {
    const { app, client, viewer } = server;
    const { organizationId } = viewer;
    const folderId = await fillFolder(client, organizationId);
    const agentId = await demoAgent(server);
    const best = {
      ...{ add: Infinity, replan: Infinity, insert: Infinity },
      ...{ locked: Infinity, steps: Infinity },
    };
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();

    const clear = async (): Promise<void> => {
      await client.query('TRUNCATE campaigns CASCADE');
      await client.query('CHECKPOINT');
    };
    const addTo = async (campaign: Campaign, plan: boolean): Promise<void> => {
      const checks = new Checks();
      const input = { contactFolderId: `fld_${folderId}` };
      const source = await checkSource(app, viewer, checks, { input, required: true });
      checks.throwIfAny();
      await app.db.$transaction(
        (tx) => addFirstContacts(app, tx, { campaign, source: source!, plan }),
        { timeout: 300_000 },
      );
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      await clear();
      let campaign = await makeCampaign(app, organizationId, agentId);
      best.add = Math.min(best.add, await timed(() => addTo(campaign, true)));

      // The same rows, from a table that already contains them.
      await client.query('DROP TABLE IF EXISTS bench_rows');
      await client.query(
        'CREATE TABLE bench_rows AS SELECT * FROM campaign_contacts ORDER BY position',
      );
      await client.query('ANALYZE bench_rows');
      const { rows: kept } = await client.query(
        `SELECT count(*)::int AS count, count(DISTINCT scheduled_at)::int AS times FROM bench_rows
       WHERE status = 'SCHEDULED'`,
      );
      if (kept[0].count !== CONTACTS) throw new Error(`Only ${kept[0].count} are planned`);
      await clear();
      await app.db.campaign.create({ data: campaign });
      const insert = await timed(() =>
        client.query('INSERT INTO campaign_contacts SELECT * FROM bench_rows'),
      );
      best.insert = Math.min(best.insert, insert);

      // Next to another campaign and not in the table statistics yet, like a draft that is scheduled at once.
      await clear();
      await addTo(await makeCampaign(app, organizationId, agentId), true);
      await client.query('ANALYZE campaign_contacts');
      campaign = await makeCampaign(app, organizationId, agentId);
      await addTo(campaign, false);
      await client.query('CHECKPOINT');
      const draft = await app.db.campaign.findUniqueOrThrow({ where: { id: campaign.id } });
      const replan = await timed(() =>
        app.db.$transaction((tx) => planDraft(app, tx, draft), { timeout: 300_000 }),
      );
      best.replan = Math.min(best.replan, replan);

      await client.query('CHECKPOINT');
      const change = async (tx: Tx): Promise<void> => {
        const data = { maxCallsPerDay: 1_900 };
        const row = await tx.campaign.update({ where: { id: campaign.id }, data });
        const { plan } = await planWaiting(app, tx, row);
        if (!plan) throw new Error('Nobody waits');
        await storeReplan(tx, row, plan);
      };
      const locked = await timed(() => app.db.$transaction(change, { timeout: 300_000 }));
      best.locked = Math.min(best.locked, locked);
      best.steps = Math.min(best.steps, await timed(() => finishReplan(app, campaign.id)));
    }
    const line = (name: string, ms: number): string =>
      `${name.padEnd(24)}${(ms / 1000).toFixed(2)} s, ${(ms / best.insert).toFixed(2)} times a bare insert`;
    process.stdout.write(
      [
        `contacts                ${CONTACTS.toLocaleString('en')} in ${ZONES.length} time zones and none, best of ${ROUNDS}`,
        line('created from a folder', best.add),
        line('a draft is scheduled', best.replan),
        line('changed: first lock', best.locked),
        line('changed: steps', best.steps),
        line('INSERT … SELECT', best.insert),
        `event loop held up      ${Math.round(delay.max / 1e6)} ms at most`,
        '',
      ].join('\n'),
    );
  },
  { ROLE: 'api' },
);
