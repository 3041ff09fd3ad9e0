/** Payload fields of mutations that create a download link. */
import type { PayloadBuilder } from './mutation.ts';

export interface DownloadLink {
  /** Path with the signature, relative to the public address. */
  path: string;
  expiresAt: Date;
}

export function downloadLinkFields<Shape extends DownloadLink>(
  t: PayloadBuilder<Shape>,
  minutes: number,
) {
  return {
    url: t.field({
      type: 'Url',
      nullable: true,
      description: `Download link. Requires no API key and expires after ${minutes} minutes, or with the API key that created it.`,
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
