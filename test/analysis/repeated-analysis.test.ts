/** A language model is asked only once per analysis, whatever else happens. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Caller, dataOf, dial, newCaller, uuidOf } from '../calls/support.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import {
  startTestLanguageModel,
  type TestLanguageModel,
} from '../support/servers/language-model.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

const PATIENCE_MS = 60_000;

let model: TestLanguageModel;
let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  model = await startTestLanguageModel();
  server = await startTestServer({
    settings: { ANALYSIS_BASE_URL: model.url, ANALYSIS_MODEL: 'test' },
  });
});
afterAll(async () => {
  await server?.close();
  await model?.close();
});
beforeEach(async () => {
  caller = await newCaller(server, { successCriteria: 'An appointment was made.' });
});

afterEach(() => model.release());

async function send(query: string, variables: object) {
  return dataOf(await caller.client.send(query, variables));
}

/** A call about which the model is being asked, and gives no answer before `model.release()`. */
async function callBeingAnalyzed(): Promise<string> {
  model.hold();
  model.requests.length = 0;
  const { id } = await dial(caller);
  await until('the model to be asked', () => model.waiting() === 1, PATIENCE_MS);
  return id;
}

const analyzed = (id: string) =>
  until(
    'the analysis',
    async () => {
      const query = 'query ($id: ID!) { call(id: $id) { analysis { status error } } }';
      const { analysis } = (await send(query, { id })).call;
      if (analysis.status !== 'DONE') throw new Error(JSON.stringify(analysis));
      return true;
    },
    PATIENCE_MS,
  );

const analyze =
  'mutation ($id: ID!) { analyzeCall(input: { id: $id }) { userErrors { message } } }';
const analyzeAll = `mutation ($agentId: ID!) {
  analyzeCalls(input: { filter: { agentId: $agentId } }) { callCount userErrors { message } } }`;

describe('a language model', () => {
  it('is not asked again by analyzeCall and analyzeCalls while it is being asked', async () => {
    const id = await callBeingAnalyzed();
    expect((await send(analyze, { id })).analyzeCall.userErrors).toEqual([]);
    const { agentId } = caller;
    expect((await send(analyzeAll, { agentId })).analyzeCalls).toMatchObject({ callCount: 1 });
    model.release();
    await analyzed(id);
    expect(model.requests).toHaveLength(1);
    await send(analyze, { id });
    await until('another request', () => model.requests.length === 2, PATIENCE_MS);
    await analyzed(id);
  });

  it('is asked about a call that has just ended before those that are analyzed again', async () => {
    const calls = await Promise.all(Array.from({ length: 20 }, () => dial(caller)));
    for (const { id } of calls) await analyzed(id);
    model.hold();
    model.requests.length = 0;
    const { agentId } = caller;
    expect((await send(analyzeAll, { agentId })).analyzeCalls).toMatchObject({ callCount: 20 });
    await until('all requests at once', () => model.waiting() === 8, PATIENCE_MS);
    const { id } = await dial(caller);
    const isDue = async () =>
      (await server.app.db.postCallStep.count({
        where: { callId: uuidOf(id), kind: 'ANALYSIS', nextAttemptAt: { lte: new Date() } },
      })) > 0;
    await until('its analysis to wait', isDue, PATIENCE_MS);
    model.answerWaiting();
    await until('further requests', () => model.waiting() === 8, PATIENCE_MS);
    // The new call is among these eight. The others are held back until the end.
    model.answerWaiting();
    await analyzed(id);
    model.release();
    for (const call of calls) await analyzed(call.id);
    expect(model.requests).toHaveLength(21);
  });

  it('is asked again when the criteria have changed since it was asked', async () => {
    const id = await callBeingAnalyzed();
    const update = `mutation ($id: ID!) {
      updateAgent(input: { id: $id, successCriteria: "They agreed." }) { userErrors { message } } }`;
    expect((await send(update, { id: caller.agentId })).updateAgent.userErrors).toEqual([]);
    await send(analyze, { id });
    await until('another request', () => model.requests.length === 2, PATIENCE_MS);
    expect(model.requests[1]).toContain('They agreed.');
    model.release();
    await analyzed(id);
    expect(model.requests).toHaveLength(2);
  });

  it('is not asked again when its answer could not be saved with the call', async () => {
    const id = await callBeingAnalyzed();
    const { db } = server.app;
    const step = () =>
      db.postCallStep.findUniqueOrThrow({
        where: { callId_kind: { callId: uuidOf(id), kind: 'ANALYSIS' } },
      });
    await db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${uuidOf(id)}::uuid FOR UPDATE`;
        model.release();
        const holder = await sessionOf(tx);
        await untilBlocked(db, { holder, statement: '%AS "organizationId"%' });
        const { attempts } = await step();
        // As when the process had died, and the time for which it holds the step were over.
        await db.$executeRaw`
          UPDATE post_call_steps SET lease_id = NULL, lease_until = NULL
          WHERE call_id = ${uuidOf(id)}::uuid AND kind = 'ANALYSIS'`;
        await until(
          'the next attempt',
          async () => (await step()).attempts > attempts,
          PATIENCE_MS,
        );
      },
      { timeout: 2 * PATIENCE_MS },
    );
    await analyzed(id);
    expect(model.requests).toHaveLength(1);
    expect((await step()).partialResult).toBeNull();
  });
});
