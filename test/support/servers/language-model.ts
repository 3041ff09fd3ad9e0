/** A language model for tests, whose answers can be delayed. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestLanguageModel {
  url: string;
  /** The content of each request, in order of arrival. */
  requests: string[];
  /** Number of requests that wait for an answer. */
  waiting(): number;
  /** Holds back the answers to new requests until `release`. */
  hold(): void;
  release(): void;
  /** Answers the requests that wait now; later ones are held back. */
  answerWaiting(): void;
  close(): Promise<void>;
}

const ANSWER = JSON.stringify({ success: true, reason: 'They agreed.' });

export async function startTestLanguageModel(): Promise<TestLanguageModel> {
  const requests: string[] = [];
  const held = new Set<ServerResponse>();
  let holds = false;
  const answer = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ choices: [{ message: { content: ANSWER } }] }));
  };
  const answerWaiting = (): void => {
    for (const response of held) answer(response);
    held.clear();
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { messages } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    requests.push(messages.at(-1).content);
    if (!holds) return answer(response);
    held.add(response);
    response.once('close', () => held.delete(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    waiting: () => held.size,
    hold() {
      holds = true;
    },
    release() {
      holds = false;
      answerWaiting();
    },
    answerWaiting,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
