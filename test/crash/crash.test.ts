/** Mutations that are repeated with their idempotency keys after the server was killed at random points. */
import { Client } from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FaultInput } from '../../src/simulator/faults.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { randomFrom, waitRandomly } from '../support/random.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { until } from '../support/wait.ts';

/** For longer runs: `CRASH_ROUNDS=90 CRASH_SEED=7 npx vitest run test/crash`. */
const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 6);
const SEED = Number(process.env.CRASH_SEED ?? 20261120);

let database: TestDatabase;
let simulator: Simulator;
let server: ServerProcess;
let client: GraphQLClient;
let caller: Caller;
let sql: Client;

// Before each try, so that a repetition does not find the keys and agents of the one that failed.
beforeEach(async () => {
  database = await createTestDatabase();
  simulator = await startSimulator({ speed: 50, settings: { talkSeconds: 5 } });
  server = await startServerProcess({ databaseUrl: database.url, simulator });
  client = createClient(server.url, server.firstKey);
  caller = await prepareCaller(client);
  sql = new Client({ connectionString: database.url });
  await sql.connect();
});
afterEach(async () => {
  await sql?.end();
  await server?.stop();
  await simulator?.close();
  await database?.drop();
});

interface Change {
  name: string;
  input: Record<string, unknown>;
  /** The field of the payload with the object. */
  object: 'agent' | 'call';
  key: string;
}

/** The id of the object; null if the server was killed before it answered. */
async function attempt({ name, input, object, key }: Change): Promise<string | null> {
  const headers = { 'x-idempotency-key': key };
  try {
    const selection = { fields: `${object} { id }`, headers };
    return (await runMutation(client, name, input, selection))[object].id;
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

const newAgent = (name: string): Record<string, unknown> => ({
  name,
  systemPrompt: `You are ${name}.`,
  voiceId: caller.voiceId,
});

/** Faults that delay requests to Ultravox while the process is killed, or lose their responses. */
function weather(random: () => number): FaultInput[] {
  const ms = Math.round(100 + random() * 300);
  const kinds: FaultInput[][] = [
    [],
    [{ kind: 'slow', ms, path: '/(agents|calls)' }],
    [{ kind: 'dropAfter', method: 'POST', path: '/(agents|calls)$', probability: 0.5 }],
    [{ kind: 'timeout', method: 'POST', path: '/(agents|calls)$', probability: 0.5 }],
  ];
  return kinds[Math.floor(random() * kinds.length)]!;
}

async function firstRequest(since: string): Promise<void> {
  await until('a request at Ultravox', () =>
    simulator
      .requests()
      .some(
        ({ at, method, path }) => at >= since && method === 'POST' && path.endsWith('/api/agents'),
      ),
  );
}

it('repeats createCall, createAgent, updateAgent and deleteAgent without duplicates after kill -9', async () => {
  const random = randomFrom(SEED);
  const edited = (await runMutation(client, 'createAgent', newAgent('Edited'), 'agent { id }'))
    .agent.id;
  const doomed: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const made = await runMutation(
      client,
      'createAgent',
      newAgent(`Doomed ${round}`),
      'agent { id }',
    );
    doomed.push(made.agent.id);
  }
  const calls: string[] = [];
  const created: string[] = [];
  const seen = { answeredBefore: 0, cutOff: 0 };

  for (let round = 0; round < ROUNDS; round += 1) {
    const changes: Change[] = [
      {
        name: 'createCall',
        input: { agentId: caller.agentId, phoneNumber: '+14155550142' },
        object: 'call',
        key: `call-${round}`,
      },
      {
        name: 'createAgent',
        input: newAgent(`Made ${round}`),
        object: 'agent',
        key: `made-${round}`,
      },
      {
        name: 'updateAgent',
        input: { id: edited, systemPrompt: `Prompt ${round}` },
        object: 'agent',
        key: `edited-${round}`,
      },
      {
        name: 'deleteAgent',
        input: { id: doomed[round] },
        object: 'agent',
        key: `doomed-${round}`,
      },
    ];
    simulator.setFaults(weather(random), SEED + round);
    const began = new Date().toISOString();
    const first = Promise.all(changes.map(attempt));
    // Half of the kills come at any time, the others after a request to create an agent.
    if (round % 2 === 1) await firstRequest(began);
    await waitRandomly(random, 60);
    await server.kill();
    const before = await first;
    simulator.clearFaults();
    await server.restart();
    // Expires the leases of the killed runs.
    await sql.query(
      'UPDATE idempotency_keys SET lease_until = now() WHERE lease_until IS NOT NULL',
    );
    const after = await Promise.all(changes.map(attempt));
    before.forEach((id, index) => {
      if (id === null) seen.cutOff += 1;
      else {
        seen.answeredBefore += 1;
        expect(after[index]).toBe(id);
      }
    });
    expect(after[2]).toBe(edited);
    expect(after[3]).toBe(doomed[round]);
    calls.push(after[0]!);
    created.push(after[1]!);
  }
  expect(seen.cutOff).toBeGreaterThan(0);
  const repeated = await Promise.all(
    calls.map((_, round) =>
      attempt({
        name: 'createCall',
        input: { agentId: caller.agentId, phoneNumber: '+14155550142' },
        object: 'call',
        key: `call-${round}`,
      }),
    ),
  );
  expect(repeated).toEqual(calls);
  expect(new Set(calls).size).toBe(ROUNDS);
  expect(new Set(created).size).toBe(ROUNDS);

  await agentsAgree([caller.agentId, edited, ...created], doomed);
  const prompts = new Map((await agentsAtUltravox()).map(({ id, prompt }) => [id, prompt]));
  expect(prompts.get(edited)).toBe(`Prompt ${ROUNDS - 1}`);
  await callsAgree(calls);
}, 600_000);

/** Ultravox has each live agent once with its newest content, and no deleted agent. */
async function agentsAgree(live: readonly string[], deleted: readonly string[]): Promise<void> {
  await until(
    'all agents to be in step',
    async () => {
      const { data } = await client.send(
        '{ agents(first: 100) { nodes { id status isInSync systemPrompt } } }',
      );
      const ours = data.agents.nodes as {
        id: string;
        status: string;
        isInSync: boolean;
        systemPrompt: string;
      }[];
      expect(ours.map(({ id }) => id).sort()).toEqual([...live].sort());
      expect(ours.filter(({ status, isInSync }) => status !== 'ACTIVE' || !isInSync)).toEqual([]);
      const theirs = await agentsAtUltravox();
      expect(theirs.filter(({ id }) => deleted.includes(id))).toEqual([]);
      const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
      expect(theirs.sort(byId)).toEqual(
        ours.map(({ id, systemPrompt }) => ({ id, prompt: systemPrompt })).sort(byId),
      );
      return true;
    },
    90_000,
  );
}

interface EndedCall {
  id: string;
  status: string;
  endReason: string;
  events: { nodes: { sequence: number }[] };
}

/** Each call was dialed at most once, and has the same end on both sides. */
async function callsAgree(ids: readonly string[]): Promise<void> {
  const ended: EndedCall[] = [];
  for (const id of ids) ended.push(await callEnds(id));
  // Read after all ends: a call that was held back after a refusal is dialed during the wait.
  const dialed = simulator.dials().map(({ metadata }) => String(metadata.callId));
  expect(new Set(dialed).size).toBe(dialed.length);
  for (const { id, status, endReason, events } of ended) {
    expect(events.nodes.map(({ sequence }) => sequence)).toEqual(
      events.nodes.map((_, index) => index + 1),
    );
    expect([id, status, endReason]).toEqual(
      dialed.includes(id) ? [id, 'COMPLETED', 'HANGUP'] : [id, 'FAILED', 'SYSTEM_ERROR'],
    );
  }
}

function callEnds(id: string): Promise<EndedCall> {
  return until(
    'the end of a call',
    async () => {
      const query = `query ($id: ID!) {
        call(id: $id) { id status endReason events { nodes { sequence type } } } }`;
      const { data } = await client.send(query, { id });
      if (['COMPLETED', 'FAILED'].includes(data.call.status)) return data.call;
      throw new Error(`It has not ended: ${JSON.stringify(data.call)}`);
    },
    // Requests without an answer hold the others back for up to a minute.
    120_000,
  );
}

async function agentsAtUltravox(): Promise<{ id: string; prompt: string }[]> {
  interface Page {
    next: string | null;
    results: { name: string; callTemplate: { systemPrompt: string } }[];
  }
  const agents: { id: string; prompt: string }[] = [];
  for (let next: string | null = `${simulator.url}/api/agents?pageSize=100`; next; ) {
    const response: Response = await fetch(next, { headers: { 'x-api-key': simulator.apiKey } });
    const page = (await response.json()) as Page;
    for (const { name, callTemplate } of page.results) {
      agents.push({ id: name.slice(-40), prompt: callTemplate.systemPrompt });
    }
    next = page.next;
  }
  return agents;
}
