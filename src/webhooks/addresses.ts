/** Decides which addresses may receive webhooks. */
import type { Config } from '../config.ts';
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { isAtOrBelow } from '../infra/outgoing/addresses.ts';

type Settings = Pick<Config, 'ALLOW_PRIVATE_ADDRESSES' | 'WEBHOOK_ALLOWED_URLS'>;

/** Whether an address may be used even if it is not public HTTPS. */
export function isAllowedReceiver(config: Settings, address: string): boolean {
  if (config.ALLOW_PRIVATE_ADDRESSES) return true;
  return isAtOrBelow(config.WEBHOOK_ALLOWED_URLS ?? [], address);
}

/** Returns the address in normalized form, or undefined with a problem in `checks`. */
export function checkAddress(
  checks: Checks,
  config: Settings,
  value: string | undefined,
  path: ProblemPath,
): string | undefined {
  const allowPrivate = value !== undefined && isAllowedReceiver(config, value);
  return checks.url(value, path, { allowPrivate });
}
