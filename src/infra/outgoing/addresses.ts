/** Classifies addresses as public or not, and parses address ranges. */
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Metadata and DNS of virtual machines at Azure. */
const AZURE_PLATFORM = '168.63.129.16';

/** False for loopback, private, link-local, reserved and every other address that is not public. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return parsed.toString() !== AZURE_PLATFORM;
  // 2000::/3 is all of IPv6 that is assigned to hosts on the internet. Outside of it, `::127.0.0.1`.
  return (parsed.parts[0] ?? 0) >> 13 === 1;
}

/**
 * Whether the host of a URL can be public, judged by its text: an IP address must be public, and a name
 * must not be a local one. Whoever connects must check the addresses that a name resolves to.
 */
export function mayBePublicHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (ipaddr.isValid(host)) return isPublicAddress(host);
  if (!host.includes('.')) return false;
  return !/(^|\.)(localhost|local|internal|lan|home\.arpa|test|invalid|example)$/i.test(host);
}

/** Whether a URL is one of these or below the path of one; a slash at the end of them makes no difference. */
export function isAtOrBelow(urls: readonly string[], url: string): boolean {
  const { origin, pathname } = URL.parse(url) ?? {};
  if (origin === undefined || pathname === undefined) return false;
  return urls.some((entry) => {
    const allowed = new URL(entry);
    const path = allowed.pathname.replace(/\/$/, '');
    return origin === allowed.origin && (pathname === path || pathname.startsWith(`${path}/`));
  });
}

/**
 * One IP address or CIDR range as a range in canonical form, such as `203.0.113.0/24`; null for any other
 * text. Forms that other software reads as another address are not accepted: numbers with leading zeros
 * (octal), fewer than four numbers, zone indices, IPv4 addresses inside IPv6 ones.
 */
export function parseAddressRange(text: string): string | null {
  const [, address = '', bits] = /^([^/%]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const version = isIPv4(address) ? ipaddr.IPv4 : isIPv6(address) ? ipaddr.IPv6 : null;
  if (!version || (version === ipaddr.IPv6 && address.includes('.'))) return null;
  const max = version === ipaddr.IPv4 ? 32 : 128;
  const length = bits === undefined ? max : Number(bits);
  if (length > max) return null;
  const network = version.networkAddressFromCIDR(`${address}/${length}`);
  if (network.kind() === 'ipv6' && (network as ipaddr.IPv6).isIPv4MappedAddress()) return null;
  return `${network.toString()}/${length}`;
}

/**
 * Whether all software reads the host as the same one: a host name, or an IPv4 address of four numbers
 * without leading zeros. `10.1`, `0x7f.0.0.1` and `010.1.2.3` are addresses to some.
 */
export function isUnambiguousHost(host: string): boolean {
  return isIPv4(host) || !/(^|\.)(\d+|0x[\da-f]*)\.?$/i.test(host);
}
