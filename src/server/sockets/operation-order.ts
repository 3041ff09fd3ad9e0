/**
 * Lets a client use the ID of an operation again once it has completed it. The protocol server knows operations by
 * their ID alone, and some time passes until a completed one has ended. In between, it would confuse the two: deliver
 * each event twice, or end the new one with the old one. A message that starts the new one therefore waits.
 */
import { CloseCode, MessageType } from 'graphql-ws';

/** Handles a message, until the operation that it starts has ended. Never rejects. */
type Handle = (text: string) => Promise<void>;

interface Operation {
  isCompleted: boolean;
  /** The message that starts the next operation with this ID. */
  next: string | null;
}

export class OperationOrder {
  readonly #handle: Handle;
  readonly #close: (code: CloseCode, reason: string) => void;
  /** Operations that have not ended, by their IDs. */
  readonly #operations = new Map<string, Operation>();

  constructor(handle: Handle, close: (code: CloseCode, reason: string) => void) {
    this.#handle = handle;
    this.#close = close;
  }

  /** Takes the messages of a socket in the order of their arrival. */
  take(text: string): void {
    const { type, id } = readHead(text);
    if (id === null) void this.#handle(text);
    else if (type === MessageType.Subscribe) this.#subscribe(id, text);
    else this.#complete(id, text);
  }

  #subscribe(id: string, text: string): void {
    const operation = this.#operations.get(id);
    if (!operation) void this.#run(id, text);
    else if (operation.isCompleted && operation.next === null) operation.next = text;
    else this.#close(CloseCode.SubscriberAlreadyExists, 'Subscriber already exists');
  }

  #complete(id: string, text: string): void {
    const operation = this.#operations.get(id);
    if (operation?.next) operation.next = null;
    else {
      if (operation) operation.isCompleted = true;
      void this.#handle(text);
    }
  }

  async #run(id: string, text: string): Promise<void> {
    const operation: Operation = { isCompleted: false, next: null };
    this.#operations.set(id, operation);
    await this.#handle(text);
    this.#operations.delete(id);
    if (operation.next !== null) void this.#run(id, operation.next);
  }
}

/** The ID is null if the message concerns no operation, or is invalid, which the protocol server reports. */
function readHead(text: string): { type: string | null; id: string | null } {
  try {
    const { type, id } = JSON.parse(text) as { type?: unknown; id?: unknown };
    const isOfOperation = type === MessageType.Subscribe || type === MessageType.Complete;
    if (isOfOperation && typeof id === 'string') return { type, id };
  } catch {
    // Reported by the protocol server.
  }
  return { type: null, id: null };
}
