/**
 * The Ultravox REST API, by resource.
 *
 * - Every response is parsed; every failure of a request is an `UltravoxError`.
 * - Reads are attempted up to three times when the connection or the service fails, and wait for a
 *   `Retry-After` of up to 5 s. Writes are attempted once, because the API has no idempotency keys:
 *   check `outcomeUnknown` before repeating one.
 * - Deleting a resource that does not exist fails as `not_found`.
 * - The API key is sent to the configured origin only.
 */
import type { z } from 'zod';
import type { RequestOptions, UltravoxClientSettings } from './attempt.ts';
import type {
  AgentFilter,
  CallFilter,
  PageFilter,
  ToolFilter,
  VoiceFilter,
  WebhookFilter,
} from './filters.ts';
import { type AudioOptions, createTransport, path, type Transport } from './transport.ts';
import {
  type Agent,
  accountSchema,
  agentSchema,
  type Call,
  type CloneVoiceRequest,
  type CorpusUploadRequest,
  type CreateAgentRequest,
  type CreateCorpusSourceRequest,
  type CreateWebhookRequest,
  callSchema,
  corpusSchema,
  corpusSourceSchema,
  corpusUploadSchema,
  type Message,
  messageSchema,
  modelSchema,
  type Page,
  type RegisterVoiceRequest,
  type SendDataMessage,
  type StartAgentCallRequest,
  sipConfigSchema,
  type TelephonyProviders,
  telnyxConfigSchema,
  toolSchema,
  twilioConfigSchema,
  type UpdateAgentRequest,
  type UpdateSipConfigRequest,
  type UpdateWebhookRequest,
  voiceSchema,
  type WriteCorpusRequest,
  type WriteToolRequest,
  webhookSchema,
} from './wire.ts';

export type { RequestOptions, RequestReport, UltravoxClientSettings } from './attempt.ts';
export type { Audio } from './transport.ts';

/** Ultravox documents no maximum; its examples go up to 100. */
const LARGE_PAGE = 100;

export interface ReadMessages {
  messages: readonly Message[];
  /** The last page that was read, which may have more messages now; null for the first page. */
  page: string | null;
  /** Number of messages before that page. */
  before: number;
}

export type UltravoxClient = ReturnType<typeof resources> & {
  /** The same client, all of whose requests are abandoned when the signal is aborted. */
  withSignal(signal: AbortSignal): UltravoxClient;
};

export function createUltravoxClient(settings: UltravoxClientSettings): UltravoxClient {
  return {
    ...resources(settings),
    withSignal: (signal) =>
      createUltravoxClient({
        ...settings,
        signal: settings.signal ? AbortSignal.any([settings.signal, signal]) : signal,
      }),
  };
}

function resources(settings: UltravoxClientSettings) {
  const transport = createTransport(settings);
  const api: Api = { ...transport, ...listsOf(transport) };
  return {
    /** Address of Ultravox, without `/api`. */
    baseUrl: settings.baseUrl.replace(/\/+$/, ''),
    account: accountApi(api),
    agents: agentsApi(api),
    calls: callsApi(api),
    tools: toolsApi(api),
    corpora: corporaApi(api),
    voices: voicesApi(api),
    webhooks: webhooksApi(api),
    /** One configuration per provider; credentials are returned as prefixes only. */
    telephonyConfigs: telephonyConfigsApi(api),
    sip: sipApi(api),
    models: api.listOf<z.output<typeof modelSchema>, PageFilter>('/api/models', modelSchema),
  };
}

type Api = Transport & ReturnType<typeof listsOf>;

function listsOf({ pages }: Transport) {
  /** `list` reads one page; `listAll` reads that page and all after it. */
  function listOf<Item, Filter extends object>(listPath: string, schema: z.ZodType<Item>) {
    return {
      list: (filter?: Filter, options: RequestOptions = {}): Promise<Page<Item>> =>
        firstPage(listPath, schema, filter, options),
      listAll: (
        filter?: Filter,
        options: RequestOptions = {},
      ): AsyncGenerator<Item, void, undefined> => everyItem(listPath, schema, filter, options),
    };
  }

  async function firstPage<Item>(
    listPath: string,
    schema: z.ZodType<Item>,
    filter: object = {},
    options: RequestOptions,
  ): Promise<Page<Item>> {
    const list = pages({ path: listPath, query: { ...filter }, ...options }, schema);
    const first = await list.next();
    if (first.done) throw new Error('A list must have a first page');
    return first.value;
  }

  async function* everyItem<Item>(
    listPath: string,
    schema: z.ZodType<Item>,
    filter: object = {},
    options: RequestOptions,
  ): AsyncGenerator<Item, void, undefined> {
    const query = { pageSize: LARGE_PAGE, ...filter };
    for await (const page of pages({ path: listPath, query, ...options }, schema)) {
      yield* page.results;
    }
  }

  return { listOf, firstPage, everyItem };
}

function accountApi({ requestJson }: Api) {
  return {
    /** Also the cheapest check of the API key. */
    me: (options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: '/api/accounts/me', ...options }, accountSchema),
  };
}

function agentsApi({ listOf, requestJson, requestNothing }: Api) {
  const list = listOf<Agent, AgentFilter>('/api/agents', agentSchema);
  return {
    ...list,
    create: (body: CreateAgentRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/agents', json: body, ...options }, agentSchema),
    get: (agentId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/agents/${agentId}`, ...options }, agentSchema),
    /** Always send the full template, `sharedSecrets` included: it is replaced as a whole. */
    update: (agentId: string, body: UpdateAgentRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/agents/${agentId}`, json: body, ...options },
        agentSchema,
      ),
    delete: (agentId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/agents/${agentId}`, ...options }),
    /** Agents of exactly this name. Ultravox does not promise there is only one. */
    findByName: async (name: string, options: RequestOptions = {}): Promise<Agent[]> => {
      const found: Agent[] = [];
      for await (const agent of list.listAll({ search: name }, options)) {
        if (agent.name === name) found.push(agent);
      }
      return found;
    },
    /**
     * Begins a call. Put an id of your own into `metadata`: after an `outcomeUnknown` it is the
     * only way to find out, with `calls.listAll({ metadata })`, whether the call exists.
     */
    startCall: (
      agentId: string,
      body: StartAgentCallRequest,
      { throttle, ...options }: RequestOptions & { throttle?: string | undefined } = {},
    ) =>
      requestJson(
        {
          method: 'POST',
          path: path`/api/agents/${agentId}/calls`,
          query: { throttle },
          json: body,
          pauseRule: 'own',
          ...options,
        },
        callSchema,
      ),
  };
}

function callsApi(api: Api) {
  const { everyItem, listOf, pages, requestAudio, requestJson, requestNothing } = api;
  const list = listOf<Call, object>('/api/calls', callSchema);

  function sendDataMessage(callId: string, message: SendDataMessage, options: RequestOptions) {
    return requestNothing({
      method: 'POST',
      path: path`/api/calls/${callId}/send_data_message`,
      json: message,
      pauseRule: message.type === 'hang_up' ? 'urgent' : 'shared',
      kinds: { 422: 'not_live' },
      ...options,
    });
  }

  return {
    list: (filter: CallFilter = {}, options: RequestOptions = {}) =>
      list.list(callQuery(filter), options),
    listAll: (filter: CallFilter = {}, options: RequestOptions = {}) =>
      list.listAll(callQuery(filter), options),
    get: (callId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/calls/${callId}`, ...options }, callSchema),
    /** Also deletes messages, recording and summaries permanently. */
    delete: (callId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/calls/${callId}`, ...options }),
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
     * The messages of a running call, without those before the last page that was read: pass what an
     * earlier read returned. Messages are only added, but the last one may still change.
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
      for await (const read of pages(
        { path: listPath, query, from: page, ...options },
        messageSchema,
      )) {
        messages.push(...read.results);
        if (read.next !== null) [page, before] = [read.next, messages.length];
      }
      return { messages, page, before };
    },
    /** The recording as a stream, which the caller must read or cancel. */
    recording: (callId: string, options: AudioOptions = {}) =>
      requestAudio({ path: path`/api/calls/${callId}/recording`, ...options }),
    sendDataMessage: (callId: string, message: SendDataMessage, options: RequestOptions = {}) =>
      sendDataMessage(callId, message, options),
    /** Ends a live call. One that nobody has joined cannot be ended: `not_live`. */
    hangUp: (callId: string, message?: string, options: RequestOptions = {}) =>
      sendDataMessage(
        callId,
        message === undefined ? { type: 'hang_up' } : { type: 'hang_up', message },
        options,
      ),
  };
}

function toolsApi({ listOf, requestJson, requestNothing }: Api) {
  return {
    ...listOf<z.output<typeof toolSchema>, ToolFilter>('/api/tools', toolSchema),
    create: (body: WriteToolRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/tools', json: body, ...options }, toolSchema),
    get: (toolId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/tools/${toolId}`, ...options }, toolSchema),
    /** Replaces the whole tool; Ultravox has no partial update. */
    replace: (toolId: string, body: WriteToolRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PUT', path: path`/api/tools/${toolId}`, json: body, ...options },
        toolSchema,
      ),
    delete: (toolId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/tools/${toolId}`, ...options }),
  };
}

function corporaApi({ everyItem, firstPage, listOf, requestJson, requestNothing, upload }: Api) {
  return {
    ...listOf<z.output<typeof corpusSchema>, PageFilter>('/api/corpora', corpusSchema),
    create: (body: WriteCorpusRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/corpora', json: body, ...options }, corpusSchema),
    get: (corpusId: string, options: RequestOptions = {}) =>
      requestJson(
        { method: 'GET', path: path`/api/corpora/${corpusId}`, ...options },
        corpusSchema,
      ),
    update: (corpusId: string, body: WriteCorpusRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/corpora/${corpusId}`, json: body, ...options },
        corpusSchema,
      ),
    /** Also deletes sources and documents. */
    delete: (corpusId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/corpora/${corpusId}`, ...options }),
    /** The address expires after five minutes and accepts this MIME type only. */
    requestUpload: (corpusId: string, body: CorpusUploadRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'POST', path: path`/api/corpora/${corpusId}/uploads`, json: body, ...options },
        corpusUploadSchema,
      ),
    /** May be repeated while the address is valid. */
    uploadDocument: (
      presignedUrl: string,
      bytes: Uint8Array,
      mimeType: string,
      options: RequestOptions = {},
    ) => upload({ address: presignedUrl, bytes, mimeType, ...options }),
    listSources: (corpusId: string, filter: PageFilter = {}, options: RequestOptions = {}) =>
      firstPage(path`/api/corpora/${corpusId}/sources`, corpusSourceSchema, filter, options),
    listAllSources: (corpusId: string, filter: PageFilter = {}, options: RequestOptions = {}) =>
      everyItem(path`/api/corpora/${corpusId}/sources`, corpusSourceSchema, filter, options),
    createSource: (
      corpusId: string,
      body: CreateCorpusSourceRequest,
      options: RequestOptions = {},
    ) =>
      requestJson(
        { method: 'POST', path: path`/api/corpora/${corpusId}/sources`, json: body, ...options },
        corpusSourceSchema,
      ),
    getSource: (corpusId: string, sourceId: string, options: RequestOptions = {}) =>
      requestJson(
        { method: 'GET', path: path`/api/corpora/${corpusId}/sources/${sourceId}`, ...options },
        corpusSourceSchema,
      ),
    deleteSource: (corpusId: string, sourceId: string, options: RequestOptions = {}) =>
      requestNothing({
        method: 'DELETE',
        path: path`/api/corpora/${corpusId}/sources/${sourceId}`,
        ...options,
      }),
  };
}

function voicesApi({ listOf, requestAudio, requestJson, requestNothing }: Api) {
  return {
    ...listOf<z.output<typeof voiceSchema>, VoiceFilter>('/api/voices', voiceSchema),
    get: (voiceId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/voices/${voiceId}`, ...options }, voiceSchema),
    /** Clones a voice from a recording, or registers one that another provider serves. */
    create: (body: CloneVoiceRequest | RegisterVoiceRequest, options: RequestOptions = {}) =>
      requestJson(
        {
          method: 'POST',
          path: '/api/voices',
          ...('file' in body ? { form: cloneForm(body) } : { json: body }),
          ...options,
        },
        voiceSchema,
      ),
    delete: (voiceId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/voices/${voiceId}`, ...options }),
    /** A sample as a stream. Its content type is not always correct. */
    preview: (voiceId: string, options: RequestOptions = {}) =>
      requestAudio({ path: path`/api/voices/${voiceId}/preview`, ...options }),
  };
}

function webhooksApi({ listOf, requestJson, requestNothing }: Api) {
  return {
    ...listOf<z.output<typeof webhookSchema>, WebhookFilter>('/api/webhooks', webhookSchema),
    create: (body: CreateWebhookRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/webhooks', json: body, ...options }, webhookSchema),
    update: (webhookId: string, body: UpdateWebhookRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/webhooks/${webhookId}`, json: body, ...options },
        webhookSchema,
      ),
    delete: (webhookId: string, options: RequestOptions = {}) =>
      requestNothing({ method: 'DELETE', path: path`/api/webhooks/${webhookId}`, ...options }),
  };
}

const configSchemas: {
  [Provider in keyof TelephonyProviders]: z.ZodType<TelephonyProviders[Provider]['config']>;
} = { twilio: twilioConfigSchema, telnyx: telnyxConfigSchema };

function telephonyConfigsApi({ requestJson, requestNothing }: Api) {
  return {
    get: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        { method: 'GET', path: path`/api/telephony_configs/${provider}`, ...options },
        configSchemas[provider],
      ),
    create: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      body: TelephonyProviders[Provider]['create'],
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        {
          method: 'POST',
          path: path`/api/telephony_configs/${provider}`,
          json: body,
          ...options,
        },
        configSchemas[provider],
      ),
    update: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      body: TelephonyProviders[Provider]['update'],
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        {
          method: 'PATCH',
          path: path`/api/telephony_configs/${provider}`,
          json: body,
          ...options,
        },
        configSchemas[provider],
      ),
    delete: (provider: keyof TelephonyProviders, options: RequestOptions = {}) =>
      requestNothing({
        method: 'DELETE',
        path: path`/api/telephony_configs/${provider}`,
        ...options,
      }),
  };
}

function sipApi({ requestJson }: Api) {
  return {
    get: (options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: '/api/sip', ...options }, sipConfigSchema),
    update: (body: UpdateSipConfigRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'PATCH', path: '/api/sip', json: body, ...options }, sipConfigSchema),
  };
}

function callQuery({ metadata = {}, ...filter }: CallFilter): object {
  const pairs = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value]);
  return { ...filter, ...Object.fromEntries(pairs) };
}

function cloneForm(body: CloneVoiceRequest): FormData {
  const form = new FormData();
  const file = new Blob([body.file as Uint8Array<ArrayBuffer>], { type: body.mimeType });
  form.set('file', file, body.fileName);
  form.set('name', body.name);
  if (body.description !== undefined) form.set('description', body.description);
  if (body.language !== undefined) form.set('language', body.language);
  return form;
}
