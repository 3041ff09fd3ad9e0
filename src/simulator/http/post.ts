/** Requests that the simulator sends. */
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

const agents = {
  http: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
  https: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
};

export interface PostResult {
  status: number | null;
  error: string | null;
  body: string;
  headers: NodeJS.Dict<string | string[]>;
}

const MAX_STORED_BODY = 64 * 1024;

/** Posts JSON without following redirects. Never rejects; failures are returned in `error`. */
export function post(
  url: string,
  body: string,
  options: { timeoutMs: number; headers?: Record<string, string>; method?: string },
): Promise<PostResult> {
  return new Promise((resolve) => {
    const failed = (error: string) => resolve({ status: null, error, body: '', headers: {} });
    if (!URL.canParse(url)) {
      failed('invalid URL');
      return;
    }
    const target = new URL(url);
    const secure = target.protocol === 'https:';
    const send = secure ? httpsRequest : httpRequest;
    const deadline = setTimeout(
      () => outgoing.destroy(new Error('no answer in time')),
      options.timeoutMs,
    );
    const outgoing = send(
      target,
      {
        method: options.method ?? 'POST',
        agent: secure ? agents.https : agents.http,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': 'ultravox-simulator',
          ...options.headers,
        },
      },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (part: string) => {
          if (text.length < MAX_STORED_BODY) text += part;
        });
        answer.on('error', (error) => {
          clearTimeout(deadline);
          failed(error.message);
        });
        answer.on('end', () => {
          clearTimeout(deadline);
          resolve({
            status: answer.statusCode ?? null,
            error: null,
            body: text,
            headers: answer.headers,
          });
        });
      },
    );
    outgoing.on('error', (error) => {
      clearTimeout(deadline);
      failed(error.message);
    });
    outgoing.end(body);
  });
}
