/** Links that carry their own signed permission, so that a browser can follow them without an API key. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import { RequestError, userError } from '../errors.ts';
import { inSnapshot } from '../infra/database/snapshot.ts';
import { readToken, signToken } from '../infra/signed-token.ts';
import type { Viewer } from '../viewer.ts';
import { isKeyUsable } from './api-keys.ts';

export const LINK_MINUTES = 15;
const MAX_TOKEN_BYTES = 6_000;

/** The key that created the link. Every permission has at least its ID. */
export const linkOwner = z.object({ apiKeyId: z.uuid(), organizationId: z.uuid() });
type Owner = z.output<typeof linkOwner>;

export interface DownloadLink {
  /** Path and query, relative to the public URL of the server. */
  path: string;
  expiresAt: Date;
}

/** Response to a request that follows a link. */
export interface LinkResponse {
  status: number;
  body: string | AsyncIterable<string>;
  contentType?: string;
  headers?: Record<string, string>;
  concurrencyKey?: string;
  downloadKind?: 'EXPORT';
}

interface File {
  name: string;
  contentType: string;
  lines: (tx: Tx) => AsyncIterable<string>;
}

/** What a link may be used for. A link with another purpose is refused. */
interface LinkKind {
  path: string;
  purpose: string;
}

/** Creates a link that is valid for `LINK_MINUTES`, but no longer than the key or token that created it. */
export function signLink(
  app: App,
  viewer: Viewer,
  { path, purpose }: LinkKind,
  permission: object,
): DownloadLink {
  const longest = new Date(app.now().getTime() + LINK_MINUTES * 60_000);
  const expiresAt = viewer.expiresAt && viewer.expiresAt < longest ? viewer.expiresAt : longest;
  const { apiKeyId, organizationId } = viewer;
  const payload = { ...permission, apiKeyId, organizationId };
  const token = signToken(app.cipher.derive(purpose), payload, expiresAt);
  if (token.length > MAX_TOKEN_BYTES) {
    throw userError('INVALID_INPUT', 'The filter is too long for a link.', ['filter']);
  }
  return { path: `${path}?token=${token}`, expiresAt };
}

/** Returns what a link permits; null if it is invalid or has expired, or its key is no longer usable. */
export async function readLink<Permission extends Pick<Owner, 'apiKeyId'>>(
  app: App,
  query: URLSearchParams,
  { purpose, permission }: { purpose: string; permission: z.ZodType<Permission> },
): Promise<Permission | null> {
  const payload = readToken(app.cipher.derive(purpose), query.get('token') ?? '', app.now());
  const { data } = permission.safeParse(payload);
  return data && (await isKeyUsable(app, data.apiKeyId)) ? data : null;
}

export const LINK_REFUSED = {
  status: 403,
  body: `The link is invalid or has expired. Links expire after ${LINK_MINUTES} minutes, or with the API key that created them. Create a new one.`,
} satisfies LinkResponse;

/** Streams the lines of a file from one snapshot. The stream is aborted when the link's key is no longer usable. */
export function fileResponse(
  app: App,
  { apiKeyId, organizationId }: Owner,
  { name, contentType, lines }: File,
): LinkResponse {
  return {
    status: 200,
    body: inSnapshot(app.snapshots.db, (tx) => whileKeyIsUsable(app, apiKeyId, lines(tx))),
    contentType,
    headers: { 'content-disposition': `attachment; filename="${name}"`, ...PRIVATE_HEADERS },
    concurrencyKey: organizationId,
    downloadKind: 'EXPORT',
  };
}

/** Checks the key before each page, outside of the snapshot, which would not show a revocation. */
async function* whileKeyIsUsable(
  app: App,
  apiKeyId: string,
  pages: AsyncIterable<string>,
): AsyncGenerator<string> {
  for await (const page of pages) {
    if (!(await isKeyUsable(app, apiKeyId)))
      throw new RequestError('UNAUTHENTICATED', 'The API key has expired or was revoked.');
    yield page;
  }
}

/** Headers of a file that neither caches nor other sites can see. */
export const PRIVATE_HEADERS = {
  'cache-control': 'private, no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};
