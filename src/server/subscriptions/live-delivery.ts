/**
 * Delivery of live events past the iterators of GraphQL: subscribers that would get the same result
 * are one group, for which an event is executed and serialized once.
 */
import type { Writable } from 'node:stream';
import type { ExecutionResult } from 'graphql';
import type { App } from '../../app.ts';
import type { Event } from '../../generated/prisma/client.ts';
import { withoutHttp } from '../../graphql/errors/errors.ts';
import type { Failures } from '../../infra/failures.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { TextFrames } from '../sockets/text-frames.ts';

/** The result of one event, as all transports send it. */
export interface SharedMessage {
  /** The result as JSON. */
  readonly payload: string;
  readonly cursor: bigint;
}

/** Results of consecutive events for the same subscribers, which each get them in one write. */
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

  /** The events of an event stream, encoded once for all streams. */
  get blocks(): Buffer {
    this.#blocks ??= Buffer.from(
      this.messages
        .map(({ payload, cursor }) => `event: next\ndata: ${payload}\nid: ${cursor}\n\n`)
        .join(''),
    );
    return this.#blocks;
  }

  /** The same as a chunk of a body, https://www.rfc-editor.org/rfc/rfc9112#section-7.1 */
  get chunk(): Buffer {
    this.#chunk ??= Buffer.concat([
      Buffer.from(`${this.blocks.length.toString(16)}\r\n`),
      this.blocks,
      Buffer.from('\r\n'),
    ]);
    return this.#chunk;
  }

  /** A subscription's `next` messages as WebSocket frames, whose payloads are encoded once for all. */
  writeFrames(connection: Writable, subscriptionId: string): void {
    this.#frames ??= new TextFrames(this.messages.map(({ payload }) => Buffer.from(`${payload}}`)));
    const start = `{"id":${JSON.stringify(subscriptionId)},"type":"next","payload":`;
    this.#frames.writeTo(connection, start);
  }
}

/** From here on a subscriber reads the event log at its own pace. */
export const MAX_BUFFERED_LIVE_BYTES = 1024 * 1024;
/** Most events in one write, and how long one waits for the execution of the following ones. */
export const MAX_TOGETHER = 50;
const MAX_WAIT_MS = 10;
/** Most events of a group that wait to be executed: while the database is away, or when they come too fast. */
const MAX_WAITING = 10_000;

/** Sends results of live events; false, and none is sent, when too much waits to be sent already. */
export type LiveReceiver = (messages: SharedMessages) => boolean;

export interface GroupMember {
  /** Called with every event that was offered to the member, in order. */
  readonly receive: (messages: SharedMessages) => void;
  /** Ends the subscription, because its credential has ended. */
  readonly refuse: () => void;
  /** Called for an event that could not be delivered: the member reads from there on by itself. */
  readonly fallBehind: (cursor: bigint) => void;
}

type MaybePromise<T> = T | Promise<T>;

/** How the events of a group are executed. */
export interface GroupOptions {
  /**
   * Begins the execution of events that are delivered together, which therefore may read what they need
   * with the same statements.
   */
  beginExecution: () => (event: Event) => MaybePromise<ExecutionResult>;
  /** Whether the API key that all members share is still accepted. */
  isAllowed: () => MaybePromise<boolean>;
}

interface Delivery {
  readonly event: Event;
  members: GroupMember[];
}

/** A message that has been executed, for these members. */
interface Ready {
  readonly message: SharedMessage;
  readonly members: readonly GroupMember[];
}

/** Events in a row that members have missed, by their filters. */
interface Missed {
  readonly events: readonly Event[];
  readonly messages: Promise<SharedMessages>;
}

/** Kept for the same first event. */
const MAX_MISSED_VARIANTS = 8;

/** Subscriptions that get equal results for the same event. */
export class Group {
  readonly #failures: Failures;
  readonly #options: GroupOptions;
  readonly #onEmpty: () => void;
  #size = 0;
  #waiting: Delivery[] = [];
  /** Being executed, and not sent yet. */
  #underWay: readonly Delivery[] = [];
  #isDelivering = false;
  /** Messages about missed events, by the first of the events. Members with other filters miss others. */
  readonly #missed = new WeakMap<Event, Missed[]>();

  constructor(failures: Failures, options: GroupOptions, onEmpty: () => void) {
    this.#failures = failures;
    this.#options = options;
    this.#onEmpty = onEmpty;
  }

  enter(): void {
    this.#size += 1;
  }

  /** Call it once for each `joinGroup`. */
  leave(): void {
    this.#size -= 1;
    if (this.#size === 0) this.#onEmpty();
  }

  isAllowed(): MaybePromise<boolean> {
    return this.#options.isAllowed();
  }

  /** Executes an event that a subscriber reads by itself. */
  execute(event: unknown): MaybePromise<ExecutionResult> {
    return this.#options.beginExecution()(event as Event);
  }

  /**
   * Executes events in a row that a subscriber has missed, once for all who missed the same. They were read by
   * `LogStream`.
   */
  messagesOf(events: readonly [Event, ...Event[]]): Promise<SharedMessages> {
    const [first] = events;
    const known = this.#missed.get(first) ?? [];
    const found = known.find((missed) => areSame(missed.events, events));
    if (found) return found.messages;
    const messages = this.#executeMissed(events);
    this.#missed.set(first, [...known, { events, messages }].slice(-MAX_MISSED_VARIANTS));
    messages.catch(() => this.#missed.delete(first));
    return messages;
  }

  async #executeMissed(events: readonly [Event, ...Event[]]): Promise<SharedMessages> {
    const messages: SharedMessage[] = [];
    const executed = this.#executeAll(events);
    for (const [index, event] of events.entries()) {
      const result = (await executed[index]) as ExecutionResult;
      messages.push({ payload: toPayload(result), cursor: event.cursor });
      // The next subscriber executes them again.
      if (result.errors) this.#missed.delete(events[0]);
    }
    return new SharedMessages(messages);
  }

  /** The feed offers one event to all members, and all events that it read at once, in one go. */
  offer(event: Event, member: GroupMember): void {
    const last = this.#waiting.at(-1);
    if (last?.event === event) last.members.push(member);
    else {
      shareMembers(last, this.#waiting.at(-2));
      if (this.#waiting.length >= MAX_WAITING) this.#dropWaiting();
      this.#waiting.push({ event, members: [member] });
    }
    if (!this.#isDelivering) void this.#deliverAll();
  }

  /** Members read what they were offered, and did not get, from the log when they can. */
  #dropWaiting(): void {
    const dropped = [...this.#underWay, ...this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    // Each from the first one on: it is no member any more for those that follow.
    for (const { event, members } of dropped) {
      for (const member of members) member.fallBehind(event.cursor);
    }
  }

  /** One after the other, so that each member gets events in their order. Never throws. */
  async #deliverAll(): Promise<void> {
    this.#isDelivering = true;
    // Until everything is offered.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#deliver(this.#waiting.splice(0, MAX_TOGETHER));
    this.#isDelivering = false;
  }

  async #deliver(deliveries: readonly Delivery[]): Promise<void> {
    let ready: Ready[] = [];
    let since = performance.now();
    this.#underWay = deliveries;
    /** @param count of the deliveries, from the first one on, with which the group is done then. */
    const send = (count: number): void => {
      this.#underWay = deliveries.slice(count);
      for (const { messages, members } of sameMembers(ready)) this.#send(messages, members);
      ready = [];
      since = performance.now();
    };
    const executed = this.#executeAll(deliveries.map(({ event }) => event));
    for (const [index, { event, members }] of deliveries.entries()) {
      try {
        const result = executed[index] as MaybePromise<ExecutionResult>;
        const payload = toPayload(result instanceof Promise ? await result : result);
        const allowed = this.#options.isAllowed();
        if (!(allowed instanceof Promise ? await allowed : allowed)) {
          for (const member of members) member.refuse();
          continue;
        }
        ready.push({ message: { payload, cursor: event.cursor }, members });
        if (performance.now() - since > MAX_WAIT_MS) send(index + 1);
      } catch (error) {
        send(index + 1);
        this.#failed(error, event.cursor, members);
      }
    }
    send(deliveries.length);
  }

  /** Begins all of them, so that they read together what they need. */
  #executeAll(events: readonly Event[]): MaybePromise<ExecutionResult>[] {
    const execute = this.#options.beginExecution();
    return events.map((event) => {
      try {
        const result = execute(event);
        // Awaited in turn, and reported then.
        if (result instanceof Promise) result.catch(() => undefined);
        return result;
      } catch (error) {
        const failed = Promise.reject(error);
        failed.catch(() => undefined);
        return failed;
      }
    });
  }

  #send(messages: SharedMessages, members: readonly GroupMember[]): void {
    for (const member of members) {
      try {
        member.receive(messages);
      } catch (error) {
        this.#failed(error, messages.firstCursor, [member]);
      }
    }
  }

  #failed(error: unknown, cursor: bigint, members: readonly GroupMember[]): void {
    this.#failures.record('liveDelivery', error, {
      message: 'Could not deliver an event; its subscribers read it from the log',
      cursor: String(cursor),
      subscribers: members.length,
    });
    for (const member of members) member.fallBehind(cursor);
  }
}

/** Thousands of events may wait for the same thousands of members: then one list is kept of them. */
function shareMembers(complete: Delivery | undefined, before: Delivery | undefined): void {
  if (complete && before && areSame(complete.members, before.members)) {
    complete.members = before.members;
  }
}

function areSame<Each>(some: readonly Each[], others: readonly Each[]): boolean {
  return (
    some === others ||
    (some.length === others.length && some.every((each, index) => each === others[index]))
  );
}

/** Puts consecutive messages for the same members together. */
function sameMembers(
  ready: readonly Ready[],
): { messages: SharedMessages; members: readonly GroupMember[] }[] {
  const runs: { messages: SharedMessage[]; members: readonly GroupMember[] }[] = [];
  for (const { message, members } of ready) {
    const last = runs.at(-1);
    if (last && areSame(last.members, members)) last.messages.push(message);
    else runs.push({ messages: [message], members });
  }
  return runs.map(({ messages, members }) => ({
    messages: new SharedMessages(messages),
    members,
  }));
}

const groupsOf = perInstance<App, Map<string, Group>>(() => new Map());

/**
 * Joins the group of subscribers with the same key, until `leave`.
 *
 * @param key what distinguishes subscribers: equal keys have equal results.
 * @param begin makes what a new group needs.
 */
export function joinGroup(app: App, key: string, begin: () => GroupOptions): Group {
  const groups = groupsOf(app);
  let group = groups.get(key);
  if (!group) {
    group = new Group(app.failures, begin(), () => groups.delete(key));
    groups.set(key, group);
  }
  group.enter();
  return group;
}

/** The result as JSON, as all transports send it. */
export function toPayload({ data, errors, extensions }: ExecutionResult): string {
  if (!errors && !extensions && data !== undefined) return `{"data":${JSON.stringify(data)}}`;
  return JSON.stringify({
    ...(data === undefined ? {} : { data }),
    ...(errors ? { errors: errors.map((error) => withoutHttp(error).toJSON()) } : {}),
    ...(extensions ? { extensions } : {}),
  });
}
