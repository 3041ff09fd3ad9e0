/** The server that the suites in this folder share, and a caller whose agent has criteria and a schema. */
import { afterAll, beforeAll } from 'vitest';
import { type Caller, dataOf, newCaller, setSimulator } from '../calls/support.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

export const SCHEMA = {
  type: 'object',
  properties: { day: { type: 'string' }, people: { type: 'integer', minimum: 2 } },
  required: ['day', 'people'],
  additionalProperties: false,
};

export let server: TestServer;
export let caller: Caller;

export const CALL = `id status outcome { success reason } extractedData
  analysis { status error omitted model durationSeconds inputTokens outputTokens analyzedAt }
  events(first: 50) { nodes { type } }`;

export async function read(id: string) {
  const query = `query ($id: ID!) { call(id: $id) { ${CALL} } }`;
  return dataOf(await caller.client.send(query, { id })).call;
}

export const analyzed = (id: string, status: string) =>
  until(`the analysis to be ${status}`, async () => {
    const call = await read(id);
    if (call.analysis.status !== status) throw new Error(JSON.stringify(call.analysis));
    return call;
  });

export const analyze = async (id: string) => {
  const mutation = `mutation ($id: ID!) { analyzeCall(input: { id: $id }) {
    call { analysis { status } } userErrors { code message path } } }`;
  return dataOf(await caller.client.send(mutation, { id })).analyzeCall;
};

export async function withModel<T>(modelAnswers: string, work: () => Promise<T>): Promise<T> {
  await setSimulator(server, { modelAnswers });
  return work().finally(() => setSimulator(server, { modelAnswers: 'good' }));
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useAnalysisServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ simulator: { summaryDelaySeconds: 1 } });
    caller = await newCaller(server, {
      successCriteria: 'An appointment was made.',
      extractionSchema: SCHEMA,
    });
  });
  afterAll(() => server.close());
}
