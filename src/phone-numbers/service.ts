/**
 * Assigns and releases phone numbers. `import.ts` imports them, and `update.ts` changes them.
 *
 * Two organizations may import the same number. Ownership cannot be proved here, so exclusive imports would let anybody
 * lock out the owner. They are not needed either: an inbound call arrives through an agent, which belongs to one
 * organization, and for an outbound call the carrier checks the account.
 */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { CallDirection, PhoneNumber, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { lockReferences } from '../sync/references.ts';
import { trySync } from '../sync/service.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { deleteIfUnused, lockConfig } from './carriers.ts';
import { telephonyConfigSync } from './sync.ts';

export {
  type CallerId,
  callerIds,
  chooseOutboundNumber,
  mediumForNumber,
  preferReady,
} from './caller-id.ts';

export const MAX_NAME = 100;

/** Replaces the agent assigned to one direction. The other direction is unchanged. */
export async function assignPhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string; agentId: string; direction: CallDirection },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('PhoneNumber', input.id, ['id']);
  const agentId = checks.id('Agent', input.agentId, ['agentId']);
  return app.db.$transaction(async (tx) => {
    await requireNumber(tx, checks, viewer, id);
    await requireAgent(tx, checks, viewer, agentId);
    checks.throwIfAny();
    return updateNumber(tx, viewer, id!, assignment(input.direction, agentId!));
  });
}

/** Does nothing if no agent is assigned to the direction. */
export async function unassignPhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string; direction: CallDirection },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('PhoneNumber', input.id, ['id']);
  await requireNumber(app.db, checks, viewer, id);
  checks.throwIfAny();
  return updateNumber(app.db, viewer, id!, assignment(input.direction, null));
}

function assignment(direction: CallDirection, agentId: string | null) {
  return direction === 'INBOUND' ? { inboundAgentId: agentId } : { outboundAgentId: agentId };
}

/** Unassigns all numbers of an agent, in the transaction that deletes it. */
export async function unassignAgent(tx: Tx, viewer: Viewer, agentId: string): Promise<void> {
  for (const slot of ['inboundAgentId', 'outboundAgentId'] as const) {
    await tx.phoneNumber.updateMany({
      where: { ...ownedBy(viewer), [slot]: agentId },
      data: { [slot]: null },
    });
  }
}

/** Adds a problem if there is no such agent. Otherwise prevents it from being deleted. */
async function requireAgent(
  tx: Tx,
  checks: Checks,
  viewer: Viewer,
  id: string | undefined,
): Promise<void> {
  if (!id) return;
  const locked = await lockReferences(tx, 'agents', viewer.organizationId, [id]);
  if (!locked.has(id)) checks.add('NOT_FOUND', 'Agent not found.', ['agentId']);
}

/**
 * Removes the number from the organization and unassigns its agents. Nothing changes at the carrier, calls made with
 * the number keep it, and releasing it again has no effect.
 *
 * Order: the release is committed; if it was the last number of the carrier account, the account is
 * then removed at Ultravox. If that fails, the job retries, and until it succeeds no other organization
 * can import an account of that provider.
 */
export async function releasePhoneNumber(
  app: App,
  viewer: Viewer,
  input: { id: string },
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('PhoneNumber', input.id, ['id']);
  checks.throwIfAny();
  const found = await app.db.phoneNumber.findFirst({ where: { ...ownedBy(viewer), id: id! } });
  if (!found) throw notFound();
  const { provider } = found;
  const { number, configId } = await app.db.$transaction(async (tx) => {
    const config = provider === 'SIP' ? null : await lockConfig(tx, provider);
    // Waits for transactions that create a call with the number, since they lock the row.
    await tx.$queryRaw`SELECT 1 FROM phone_numbers WHERE id = ${id}::uuid FOR UPDATE`;
    const live = await tx.call.count({
      where: { ...ownedBy(viewer), phoneNumberId: id!, endedAt: null, deletedAt: null },
    });
    if (live > 0) {
      throw userError(
        'INVALID_STATE',
        `The number has ${live === 1 ? 'a call' : `${live} calls`} that ${live === 1 ? 'has' : 'have'} not ended. Wait, or use \`endCall\`.`,
        ['id'],
      );
    }
    const released = await tx.phoneNumber.updateMany({
      where: { ...ownedBy(viewer), id: id!, releasedAt: null },
      data: {
        releasedAt: app.now(),
        inboundAgentId: null,
        outboundAgentId: null,
        credentials: null,
      },
    });
    const number = await tx.phoneNumber.findUniqueOrThrow({ where: { id: id! } });
    const owned = config?.organizationId === viewer.organizationId && !config.deletedAt;
    const configId =
      released.count === 1 && config && owned ? await deleteIfUnused(app, tx, config) : null;
    return { number, configId };
  });
  if (configId) await trySync(app, telephonyConfigSync, configId);
  return number;
}

/** Returns a number that is not released. Adds a problem if there is no such number. */
export async function requireNumber(
  db: App['db'] | Tx,
  checks: Checks,
  viewer: Viewer,
  id: string | undefined,
): Promise<PhoneNumber | undefined> {
  if (!id) return undefined;
  const found = await db.phoneNumber.findFirst({
    where: { ...ownedBy(viewer), id, releasedAt: null },
  });
  return found ?? checks.add('NOT_FOUND', 'Phone number not found.', ['id']);
}

/** @throws UserInputError NOT_FOUND if the number has been released in the meantime. */
export async function updateNumber(
  db: App['db'] | Tx,
  viewer: Viewer,
  id: string,
  data: Prisma.PhoneNumberUncheckedUpdateManyInput,
): Promise<PhoneNumber> {
  const [number] = await db.phoneNumber.updateManyAndReturn({
    where: { ...ownedBy(viewer), id, releasedAt: null },
    data,
  });
  if (!number) throw notFound();
  return number;
}

function notFound() {
  return userError('NOT_FOUND', 'Phone number not found.', ['id']);
}

/** Numbers of the organization that are not released. */
export function usedNumbers(viewer: Viewer): Prisma.PhoneNumberWhereInput {
  return { ...ownedBy(viewer), releasedAt: null };
}
