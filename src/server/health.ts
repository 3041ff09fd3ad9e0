/** `/health`: whether this process can reach its database. */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../app.ts';
import type { PlainEndpoint, PlainResponse } from './http/plain-endpoint.ts';

/** Time for which an answer is reused, so that many requests cost one query. */
const MAX_AGE_MS = 1_000;
/** A database that takes longer counts as unavailable. */
const TIMEOUT_MS = 3_000;

/**
 * Answers 200, or 503 while the database is unavailable. Concurrent requests share a query, and no query is
 * sent while the last one is unanswered.
 *
 * @param countFailedWebhooks runs the query, which also proves that the database answers
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

/** Limits the wait to TIMEOUT_MS. After that, all requests get 503 immediately until the query ends. */
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
