/** Payload fields of mutations that create a download link. */
import type { PayloadBuilder } from '../../graphql/mutation.ts';
import { type DownloadLink, LINK_MINUTES } from '../download-links.ts';

export function downloadLinkFields<Shape extends DownloadLink>(t: PayloadBuilder<Shape>) {
  return {
    url: t.field({
      type: 'Url',
      nullable: true,
      description: `Download link. Requires no API key and expires after ${LINK_MINUTES} minutes, or with the API key that created it. A request that is repeated with its idempotency key returns a new one.`,
      resolve: ({ path }, _args, { publicUrl }) => (path ? `${publicUrl}${path}` : null),
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the link expires.',
      resolve: ({ expiresAt }) => expiresAt ?? null,
    }),
  };
}
