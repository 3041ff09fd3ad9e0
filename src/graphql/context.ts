/** The context of resolvers. Layers above the kit extend it by declaration merging. */
import type { App } from '../app.ts';
import type { Viewer } from '../viewer.ts';

export interface Context {
  /** For reads. Cancels a statement that takes longer than READ_TIMEOUT_SECONDS. */
  readonly app: App;
  /** For mutations. Their statements have no time limit. */
  readonly writer: App;
  /** The caller. Null without a credential, which allows only introspection. */
  readonly viewer: Viewer | null;
  readonly requestId: string;
  /** Base URL of this server as clients reach it, without a trailing slash. */
  readonly publicUrl: string;
  /** Identity of one execution, for loaders. Each event of a subscription gets a new one. */
  readonly execution: object;
}

/** The context of a field that requires a scope. */
export type ViewerContext = Context & { readonly viewer: Viewer };

/** The same context with empty loaders. */
export function freshExecution<C extends Context>(context: C): C {
  return { ...context, execution: {} };
}
