/** Translates filters for the contacts of a campaign into conditions. */
import { z } from 'zod';
import type { ProblemPath } from '../../errors.ts';
import type { Prisma } from '../../generated/prisma/client.ts';
import {
  CallEndReason,
  CampaignContactStatus,
  CampaignSkipReason,
} from '../../generated/prisma/enums.ts';
import type { Checks } from '../../infra/checks.ts';

/** A filter as carried by download links. Unknown members are rejected: ignoring them would match more contacts. */
export const campaignContactFilter = z.strictObject({
  /** Empty means all, as for `endReason`. */
  status: z.array(z.enum(CampaignContactStatus)).readonly().nullish(),
  skipReason: z.enum(CampaignSkipReason).nullish(),
  endReason: z.array(z.enum(CallEndReason)).readonly().nullish(),
  phoneNumber: z.string().nullish(),
  clientId: z.string().nullish(),
});
export type CampaignContactFilter = z.output<typeof campaignContactFilter>;

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function campaignContactsWhere(
  checks: Checks,
  filter: CampaignContactFilter,
  path: ProblemPath,
): Prisma.CampaignContactWhereInput {
  const conditions: Prisma.CampaignContactWhereInput[] = [];
  const { status, skipReason, endReason, phoneNumber, clientId } = filter;
  if (status?.length) conditions.push({ status: { in: [...status] } });
  if (skipReason) conditions.push({ status: 'SKIPPED', skipReason });
  if (endReason?.length) conditions.push({ endReason: { in: [...endReason] } });
  const numbers = checks.phoneNumberForms(phoneNumber, [...path, 'phoneNumber']);
  // Each condition has an index: `phone_number` only for contacts with a `client_id`, the others have it as `identity`.
  if (numbers) {
    conditions.push({
      OR: [
        { identity: { in: numbers.map((number) => `tel:${number}`) } },
        { clientId: { not: null }, phoneNumber: { in: numbers } },
      ],
    });
  }
  if (typeof clientId === 'string') conditions.push({ identity: `id:${clientId.trim()}` });
  return { AND: conditions };
}
