/** What limits by address count: the network of a client. */
import ipaddr from 'ipaddr.js';

/** The address or, for IPv6, its /64, because a subscriber has at least a /64 of addresses. */
export function networkOf(address: string | null): string {
  if (!address || !ipaddr.isValid(address)) return String(address);
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  return `${parsed.toByteArray().slice(0, 8).join('.')}/64`;
}
