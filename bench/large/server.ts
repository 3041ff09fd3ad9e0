/** This server with the large database, and an API key for each organization. */
import type { BenchDatabase } from '../support/database.ts';
import { median, type Server } from '../support/processes.ts';
import { keyOf, startThisServer } from '../support/this-server.ts';
import type { Organizations } from './rows.ts';

export class LargeServer {
  readonly server: Server;
  readonly #keys: Readonly<Record<string, string>>;

  constructor(server: Server, keys: Readonly<Record<string, string>>) {
    this.server = server;
    this.#keys = keys;
  }

  static async start(database: BenchDatabase, organizations: Organizations): Promise<LargeServer> {
    const { server, env } = await startThisServer(database);
    const keys: Record<string, string> = {};
    for (const [name, id] of Object.entries(organizations)) keys[name] = await keyOf(id, env);
    return new LargeServer(server, keys);
  }

  /** @throws Error with the errors in the response. */
  async ask(
    organization: keyof Organizations,
    query: string,
    variables: object = {},
    // biome-ignore lint/suspicious/noExplicitAny: whatever the query asks for
  ): Promise<{ data: any; ms: number }> {
    const startedAt = performance.now();
    const response = await fetch(new URL('/graphql', this.server.url), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#keys[organization]}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = (await response.json()) as { data: unknown; errors?: unknown };
    if (errors) throw new Error(JSON.stringify(errors));
    return { data, ms: performance.now() - startedAt };
  }

  /** Median and worst time of several runs, in milliseconds. */
  async times(
    runs: number,
    ...question: Parameters<LargeServer['ask']>
  ): Promise<{ p50: number; worst: number }> {
    const ms: number[] = [];
    for (let run = 0; run < runs; run += 1) ms.push((await this.ask(...question)).ms);
    return { p50: median(ms), worst: Math.max(...ms) };
  }

  stop(): Promise<void> {
    return this.server.stop();
  }
}

export const rounded = (ms: number): string => Math.round(ms).toLocaleString('en');
