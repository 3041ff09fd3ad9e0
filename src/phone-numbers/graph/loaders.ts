/** Batched lookup of the carrier accounts of phone numbers. */
import type { PhoneNumber, PhoneNumberProvider } from '../../generated/prisma/client.ts';
import type { SyncStatus } from '../../generated/prisma/enums.ts';
import { batched, type Reader } from '../../graphql/reading/batched.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';

interface AccountSync {
  status: SyncStatus;
  syncError: string | null;
}

const loadAccount = batched<PhoneNumberProvider, AccountSync | null>(
  async ({ app, viewer }, providers) => {
    const configs = await app.db.telephonyConfig.findMany({
      where: { ...ownedAndNotDeleted(viewer), provider: { in: [...new Set(providers)] } },
      select: { provider: true, status: true, syncError: true },
    });
    return providers.map((one) => configs.find(({ provider }) => provider === one) ?? null);
  },
);

/** The sync state of the carrier account that a number needs; null for a released number. */
export async function numberSync(
  reader: Reader,
  number: Pick<PhoneNumber, 'provider' | 'releasedAt'>,
): Promise<AccountSync | null> {
  if (number.releasedAt) return null;
  // A SIP trunk is part of each call, so Ultravox needs no account for it.
  if (number.provider === 'SIP') return { status: 'ACTIVE', syncError: null };
  return (await loadAccount(reader, number.provider)) ?? { status: 'DRAFT', syncError: null };
}
