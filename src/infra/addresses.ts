/** Which addresses lie on the public internet. */
import ipaddr from 'ipaddr.js';

/** False for loopback, private, link-local, reserved and every other address that is not public. */
export function isPublicAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'unicast';
}

/**
 * Whether the host of a URL can be a public one, as far as its text tells: a literal address must
 * be public, and a name must not be one that only means something here. What a name resolves to is
 * for whoever connects to check.
 */
export function mayBePublicHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (ipaddr.isValid(host)) return isPublicAddress(host);
  if (!host.includes('.')) return false;
  return !/(^|\.)(localhost|local|internal|lan|home\.arpa|test|invalid|example)$/i.test(host);
}
