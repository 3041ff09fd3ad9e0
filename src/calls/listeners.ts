/** Listeners that notify other features of changes to calls, or answer for owned calls. Registered in `start.ts`. */
import type { App, Tx } from '../app.ts';
import { type Call, Prisma } from '../generated/prisma/client.ts';
import { perInstance } from '../infra/per-instance.ts';

export interface CallListener {
  /**
   * Called after the commit of a call's end, with the call in that state. Not called for calls that their owner
   * withdraws, nor if the process dies at that moment, so it must not be the only way to learn of an end.
   */
  callEnded?(app: App, end: CallEnd): void;
  /** Called in the transaction that deletes calls, to remove related data. */
  callsDeleted?(app: App, tx: Tx, callIds: readonly string[]): Promise<void>;
  /** Called in the transaction that expires transcripts, to remove data derived from their words. */
  transcriptsExpired?(app: App, tx: Tx, callIds: readonly string[]): Promise<void>;
  /**
   * Called after claims of owned calls were released by someone other than their owner: their process died, or Ultravox
   * refused the request.
   */
  claimsReleased?(app: App, owners: ReadonlySet<string>): Promise<void>;
  /**
   * SQL query (`organization_id`, `calls`): numbers of owned calls that could be claimed if enough slots were free.
   * They may be too high, but only until the owner has tried to claim them.
   */
  ownedCallsDue?(app: App): Prisma.Sql;
}

export interface CallEnd {
  call: Call;
  /** Whether the call counted against the concurrency limits, so that a slot is free again. */
  heldSlot: boolean;
}

const listeners = perInstance<App, CallListener[]>(() => []);

/** Registers a listener for this process. Must be called before any call is handled. */
export function addCallListener(app: App, listener: CallListener): void {
  listeners(app).push(listener);
}

export function notifyCallEnded(app: App, end: CallEnd): void {
  for (const listener of listeners(app)) listener.callEnded?.(app, end);
}

export async function notifyCallsDeleted(
  app: App,
  tx: Tx,
  callIds: readonly string[],
): Promise<void> {
  for (const listener of listeners(app)) await listener.callsDeleted?.(app, tx, callIds);
}

export async function notifyTranscriptsExpired(
  app: App,
  tx: Tx,
  callIds: readonly string[],
): Promise<void> {
  for (const listener of listeners(app)) await listener.transcriptsExpired?.(app, tx, callIds);
}

export async function notifyClaimsReleased(app: App, owners: ReadonlySet<string>): Promise<void> {
  if (owners.size === 0) return;
  for (const listener of listeners(app)) await listener.claimsReleased?.(app, owners);
}

/** SQL relation (`organization_id`, `calls`): owned calls that could be claimed, of all owners. */
export function ownedCallsDue(app: App): Prisma.Sql {
  const due = listeners(app).flatMap((listener) => listener.ownedCallsDue?.(app) ?? []);
  return due.length > 0 ? Prisma.sql`(${Prisma.join(due, ' UNION ALL ')})` : NO_OWNED_CALLS;
}

/** SQL relation of `ownedCallsDue` without rows. */
export const NO_OWNED_CALLS = Prisma.sql`(
  SELECT NULL::uuid AS organization_id, 0 AS calls WHERE false)`;
