/**
 * Delivers live events without the iterators of GraphQL: subscribers that would get the same result
 * form a group, for which an event is executed and serialized once.
 */
import type { Writable } from 'node:stream';
import type { ExecutionResult } from 'graphql';
import type { App } from '../../app.ts';
import type { Event } from '../../generated/prisma/client.ts';
import { withoutHttp } from '../../graphql/errors/errors.ts';
import type { Failures } from '../../infra/failures.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { TextFrames } from '../sockets/text-frames.ts';

/** The result of one event, in the form that all transports send. */
export interface SharedMessage {
  /** The result as JSON. */
  readonly payload: string;
  readonly cursor: bigint;
}

/** Results of consecutive events for the same subscribers. Each subscriber gets them in one write. */
export class SharedMessages {
  readonly messages: readonly SharedMessage[];
  #blocks: Buffer | undefined;
  #chunk: Buffer | undefined;
  #frames: TextFrames | undefined;

  constructor(messages: readonly SharedMessage[]) {
    this.messages = messages;
  }

  get firstCursor(): bigint {
    return this.messages[0]?.cursor ?? 0n;
  }

  get lastCursor(): bigint {
    return this.messages.at(-1)?.cursor ?? 0n;
  }

  /** The messages as server-sent events, encoded once for all streams. */
  get blocks(): Buffer {
    this.#blocks ??= Buffer.from(
      this.messages
        .map(({ payload, cursor }) => `event: next\ndata: ${payload}\nid: ${cursor}\n\n`)
        .join(''),
    );
    return this.#blocks;
  }

  /** `blocks` as one chunk of a chunked body, https://www.rfc-editor.org/rfc/rfc9112#section-7.1 */
  get chunk(): Buffer {
    this.#chunk ??= Buffer.concat([
      Buffer.from(`${this.blocks.length.toString(16)}\r\n`),
      this.blocks,
      Buffer.from('\r\n'),
    ]);
    return this.#chunk;
  }

  /** Writes a subscription's `next` messages as WebSocket frames, whose payloads are encoded once for all sockets. */
  writeFrames(connection: Writable, subscriptionId: string): void {
    this.#frames ??= new TextFrames(this.messages.map(({ payload }) => Buffer.from(`${payload}}`)));
    const start = `{"id":${JSON.stringify(subscriptionId)},"type":"next","payload":`;
    this.#frames.writeTo(connection, start);
  }
}

/** A subscriber with more buffered bytes than this reads the event log at its own pace. */
export const MAX_BUFFERED_LIVE_BYTES = 1024 * 1024;
/** Maximum number of events in one write, and how long an event waits for the execution of the following ones. */
export const MAX_BATCH_EVENTS = 50;
const MAX_BATCH_WAIT_MS = 10;
/** Maximum number of a group's events that wait for execution: if the database is unavailable or they come too fast. */
const MAX_WAITING_EVENTS = 10_000;

/** Sends results of live events. False, with nothing sent, if too many bytes are already waiting. */
export type LiveReceiver = (messages: SharedMessages) => boolean;

export interface GroupMember {
  /** Called with the result of every event that was offered to the member, in order. */
  readonly receive: (messages: SharedMessages) => void;
  /** Ends the subscription, because its credential has ended. */
  readonly onCredentialEnded: () => void;
  /** Called for an event that could not be delivered. The member then reads that and later events by itself. */
  readonly fallBehind: (cursor: bigint) => void;
}

type MaybePromise<T> = T | Promise<T>;

/** How the events of a group are executed. */
export interface GroupOptions {
  /**
   * Starts the execution of events together, so that they share statements, once few other groups of the organization
   * execute theirs. Resolves when it has started.
   */
  execute: (events: readonly Event[]) => MaybePromise<readonly MaybePromise<ExecutionResult>[]>;
  /** Whether the API key that all members share is still accepted. */
  isAllowed: () => MaybePromise<boolean>;
}

interface Delivery {
  readonly event: Event;
  members: GroupMember[];
}

/** An executed message and the members that it is for. */
interface ReadyMessage {
  readonly message: SharedMessage;
  readonly members: readonly GroupMember[];
}

/** Consecutive events that members with the same filter have missed. */
interface MissedBatch {
  readonly events: readonly Event[];
  readonly messages: Promise<SharedMessages>;
}

/** Maximum number of runs of missed events that are kept for the same first event. */
const MAX_MISSED_BATCHES = 8;

/** Subscriptions that get equal results for the same event. */
export class SubscriberGroup {
  readonly #failures: Failures;
  readonly #options: GroupOptions;
  readonly #onEmpty: () => void;
  #size = 0;
  #waiting: Delivery[] = [];
  /** Deliveries that are being executed and have not been sent yet. */
  #inProgress: readonly Delivery[] = [];
  #isDelivering = false;
  /** Messages for missed events, by the first event. Members with different filters miss different events. */
  readonly #missed = new WeakMap<Event, MissedBatch[]>();

  constructor(failures: Failures, options: GroupOptions, onEmpty: () => void) {
    this.#failures = failures;
    this.#options = options;
    this.#onEmpty = onEmpty;
  }

  join(): void {
    this.#size += 1;
  }

  /** To be called once for each `joinSubscriberGroup`. */
  leave(): void {
    this.#size -= 1;
    if (this.#size === 0) this.#onEmpty();
  }

  isAllowed(): MaybePromise<boolean> {
    return this.#options.isAllowed();
  }

  /** Executes an event that a subscriber reads by itself. */
  async execute(event: unknown): Promise<ExecutionResult> {
    const [result] = await this.#options.execute([event as Event]);
    return result as MaybePromise<ExecutionResult>;
  }

  /**
   * Executes consecutive events that a subscriber missed, once for all subscribers that missed the same events.
   * `LogStream` has read them.
   */
  messagesForMissed(events: readonly [Event, ...Event[]]): Promise<SharedMessages> {
    const [first] = events;
    const known = this.#missed.get(first) ?? [];
    const found = known.find((missed) => haveSameItems(missed.events, events));
    if (found) return found.messages;
    const messages = this.#executeMissed(events);
    this.#missed.set(first, [...known, { events, messages }].slice(-MAX_MISSED_BATCHES));
    messages.catch(() => this.#missed.delete(first));
    return messages;
  }

  async #executeMissed(events: readonly [Event, ...Event[]]): Promise<SharedMessages> {
    const messages: SharedMessage[] = [];
    const executed = await this.#options.execute(events);
    for (const [index, event] of events.entries()) {
      const result = (await executed[index]) as ExecutionResult;
      messages.push({ payload: toPayload(result), cursor: event.cursor });
      // The next subscriber executes the events again.
      if (result.errors) this.#missed.delete(events[0]);
    }
    return new SharedMessages(messages);
  }

  /** Queues an event for a member. The feed offers events synchronously: each to all members, before the next event. */
  offer(event: Event, member: GroupMember): void {
    const last = this.#waiting.at(-1);
    if (last?.event === event) last.members.push(member);
    else {
      reuseMembers(last, this.#waiting.at(-2));
      if (this.#waiting.length >= MAX_WAITING_EVENTS) this.#dropWaiting();
      this.#waiting.push({ event, members: [member] });
    }
    if (!this.#isDelivering) void this.#deliverAll();
  }

  /** Drops undelivered events. Their members read them from the log when they can. */
  #dropWaiting(): void {
    const dropped = [...this.#inProgress, ...this.#waiting];
    this.#inProgress = [];
    this.#waiting = [];
    // A member falls behind at its first dropped event; it ignores the calls for later ones.
    for (const { event, members } of dropped) {
      for (const member of members) member.fallBehind(event.cursor);
    }
  }

  /** Delivers one batch after another, so that each member gets events in order. Never throws. */
  async #deliverAll(): Promise<void> {
    this.#isDelivering = true;
    // Waits until all events have been offered.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      await this.#deliver(this.#waiting.splice(0, MAX_BATCH_EVENTS));
    }
    this.#isDelivering = false;
  }

  async #deliver(deliveries: readonly Delivery[]): Promise<void> {
    this.#inProgress = deliveries;
    const started = this.#options.execute(deliveries.map(({ event }) => event));
    const executed = started instanceof Promise ? await started : started;
    let ready: ReadyMessage[] = [];
    let since = performance.now();
    /** @param count number of deliveries, from the first one, that are then complete. */
    const send = (count: number): void => {
      this.#inProgress = deliveries.slice(count);
      for (const { messages, members } of groupByMembers(ready)) this.#send(messages, members);
      ready = [];
      since = performance.now();
    };
    for (const [index, { event, members }] of deliveries.entries()) {
      try {
        const result = executed[index] as MaybePromise<ExecutionResult>;
        const payload = toPayload(result instanceof Promise ? await result : result);
        const allowed = this.#options.isAllowed();
        if (!(allowed instanceof Promise ? await allowed : allowed)) {
          for (const member of members) member.onCredentialEnded();
          continue;
        }
        ready.push({ message: { payload, cursor: event.cursor }, members });
        if (performance.now() - since > MAX_BATCH_WAIT_MS) send(index + 1);
      } catch (error) {
        send(index + 1);
        this.#handleFailure(error, event.cursor, members);
      }
    }
    send(deliveries.length);
  }

  #send(messages: SharedMessages, members: readonly GroupMember[]): void {
    for (const member of members) {
      try {
        member.receive(messages);
      } catch (error) {
        this.#handleFailure(error, messages.firstCursor, [member]);
      }
    }
  }

  #handleFailure(error: unknown, cursor: bigint, members: readonly GroupMember[]): void {
    this.#failures.record('liveDelivery', error, {
      message: 'Could not deliver an event; its subscribers read it from the log',
      cursor: String(cursor),
      subscribers: members.length,
    });
    for (const member of members) member.fallBehind(cursor);
  }
}

/** Keeps one list of members for consecutive events, since thousands may wait for the same thousands of members. */
function reuseMembers(complete: Delivery | undefined, before: Delivery | undefined): void {
  if (complete && before && haveSameItems(complete.members, before.members)) {
    complete.members = before.members;
  }
}

function haveSameItems<Each>(some: readonly Each[], others: readonly Each[]): boolean {
  return (
    some === others ||
    (some.length === others.length && some.every((each, index) => each === others[index]))
  );
}

/** Groups consecutive messages for the same members. */
function groupByMembers(
  ready: readonly ReadyMessage[],
): { messages: SharedMessages; members: readonly GroupMember[] }[] {
  const runs: { messages: SharedMessage[]; members: readonly GroupMember[] }[] = [];
  for (const { message, members } of ready) {
    const last = runs.at(-1);
    if (last && haveSameItems(last.members, members)) last.messages.push(message);
    else runs.push({ messages: [message], members });
  }
  return runs.map(({ messages, members }) => ({
    messages: new SharedMessages(messages),
    members,
  }));
}

const groupsOf = perInstance<App, Map<string, SubscriberGroup>>(() => new Map());

/**
 * Joins the group of subscribers with the same key, until `leave`.
 *
 * @param key result key: subscribers with equal keys get equal results.
 * @param createOptions creates the options of a new group.
 */
export function joinSubscriberGroup(
  app: App,
  key: string,
  createOptions: () => GroupOptions,
): SubscriberGroup {
  const groups = groupsOf(app);
  let group = groups.get(key);
  if (!group) {
    group = new SubscriberGroup(app.failures, createOptions(), () => groups.delete(key));
    groups.set(key, group);
  }
  group.join();
  return group;
}

/** The result as JSON, in the form that all transports send. */
export function toPayload({ data, errors, extensions }: ExecutionResult): string {
  if (!errors && !extensions && data !== undefined) return `{"data":${JSON.stringify(data)}}`;
  return JSON.stringify({
    ...(data === undefined ? {} : { data }),
    ...(errors ? { errors: errors.map((error) => withoutHttp(error).toJSON()) } : {}),
    ...(extensions ? { extensions } : {}),
  });
}
