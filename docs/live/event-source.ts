import { EventSource } from 'eventsource';

interface Options {
  /** `https://…/graphql` */
  url: string;
  getToken: () => Promise<string>;
  /** The `eventCursor` that was read with the state on the page. */
  after: string;
  onEvent: (event: { cursor: string; type: string }) => void;
  onError: (error: unknown) => void;
}

const QUERY = `subscription ($after: Cursor) {
  callEvents(after: $after) { cursor type call { id status } }
}`;

export function followCalls({ url, getToken, after, onEvent, onError }: Options): () => void {
  let cursor = after;
  let source: EventSource;
  let timer: NodeJS.Timeout | undefined;
  function open(): void {
    const variables = JSON.stringify({ after: cursor });
    source = new EventSource(`${url}?${new URLSearchParams({ query: QUERY, variables })}`, {
      // Called for every connection, also when EventSource connects again with Last-Event-ID.
      fetch: async (input, init) =>
        fetch(input, {
          ...init,
          headers: { ...init.headers, Authorization: `Bearer ${await getToken()}` },
        }),
    });
    source.addEventListener('next', ({ data, lastEventId }) => {
      const result = JSON.parse(data);
      if (lastEventId) cursor = lastEventId;
      if (result.data?.callEvents) onEvent(result.data.callEvents);
      if (result.errors) onError(result.errors);
    });
    source.addEventListener('error', () => {
      // After a status such as 401 or 503 it does not connect again by itself.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 3_000);
    });
  }
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
