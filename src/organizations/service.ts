/** Creates and updates organizations, and creates the keys that the command line and the demo need. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { ApiKey, Organization } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { newId } from '../infra/ids.ts';
import type { Viewer } from '../viewer.ts';
import { hashKey, newApiKey } from './api-key-secret.ts';
import { insertApiKey, isUsable } from './api-keys.ts';
import { findPremiumNumbersInUse } from './listeners.ts';

export interface UpdateOrganizationInput {
  allowPremiumNumbers?: boolean | null | undefined;
  addDoNotCallRequests?: boolean | null | undefined;
}

/**
 * Updates the given settings.
 *
 * @throws UserInputError INVALID_STATE if premium numbers are forbidden while agents transfer calls to them.
 */
export async function updateOrganization(
  app: App,
  viewer: Viewer,
  input: UpdateOrganizationInput,
): Promise<Organization> {
  const checks = new Checks();
  const allowPremiumNumbers = checks.notNull(input.allowPremiumNumbers, ['allowPremiumNumbers']);
  const addDoNotCallRequests = checks.notNull(input.addDoNotCallRequests, ['addDoNotCallRequests']);
  checks.throwIfAny();
  return app.db.$transaction(async (tx) => {
    const organization = await tx.organization.update({
      where: { id: viewer.organizationId },
      data: {
        ...(allowPremiumNumbers === undefined ? {} : { allowPremiumNumbers }),
        ...(addDoNotCallRequests === undefined ? {} : { addDoNotCallRequests }),
      },
    });
    if (allowPremiumNumbers === false) {
      checks.problems.push(...(await findPremiumNumbersInUse(app, tx, organization.id)));
      checks.throwIfAny();
    }
    return organization;
  });
}

/** The organization's rules for phone numbers to call. */
export async function phoneNumberRules(
  { db }: { db: App['db'] | Tx },
  { organizationId }: Pick<Viewer, 'organizationId'>,
): Promise<{ allowPremium: boolean }> {
  const { allowPremiumNumbers } = await db.organization.findUniqueOrThrow({
    where: { id: organizationId },
    select: { allowPremiumNumbers: true },
  });
  return { allowPremium: allowPremiumNumbers };
}

/** Same as `phoneNumberRules`, locked against changes until the transaction ends. */
export async function lockPhoneNumberRules(
  tx: Tx,
  { organizationId }: Pick<Viewer, 'organizationId'>,
): Promise<{ allowPremium: boolean }> {
  await tx.$queryRaw`SELECT 1 FROM organizations WHERE id = ${organizationId}::uuid FOR SHARE`;
  return phoneNumberRules({ db: tx }, { organizationId });
}

/** Whether do-not-call requests made during calls are added to the do-not-call list. */
export async function addsDoNotCallRequests(
  db: App['db'] | Tx,
  organizationId: string,
): Promise<boolean> {
  const { addDoNotCallRequests } = await db.organization.findUniqueOrThrow({
    where: { id: organizationId },
    select: { addDoNotCallRequests: true },
  });
  return addDoNotCallRequests;
}

/** Creates an organization with an ADMIN key, for startup and the command line. */
export async function createOrganization(
  app: Pick<App, 'db'>,
  input: { name: string; key?: string; id?: string },
): Promise<{ organization: Organization; apiKey: ApiKey; key: string }> {
  const checks = new Checks();
  checks.text(input.name, ['name'], { min: 1, max: 100 });
  checks.throwIfAny();
  return app.db.$transaction(async (tx) => {
    const organization = await tx.organization.create({
      data: { id: input.id ?? newId(), name: input.name },
    });
    const made = await insertApiKey(tx, {
      id: newId(),
      organizationId: organization.id,
      key: input.key ?? newApiKey(),
      name: 'First key',
      scopes: ['ADMIN'],
    });
    return { organization, ...made };
  });
}

/**
 * Creates another ADMIN key of an organization, for the command line.
 *
 * @throws UserInputError INVALID_ID or NOT_FOUND
 */
export async function createAdminKey(
  app: Pick<App, 'db'>,
  organizationId: string,
): Promise<{ organization: Organization; key: string }> {
  const checks = new Checks();
  const id = checks.id('Organization', organizationId, ['id']);
  checks.throwIfAny();
  const organization = await app.db.organization.findUnique({ where: { id: id! } });
  if (!organization) throw userError('NOT_FOUND', 'Organization not found.', ['id']);
  const { key } = await insertApiKey(app.db, {
    id: newId(),
    organizationId: organization.id,
    key: newApiKey(),
    name: 'From the command line',
    scopes: ['ADMIN'],
  });
  return { organization, key };
}

/**
 * Makes sure that a given key works for an organization. Used for the key of the demo, which is stored in a file.
 *
 * @returns false if the key is revoked, expired or belongs to another organization.
 */
export async function ensureApiKey(
  app: Pick<App, 'db' | 'now'>,
  organizationId: string,
  key: string,
): Promise<boolean> {
  const existing = await app.db.apiKey.findUnique({ where: { hash: hashKey(key) } });
  if (existing) {
    return isUsable(app, existing) && existing.organizationId === organizationId;
  }
  await insertApiKey(app.db, {
    id: newId(),
    organizationId,
    key,
    name: 'Demo key',
    scopes: ['ADMIN'],
  });
  return true;
}
