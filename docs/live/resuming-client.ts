import { type Client, type ClientOptions, createClient } from 'graphql-ws';

/** A graphql-ws client whose subscriptions continue after the last event when it connects again. */
export function createResumingClient(options: ClientOptions): Client {
  const client = createClient({
    retryAttempts: Number.POSITIVE_INFINITY,
    // Also when nothing listens, which is an `error` event and no close.
    shouldRetry: () => true,
    ...options,
  });
  return {
    ...client,
    subscribe(payload, sink) {
      // graphql-ws sends this object again with every connection.
      const variables = { ...payload.variables };
      return client.subscribe<Record<string, { cursor?: string } | null>>(
        { ...payload, variables },
        {
          next(result) {
            for (const event of Object.values(result.data ?? {})) {
              if (event?.cursor) variables.after = event.cursor;
            }
            sink.next(result as Parameters<typeof sink.next>[0]);
          },
          error: (error) => sink.error(error),
          complete: () => sink.complete(),
        },
      );
    },
  };
}
