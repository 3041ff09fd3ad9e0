/** Sends several statements with one Sync, so that PostgreSQL writes their results together. */
import type { Socket } from 'node:net';
import { Query } from 'pg';
import { messagesFor, type ReadStatement } from './wire-messages.ts';

export interface PendingRead {
  statement: ReadStatement;
  /** Called with the single value that the statement returns, as text. */
  resolve: (value: string | null) => void;
  reject: (error: unknown) => void;
}

/** The internals of a `pg` connection that are used here. */
interface Connection {
  readonly stream: Socket;
  /** Texts of prepared statements by name. */
  readonly parsedStatements: Record<string, string>;
}

/** On a pipelined connection, `pg` accepts only its own queries. Their handlers are replaced below. */
const OwnQuery = Query as unknown as new (text: string) => object;

/** Resolves its jobs as they are answered. When one fails, the unanswered jobs are left to the caller. */
export class ReadBatch extends OwnQuery {
  /** Called with the error of the failed statement, or without one on success. Set by `pg` if it is not set. */
  callback: ((error?: unknown) => void) | null = null;
  /** Name and text of the statement that is answered next. From them, `pg` records which statements are prepared. */
  name: string | undefined;
  text: string | undefined;
  readonly #jobs: readonly PendingRead[];
  #answered = 0;
  #value: string | null = null;

  constructor(jobs: readonly PendingRead[]) {
    super('');
    this.#jobs = jobs;
    this.#expect();
  }

  unanswered(): readonly PendingRead[] {
    return this.#jobs.slice(this.#answered);
  }

  submit({ stream, parsedStatements }: Connection): void {
    const statements = this.#jobs.map(({ statement }) => statement);
    stream.write(messagesFor(statements, (name) => parsedStatements[name] !== undefined));
  }

  handleDataRow({ fields: [value = null] }: { fields: (string | null)[] }): void {
    this.#value = value;
  }

  handleCommandComplete(): void {
    this.#jobs[this.#answered]?.resolve(this.#value);
    this.#answered += 1;
    this.#expect();
  }

  handleError(error: unknown): void {
    this.callback?.(error);
  }

  handleReadyForQuery(): void {
    this.callback?.();
  }

  #expect(): void {
    const statement = this.#jobs[this.#answered]?.statement;
    this.name = statement?.name;
    this.text = statement?.text;
    this.#value = null;
  }
}
