import { createResumingClient } from './resuming-client.ts';

interface Options {
  /** `wss://…/graphql` */
  url: string;
  getToken: () => Promise<string>;
  /** The `eventCursor` that was read with the state on the page. */
  after: string;
  onEvent: (event: { cursor: string; type: string }) => void;
  onError: (error: unknown) => void;
}

export function followCalls({ url, getToken, after, onEvent, onError }: Options): () => void {
  const client = createResumingClient({
    url,
    // Called for every connection, so that each has a token that is still valid.
    connectionParams: async () => ({ Authorization: `Bearer ${await getToken()}` }),
  });
  client.subscribe<{ callEvents: { cursor: string; type: string } }>(
    {
      query: `subscription ($after: Cursor) {
        callEvents(after: $after) { cursor type call { id status } }
      }`,
      variables: { after },
    },
    {
      next: ({ data, errors }) => {
        if (data?.callEvents) onEvent(data.callEvents);
        if (errors) onError(errors);
      },
      // Nothing that trying again would help against: the query, the cursor, a wrong address.
      error: onError,
      complete: () => undefined,
    },
  );
  return () => void client.dispose();
}
