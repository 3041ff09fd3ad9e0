/** Extends the context of resolvers with the live event feed, which the server supplies. */
import type { EventFeed } from '../feed.ts';

declare module '../../graphql/context.ts' {
  interface Context {
    readonly feed: EventFeed;
    /**
     * Last cursor of the event log before the operation read anything. Set when the operation
     * selects `eventCursor`.
     */
    readonly snapshotCursor?: bigint;
  }
}
