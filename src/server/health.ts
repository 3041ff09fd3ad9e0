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
  let running: Promise<PlainResponse> | null = null;
  let latest: { response: PlainResponse; at: number } | null = null;

  async function check(): Promise<PlainResponse> {
    let response: PlainResponse;
    try {
      const failedWebhooks = await countFailedWebhooks();
      response = respond(200, { status: 'ok', failedWebhooks });
    } catch (error) {
      app.failures.record('health', error);
      response = respond(503, { status: 'unavailable' });
    }
    latest = { response, at: performance.now() };
    running = null;
    return response;
  }

  return async () => {
    if (latest && performance.now() - latest.at < MAX_AGE_MS) return latest.response;
    running ??= withTimeout(check());
    return running;
  };
}

/** Limits the wait to TIMEOUT_MS. After that, all requests get 503 immediately until the query ends. */
async function withTimeout(response: Promise<PlainResponse>): Promise<PlainResponse> {
  const stop = new AbortController();
  const late = pause(TIMEOUT_MS, respond(503, { status: 'unavailable' }), { signal: stop.signal });
  late.catch(() => undefined);
  try {
    return await Promise.race([response, late]);
  } finally {
    stop.abort();
  }
}

function respond(status: number, body: Record<string, unknown>): PlainResponse {
  return { status, body: JSON.stringify(body), contentType: 'application/json' };
}
