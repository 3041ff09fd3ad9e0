/** Runs subscriptions on all transports, and ends a stream when its credential expires or is revoked. */
import { setImmediate as turn } from 'node:timers/promises';
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  validateSubscriptionArgs,
} from 'graphql';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import type { Event } from '../../generated/prisma/client.ts';
import { toGraphQLError } from '../../graphql/errors/errors.ts';
import type { EventStream, LiveSink } from '../../live/log-stream.ts';
import { stopWatchingKey, watchKey } from '../../organizations/key-revocations.ts';
import type { RequestContext } from '../authentication.ts';
import { translateErrors } from '../execution/results.ts';
import { startExpiryTimer } from '../expiry-timer.ts';
import { createEventExecution } from './event-execution.ts';
import {
  type GroupMember,
  joinSubscriberGroup,
  type LiveReceiver,
  MAX_BATCH_EVENTS,
  type SharedMessages,
  type SubscriberGroup,
} from './live-delivery.ts';
import { resultKey } from './result-key.ts';

/** Results of a subscription. Call `next` only after the previous call has resolved. */
export type Results = AsyncIterableIterator<ExecutionResult, undefined, undefined>;

/**
 * Starts an admitted subscription. `release` is called once, when its stream ends for any reason or
 * fails to start.
 */
export async function runSubscription(
  app: App,
  args: ExecutionArgs,
  release: () => void,
): Promise<Results | ExecutionResult> {
  const context = args.contextValue as RequestContext;
  try {
    const validated = validateSubscriptionArgs(args);
    if (!('schema' in validated)) {
      release();
      return translateErrors(app, context, { errors: validated });
    }
    const source = await createSourceEventStream(validated);
    if (!(Symbol.asyncIterator in source)) {
      release();
      return translateErrors(app, context, source);
    }
    const events = source[Symbol.asyncIterator]() as Events;
    try {
      const group = joinSubscriberGroup(app, resultKey(validated, context.viewer), () =>
        createEventExecution(app, args, validated),
      );
      return new Subscription({ app, context, events, group, release });
    } catch (error) {
      await events.return?.();
      throw error;
    }
  } catch (error) {
    release();
    return { errors: [toGraphQLError(error, context.requestId, app.log)] };
  }
}

const interrupted = new WeakSet<object>();

/** Whether a result is the last one of a stream that ended because of a server failure. */
export function wasInterrupted(result: object): boolean {
  return interrupted.has(result);
}

type Events = AsyncIterator<unknown, undefined, undefined> & Partial<EventStream>;
type Next = IteratorResult<ExecutionResult, undefined>;

const DONE: Next = { done: true, value: undefined };

/** Whether the results of a subscription are about events of the log, which have cursors. */
export function hasCursors(results: object): boolean {
  return results instanceof Subscription && results.hasCursors;
}

interface SubscriptionOptions {
  app: App;
  context: RequestContext;
  events: Events;
  group: SubscriberGroup;
  release: () => void;
}

/**
 * The results of a subscription until its key or token expires, or until this process learns that the key was
 * revoked. That message may be lost, so the key is also checked in the database before a result is sent,
 * at most every 15 seconds. A failure becomes the last result, since a thrown error
 * would close the socket with all its other operations.
 *
 * Thousands of subscriptions wait for events at the same time, so each holds little more than what distinguishes it
 * from the others of its group.
 */
class Subscription implements Results {
  readonly group: SubscriberGroup;
  readonly #app: App;
  readonly #requestId: string;
  readonly #apiKeyId: string | undefined;
  readonly #expiresAt: Date | undefined;
  readonly #receive: LiveReceiver | undefined;
  readonly #events: Events;
  readonly #release: () => void;
  #expiry: NodeJS.Timeout | undefined;
  #hasEnded = false;
  /** Resolves the pending `next`. */
  #resolve: ((next: Next) => void) | null = null;
  /** Result to send before the end. */
  #last: ExecutionResult | null = null;

  constructor({ app, context, events, group, release }: SubscriptionOptions) {
    const { requestId, viewer, receive } = context;
    this.group = group;
    this.#app = app;
    this.#requestId = requestId;
    this.#apiKeyId = viewer?.apiKeyId;
    this.#expiresAt = viewer?.expiresAt;
    this.#receive = receive;
    this.#events = events;
    this.#release = release;
    if (!viewer) return;
    watchKey(app, viewer.apiKeyId, this);
    if (receive) events.deliverTo?.(this);
    this.#expiry = startExpiryTimer(app, viewer, () => this.onCredentialEnded());
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get hasCursors(): boolean {
    return this.#events.deliverTo !== undefined;
  }

  next(): Promise<Next> {
    const value = this.#last;
    this.#last = null;
    if (value) return Promise.resolve({ done: false, value });
    if (this.#hasEnded) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.#resolve = resolve;
      void this.#proceed();
    });
  }

  async return(): Promise<Next> {
    this.#end();
    return DONE;
  }

  async throw(error: unknown): Promise<Next> {
    this.#end();
    throw error;
  }

  /** Ends the subscription because its credential has expired or was revoked. */
  onCredentialEnded(): void {
    const message = 'The API key or access token has expired or was revoked.';
    this.#end(this.#failure(new RequestError('UNAUTHENTICATED', message)));
  }

  /** Live events go directly to the transport, not through the iterator. */
  openSink(): LiveSink {
    return new LiveMember(this);
  }

  /** False if none of the messages was sent, because the client reads too slowly. */
  receive(messages: SharedMessages): boolean {
    if (!this.#hasExpired()) return this.#receive?.(messages) ?? false;
    this.onCredentialEnded();
    return true;
  }

  fallBehind(cursor: bigint): void {
    this.#events.fallBehind?.(cursor);
  }

  /** Produces the result for the pending `next`. Never throws. */
  async #proceed(): Promise<void> {
    try {
      const { done, value: event } = await this.#nextEvent();
      if (done) this.#end();
      if (this.#hasEnded) return;
      const value = await this.group.execute(event as Event);
      const isAllowed = !this.#hasExpired() && (await this.group.isAllowed());
      if (this.#hasEnded) return;
      if (isAllowed) this.#settle({ done: false, value });
      else this.onCredentialEnded();
    } catch (error) {
      if (this.#hasEnded) return;
      const last = this.#failure(error);
      if (!(error instanceof RequestError)) interrupted.add(last);
      this.#end(last);
    }
  }

  /** The next event that has to go through the iterator, or the end. */
  async #nextEvent(): Promise<IteratorResult<unknown, undefined>> {
    for (;;) {
      const next = await this.#events.next();
      if (next.done || this.#hasEnded) return next;
      if (!(await this.#sendMissed(next.value as Event))) return next;
    }
  }

  /**
   * Sends missed events directly to the transport, in one write like live ones. All earlier events have been sent.
   * False if `first` was not sent and must go through `next`: no further events follow it in its block, or the client
   * reads too slowly, and `next` waits for it.
   */
  async #sendMissed(first: Event): Promise<boolean> {
    if (!this.#receive || !this.#events.takeMissed) return false;
    // Fixed blocks of cursors, so that subscribers share them wherever each one started.
    const block = first.cursor / BigInt(MAX_BATCH_EVENTS);
    const more = this.#events.takeMissed(
      ({ cursor }) => cursor / BigInt(MAX_BATCH_EVENTS) === block,
    );
    if (more.length === 0) return false;
    const messages = await this.group.messagesForMissed([first, ...more]);
    const isAllowed = !this.#hasExpired() && (await this.group.isAllowed());
    if (this.#hasEnded) return false;
    if (!isAllowed) this.onCredentialEnded();
    else if (!this.#receive(messages)) {
      this.#events.putBack?.(more);
      return false;
    }
    // Thousands of subscribers may be sent messages that are already executed; this lets other work run in between.
    await turn();
    return true;
  }

  #settle(next: Next): void {
    this.#resolve?.(next);
    this.#resolve = null;
  }

  #end(last: ExecutionResult | null = null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#expiry);
    if (this.#apiKeyId) stopWatchingKey(this.#app, this.#apiKeyId, this);
    this.#release();
    this.group.leave();
    void Promise.resolve(this.#events.return?.()).catch(
      this.#app.failures.recorder('endSubscription'),
    );
    if (this.#resolve) this.#settle(last ? { done: false, value: last } : DONE);
    else this.#last = last;
  }

  #hasExpired(): boolean {
    return this.#expiresAt !== undefined && this.#expiresAt <= this.#app.now();
  }

  #failure(error: unknown): ExecutionResult {
    return { errors: [toGraphQLError(error, this.#requestId, this.#app.log)] };
  }
}

/** A subscription during one live period. Events executed for an earlier period do not affect it. */
class LiveMember implements LiveSink, GroupMember {
  readonly #subscription: Subscription;
  #isOpen = true;

  constructor(subscription: Subscription) {
    this.#subscription = subscription;
  }

  take(event: Event): void {
    this.#subscription.group.offer(event, this);
  }

  end(): void {
    this.#isOpen = false;
  }

  receive(messages: SharedMessages): void {
    if (this.#isOpen && !this.#subscription.receive(messages)) {
      this.fallBehind(messages.firstCursor);
    }
  }

  onCredentialEnded(): void {
    if (this.#isOpen) this.#subscription.onCredentialEnded();
  }

  fallBehind(cursor: bigint): void {
    if (this.#isOpen) this.#subscription.fallBehind(cursor);
  }
}
