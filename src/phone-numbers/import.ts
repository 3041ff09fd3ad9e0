/** Imports phone numbers from carriers. */
import type { App } from '../app.ts';
import type { PhoneNumber } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { trySync } from '../sync/service.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import {
  type Carrier,
  type CarrierInput,
  checkCarrier,
  checkOwnership,
  claimAccount,
  deleteIfUnused,
  lockConfig,
  restoreCredentials,
  sendAccount,
  trunkColumns,
} from './carriers.ts';
import { MAX_NAME } from './service.ts';
import { allowSipCallsJob, telephonyConfigSync } from './sync.ts';

export interface ImportPhoneNumberInput {
  phoneNumber: string;
  name?: string | null | undefined;
  provider: CarrierInput;
}

/**
 * Imports a number, and its carrier account unless the organization has already imported it.
 *
 * Order: the number, the account or its changed credentials, and a job are committed, then the account is sent to
 * Ultravox. If Ultravox refuses it, the import is undone. If Ultravox cannot be reached, the number is DRAFT and the
 * job sends the account later. After a crash in between, the job also sends the account, and a refusal makes the number
 * FAILED. Repeating the import under the same idempotency key then undoes it. Without one, the number exists already: it
 * is released, or its credentials are replaced.
 */
export async function importPhoneNumber(
  app: App,
  viewer: Viewer,
  input: ImportPhoneNumberInput,
): Promise<PhoneNumber> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const made = await app.db.phoneNumber.findFirst({ where: { ...ownedBy(viewer), id } });
    if (made) return syncAccount(app, made, null);
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

  const { number, configId } = await app.db.$transaction(async (tx) => {
    const configId =
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
    return { number: made[0]!, configId };
  });
  return syncAccount(app, number, configId);
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

/** Sends the account of the number to Ultravox, and undoes the import if Ultravox refuses it. */
async function syncAccount(
  app: App,
  number: PhoneNumber,
  configId: string | null,
): Promise<PhoneNumber> {
  const { provider } = number;
  if (provider === 'SIP' || number.releasedAt) return number;
  const current = configId
    ? { id: configId }
    : await app.db.telephonyConfig.findUnique({ where: { provider }, select: { id: true } });
  if (!current) return number;
  const consequence = 'so the number was not imported. Check the credentials and import it again.';
  const refusal = await sendAccount(app, current.id, consequence);
  if (!refusal) return number;
  await undoImport(app, number);
  throw refusal;
}

/** Deletes the number and restores the credentials that the import changed. */
async function undoImport(app: App, { id, organizationId, provider }: PhoneNumber): Promise<void> {
  if (provider === 'SIP') return;
  const configId = await app.db.$transaction(async (tx) => {
    const config = await lockConfig(tx, provider);
    await tx.phoneNumber.deleteMany({ where: { id, organizationId, calls: { none: {} } } });
    if (!config || config.organizationId !== organizationId || config.deletedAt) return null;
    return (await deleteIfUnused(app, tx, config)) ?? (await restoreCredentials(app, tx, config));
  });
  if (configId) await trySync(app, telephonyConfigSync, configId);
}
