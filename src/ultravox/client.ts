/**
 * The Ultravox REST API, by resource. Callers may rely on this:
 *
 * - Every answer is parsed; every failure of a request is an `UltravoxError`.
 * - Reads are tried up to three times when the connection or the service fails, and wait for a
 *   `Retry-After` of up to 5 s. Writes are tried once: the API has no idempotency keys, so whoever
 *   repeats one has to look at `outcomeUnknown` first.
 * - Deleting what is gone fails as `not_found`; whether that is fine is the caller's affair.
 * - The API key goes to the configured origin and nowhere else.
 */

import type { z } from 'zod';
import {
  createTransport,
  path,
  type RequestOptions,
  type UltravoxClientSettings,
} from './transport.ts';
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
  type Open,
  type Ownership,
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

export type { Audio, RequestOptions, RequestReport, UltravoxClientSettings } from './transport.ts';

/** The vendor states no maximum; 100 is what its own examples go up to. */
const LARGE_PAGE = 100;

export interface PageFilter {
  cursor?: string | undefined;
  pageSize?: number | undefined;
}

export interface AgentFilter extends PageFilter {
  search?: string | undefined;
  sort?: string | undefined;
}

export interface CallFilter extends PageFilter {
  agentIds?: readonly string[] | undefined;
  /** Of creation; a date or an instant, inclusive. */
  fromDate?: string | undefined;
  toDate?: string | undefined;
  /** `HH:MM:SS`. */
  timeOfDayStart?: string | undefined;
  timeOfDayEnd?: string | undefined;
  /** Such as `300s`. */
  durationMin?: string | undefined;
  durationMax?: string | undefined;
  voiceId?: string | undefined;
  search?: string | undefined;
  /** All pairs have to match. */
  metadata?: Readonly<Record<string, string>> | undefined;
  sort?: Open<'created' | '-created'> | undefined;
}

export interface ToolFilter extends PageFilter {
  ownership?: Ownership | undefined;
  search?: string | undefined;
  sortOrder?:
    | Open<
        | 'default'
        | 'display'
        | 'alphabetic'
        | 'reverseAlphabetic'
        | 'chronologic'
        | 'reverseChronologic'
      >
    | undefined;
}

export interface VoiceFilter extends PageFilter {
  ownership?: Ownership | undefined;
  billingStyle?: string | undefined;
  primaryLanguage?: string | undefined;
  provider?: readonly string[] | undefined;
  search?: string | undefined;
}

export interface WebhookFilter extends PageFilter {
  agentId?: string | undefined;
}

export type UltravoxClient = ReturnType<typeof createUltravoxClient>;

export function createUltravoxClient(settings: UltravoxClientSettings) {
  const { requestJson, requestNothing, requestAudio, pages, upload } = createTransport(settings);

  /** `list` reads the page asked for; `listAll` goes on from there to the end. */
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
    if (first.done) throw new Error('a list has a first page');
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

  const agentList = listOf<Agent, AgentFilter>('/api/agents', agentSchema);
  const callList = listOf<Call, object>('/api/calls', callSchema);
  const configSchemas: {
    [Provider in keyof TelephonyProviders]: z.ZodType<TelephonyProviders[Provider]['config']>;
  } = { twilio: twilioConfigSchema, telnyx: telnyxConfigSchema };

  return {
    /** Where Ultravox is, without `/api`. */
    baseUrl: settings.baseUrl.replace(/\/+$/, ''),

    account: {
      /** Also the cheapest way to find out whether the key is good. */
      me: (options: RequestOptions = {}) =>
        requestJson({ method: 'GET', path: '/api/accounts/me', ...options }, accountSchema),
    },

    agents: {
      ...agentList,
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
        for await (const agent of agentList.listAll({ search: name }, options)) {
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
            ...options,
          },
          callSchema,
        ),
    },

    calls: {
      list: (filter: CallFilter = {}, options: RequestOptions = {}) =>
        callList.list(callQuery(filter), options),
      listAll: (filter: CallFilter = {}, options: RequestOptions = {}) =>
        callList.listAll(callQuery(filter), options),
      get: (callId: string, options: RequestOptions = {}) =>
        requestJson({ method: 'GET', path: path`/api/calls/${callId}`, ...options }, callSchema),
      /** Messages, recording and summaries go with it, for good. */
      delete: (callId: string, options: RequestOptions = {}) =>
        requestNothing({ method: 'DELETE', path: path`/api/calls/${callId}`, ...options }),
      /** Everything said in the call, across stages, without the initial messages. */
      messages: async (callId: string, options: RequestOptions = {}): Promise<Message[]> => {
        const listPath = path`/api/calls/${callId}/messages`;
        const all: Message[] = [];
        const filter = { mode: 'in_call' };
        for await (const message of everyItem(listPath, messageSchema, filter, options)) {
          all.push(message);
        }
        return all;
      },
      /** The recording as a stream, which the caller has to read or cancel. */
      recording: (callId: string, options: RequestOptions = {}) =>
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
    },

    tools: {
      ...listOf<z.output<typeof toolSchema>, ToolFilter>('/api/tools', toolSchema),
      create: (body: WriteToolRequest, options: RequestOptions = {}) =>
        requestJson({ method: 'POST', path: '/api/tools', json: body, ...options }, toolSchema),
      get: (toolId: string, options: RequestOptions = {}) =>
        requestJson({ method: 'GET', path: path`/api/tools/${toolId}`, ...options }, toolSchema),
      /** There is no partial change of a tool. */
      replace: (toolId: string, body: WriteToolRequest, options: RequestOptions = {}) =>
        requestJson(
          { method: 'PUT', path: path`/api/tools/${toolId}`, json: body, ...options },
          toolSchema,
        ),
      delete: (toolId: string, options: RequestOptions = {}) =>
        requestNothing({ method: 'DELETE', path: path`/api/tools/${toolId}`, ...options }),
    },

    corpora: {
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
      /** Takes sources and documents with it. */
      delete: (corpusId: string, options: RequestOptions = {}) =>
        requestNothing({ method: 'DELETE', path: path`/api/corpora/${corpusId}`, ...options }),
      /** The address is good for five minutes, for this MIME type only. */
      requestUpload: (corpusId: string, body: CorpusUploadRequest, options: RequestOptions = {}) =>
        requestJson(
          { method: 'POST', path: path`/api/corpora/${corpusId}/uploads`, json: body, ...options },
          corpusUploadSchema,
        ),
      /** Repeating it is harmless while the address is valid. */
      uploadDocument: (
        presignedUrl: string,
        bytes: Uint8Array,
        mimeType: string,
        options: RequestOptions = {},
      ) => upload(presignedUrl, bytes, mimeType, options),
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
    },

    voices: {
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
      /** A sample as a stream; the content type Ultravox states for it is not always right. */
      preview: (voiceId: string, options: RequestOptions = {}) =>
        requestAudio({ path: path`/api/voices/${voiceId}/preview`, ...options }),
    },

    webhooks: {
      ...listOf<z.output<typeof webhookSchema>, WebhookFilter>('/api/webhooks', webhookSchema),
      create: (body: CreateWebhookRequest, options: RequestOptions = {}) =>
        requestJson(
          { method: 'POST', path: '/api/webhooks', json: body, ...options },
          webhookSchema,
        ),
      update: (webhookId: string, body: UpdateWebhookRequest, options: RequestOptions = {}) =>
        requestJson(
          { method: 'PATCH', path: path`/api/webhooks/${webhookId}`, json: body, ...options },
          webhookSchema,
        ),
      delete: (webhookId: string, options: RequestOptions = {}) =>
        requestNothing({ method: 'DELETE', path: path`/api/webhooks/${webhookId}`, ...options }),
    },

    /** One configuration per provider; credentials come back as prefixes only. */
    telephonyConfigs: {
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
    },

    sip: {
      get: (options: RequestOptions = {}) =>
        requestJson({ method: 'GET', path: '/api/sip', ...options }, sipConfigSchema),
      update: (body: UpdateSipConfigRequest, options: RequestOptions = {}) =>
        requestJson({ method: 'PATCH', path: '/api/sip', json: body, ...options }, sipConfigSchema),
    },

    models: listOf<z.output<typeof modelSchema>, PageFilter>('/api/models', modelSchema),
  };

  function sendDataMessage(callId: string, message: SendDataMessage, options: RequestOptions) {
    return requestNothing({
      method: 'POST',
      path: path`/api/calls/${callId}/send_data_message`,
      json: message,
      kinds: { 422: 'not_live' },
      ...options,
    });
  }
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
