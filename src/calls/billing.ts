/** Cost of a call, in exact decimals. */
import type { CallBillingStatus } from '../generated/prisma/enums.ts';

/** Maps Ultravox's billing status. Unknown values are PENDING. */
export function billingStatusOf(status: string | null): CallBillingStatus {
  if (status === 'BILLING_STATUS_BILLED') return 'BILLED';
  if (status === 'BILLING_STATUS_REFUNDED') return 'REFUNDED';
  if (status?.startsWith('BILLING_STATUS_FREE_')) return 'FREE';
  return 'PENDING';
}

/** Whether `seen` supersedes `known`: a billed call can only be refunded. */
export function isBillingUpdate(known: CallBillingStatus, seen: CallBillingStatus): boolean {
  return BILLING_RANK[seen] > BILLING_RANK[known];
}

const BILLING_RANK: Record<CallBillingStatus, number> = {
  PENDING: 0,
  BILLED: 1,
  FREE: 1,
  REFUNDED: 2,
};

/** Converts an Ultravox duration (`"42s"`) to whole seconds, rounded up. 0 if missing or invalid. */
export function billedSeconds(duration: string | null): number {
  const seconds = Number.parseFloat(duration ?? '0');
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : 0;
}

/**
 * Multiplies the billed duration by a price per minute, rounded half up to six decimals.
 *
 * @param pricePerMinute a decimal number as text with at most six decimals.
 * @returns a decimal number as text with six decimals.
 */
export function costOf(seconds: number, pricePerMinute: string): string {
  const [whole = '0', fraction = ''] = pricePerMinute.split('.');
  const micros = BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
  const cost = (micros * BigInt(seconds) * 2n + 60n) / 120n;
  const digits = cost.toString().padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
}
