/** Contacts that are due and not called, many in one statement: put off, or skipped for good. */
import { Prisma } from '../generated/prisma/client.ts';
import type { Pass } from './pass.ts';
import type { Turn } from './turns.ts';

/** Contacts that one statement puts off or leaves out. */
const MAX_PUT_OFF = 5_000;

export interface PutOff {
  turn: Turn;
  timezone: string;
  /** Null when no time ever suits both zones. */
  until: Date | null;
}

/** All who are due in these campaigns and whose number is on the do-not-call list. */
export async function skipListed(
  { tx, now, turns }: Pass,
  listed: ReadonlySet<string>,
): Promise<void> {
  if (listed.size === 0) return;
  await leaveOut(
    { tx, now, turns },
    Prisma.sql`
    SELECT due.id, 'DO_NOT_CALL' AS reason
    FROM unnest(${[...listed]}::uuid[]) AS campaign(id)
    CROSS JOIN LATERAL (
      SELECT cc.id FROM campaign_contacts cc JOIN do_not_call_entries e
        ON e.organization_id = cc.organization_id AND e.phone_number = cc.phone_number
      WHERE cc.campaign_id = campaign.id AND cc.next_eligible_at <= ${now}::timestamptz
      LIMIT ${MAX_PUT_OFF}
    ) due`,
  );
}

/** All who are due in a zone where it is not the hour: until it is, or for good if it never is. */
export async function writePutOffs(pass: Pass, putOffs: readonly PutOff[]): Promise<void> {
  const { tx, now } = pass;
  const rows = (some: readonly PutOff[]) =>
    JSON.stringify(
      some.map(({ turn, timezone, until }) => ({ campaign_id: turn.campaign.id, timezone, until })),
    );
  const dueOf = Prisma.sql`CROSS JOIN LATERAL (
    SELECT id FROM campaign_contacts
    WHERE campaign_id = r.campaign_id AND timezone = r.timezone
      AND next_eligible_at <= ${now}::timestamptz
    LIMIT ${MAX_PUT_OFF}
  ) due`;
  const never = putOffs.filter(({ until }) => until === null);
  if (never.length > 0) {
    await leaveOut(
      pass,
      Prisma.sql`
      SELECT due.id, 'NEVER_OPEN' AS reason
      FROM jsonb_to_recordset(${rows(never)}::jsonb) AS r(campaign_id uuid, timezone text)
      ${dueOf}`,
    );
  }
  const later = putOffs.filter(({ until }) => until !== null);
  if (later.length === 0) return;
  await tx.$executeRaw`
    WITH moved AS (
      UPDATE campaign_contacts cc SET next_eligible_at = o.until, updated_at = ${now}::timestamptz
      FROM (
        SELECT due.id, r.until
        FROM jsonb_to_recordset(${rows(later)}::jsonb)
          AS r(campaign_id uuid, timezone text, until timestamptz)
        ${dueOf}
      ) o
      WHERE cc.id = o.id
      RETURNING cc.id, cc.organization_id, cc.campaign_id, o.until
    )
    INSERT INTO campaign_decisions
      (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, until, at)
    SELECT new_id(), organization_id, campaign_id, id, 'WAITS', 'CONTACT_WINDOW_CLOSED', until,
      ${now}::timestamptz
    FROM moved`;
}

/** Skips waiting contacts, given by `id` with a `reason`, for good. */
async function leaveOut(
  { tx, now, turns }: Pick<Pass, 'tx' | 'now' | 'turns'>,
  contacts: Prisma.Sql,
): Promise<void> {
  const skipped = await tx.$queryRaw<{ campaign_id: string; count: bigint }[]>`
    WITH skipped AS (
      UPDATE campaign_contacts cc SET status = 'SKIPPED',
        skip_reason = o.reason::"CampaignSkipReason", next_eligible_at = NULL,
        finished_at = ${now}::timestamptz, updated_at = ${now}::timestamptz
      FROM (${contacts}) o WHERE cc.id = o.id
      RETURNING cc.id, cc.organization_id, cc.campaign_id, o.reason
    ), told AS (
      INSERT INTO campaign_decisions
        (id, organization_id, campaign_id, campaign_contact_id, outcome, reason, at)
      SELECT new_id(), organization_id, campaign_id, id, 'SKIPPED',
        reason::"CampaignDecisionReason", ${now}::timestamptz
      FROM skipped
    )
    SELECT campaign_id, count(*) FROM skipped GROUP BY 1`;
  for (const { campaign_id, count } of skipped) {
    const turn = turns.get(campaign_id);
    if (turn) turn.skipped += Number(count);
  }
}
