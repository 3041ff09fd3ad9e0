/**
 * Phone numbers of an organization: imported from its own carrier, given to agents, released.
 *
 * Two organizations may import the same number. Nothing here can prove who holds it at the carrier,
 * so an exclusive claim would let anybody lock the holder out; and none is needed, because an
 * incoming call comes in through an agent, which belongs to one organization, and an outgoing one
 * through an account that the carrier lets use the number.
 */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { CallDirection, PhoneNumber } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import {
  type Carrier,
  type CarrierChange,
  type CarrierInput,
  checkCarrier,
  checkOwnership,
  giveUpIfUnused,
  lockConfig,
  takeAccount,
} from './carriers.ts';
import { encryptSip } from './credentials.ts';
import { allowSipCallsJob, telephonyConfigSync } from './sync.ts';

export {
  bestOf,
  type CallerId,
  callerIds,
  chooseOutboundNumber,
  mediumForNumber,
} from './outbound.ts';

const MAX_NAME = 100;

export interface ImportPhoneNumberInput {
  phoneNumber: string;
  name?: string | null | undefined;
  provider: CarrierInput;
}

/**
 * Order: the number and, if they are new, the account and its credentials are committed with a job;
 * then the account is sent to Ultravox. If Ultravox refuses it, the number goes again and the
 * credentials are what they were. If Ultravox cannot be reached, the number stays, DRAFT, and the
 * job brings the account in step. A crash in between leaves the same to the job; a refusal then
 * shows as FAILED on the number.
 */
export async function importPhoneNumber(
  app: App,
  viewer: Viewer,
  input: ImportPhoneNumberInput,
): Promise<PhoneNumber> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const made = await app.db.phoneNumber.findFirst({ where: { ...ownedBy(viewer), id } });
    if (made) return bringInStep(app, made, null);
  }
  const checks = new Checks();
  const phoneNumber = checks.phoneNumber(input.phoneNumber, ['phoneNumber']);
  const name = checks.text(input.name, ['name'], { min: 1, max: MAX_NAME }) ?? null;
  const carrier = checkCarrier(checks, input.provider);
  if (!phoneNumber || !carrier || checks.problems.length > 0) {
    await checkWhatIsThere(app, checks, viewer, phoneNumber, carrier);
    checks.throwIfAny();
    throw new Error('A value is missing that no check complained about');
  }

  const { number, change } = await app.db.$transaction(async (tx) => {
    const change =
      carrier.provider === 'SIP' ? null : await takeAccount(app, tx, checks, viewer, carrier);
    const made = await tx.phoneNumber.createManyAndReturn({
      data: {
        id,
        ...ownedBy(viewer),
        phoneNumber,
        name,
        provider: carrier.provider,
        ...(carrier.provider === 'SIP' ? sipColumns(app, id, carrier) : {}),
      },
      skipDuplicates: true,
    });
    if (!made[0]) addExisting(checks);
    checks.throwIfAny();
    if (carrier.provider === 'SIP') {
      await app.jobs.enqueue(tx, allowSipCallsJob, {}, { singletonKey: 'sip' });
    }
    return { number: made[0]!, change };
  });
  return bringInStep(app, number, change);
}

function sipColumns(
  app: App,
  id: string,
  { server, username, password }: Carrier & { provider: 'SIP' },
) {
  return {
    sipServer: server,
    sipUsername: username,
    credentials: encryptSip(app, id, { username, password }),
  };
}

/** For an input that is wrong anyway: what else stands in its way, so that all is told at once. */
async function checkWhatIsThere(
  app: App,
  checks: Checks,
  viewer: Viewer,
  phoneNumber: string | undefined,
  carrier: Carrier | undefined,
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
    'This number is already among your phone numbers. Release it first to import it anew.',
    ['phoneNumber'],
  );
}

async function bringInStep(
  app: App,
  number: PhoneNumber,
  change: CarrierChange | null,
): Promise<PhoneNumber> {
  const { provider } = number;
  if (provider === 'SIP' || number.releasedAt) return number;
  const current = change
    ? { id: change.configId }
    : await app.db.telephonyConfig.findUnique({ where: { provider }, select: { id: true } });
  if (!current) return number;
  await trySync(app, telephonyConfigSync, current.id);
  const config = await app.db.telephonyConfig.findUnique({ where: { id: current.id } });
  if (!config || config.refusedRevision !== config.revision) return number;
  await takeBack(app, number, change);
  throw userError(
    'ULTRAVOX_REFUSED',
    `Ultravox refuses the carrier account, so the number was not imported. Check the credentials and import it again. It says: ${config.syncError ?? 'nothing more'}`,
    ['provider', provider.toLowerCase()],
  );
}

/** Undoes an import whose account was refused: the number goes, and with it what it had changed. */
async function takeBack(
  app: App,
  { id, organizationId, provider }: PhoneNumber,
  change: CarrierChange | null,
): Promise<void> {
  if (provider === 'SIP') return;
  const configId = await app.db.$transaction(async (tx) => {
    const config = await lockConfig(tx, provider);
    await tx.phoneNumber.deleteMany({ where: { id, organizationId, calls: { none: {} } } });
    if (!config || config.organizationId !== organizationId || config.deletedAt) return null;
    const removed = await giveUpIfUnused(app, tx, config);
    if (removed) return removed;
    if (!change?.previous || change.revision !== config.revision) return null;
    await tx.telephonyConfig.updateMany({
      where: { provider, id: config.id },
      data: { credentials: change.previous, revision: { increment: 1 } },
    });
    await enqueueSync(app, tx, telephonyConfigSync, config.id);
    return config.id;
  });
  if (configId) await trySync(app, telephonyConfigSync, configId);
}

/** Changes what the number is called; nothing else depends on it. */
export async function renamePhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string; name: string },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('num', 'PhoneNumber', input.id, ['id']);
  const name = checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  await requireNumber(app.db, checks, viewer, id);
  checks.throwIfAny();
  return updateNumber(app.db, viewer, id!, { name: name! });
}

/** Whoever was in the slot before is replaced; the other slot stays as it is. */
export async function assignPhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string; agentId: string; direction: CallDirection },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('num', 'PhoneNumber', input.id, ['id']);
  const agentId = checks.id('agt', 'Agent', input.agentId, ['agentId']);
  return app.db.$transaction(async (tx) => {
    await requireNumber(tx, checks, viewer, id);
    if (agentId && !(await lockAgent(tx, viewer, agentId))) {
      checks.add('NOT_FOUND', 'There is no such agent.', ['agentId']);
    }
    checks.throwIfAny();
    return updateNumber(tx, viewer, id!, slot(input.direction, agentId!));
  });
}

/** Emptying an empty slot changes nothing. */
export async function unassignPhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string; direction: CallDirection },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('num', 'PhoneNumber', input.id, ['id']);
  await requireNumber(app.db, checks, viewer, id);
  checks.throwIfAny();
  return updateNumber(app.db, viewer, id!, slot(input.direction, null));
}

function slot(direction: CallDirection, agentId: string | null) {
  return direction === 'INBOUND' ? { inboundAgentId: agentId } : { outboundAgentId: agentId };
}

/** Keeps the agent from being deleted until the number is its. */
async function lockAgent(tx: Tx, viewer: Viewer, id: string): Promise<boolean> {
  const found = await tx.$queryRaw<unknown[]>`
    SELECT 1 FROM agents
    WHERE id = ${id}::uuid AND organization_id = ${viewer.organizationId}::uuid
      AND deleted_at IS NULL
    FOR SHARE`;
  return found.length > 0;
}

/**
 * Takes the number out of the organization and frees its agents; at the carrier nothing changes.
 * Calls made with it keep it. Releasing it again changes nothing.
 *
 * Order: the release is committed; if it was the last number of the carrier account, the account is
 * then removed at Ultravox. If that fails, a job goes on trying, and until it has succeeded no other
 * organization can bring an account of that provider.
 */
export async function releasePhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('num', 'PhoneNumber', input.id, ['id']);
  checks.throwIfAny();
  const found = await app.db.phoneNumber.findFirst({ where: { ...ownedBy(viewer), id: id! } });
  if (!found) throw notFound();
  const { provider } = found;
  const { number, configId } = await app.db.$transaction(async (tx) => {
    const config = provider === 'SIP' ? null : await lockConfig(tx, provider);
    // Whoever is about to place a call with it holds the row until the call can be seen.
    await tx.$queryRaw`SELECT 1 FROM phone_numbers WHERE id = ${id}::uuid FOR UPDATE`;
    const live = await tx.call.count({
      where: { ...ownedBy(viewer), phoneNumberId: id!, endedAt: null, deletedAt: null },
    });
    if (live > 0) {
      throw userError(
        'INVALID_STATE',
        `The number has ${live === 1 ? 'a call' : `${live} calls`} not yet ended. End ${live === 1 ? 'it' : 'them'} with \`endCall\`, or wait.`,
        ['id'],
      );
    }
    const released = await tx.phoneNumber.updateMany({
      where: { ...ownedBy(viewer), id: id!, releasedAt: null },
      data: { releasedAt: app.now(), inboundAgentId: null, outboundAgentId: null },
    });
    const number = await tx.phoneNumber.findUniqueOrThrow({ where: { id: id! } });
    const owned = config?.organizationId === viewer.organizationId && !config.deletedAt;
    const configId =
      released.count === 1 && config && owned ? await giveUpIfUnused(app, tx, config) : null;
    return { number, configId };
  });
  if (configId) await trySync(app, telephonyConfigSync, configId);
  return number;
}

async function requireNumber(
  db: App['db'] | Tx,
  checks: Checks,
  viewer: Viewer,
  id: string | undefined,
): Promise<void> {
  if (!id) return;
  const found = await db.phoneNumber.findFirst({
    where: { ...ownedBy(viewer), id, releasedAt: null },
    select: { id: true },
  });
  if (!found) checks.add('NOT_FOUND', 'There is no such phone number.', ['id']);
}

/** @throws UserInputError NOT_FOUND when it has been released meanwhile. */
async function updateNumber(
  db: App['db'] | Tx,
  viewer: Viewer,
  id: string,
  data: Partial<Pick<PhoneNumber, 'name' | 'inboundAgentId' | 'outboundAgentId'>>,
): Promise<PhoneNumber> {
  const [number] = await db.phoneNumber.updateManyAndReturn({
    where: { ...ownedBy(viewer), id, releasedAt: null },
    data,
  });
  if (!number) throw notFound();
  return number;
}

function notFound() {
  return userError('NOT_FOUND', 'There is no such phone number.', ['id']);
}
