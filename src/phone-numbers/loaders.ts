/** The carrier accounts behind the numbers of a list, read together. */
import DataLoader from 'dataloader';
import type { App } from '../app.ts';
import type {
  PhoneNumber,
  PhoneNumberProvider,
  TelephonyConfig,
} from '../generated/prisma/client.ts';
import type { SyncStatus } from '../generated/prisma/enums.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

type Account = Pick<TelephonyConfig, 'status' | 'syncError'>;
type Loader = DataLoader<PhoneNumberProvider, Account | null>;

const loaders = new WeakMap<object, Loader>();

/** One per execution. It remembers nothing, because a mutation may follow another in one. */
function accountLoader(app: App, viewer: Viewer, execution: object): Loader {
  const existing = loaders.get(execution);
  if (existing) return existing;
  const loader: Loader = new DataLoader(
    async (providers) => {
      const configs = await app.db.telephonyConfig.findMany({
        where: { ...ownedBy(viewer), deletedAt: null, provider: { in: [...new Set(providers)] } },
        select: { provider: true, status: true, syncError: true },
      });
      return providers.map((one) => configs.find(({ provider }) => provider === one) ?? null);
    },
    { cache: false },
  );
  loaders.set(execution, loader);
  return loader;
}

/** How far the account that a number needs has come; null for a released number. */
export async function numberSync(
  { app, viewer, execution }: { app: App; viewer: Viewer; execution: object },
  number: Pick<PhoneNumber, 'provider' | 'releasedAt'>,
): Promise<{ status: SyncStatus; syncError: string | null } | null> {
  if (number.releasedAt) return null;
  // A SIP trunk is named in each call, so nothing has to be at Ultravox beforehand.
  if (number.provider === 'SIP') return { status: 'ACTIVE', syncError: null };
  const account = await accountLoader(app, viewer, execution).load(number.provider);
  return account ?? { status: 'DRAFT', syncError: null };
}
