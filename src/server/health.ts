/** `/health`: whether this process reaches its database. */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../app.ts';
import type { PlainEndpoint, PlainResponse } from './http/plain-endpoint.ts';

/** An answer is repeated for this long, so that many requests cost one query. */
const MAX_AGE_MS = 1_000;
/** A database that takes longer counts as away. */
const TIMEOUT_MS = 3_000;

/**
 * Answers 200, or 503 while the database is away. Requests that come at once share a query, and none is
 * sent while the last one is unanswered.
 *
 * @param countFailedWebhooks the query, which also proves that the database answers
 */
export function health(
  app: Pick<App, 'failures'>,
  countFailedWebhooks: () => Promise<number>,
): PlainEndpoint {
  let asking: Promise<PlainResponse> | null = null;
  let latest: { answer: PlainResponse; at: number } | null = null;

  async function ask(): Promise<PlainResponse> {
    let answer: PlainResponse;
    try {
      const failedWebhooks = await countFailedWebhooks();
      answer = respond(200, { status: 'ok', failedWebhooks });
    } catch (error) {
      app.failures.record('health', error);
      answer = respond(503, { status: 'unavailable' });
    }
    latest = { answer, at: performance.now() };
    asking = null;
    return answer;
  }

  return async () => {
    if (latest && performance.now() - latest.at < MAX_AGE_MS) return latest.answer;
    asking ??= inTime(ask());
    return asking;
  };
}

/** Once the time is up, everybody is answered at once until the query ends. */
async function inTime(answer: Promise<PlainResponse>): Promise<PlainResponse> {
  const stop = new AbortController();
  const late = pause(TIMEOUT_MS, respond(503, { status: 'unavailable' }), { signal: stop.signal });
  late.catch(() => undefined);
  try {
    return await Promise.race([answer, late]);
  } finally {
    stop.abort();
  }
}

function respond(status: number, body: Record<string, unknown>): PlainResponse {
  return { status, body: JSON.stringify(body), contentType: 'application/json' };
}
