/**
 * Sends a POST to an address that a user chose. Connects only to public addresses, checked after the name is
 * resolved; does not follow redirects; limits the time and the size of the response.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { toStorableText, truncateText } from '../database/storable-text.ts';
import { isPublicAddress } from './addresses.ts';

export interface GuardedPostOptions {
  url: string;
  headers: Record<string, string>;
  body: string;
  /** Time limit for name resolution, connection, request and the start of the response. */
  timeoutMs: number;
  /** Maximum number of response bytes to read. */
  maxResponseBytes: number;
  /** Allows HTTP and any address. */
  allowPrivate: boolean;
  /** Aborts the request. */
  signal?: AbortSignal;
  /** Resolves a host name to its addresses. Default: DNS. */
  resolve?: (hostname: string) => Promise<string[]>;
}

export type PostResult =
  | { status: number; retryAfter: string | null; answer: string }
  /** No response, with a readable reason. */
  | { status: null; error: string };

/** Connections to the resolved address are not allowed. */
class RefusedAddressError extends Error {
  override name = 'RefusedAddressError';
}

/** Never throws. Every response is a result, including redirects and errors. */
export async function guardedPost(options: GuardedPostOptions): Promise<PostResult> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  try {
    return await post(options, signal);
  } catch (error) {
    if (timeout.aborted) {
      return { status: null, error: `No response within ${options.timeoutMs / 1000} seconds.` };
    }
    return { status: null, error: reasonOf(error) };
  }
}

async function post(options: GuardedPostOptions, signal: AbortSignal): Promise<PostResult> {
  const url = new URL(options.url);
  const { allowPrivate } = options;
  if (url.protocol !== 'https:' && !allowPrivate) {
    throw new RefusedAddressError('Only https:// addresses are allowed.');
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // Node connects to an IP address without a lookup.
  if (isIP(host) && !allowPrivate) checkAddresses([host]);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const request = send(url, {
    method: 'POST',
    agent: false,
    headers: {
      ...options.headers,
      'content-length': String(Buffer.byteLength(options.body)),
      connection: 'close',
    },
    lookup: guardedLookup(options, signal),
    maxHeaderSize: 16_384,
    signal,
  });
  request.end(options.body);
  const response = await awaitResponse(request);
  const answer = await readStart(response, options.maxResponseBytes, signal);
  request.destroy();
  return {
    status: response.statusCode ?? 0,
    retryAfter: response.headers['retry-after'] ?? null,
    answer,
  };
}

function awaitResponse(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    // Also emitted after the response, if the receiver closes while the request is being sent.
    request.on('error', reject);
    request.once('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new Error('The receiver switched to another protocol.'));
    });
  });
}

/** Reads the response up to the limit. If it is incomplete, returns what was received. */
async function readStart(
  response: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size >= maxBytes || signal.aborted) break;
    }
  } catch {
    // The status is known; that is enough.
  }
  const text = Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8');
  // PostgreSQL cannot store null characters. An incomplete character at the end is omitted.
  return text.replaceAll('\u0000', '').replace(/\uFFFD$/, '');
}

/** A lookup function for Node that fails if any of the addresses is not allowed. */
function guardedLookup(options: GuardedPostOptions, signal: AbortSignal): LookupFunction {
  const { allowPrivate } = options;
  const resolve =
    options.resolve ?? (allowPrivate ? resolveLocally : (name) => resolveByDns(name, signal));
  return (hostname, { all, family }, callback) => {
    resolve(hostname)
      .then((found) => {
        if (!allowPrivate) checkAddresses(found);
        const wanted = family === 4 || family === 6 ? family : null;
        const addresses = found
          .map((address) => ({ address, family: isIP(address) }))
          .filter((entry) => wanted === null || entry.family === wanted);
        const [first] = addresses;
        if (!first) throw new Error(`The name ${hostname} has no address.`);
        if (all) callback(null, addresses);
        else callback(null, first.address, first.family);
      })
      .catch((error: Error) => callback(error, '', 0));
  };
}

/**
 * Rejects all addresses if one is not public, because an attacker controls their order. Users see the message, which
 * must not tell them how names are resolved here.
 */
function checkAddresses(addresses: readonly string[]): void {
  if (addresses.every(isPublicAddress)) return;
  throw new RefusedAddressError('The address of the host is not on the public internet.');
}

/** Resolves by DNS without the thread pool, which a few unresolvable names would block. */
async function resolveByDns(hostname: string, signal: AbortSignal): Promise<string[]> {
  const resolver = new Resolver({ timeout: 3_000, tries: 2 });
  const cancel = (): void => resolver.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const found = await Promise.allSettled([
      resolver.resolve4(hostname),
      resolver.resolve6(hostname),
    ]);
    const addresses = found.flatMap((result) =>
      result.status === 'fulfilled' ? result.value : [],
    );
    const [failed] = found.flatMap((result) => (result.status === 'rejected' ? result : []));
    if (addresses.length === 0 && failed) throw failed.reason;
    return addresses;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** Resolves like the operating system, including `/etc/hosts`. */
async function resolveLocally(hostname: string): Promise<string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'The connection was refused.',
  ECONNRESET: 'The connection was closed before a response was received.',
  EPIPE: 'The connection was closed before a response was received.',
  ETIMEDOUT: 'The connection could not be established in time.',
  ENOTFOUND: 'The name of the host does not exist.',
  ENODATA: 'The name of the host has no address.',
  EHOSTUNREACH: 'The host cannot be reached.',
  ENETUNREACH: 'The network of the host cannot be reached.',
};

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  const reason = (code && REASONS[code]) ?? message ?? String(error);
  return truncateText(toStorableText(reason), 500);
}
