/** Cost of a call, in exact decimals. */
import type { CallBillingStatus } from '../generated/prisma/enums.ts';
import { MAX_CALL_SECONDS } from './settings.ts';

/** Status and billed seconds, as stored for a call and as reported by Ultravox. */
export interface Bill {
  status: CallBillingStatus;
  seconds: number;
}

/**
 * Maps Ultravox's billing status. Unknown values are PENDING or, in a final bill, FREE: only a call that is known to
 * be billed has a cost.
 */
export function billingStatusOf(
  status: string | null,
  { isFinal = false } = {},
): CallBillingStatus {
  if (status === 'BILLING_STATUS_BILLED') return 'BILLED';
  if (status === 'BILLING_STATUS_REFUNDED') return 'REFUNDED';
  if (status?.startsWith('BILLING_STATUS_FREE_')) return 'FREE';
  return isFinal && isUnknownBillingStatus(status) ? 'FREE' : 'PENDING';
}

export function isUnknownBillingStatus(status: string | null): boolean {
  return status !== null && !KNOWN_STATUS.test(status);
}

const KNOWN_STATUS = /^BILLING_STATUS_(PENDING|UNSPECIFIED|BILLED|REFUNDED|FREE_.*)$/;

/**
 * Whether a reported bill replaces the known one. A different bill of the same rank may be older or newer, since
 * webhooks are repeated and reordered: `LOOK_UP` if only a look-up can tell. A refund is never undone.
 */
export function compareBills(known: Bill, seen: Bill): 'REPLACES' | 'LOOK_UP' | 'IGNORED' {
  const ahead = BILLING_RANK[seen.status] - BILLING_RANK[known.status];
  if (ahead !== 0) return ahead > 0 ? 'REPLACES' : 'IGNORED';
  const isSame = seen.status === known.status && seen.seconds === known.seconds;
  return isSame || BILLING_RANK[known.status] !== 1 ? 'IGNORED' : 'LOOK_UP';
}

const BILLING_RANK: Record<CallBillingStatus, number> = {
  PENDING: 0,
  BILLED: 1,
  FREE: 1,
  REFUNDED: 2,
};

/** Converts an Ultravox duration (`"42s"`) to whole seconds, rounded up and bounded. 0 if missing or invalid. */
export function billedSeconds(duration: string | null): number {
  const seconds = Number.parseFloat(duration ?? '0');
  return seconds > 0 ? Math.min(Math.ceil(seconds), MAX_CALL_SECONDS) : 0;
}

/**
 * Maximum of `calls.cost_amount`, in millionths. A call of impossible length at a high price is stored with it, since a
 * call that cannot be stored would never end.
 */
const MAX_COST_MICROS = 999_999_999_999n;

/**
 * Multiplies the billed duration by a price per minute, rounded half up to six decimals, and bounded.
 *
 * @param pricePerMinute a decimal number as text with at most six decimals.
 * @returns a decimal number as text with six decimals.
 */
export function costOf(seconds: number, pricePerMinute: string): string {
  const [whole = '0', fraction = ''] = pricePerMinute.split('.');
  const micros = BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
  const cost = (micros * BigInt(seconds) * 2n + 60n) / 120n;
  const digits = (cost < MAX_COST_MICROS ? cost : MAX_COST_MICROS).toString().padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
}
