/** Sends operations over every transport. */
import { openSocket } from '../../support/subscribe.ts';
import type { Operation } from './operations.ts';

export interface Answered {
  /** Null over a socket. */
  status: number | null;
  text: string;
}

const WATCH_MS = 100;

/** Over HTTP; a subscription is read for a moment and then cut off. */
export async function sendOverHttp(
  url: string,
  key: string | null,
  { kind, document, variables }: Operation,
): Promise<Answered> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(kind === 'subscription' ? { accept: 'text/event-stream' } : {}),
      ...(key ? { authorization: `Bearer ${key}` } : {}),
    },
    body: JSON.stringify({ query: document, variables }),
  });
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
  if (!isStream || !response.body) return { status: response.status, text: await response.text() };
  const reader = response.body.getReader();
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), WATCH_MS);
  let text = '';
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    text += Buffer.from(chunk.value).toString();
  }
  clearTimeout(timer);
  return { status: response.status, text };
}

/** Over a socket of its own; a subscription is read for a moment. */
export async function sendOverSocket(
  url: string,
  key: string | null,
  { document: query, variables }: Operation,
): Promise<Answered> {
  const client = openSocket(url, key);
  const results = client.iterate({ query, variables });
  const timer = setTimeout(() => void results.return?.(), WATCH_MS * 3);
  const answers: unknown[] = [];
  try {
    for await (const result of results) answers.push(result);
  } catch (error) {
    // Errors of the operation, or a close event.
    answers.push(Array.isArray(error) ? { errors: error } : { closed: String(error) });
  } finally {
    clearTimeout(timer);
    await client.dispose();
  }
  return { status: null, text: JSON.stringify(answers) };
}
