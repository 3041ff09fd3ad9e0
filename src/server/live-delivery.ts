/**
 * Delivery of live events past the iterators of GraphQL: subscribers that would get the same result
 * are one group, for which an event is executed and serialized once.
 */
import type { ExecutionResult } from 'graphql';
import type { App } from '../app.ts';
import type { Event } from '../generated/prisma/client.ts';
import { withoutHttp } from '../graphql/errors.ts';
import type { Failures } from '../infra/failures.ts';
import { perInstance } from '../infra/per-instance.ts';
import type { LiveSink } from '../live/feed.ts';

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

  constructor(messages: readonly SharedMessage[]) {
    this.messages = messages;
  }

  get firstCursor(): bigint {
    return this.messages[0]?.cursor ?? 0n;
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
}

/** From here on a subscriber reads the event log by itself, at its own pace. */
export const MAX_BUFFERED_LIVE_BYTES = 1024 * 1024;
/** Most events in one write, and how long one waits for the execution of the following ones. */
const MAX_TOGETHER = 50;
const MAX_WAIT_MS = 10;

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

export interface GroupOptions {
  /** What distinguishes subscribers: equal keys have equal results. */
  key: string;
  execute: (event: Event) => Promise<ExecutionResult>;
  /** Whether the API key that all members share is still accepted. */
  isAllowed: () => Promise<boolean>;
}

interface Delivery {
  readonly event: Event;
  readonly members: GroupMember[];
}

/** A message that has been executed, for these members. */
interface Ready {
  readonly message: SharedMessage;
  readonly members: readonly GroupMember[];
}

class Group {
  readonly #failures: Failures;
  readonly #options: GroupOptions;
  readonly #onEmpty: () => void;
  #size = 0;
  #waiting: Delivery[] = [];
  #isDelivering = false;

  constructor(failures: Failures, options: GroupOptions, onEmpty: () => void) {
    this.#failures = failures;
    this.#options = options;
    this.#onEmpty = onEmpty;
  }

  enter(): void {
    this.#size += 1;
  }

  leave(): void {
    this.#size -= 1;
    if (this.#size === 0) this.#onEmpty();
  }

  /** The feed offers one event to all members, and all events that it read at once, in one go. */
  offer(event: Event, member: GroupMember): void {
    const last = this.#waiting.at(-1);
    if (last?.event === event) last.members.push(member);
    else this.#waiting.push({ event, members: [member] });
    if (!this.#isDelivering) void this.#deliverAll();
  }

  /** One after the other, so that each member gets events in their order. Never throws. */
  async #deliverAll(): Promise<void> {
    this.#isDelivering = true;
    // Until everything is offered.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const deliveries = this.#waiting;
      this.#waiting = [];
      for (let start = 0; start < deliveries.length; start += MAX_TOGETHER) {
        await this.#deliver(deliveries.slice(start, start + MAX_TOGETHER));
      }
    }
    this.#isDelivering = false;
  }

  async #deliver(deliveries: readonly Delivery[]): Promise<void> {
    let ready: Ready[] = [];
    let since = performance.now();
    const send = (): void => {
      for (const { messages, members } of sameMembers(ready)) this.#send(messages, members);
      ready = [];
      since = performance.now();
    };
    for (const { event, members } of deliveries) {
      try {
        if (!(await this.#options.isAllowed())) {
          for (const member of members) member.refuse();
          continue;
        }
        const payload = toPayload(await this.#options.execute(event));
        ready.push({ message: { payload, cursor: event.cursor }, members });
        if (performance.now() - since > MAX_WAIT_MS) send();
      } catch (error) {
        send();
        this.#failed(error, event.cursor, members);
      }
    }
    send();
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

/** Puts consecutive messages for the same members together. */
function sameMembers(
  ready: readonly Ready[],
): { messages: SharedMessages; members: readonly GroupMember[] }[] {
  const runs: { messages: SharedMessage[]; members: readonly GroupMember[] }[] = [];
  for (const { message, members } of ready) {
    const last = runs.at(-1);
    const isSame =
      last?.members.length === members.length &&
      last.members.every((member, index) => member === members[index]);
    if (last && isSame) last.messages.push(message);
    else runs.push({ messages: [message], members });
  }
  return runs.map(({ messages, members }) => ({
    messages: new SharedMessages(messages),
    members,
  }));
}

const groupsOf = perInstance<App, Map<string, Group>>(() => new Map());

/**
 * Joins the group of subscribers with the same key.
 *
 * @returns the sink for the live events of the subscriber
 */
export function joinGroup(app: App, options: GroupOptions, member: GroupMember): LiveSink {
  const groups = groupsOf(app);
  const { key } = options;
  let group = groups.get(key);
  if (!group) {
    group = new Group(app.failures, options, () => groups.delete(key));
    groups.set(key, group);
  }
  const joined = group;
  joined.enter();
  return { take: (event) => joined.offer(event, member), end: () => joined.leave() };
}

function toPayload({ data, errors, extensions }: ExecutionResult): string {
  return JSON.stringify({
    ...(data === undefined ? {} : { data }),
    ...(errors ? { errors: errors.map((error) => withoutHttp(error).toJSON()) } : {}),
    ...(extensions ? { extensions } : {}),
  });
}
