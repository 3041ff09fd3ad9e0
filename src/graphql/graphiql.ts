/** GraphiQL at `/graphql`, served by us; nothing is loaded from anywhere else. */
import { renderGraphiQL as render } from '@graphql-yoga/render-graphiql';
import type { GraphiQLOptions } from 'graphql-yoga';

export interface GraphiQLSettings {
  /** Filled in as the header; only for the demo organisation. */
  demoKey: string | null;
}

export function graphiqlOptions({ demoKey }: GraphiQLSettings): GraphiQLOptions {
  const headers = JSON.stringify({ Authorization: `Bearer ${demoKey ?? 'truedy_…'}` }, null, 2);
  return {
    title: 'Truedy GraphQL',
    headers,
    defaultHeaders: headers,
    subscriptionsProtocol: 'SSE',
  };
}

export function renderGraphiQL(options: GraphiQLOptions): string {
  return render(options);
}
