/** What a call costs, in exact decimals. */
import type { CallBillingStatus } from '../generated/prisma/enums.ts';

/** Ultravox's billing status, in the graph's words. Unknown ones count as not billed yet. */
export function billingStatusOf(status: string | null): CallBillingStatus {
  if (status === 'BILLING_STATUS_BILLED') return 'BILLED';
  if (status === 'BILLING_STATUS_REFUNDED') return 'REFUNDED';
  if (status?.startsWith('BILLING_STATUS_FREE_')) return 'FREE';
  return 'PENDING';
}

/** Whether a billing status is news: it is settled once, and after that can only be refunded. */
export function isBillingNews(known: CallBillingStatus, seen: CallBillingStatus): boolean {
  return BILLING_RANK[seen] > BILLING_RANK[known];
}

const BILLING_RANK: Record<CallBillingStatus, number> = {
  PENDING: 0,
  BILLED: 1,
  FREE: 1,
  REFUNDED: 2,
};

/** Whole seconds of a duration as Ultravox writes it (`"42s"`); it bills in steps of six seconds. */
export function billedSeconds(duration: string | null): number {
  const seconds = Number.parseFloat(duration ?? '0');
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : 0;
}

/**
 * Billed time at a price per minute, rounded half up to six decimals.
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
