/** Creates the context of operations from the credential of a request or socket. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type App, forReading } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Context } from '../graphql/context.ts';
import { toGraphQLError } from '../graphql/errors/errors.ts';
import type { EventFeed } from '../live/feed.ts';
import { authenticate } from '../organizations/authentication.ts';
import type { Viewer } from '../viewer.ts';
import type { UploadFiles } from './http/upload-files.ts';
import type { ConcurrencyLimits } from './limits/concurrency-limits.ts';
import { LIMITS } from './limits/limits.ts';
import type { RateLimits } from './limits/rate-limits.ts';
import type { LiveReceiver } from './subscriptions/live-delivery.ts';

/** Services shared by all requests of a process. */
export interface Services {
  app: App;
  feed: EventFeed;
  rateLimits: RateLimits;
  concurrency: ConcurrencyLimits;
  /** Base URL of this server as clients reach it, without a trailing slash. */
  publicUrl: () => string;
}

/** Credential and address of a client. */
export interface Caller {
  authorization: string | null;
  address: string | null;
}

export interface RequestContext extends Context {
  /** Address of the client. */
  readonly address: string | null;
  /** From the header `X-Idempotency-Key` or `Idempotency-Key`, or from `extensions.idempotencyKey`. */
  readonly idempotencyKey: string | null;
  /** Whether nobody waits for the result anymore. */
  readonly isDisconnected?: () => boolean;
  /** Files of a multipart request. They stay open while the operation runs. */
  readonly files?: UploadFiles;
  /** Receives live events of a subscription instead of its stream, if the transport supports this. */
  readonly receive?: LiveReceiver;
}

/**
 * The context without an idempotency key.
 *
 * @throws GraphQLError UNAUTHENTICATED or FORBIDDEN for a credential that is not accepted,
 *   RATE_LIMITED when the address sent too many requests without an accepted credential.
 */
export async function createContext(
  services: Services,
  caller: Caller,
  requestId: string,
): Promise<RequestContext> {
  const { app, feed, publicUrl } = services;
  try {
    const viewer = await identify(services, caller);
    return {
      ...{ app: forReading(app), writer: app, feed, viewer, requestId, execution: {} },
      address: caller.address,
      publicUrl: publicUrl(),
      idempotencyKey: null,
    };
  } catch (error) {
    throw toGraphQLError(error, requestId, app.log);
  }
}

async function identify({ app, rateLimits }: Services, caller: Caller): Promise<Viewer | null> {
  const credential = caller.authorization?.replace(/^Bearer\s+/i, '').trim();
  if (!credential) {
    await rateLimits.chargeUnauthenticated(caller.address);
    return null;
  }
  try {
    return await authenticate(app, credential, caller.address);
  } catch (error) {
    if (error instanceof RequestError) await rateLimits.chargeUnauthenticated(caller.address);
    throw error;
  }
}

/** Address of the client: the peer of the connection or, with TRUST_PROXY, the address that the proxy reports. */
export function clientAddress(app: App, request: IncomingMessage): string | null {
  const forwarded = app.config.TRUST_PROXY ? request.headers['x-forwarded-for'] : undefined;
  const lastHop = String(forwarded ?? '')
    .split(',')
    .at(-1)
    ?.trim();
  return lastHop || request.socket.remoteAddress || null;
}

/**
 * The idempotency key of an operation. Null when none is given.
 *
 * @throws RequestError BAD_USER_INPUT for an invalid key, since ignoring it could run the mutation twice
 */
export function readIdempotencyKey(
  headers: IncomingHttpHeaders,
  extensions: Record<string, unknown> | null | undefined,
): string | null {
  // Without the prefix, as other APIs and a draft of the IETF name it: ignoring that one could run a mutation twice.
  const keys: unknown[] = [headers['x-idempotency-key'], headers['idempotency-key']].filter(
    (header) => header !== undefined,
  );
  if (extensions && Object.hasOwn(extensions, 'idempotencyKey'))
    keys.push(extensions.idempotencyKey);
  const [key, ...others] = keys;
  if (key === undefined) return null;
  const isValid =
    typeof key === 'string' &&
    /^[\x21-\x7e]+$/.test(key) &&
    key.length <= LIMITS.idempotencyKeyCharacters.max;
  if (!isValid || others.some((other) => other !== key)) {
    throw new RequestError(
      'BAD_USER_INPUT',
      'An idempotency key must be a string of 1 to 200 visible ASCII characters, such as a UUID, and must be given once.',
    );
  }
  return key;
}
