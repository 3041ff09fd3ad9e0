/** Row locks of campaigns. */
import type { Tx } from '../app.ts';
import { type Campaign, Prisma } from '../generated/prisma/client.ts';
import { columnsAs } from '../infra/rows/columns.ts';

/** For transactions that are idle while contacts are planned and files are read. */
const LONG_IDLE_LIMIT = Prisma.sql`set_config('idle_in_transaction_session_timeout', '120s', true)`;

const COLUMNS = Prisma.sql`${columnsAs(
  'campaigns',
  Object.values(Prisma.CampaignScalarFieldEnum).filter((field) => field !== 'recentEnds'),
)}, coalesce(campaigns.recent_ends, '{}')::text[] AS "recentEnds"`;

/**
 * A query that locks the campaigns that meet a condition, and returns them. Campaigns that are locked elsewhere are
 * skipped.
 *
 * @param more another column, such as a subquery that refers to `campaigns`; its value may be older than the lock.
 */
export function lockFreeCampaigns(condition: Prisma.Sql, more?: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
    SELECT ${COLUMNS} ${more ? Prisma.sql`, ${more}` : Prisma.empty}
    FROM campaigns WHERE ${condition} FOR NO KEY UPDATE SKIP LOCKED`;
}

/**
 * Locks a campaign until the transaction ends; null if it does not exist. The lock does not block foreign keys to the
 * row, so events of its calls can still be written.
 */
export async function lockCampaign(
  tx: Tx,
  where: { id: string; organizationId: string },
): Promise<Campaign | null> {
  await tx.$queryRaw`
    SELECT ${LONG_IDLE_LIMIT} FROM campaigns WHERE id = ${where.id}::uuid
      AND organization_id = ${where.organizationId}::uuid FOR NO KEY UPDATE`;
  return tx.campaign.findFirst({ where: { ...where, deletedAt: null } });
}
