/** Imports phone numbers from carriers. */
import type { App } from '../app.ts';
import type { PhoneNumber } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import {
  claimAccount,
  claimAgain,
  restoreCredentials,
  type SentAccount,
  sendAccount,
} from './account-changes.ts';
import {
  type Carrier,
  type CarrierInput,
  checkCarrier,
  checkOwnership,
  deleteIfUnused,
  trunkColumns,
} from './carriers.ts';
import { MAX_NAME } from './service.ts';
import { allowSipCallsJob } from './sync.ts';

export interface ImportPhoneNumberInput {
  phoneNumber: string;
  name?: string | null | undefined;
  provider: CarrierInput;
}

/**
 * Imports a number, and its carrier account unless the organization has already imported it.
 *
 * Order: the number, the account or its changed credentials, and a job are committed, then the account is sent to
 * Ultravox. If Ultravox refuses it, the import is undone. Until then no other request can change the credentials. If
 * Ultravox cannot be reached, the number is DRAFT and the job sends the account later. After a crash in between, the job
 * also sends the account, and a refusal makes the number FAILED. Repeating the import under the same idempotency key
 * then undoes it. Without one, the number exists already: it is released, or its credentials are replaced.
 */
export async function importPhoneNumber(
  app: App,
  viewer: Viewer,
  input: ImportPhoneNumberInput,
): Promise<PhoneNumber> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const made = await app.db.phoneNumber.findFirst({ where: { ...ownedBy(viewer), id } });
    if (made) return repeatImport(app, made);
  }
  const checks = new Checks();
  const phoneNumber = checks.phoneNumber(input.phoneNumber, ['phoneNumber']);
  const name = checks.text(input.name, ['name'], { min: 1, max: MAX_NAME }) ?? null;
  const carrier = checkCarrier(checks, input.provider);
  if (!phoneNumber || !carrier || checks.problems.length > 0) {
    await checkConflicts(app, viewer, { checks, phoneNumber, carrier });
    checks.throwIfAny();
    throw new Error('The checks passed without a number or a carrier');
  }

  const { number, sent } = await app.db.$transaction(async (tx) => {
    const sent =
      carrier.provider === 'SIP' ? null : await claimAccount(app, tx, viewer, { checks, carrier });
    const made = await tx.phoneNumber.createManyAndReturn({
      data: {
        id,
        ...ownedBy(viewer),
        phoneNumber,
        name,
        provider: carrier.provider,
        ...(carrier.provider === 'SIP' ? trunkColumns(app, id, carrier) : {}),
      },
      skipDuplicates: true,
    });
    if (!made[0]) addExisting(checks);
    checks.throwIfAny();
    if (carrier.provider === 'SIP') {
      await app.jobs.enqueue(tx, allowSipCallsJob, {}, { group: null, singletonKey: 'sip' });
    }
    return { number: made[0]!, sent };
  });
  return sendImported(app, number, sent);
}

interface CheckedImport {
  checks: Checks;
  phoneNumber: string | undefined;
  carrier: Carrier | undefined;
}

/** Adds conflicts with existing rows to the problems of an invalid input, so that all are reported. */
async function checkConflicts(
  app: App,
  viewer: Viewer,
  { checks, phoneNumber, carrier }: CheckedImport,
): Promise<void> {
  if (phoneNumber) {
    const existing = await app.db.phoneNumber.findFirst({
      where: { ...ownedBy(viewer), phoneNumber, releasedAt: null },
      select: { id: true },
    });
    if (existing) addExisting(checks);
  }
  if (carrier && carrier.provider !== 'SIP') {
    const { provider } = carrier;
    const config = await app.db.telephonyConfig.findUnique({ where: { provider } });
    checkOwnership(checks, viewer, carrier, config);
  }
}

function addExisting(checks: Checks): void {
  checks.add(
    'ALREADY_EXISTS',
    'You have imported this number already. Release it first to import it again.',
    ['phoneNumber'],
  );
}

/** Continues an import that may have crashed. */
async function repeatImport(app: App, number: PhoneNumber): Promise<PhoneNumber> {
  const { provider } = number;
  if (provider === 'SIP' || number.releasedAt) return number;
  return sendImported(app, number, await claimAgain(app, provider));
}

/** Sends the account of the number to Ultravox, and undoes the import if Ultravox refuses it. */
async function sendImported(
  app: App,
  number: PhoneNumber,
  sent: SentAccount | null,
): Promise<PhoneNumber> {
  if (!sent) return number;
  const { id, organizationId } = number;
  await sendAccount(app, sent, {
    consequence: 'so the number was not imported. Check the credentials and import it again.',
    async undo(tx, config) {
      await tx.phoneNumber.deleteMany({ where: { id, organizationId, calls: { none: {} } } });
      if (!config || config.organizationId !== organizationId || config.deletedAt) return null;
      return (
        (await deleteIfUnused(app, tx, config)) ?? (await restoreCredentials(app, tx, config, sent))
      );
    },
  });
  return number;
}
