/** Adds the first contacts to a campaign, in the transaction that creates it. */
import type { App, Tx } from '../../app.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { insertContacts } from '../contacts/contact-transitions.ts';
import type { Plan } from '../schedule/planner.ts';
import type { SimulationProblem } from '../schedule/simulation.ts';
import type { AddedContacts, CheckedSource } from './contact-sources.ts';
import { joinPlan, PLANNED_STATUS } from './plan-sql.ts';
import { planNewContacts } from './planning.ts';
import {
  COLUMNS_OF_STAGED,
  createTemporaryStage,
  rejectUnusable,
  runsOf,
  STAGED_COLUMNS,
  type Stage,
  stageContacts,
  stagedRows,
} from './staging-table.ts';

/**
 * Copies the contacts of a source to a campaign without contacts, and plans them if `plan` is true. The caller has
 * already added its opt-outs to the do-not-call list.
 *
 * @throws UserInputError LIMIT_EXCEEDED, EMPTY_CONTACT_SOURCE or WINDOW_TOO_SMALL. The caller rolls back.
 */
export async function addFirstContacts(
  app: App,
  tx: Tx,
  { campaign, source, plan }: { campaign: Campaign; source: CheckedSource; plan: boolean },
): Promise<{
  added: Omit<AddedContacts, 'doNotCallCount'>;
  warnings: readonly SimulationProblem[];
}> {
  const now = app.now();
  const stage = await createTemporaryStage(tx);
  const staged = await stageContacts(tx, stage, campaign, source.contacts);
  rejectUnusable(campaign, source, staged);
  const { count: addedCount, ...reported } = staged;
  const contacts = plan ? await runsOf(tx, stagedRows(stage), Prisma.sql`ordinal`) : null;
  const planned = contacts ? await planNewContacts(app, tx, { campaign, contacts, now }) : null;
  await insertStaged(tx, stage, campaign, { plan: planned?.plan ?? null, now });
  return { added: { addedCount, ...reported }, warnings: planned?.warnings ?? [] };
}

/** Inserts the staged rows as contacts: as planned, or PENDING without a plan. */
async function insertStaged(
  tx: Tx,
  stage: Stage,
  campaign: Campaign,
  { plan, now }: { plan: Plan | null; now: Date },
): Promise<void> {
  const state = plan
    ? Prisma.sql`${PLANNED_STATUS}, planned.scheduled_at`
    : Prisma.sql`'PENDING' AS status, NULL AS skip_reason, NULL::timestamptz AS scheduled_at`;
  const columns = Prisma.sql`position, ${STAGED_COLUMNS}`;
  const query = Prisma.sql`
    SELECT position, ${COLUMNS_OF_STAGED}, ${state}
    FROM (
      SELECT ordinal, coalesce(timezone, '') AS zone,
        row_number() OVER (ORDER BY ordinal) - 1 AS position,
        row_number() OVER (PARTITION BY timezone ORDER BY ordinal) - 1 AS place_in_zone
      FROM ${stagedRows(stage)}
    ) AS numbered
    JOIN ${stage.table} AS staged USING (ordinal)
    ${plan ? joinPlan(plan) : Prisma.empty}
    ORDER BY position`;
  await insertContacts(tx, campaign, { columns, query }, now);
}
