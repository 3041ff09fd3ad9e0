/** Classifies addresses as public or not, and parses address ranges. */
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Address of the metadata and DNS services of Azure virtual machines. */
const AZURE_PLATFORM = '168.63.129.16';

/** False for loopback, private, link-local, reserved and all other addresses that are not public. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return parsed.toString() !== AZURE_PLATFORM;
  // Internet hosts have only IPv6 addresses in 2000::/3. Outside of it is, for example, `::127.0.0.1`.
  return (parsed.parts[0] ?? 0) >> 13 === 1;
}

/**
 * Whether the host of a URL can be public, judged by its text: an IP address must be public, and a name
 * must not be local. Before connecting, the caller must also check the addresses that a name resolves to.
 */
export function mayBePublicHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (ipaddr.isValid(host)) return isPublicAddress(host);
  if (!host.includes('.')) return false;
  return !/(^|\.)(localhost|local|internal|lan|home\.arpa|test|invalid|example)$/i.test(host);
}

/** Whether a URL is one of these or below the path of one. Trailing slashes of `urls` are ignored. */
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
 * Converts an IP address or CIDR range to a canonical range, such as `203.0.113.0/24`. Null for any other
 * text. Does not accept forms that other software reads as another address: numbers with leading zeros
 * (octal), fewer than four numbers, zone indices, IPv4 addresses inside IPv6 addresses.
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
 * Whether all software interprets the host in the same way: a host name, or an IPv4 address of four numbers
 * without leading zeros. Some software reads `10.1`, `0x7f.0.0.1` and `010.1.2.3` as addresses.
 */
export function isUnambiguousHost(host: string): boolean {
  return isIPv4(host) || !/(^|\.)(\d+|0x[\da-f]*)\.?$/i.test(host);
}
