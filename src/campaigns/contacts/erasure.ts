/** Erases the personal data of the contacts of deleted campaigns. */
import type { App } from '../../app.ts';
import { personSql } from '../../contacts/person-columns.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { runInBatches } from '../../infra/database/run-in-batches.ts';
import { FIRST_ID } from '../../infra/ids.ts';

const BATCH = 100;
/** Maximum time that a request takes to stage its contacts. */
const STAGED_FOR_SECONDS = 30;

const ERASED = personSql(({ name, empty }) => `${name} = ${empty}`);

/** Deleted campaigns that have contacts to erase and no open call, since an open call still needs its contact. */
const ERASABLE = Prisma.sql`
  SELECT id FROM campaigns c
  WHERE deleted_at IS NOT NULL AND contacts_erased_at IS NULL
    AND pending_count = 0 AND calling_count = 0
    AND NOT EXISTS (
      SELECT 1 FROM campaign_attempts WHERE campaign_id = c.id AND outcome_recorded_at IS NULL)`;

/** SQL condition: whether `eraseDeletedContacts` has anything to do. */
export function hasContactsToErase(): Prisma.Sql {
  return Prisma.sql`EXISTS (${ERASABLE})`;
}

/**
 * Erases personal data of the contacts of deleted campaigns. The rows are kept with their status and attempts, because
 * calls and decisions refer to them.
 *
 * A campaign is marked after its last step, so an interrupted erasure is continued later.
 */
export async function eraseDeletedContacts(app: App): Promise<void> {
  for (let after = FIRST_ID; ; ) {
    const campaigns = await app.db.$queryRaw<{ id: string }[]>`
      ${ERASABLE} AND id > ${after}::uuid ORDER BY id LIMIT ${BATCH}`;
    for (const { id } of campaigns) {
      if (app.closing.aborted) return;
      // A campaign that fails must not block the others.
      await eraseCampaign(app, id).catch(
        app.failures.recorder('eraseContacts', {
          message: 'Could not erase the contacts of a deleted campaign; will retry',
          campaignId: id,
        }),
      );
    }
    const last = campaigns.at(-1);
    if (!last || campaigns.length < BATCH) return;
    after = last.id;
  }
}

async function eraseCampaign(app: App, campaignId: string): Promise<void> {
  await eraseContacts(app, campaignId);
  const staging = await eraseStagedRows(app, campaignId);
  if (staging || app.closing.aborted) return;
  await app.db.campaign.update({
    where: { id: campaignId },
    data: { contactsErasedAt: app.now() },
  });
}

/**
 * Deletes the rows of interrupted enrollments, which would otherwise be kept for an hour. Returns whether a process may
 * still be staging rows; it will find at the end that the campaign is deleted.
 */
async function eraseStagedRows(app: App, campaignId: string): Promise<boolean> {
  const before = new Date(Date.now() - STAGED_FOR_SECONDS * 1000);
  await app.db.campaignEnrollment.deleteMany({
    where: { campaignId, status: 'STAGING', updatedAt: { lt: before } },
  });
  await app.db.campaignEnrollmentRow.deleteMany({ where: { enrollment: { campaignId } } });
  return (await app.db.campaignEnrollment.count({ where: { campaignId, status: 'STAGING' } })) > 0;
}

async function eraseContacts(app: App, campaignId: string): Promise<void> {
  // In list order, so that no step scans the rows of earlier steps.
  let from = 0;
  await runInBatches(app.closing, async (limit) => {
    const [step] = await app.db.$queryRaw<{ rows: number; last: number | null }[]>`
      WITH next AS MATERIALIZED (
        SELECT id, position FROM campaign_contacts
        WHERE campaign_id = ${campaignId}::uuid AND position >= ${from} AND phone_number <> ''
        ORDER BY position LIMIT ${limit} FOR UPDATE
      ), erased AS (
        UPDATE campaign_contacts c SET ${ERASED}, identity = c.id::text, client_id = NULL,
          updated_at = ${app.now()}::timestamptz
        FROM next n WHERE c.id = n.id
      )
      SELECT count(*)::int AS rows, max(position) AS last FROM next`;
    from = (step?.last ?? from) + 1;
    return step?.rows ?? 0;
  });
}
