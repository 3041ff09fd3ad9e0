/** Lets a few groups of an organization execute events at a time, so that other organizations are served in between. */
import type { App } from '../../app.ts';
import { createKeyedLimiter } from '../../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Viewer } from '../../viewer.ts';
import { LIMITS } from '../limits/limits.ts';

const limitersOf = perInstance((_app: App) => {
  const { max } = LIMITS.executingSubscriptions;
  return {
    ofOrganization: createKeyedLimiter(max),
    ofKey: createKeyedLimiter(max / 2),
  };
});

/**
 * The turn of one batch of events. It is held while any execution of the batch runs, so not during the pause before
 * executions are repeated.
 */
export class ExecutionTurn {
  readonly #app: App;
  readonly #viewer: Viewer | null;
  #running = 0;
  #begun: Promise<void> | null = null;
  #end: () => void = () => undefined;

  constructor(app: App, viewer: Viewer | null) {
    this.#app = app;
    this.#viewer = viewer;
  }

  /** Runs an execution during the turn, which begins with the first one. */
  async run<Result>(execute: () => Promise<Result>): Promise<Result> {
    this.#running += 1;
    this.#begun ??= this.#begin();
    try {
      await this.#begun;
      return await execute();
    } finally {
      this.#running -= 1;
      if (this.#running === 0) {
        this.#begun = null;
        this.#end();
      }
    }
  }

  #begin(): Promise<void> {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#end = end;
    const { ofOrganization, ofKey } = limitersOf(this.#app);
    const { apiKeyId = '', organizationId = '' } = this.#viewer ?? {};
    const hold = (): Promise<void> => {
      begin();
      return ended;
    };
    void ofKey.run(apiKeyId, () => ofOrganization.run(organizationId, hold));
    return begun;
  }
}
