/** The server that the suites of the steps after a call share. */
import { afterAll, beforeAll } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { type Caller, dataOf, newCaller } from '../support.ts';

export const AFTER = `
  id status summary shortSummary answeredBy answeredByEvidence doNotCallRequested doNotCallQuote dncRequested dncQuote
  postCallSteps { kind status attempts nextAttemptAt detail finishedAt }
  transcript(first: 100) {
    totalCount
    nodes { position speaker text startSeconds endSeconds toolName toolArguments toolResult stage }
  }
  events(first: 100) { nodes { type sequence } }`;

export let server: TestServer;
export let caller: Caller;

// biome-ignore lint/suspicious/noExplicitAny: whatever AFTER asks for
export async function resultsOf(id: string): Promise<any> {
  const answer = await caller.client.send(`query ($id: ID!) { call(id: $id) { ${AFTER} } }`, {
    id,
  });
  return dataOf(answer).call;
}

export type Step = { kind: string; status: string; attempts: number; detail: string | null };

export const stepOf = (call: { postCallSteps: Step[] }, kind: string) =>
  call.postCallSteps.find((step) => step.kind === kind);

export const finished = (id: string) =>
  until(
    `the steps of ${id}`,
    async () => {
      const call = await resultsOf(id);
      const { postCallSteps: steps } = call;
      if (steps.length > 0 && steps.every(({ status }: Step) => status !== 'PENDING')) return call;
      throw new Error(JSON.stringify(steps));
    },
    30_000,
  );

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function usePostCallServer(): void {
  beforeAll(async () => {
    server = await startTestServer({
      simulator: { summaryDelaySeconds: 1, talkSeconds: 20 },
      settings: { TRANSCRIPT_RETENTION_DAYS: '30' },
    });
    caller = await newCaller(server, { builtInConfig: { hangUp: true, leaveVoicemail: true } });
  });
  afterAll(() => server.close());
}
