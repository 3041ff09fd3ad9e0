/** Calls: reading them, their messages and recordings, and ending or deleting them. */
import type { RequestOptions } from '../attempt.ts';
import type { CallFilter } from '../filters.ts';
import { type AudioOptions, path } from '../transport.ts';
import { type Call, callSchema, type Message, messageSchema } from '../wire.ts';
import { type Api, LARGE_PAGE } from './lists.ts';

export interface ReadMessages {
  messages: readonly Message[];
  /** The last page that was read, which may have more messages now. Null for the first page. */
  page: string | null;
  /** Number of messages before that page. */
  before: number;
}

export function callsApi(api: Api) {
  const { everyItem, listOf, pages, requestAudio, requestJson, requestNoContent } = api;
  const list = listOf<Call, object>('/api/calls', callSchema);

  return {
    list: (filter: CallFilter = {}, options: RequestOptions = {}) =>
      list.list(callQuery(filter), options),
    listAll: (filter: CallFilter = {}, options: RequestOptions = {}) =>
      list.listAll(callQuery(filter), options),
    get: (callId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/calls/${callId}`, ...options }, callSchema),
    /** Also deletes messages, recording and summaries permanently. */
    delete: (callId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/calls/${callId}`, ...options }),
    /** All messages of the call, across stages, without the initial messages. */
    messages: async (callId: string, options: RequestOptions = {}): Promise<Message[]> => {
      const listPath = path`/api/calls/${callId}/messages`;
      const all: Message[] = [];
      const filter = { mode: 'in_call' };
      for await (const message of everyItem(listPath, messageSchema, filter, options)) {
        all.push(message);
      }
      return all;
    },
    /**
     * The messages of a running call, without those before the last page that was read; `known` is the result of the
     * previous read. Messages are only added, but the last one may still change.
     */
    moreMessages: async (
      callId: string,
      known: ReadMessages = { messages: [], page: null, before: 0 },
      options: RequestOptions = {},
    ): Promise<ReadMessages> => {
      const listPath = path`/api/calls/${callId}/messages`;
      const query = { mode: 'in_call', pageSize: LARGE_PAGE };
      const messages = known.messages.slice(0, known.before);
      let { page, before } = known;
      const request = { path: listPath, query, from: page, skipInvalid: true, ...options };
      for await (const read of pages(request, messageSchema)) {
        messages.push(...read.results);
        if (read.next !== null) [page, before] = [read.next, messages.length];
      }
      return { messages, page, before };
    },
    /** The recording as a stream, which the caller must read or cancel. */
    recording: (callId: string, options: AudioOptions = {}) =>
      requestAudio({ path: path`/api/calls/${callId}/recording`, ...options }),
    /** Ends a live call. A call that has not been joined cannot be ended: `not_live`. */
    hangUp: (callId: string, options: RequestOptions = {}) =>
      requestNoContent({
        method: 'POST',
        path: path`/api/calls/${callId}/send_data_message`,
        json: { type: 'hang_up' },
        pauseRule: 'urgent',
        kinds: { 422: 'not_live' },
        ...options,
      }),
  };
}

function callQuery({ metadata = {}, ...filter }: CallFilter): object {
  const pairs = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value]);
  return { ...filter, ...Object.fromEntries(pairs) };
}
