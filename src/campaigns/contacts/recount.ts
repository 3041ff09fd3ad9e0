/** Counts the contacts of a campaign again, in case its counters disagree with them. */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { LONG_TRANSACTION } from '../../infra/database/long-transaction.ts';
import { CONTACT_COUNTERS } from './contact-status.ts';

const COUNTERS = Map.groupBy(Object.entries(CONTACT_COUNTERS), ([, counter]): string => counter);

/** Number of contacts for each counter, and of all. */
const COUNTS = [
  Prisma.sql`count(*) AS total_count`,
  ...[...COUNTERS].map(([counter, statuses]) => {
    const counted = Prisma.raw(statuses.map(([status]) => `'${status}'`).join(', '));
    return Prisma.sql`count(*) FILTER (WHERE status IN (${counted})) AS ${Prisma.raw(counter)}`;
  }),
];

const ASSIGNMENTS = ['total_count', ...COUNTERS.keys()].map((counter) =>
  Prisma.raw(`${counter} = n.${counter}`),
);

/** Corrects the counters of a campaign, whose contacts do not change meanwhile. */
export async function recountContacts(app: App, id: string): Promise<void> {
  await app.db.$transaction(async (tx) => {
    // Before the contacts are counted: those who move contacts hold this lock.
    await tx.$queryRaw`SELECT 1 FROM campaigns WHERE id = ${id}::uuid FOR NO KEY UPDATE`;
    await tx.$executeRaw`
      UPDATE campaigns c SET ${Prisma.join(ASSIGNMENTS)}, updated_at = ${app.now()}::timestamptz
      FROM (SELECT ${Prisma.join(COUNTS)} FROM campaign_contacts WHERE campaign_id = ${id}::uuid) n
      WHERE c.id = ${id}::uuid`;
  }, LONG_TRANSACTION);
}
