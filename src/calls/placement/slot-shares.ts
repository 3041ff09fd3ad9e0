/**
 * Shares free slots between organizations: each slot goes to the organization with the least of what is scarce. That is
 * active calls if the concurrency limit decides how many slots are free, and otherwise new calls. It does not matter
 * whether its calls are waiting ones or owned ones; within an organization, waiting calls come first. Calls that cannot
 * wait come before all others.
 */
import { Prisma } from '../../generated/prisma/client.ts';

export interface OrganizationUsage {
  /** Number of calls that hold a slot. */
  active: number;
  /** Number of calls claimed in the last minute, so that even a single slot is shared evenly. */
  recent: number;
  /** Number of waiting calls, without an owner, that may be claimed. */
  waiting: number;
  /** Number of these waiting calls that fail unless they are claimed within seconds. */
  urgent: number;
  /**
   * When one of its calls was last claimed or ended, in milliseconds since the epoch, so that a slot is shared even if
   * calls last longer than a minute. Null if there was none; may be null if nothing is waiting.
   */
  lastUsedAt: number | null;
}

export interface SlotLimits {
  /** Number of free slots at Ultravox. */
  free: number;
  /** Whether more active calls would be too many, or more new calls. */
  limitedBy: 'ACTIVE_CALLS' | 'NEW_CALLS';
  /** Maximum number of active calls of an organization. */
  organizationMax: number;
  /** By organization. The others have no active, recent or waiting calls. */
  organizations: ReadonlyMap<string, OrganizationUsage>;
}

export interface SlotShares {
  /** Number of waiting calls to claim, by organization. */
  waiting: Map<string, number>;
  /** Number of owned calls to claim, by organization. */
  owned: Map<string, number>;
}

interface Share extends OrganizationUsage {
  id: string;
  /** Maximum number of slots. */
  most: number;
  given: number;
}

/** @param owned number of owned calls that could be claimed, by organization */
export function shareSlots(limits: SlotLimits, owned: ReadonlyMap<string, number>): SlotShares {
  const shares = sharesOf(limits, owned);
  for (let left = limits.free; left > 0; left -= 1) {
    let next: Share | null = null;
    for (const share of shares) {
      if (share.given >= share.most) continue;
      if (!next || compare(share, next, limits.limitedBy) < 0) next = share;
    }
    if (!next) break;
    next.given += 1;
  }
  const result: SlotShares = { waiting: new Map(), owned: new Map() };
  for (const { id, waiting, given } of shares) {
    if (given > 0) result.waiting.set(id, Math.min(given, waiting));
    if (given > waiting) result.owned.set(id, given - waiting);
  }
  return result;
}

function sharesOf(
  { organizationMax, organizations }: SlotLimits,
  owned: ReadonlyMap<string, number>,
): Share[] {
  const ids = new Set([...organizations.keys(), ...owned.keys()]);
  return [...ids].flatMap((id) => {
    const usage = organizations.get(id) ?? UNUSED;
    const most = Math.min(usage.waiting + (owned.get(id) ?? 0), organizationMax - usage.active);
    return most > 0 ? { ...usage, id, most, given: 0 } : [];
  });
}

/** Usage of an organization without calls. */
export const UNUSED: OrganizationUsage = {
  active: 0,
  recent: 0,
  waiting: 0,
  urgent: 0,
  lastUsedAt: null,
};

/** Below 0 if the next slot belongs to `a` rather than to `b`. */
function compare(a: Share, b: Share, limitedBy: SlotLimits['limitedBy']): number {
  const active = a.active + a.given - (b.active + b.given);
  const recent = a.recent + a.given - (b.recent + b.given);
  const lastUsed = (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0);
  return (
    Number(b.given < b.urgent) - Number(a.given < a.urgent) ||
    (limitedBy === 'ACTIVE_CALLS' ? active || recent || lastUsed : recent || lastUsed || active) ||
    (a.id < b.id ? -1 : 1)
  );
}

/** SQL sort expressions with the order of `compare`, for calls that can wait. */
export function shareOrder(
  limitedBy: SlotLimits['limitedBy'],
  { active, recent, lastUsed }: Record<'active' | 'recent' | 'lastUsed', Prisma.Sql>,
): Prisma.Sql {
  return limitedBy === 'ACTIVE_CALLS'
    ? Prisma.sql`${active}, ${recent}, ${lastUsed}`
    : Prisma.sql`${recent}, ${lastUsed}, ${active}`;
}

export function totalOf(counts: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
