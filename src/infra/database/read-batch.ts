/** Statements that are sent with one Sync, so that PostgreSQL writes their results at once. */
import type { Socket } from 'node:net';
import { Query } from 'pg';
import { messagesFor, type ReadStatement } from './wire-messages.ts';

export interface ReadJob {
  statement: ReadStatement;
  /** With the only value that the statement returns, as text. */
  resolve: (value: string | null) => void;
  reject: (error: unknown) => void;
}

/** What `pg` keeps of a connection. */
interface Connection {
  readonly stream: Socket;
  /** The texts of prepared statements by their names. */
  readonly parsedStatements: Record<string, string>;
}

/** On a pipelined connection `pg` takes no other queries than its own, whose handlers are replaced below. */
const OwnQuery = Query as unknown as new (text: string) => object;

/** Resolves its jobs as they are answered. Those that are not answered are left when one has failed. */
export class ReadBatch extends OwnQuery {
  /** Called with the error of the statement that has failed, or without one. Set by `pg`, if it is not set. */
  callback: ((error?: unknown) => void) | null = null;
  /** Of the statement that is answered next. `pg` notes by them what is prepared. */
  name: string | undefined;
  text: string | undefined;
  readonly #jobs: readonly ReadJob[];
  #answered = 0;
  #value: string | null = null;

  constructor(jobs: readonly ReadJob[]) {
    super('');
    this.#jobs = jobs;
    this.#expect();
  }

  unanswered(): readonly ReadJob[] {
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
