/** What a resolver gets: the app, who is calling, and loaders for this one execution. */
import type { App } from '../app.ts';
import type { EventFeed } from '../live/feed.ts';
import type { Viewer } from '../organizations/viewer.ts';

export interface Context {
  readonly app: App;
  /** Null when no key was given; only introspection works then. */
  readonly viewer: Viewer | null;
  readonly feed: EventFeed;
  readonly requestId: string;
  /** Where clients reach this server, without a slash at the end: for links in answers. */
  readonly publicUrl: string;
  /** Where the event log stood before the operation read anything; set when it asks for it. */
  readonly snapshotCursor?: bigint;
  /** Shared by what belongs to one execution, made anew for each event of a subscription. */
  readonly execution: object;
}

/** A context for a field that the scopes have let through. */
export type ViewerContext = Context & { readonly viewer: Viewer };

/** The same request, with nothing remembered of earlier reads. */
export function freshExecution<C extends Context>(context: C): C {
  return { ...context, execution: {} };
}
