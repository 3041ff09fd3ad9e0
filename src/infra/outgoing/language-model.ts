/**
 * A language model behind an OpenAI-compatible API. The API key is sent only to that address, and errors do not
 * contain it.
 */

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

/** The message is human-readable and contains no secrets. */
export class LanguageModelError extends Error {
  override name = 'LanguageModelError';
  readonly status: number | null;
  readonly retryAfterSeconds: number | null;

  constructor(message: string, status: number | null = null, retryAfter: string | null = null) {
    super(message);
    this.status = status;
    const seconds = Number(retryAfter ?? Number.NaN);
    this.retryAfterSeconds = Number.isFinite(seconds) ? Math.min(seconds, 3600) : null;
  }

  /** Whether another attempt may succeed: true unless the request itself was refused. */
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
/** Response formats in order of preference. A model gets the first one that it accepts. */
const FORMATS = ['json_schema', 'json_object', null] as const;

export function createLanguageModel(settings: LanguageModelSettings): LanguageModel {
  const { model, timeoutMs = 60_000 } = settings;
  let format = 0;
  /** Whether the model has accepted the format. A later refusal then concerns the schema of a request. */
  let accepted = false;

  async function ask(request: ModelRequest): Promise<ModelAnswer> {
    for (let used = format; ; used += 1) {
      try {
        const answer = await send(settings, timeoutMs, {
          signal: request.signal,
          body: {
            model,
            temperature: 0,
            messages: [
              { role: 'system', content: request.instructions },
              { role: 'user', content: request.content },
            ],
            ...formatOf(FORMATS[used] ?? null, request.schema),
          },
        });
        if (!accepted) [format, accepted] = [used, true];
        return answer;
      } catch (error) {
        const refused =
          error instanceof LanguageModelError && [400, 404, 415, 422].includes(error.status ?? 0);
        if (!refused || used >= FORMATS.length - 1) throw error;
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
      throw new LanguageModelError(`The language model did not answer in ${timeoutMs / 1000} s.`);
    }
    throw new LanguageModelError('The language model could not be reached.');
  }
  if (!response.ok) {
    throw new LanguageModelError(
      `The language model answered with status ${response.status}.`,
      response.status,
      response.headers.get('retry-after'),
    );
  }
  return readAnswer(text);
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) {
      throw new LanguageModelError('The answer of the language model is too long.');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

interface Completion {
  choices?: { message?: { content?: unknown; refusal?: unknown } }[];
  usage?: { prompt_tokens?: unknown; completion_tokens?: unknown };
}

function readAnswer(text: string): ModelAnswer {
  let completion: Completion | null;
  try {
    completion = JSON.parse(text) as Completion | null;
  } catch {
    throw new LanguageModelError('The address of the language model did not return JSON.');
  }
  const content = completion?.choices?.[0]?.message?.content;
  const count = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : null);
  return {
    text: typeof content === 'string' ? content : '',
    inputTokens: count(completion?.usage?.prompt_tokens),
    outputTokens: count(completion?.usage?.completion_tokens),
  };
}
