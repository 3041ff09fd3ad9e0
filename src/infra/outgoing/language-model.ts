/**
 * A language model behind an OpenAI-compatible API. The API key is sent only to that address, and errors do not
 * contain it.
 */
import { createHash } from 'node:crypto';
import { truncateText } from '../database/storable-text.ts';

export interface ModelRequest {
  /** Instructions for the model. */
  instructions: string;
  /** Data that the instructions refer to. */
  content: string;
  /** JSON Schema of the response, for models that support it. */
  schema: Record<string, unknown>;
  signal: AbortSignal;
}

export interface ModelAnswer {
  text: string;
  /** Null if not reported. */
  inputTokens: number | null;
  outputTokens: number | null;
}

export interface LanguageModel {
  readonly name: string;
  /** @throws LanguageModelError */
  ask(request: ModelRequest): Promise<ModelAnswer>;
}

interface ErrorResponse {
  status?: number | null;
  retryAfter?: string | null;
  body?: string;
  /** Secret to keep out of the log. */
  apiKey?: string | null;
}

/**
 * The message is human-readable and contains no secrets. An error response may repeat the request, with what people
 * said: only parts of it are logged.
 */
export class LanguageModelError extends Error {
  override name = 'LanguageModelError';
  readonly status: number | null;
  readonly retryAfterSeconds: number | null;
  /** Type, code, parameter and message of the error response, for the log; null without any. */
  readonly detail: string | null;
  /** Private, since the log contains all other members. */
  readonly #body: string;

  constructor(
    message: string,
    { status = null, retryAfter = null, body = '', apiKey = null }: ErrorResponse = {},
  ) {
    super(message);
    this.status = status;
    const seconds = Number(retryAfter ?? Number.NaN);
    this.retryAfterSeconds = Number.isFinite(seconds) ? Math.min(seconds, 3600) : null;
    this.detail = detailOf(body, apiKey);
    this.#body = body;
  }

  /** Whether the start of the error response contains a word. */
  mentions(word: string): boolean {
    return this.#body.slice(0, MAX_EXCERPT).includes(word);
  }

  /** Whether another attempt may succeed: false if the request was refused, or its answer cannot be read. */
  get isTransient(): boolean {
    const { status } = this;
    return status === null || status >= 500 || [408, 409, 425, 429].includes(status);
  }
}

export interface LanguageModelSettings {
  /** Address to which `/chat/completions` is appended. */
  baseUrl: string;
  apiKey: string | null;
  model: string;
  timeoutMs?: number;
}

const MAX_BODY_BYTES = 1_000_000;
/** Length of the part of an error response that is searched for the reason. */
const MAX_EXCERPT = 1_000;
/** Maximum length of what is logged of an error response, and of each of its members but the message. */
const MAX_DETAIL = 200;
const MAX_DETAIL_MEMBER = 40;
/** Response formats in order of preference. A request gets the first one that the model accepts for its schema. */
const FORMATS = ['json_schema', 'json_object', null] as const;
/** Maximum number of schemas for which another format than the first is remembered. */
const MAX_SCHEMAS = 1_000;
/** Statuses of a request that may be accepted with other parameters. */
const REFUSED = [400, 404, 415, 422];

export function createLanguageModel(settings: LanguageModelSettings): LanguageModel {
  const { model, timeoutMs = 60_000 } = settings;
  /** Index of the accepted format, by schema. */
  const formats = new Map<string, number>();
  /** Whether the model may accept a temperature. Reasoning models do not. */
  let hasTemperature = true;

  async function ask(request: ModelRequest): Promise<ModelAnswer> {
    const schema = createHash('sha256').update(JSON.stringify(request.schema)).digest('base64');
    let format = formats.get(schema) ?? 0;
    for (let withTemperature = hasTemperature; ; ) {
      try {
        const answer = await send(settings, timeoutMs, {
          signal: request.signal,
          body: {
            model,
            ...(withTemperature ? { temperature: 0 } : {}),
            messages: [
              { role: 'system', content: request.instructions },
              { role: 'user', content: request.content },
            ],
            ...formatOf(FORMATS[format] ?? null, request.schema),
          },
        });
        hasTemperature = withTemperature;
        if (formats.size >= MAX_SCHEMAS) formats.clear();
        if (format > 0) formats.set(schema, format);
        return answer;
      } catch (error) {
        if (!(error instanceof LanguageModelError) || !REFUSED.includes(error.status ?? 0)) {
          throw error;
        }
        // The word may also be part of the schema. It was not the reason if the next request is refused, too.
        if (withTemperature && error.mentions('temperature')) {
          withTemperature = false;
        } else if (format < FORMATS.length - 1) {
          format += 1;
          withTemperature = hasTemperature;
        } else throw error;
      }
    }
  }
  return { name: model, ask };
}

function formatOf(format: (typeof FORMATS)[number], schema: Record<string, unknown>): object {
  if (format === null) return {};
  if (format === 'json_object') return { response_format: { type: format } };
  const json_schema = { name: 'answer', schema, strict: false };
  return { response_format: { type: format, json_schema } };
}

async function send(
  { baseUrl, apiKey }: LanguageModelSettings,
  timeoutMs: number,
  { signal, body }: { signal: AbortSignal; body: object },
): Promise<ModelAnswer> {
  const deadline = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${baseUrl.replace(/\/+$/, '')}/chat/completions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}),
      },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.any([signal, deadline]),
    });
    text = await readText(response);
  } catch (error) {
    if (error instanceof LanguageModelError) throw error;
    if (deadline.aborted) {
      throw new LanguageModelError(
        `The language model did not respond within ${timeoutMs / 1000} s.`,
      );
    }
    throw new LanguageModelError('The language model could not be reached.');
  }
  if (!response.ok) {
    throw new LanguageModelError(`The language model responded with status ${response.status}.`, {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      body: text,
      apiKey,
    });
  }
  return readAnswer(text, response.status);
}

/** The members of an error response in OpenAI's format; null without any. */
function detailOf(body: string, apiKey: string | null): string | null {
  let response: { error?: Record<string, unknown> | null } | null;
  try {
    response = JSON.parse(body);
  } catch {
    return null;
  }
  const textOf = (value: unknown): string => {
    const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
    return apiKey ? text.replaceAll(apiKey, '[API key]') : text;
  };
  const { type, code, param, message } = response?.error ?? {};
  const members = [type, code, param].map((value) => textOf(value).slice(0, MAX_DETAIL_MEMBER));
  const detail = [...members, textOf(message)].filter((text) => text !== '').join(' ');
  return truncateText(detail, MAX_DETAIL) || null;
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) {
      const { status } = response;
      throw new LanguageModelError('The response of the language model is too long.', { status });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

interface Completion {
  choices?: { message?: { content?: unknown; refusal?: unknown } }[];
  usage?: { prompt_tokens?: unknown; completion_tokens?: unknown };
}

function readAnswer(text: string, status: number): ModelAnswer {
  let completion: Completion | null;
  try {
    completion = JSON.parse(text) as Completion | null;
  } catch {
    throw new LanguageModelError('The address of the language model did not return JSON.', {
      status,
    });
  }
  const content = completion?.choices?.[0]?.message?.content;
  const count = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : null);
  return {
    text: typeof content === 'string' ? content : '',
    inputTokens: count(completion?.usage?.prompt_tokens),
    outputTokens: count(completion?.usage?.completion_tokens),
  };
}
