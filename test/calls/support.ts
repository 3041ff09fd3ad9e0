/** Helpers shared by the call tests: an agent with a number, and views of calls from both sides. */
import { parsePublicId } from '../../src/ids.ts';
import { anyVoice } from '../agents/support.ts';
import type { Answer, GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

export const CALL = `
  id status endReason failure direction medium phoneNumber fromNumber toNumber recordingEnabled
  variables metadata settings { recordingEnabled greeting maxDuration joinTimeout }
  agent { id } number { id phoneNumber } createdAt ringingAt answeredAt endedAt endRequestedAt
  durationSeconds billingStatus billedDurationSeconds cost { amount currency }
  events(first: 100) { totalCount nodes { sequence cursor type status endReason } }`;

// biome-ignore lint/suspicious/noExplicitAny: whatever CALL asks for
export type CallView = any;

interface Problem {
  code: string;
  message: string;
  path: string[];
  retryAt: string | null;
}

const FIELDS: Record<string, string> = {
  createCall: `call { ${CALL} }`,
  startTestCall: `joinUrl call { ${CALL} }`,
  endCall: `call { ${CALL} }`,
  deleteCalls: 'deletedCallIds',
  importPhoneNumber: 'phoneNumber { id }',
  assignPhoneNumber: 'phoneNumber { id }',
  unassignPhoneNumber: 'phoneNumber { id }',
  createAgent: 'agent { id status }',
  updateAgent: 'agent { id }',
};

/** The payload of a mutation, user errors included. */
export async function run(
  client: GraphQLClient,
  name: string,
  input: object,
  headers: Record<string, string> = {},
  // biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
): Promise<any> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${FIELDS[name]} userErrors { code message path retryAt } } }`,
    { input },
    { headers },
  );
  return dataOf(answer)[name];
}

/** The payload of a mutation that must have had nothing to complain of. */
// biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
export async function done(client: GraphQLClient, name: string, input: object): Promise<any> {
  const payload = await run(client, name, input);
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors, null, 2));
  return payload;
}

export function dataOf(answer: Answer) {
  if (answer.errors) throw new Error(JSON.stringify(answer.errors, null, 2));
  return answer.data;
}

export function problemsOf(payload: { userErrors: Problem[] }): string[] {
  return payload.userErrors.map(({ code, path }) => `${code} ${path.join('.')}`).sort();
}

export const uuidOf = (id: string): string => {
  const parsed = parsePublicId(id);
  if (!parsed) throw new Error(`${id} is no public id`);
  return parsed.uuid;
};

let lastPerson = 600_100;
/** A possible number that no test has used, and that the simulator does not steer. */
export function newPerson(): string {
  lastPerson += 1;
  return `+14155${lastPerson}`;
}

/** The number at the simulator's end of which this happens, see docs/simulator.md. */
export const steered = (lastFour: string): string => `+1415557${lastFour}`;

export interface Caller {
  client: GraphQLClient;
  agentId: string;
  numberId: string;
  ownNumber: string;
}

let lastOwn = 1000;
const newOwnNumber = (): string => {
  lastOwn += 1;
  return `+1650555${lastOwn}`;
};

export async function makeAgent(
  server: TestServer,
  { client, organizationId, ...fields }: CallerOptions = {},
): Promise<string> {
  const voiceId = await anyVoice(server, organizationId ?? server.organizationId);
  const { agent } = await done(client ?? server.client, 'createAgent', {
    name: 'Maria',
    voiceId,
    systemPrompt: 'You are Maria.',
    ...fields,
  });
  if (agent.status !== 'ACTIVE') throw new Error(`The agent is ${agent.status}`);
  return agent.id;
}

export async function addNumber(
  client: GraphQLClient,
  agentId: string,
  directions: ('INBOUND' | 'OUTBOUND')[] = ['OUTBOUND'],
  provider: object = {
    sip: { server: 'sip.example.com', username: 'desk', password: 'sip-password' },
  },
): Promise<{ id: string; phoneNumber: string }> {
  const phoneNumber = newOwnNumber();
  const imported = await done(client, 'importPhoneNumber', { phoneNumber, provider });
  const { id } = imported.phoneNumber;
  for (const direction of directions) {
    await done(client, 'assignPhoneNumber', { id, agentId, direction });
  }
  return { id, phoneNumber };
}

export interface CallerOptions {
  client?: GraphQLClient;
  organizationId?: string;
  [field: string]: unknown;
}

/** An ACTIVE agent with an outbound SIP number. */
export async function newCaller(server: TestServer, options: CallerOptions = {}): Promise<Caller> {
  const client = options.client ?? server.client;
  const agentId = await makeAgent(server, options);
  const number = await addNumber(client, agentId);
  return { client, agentId, numberId: number.id, ownNumber: number.phoneNumber };
}

/** A call that was accepted, whatever becomes of it. */
export async function dial(
  { client, agentId }: Pick<Caller, 'client' | 'agentId'>,
  phoneNumber: string = newPerson(),
  more: object = {},
): Promise<CallView> {
  return (await done(client, 'createCall', { agentId, phoneNumber, ...more })).call;
}

/** A call in which both talk until somebody ends it, so that a slow test still finds it live. */
export async function dialLong(
  server: TestServer,
  caller: Pick<Caller, 'client' | 'agentId'>,
  phoneNumber?: string,
): Promise<CallView> {
  const { talkSeconds } = server.simulator.settings();
  await setSimulator(server, { talkSeconds: 100_000 });
  return dial(caller, phoneNumber).finally(() => setSimulator(server, { talkSeconds }));
}

/** The payload with its user errors, for a call that Ultravox refuses. */
export function tryToDial(
  { client, agentId }: Pick<Caller, 'client' | 'agentId'>,
  phoneNumber: string = newPerson(),
  // biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
): Promise<any> {
  return run(client, 'createCall', { agentId, phoneNumber });
}

export async function callOf(client: GraphQLClient, id: string): Promise<CallView> {
  const answer = await client.send(`query ($id: ID!) { call(id: $id) { ${CALL} } }`, { id });
  return dataOf(answer).call;
}

const ENDED = ['COMPLETED', 'FAILED', 'CANCELLED'];
export const isEnded = (call: CallView): boolean => ENDED.includes(call.status);
export const isBilled = (call: CallView): boolean =>
  isEnded(call) && call.billingStatus !== 'PENDING';

type Condition = (call: CallView) => boolean;

/** Waits until a call is `what`: until the condition holds. Returns the call. */
export function waitForCall(
  client: GraphQLClient,
  id: string,
  what: string,
  condition: Condition | { holds: Condition; timeoutMs: number },
): Promise<CallView> {
  const { holds, timeoutMs } =
    typeof condition === 'function' ? { holds: condition, timeoutMs: undefined } : condition;
  return until(
    `${id} to be ${what}`,
    async () => {
      const call = await callOf(client, id);
      if (!holds(call)) throw new Error(`Not ${what}: ${JSON.stringify(call)}`);
      return call;
    },
    timeoutMs,
  );
}

export const typesOf = (call: CallView): string[] =>
  call.events.nodes.map(({ type }: { type: string }) => type);

/** Waits until a call is answered, and has the person say something. */
export async function say(
  server: TestServer,
  client: GraphQLClient,
  id: string,
  texts: readonly string[],
): Promise<void> {
  await waitForCall(client, id, 'live', ({ answeredAt }) => answeredAt !== null);
  const { ultravoxId } = await rowOf(server, id);
  for (const text of texts) {
    const path = `/api/calls/${ultravoxId}/send_data_message`;
    const { status } = await atSimulator(server, 'POST', path, { type: 'user_text_message', text });
    if (status !== 204) throw new Error(`Ultravox answered ${status} to what the person says`);
  }
}

/** Sends a request to the simulator over HTTP. */
export async function atSimulator(
  { simulator }: Pick<TestServer, 'simulator'>,
  method: string,
  path: string,
  body?: unknown,
  // biome-ignore lint/suspicious/noExplicitAny: as docs/simulator.md says
): Promise<{ status: number; body: any }> {
  const response = await fetch(`${simulator.url}${path}`, {
    method,
    headers: { 'x-api-key': simulator.apiKey, 'content-type': 'application/json' },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : null };
}

export async function setFaults(server: TestServer, faults: object[]): Promise<void> {
  const { status, body } = await atSimulator(server, 'PUT', '/simulator/faults', {
    seed: 1,
    faults,
  });
  if (status !== 200) throw new Error(JSON.stringify(body));
}

export async function setSimulator(server: TestServer, settings: object): Promise<void> {
  const { status, body } = await atSimulator(server, 'PATCH', '/simulator/settings', settings);
  if (status !== 200) throw new Error(JSON.stringify(body));
}

/** Ends the pause that Ultravox has asked for. */
export const resumeCreations = ({ app }: TestServer) => app.db.creationRefusal.deleteMany();

/** How often this call has made a phone ring, and with what. */
export async function dialsOf(server: TestServer, callId: string) {
  const { body } = await atSimulator(server, 'GET', '/simulator/dials');
  return body.results.filter(
    (each: { metadata: { callId?: string } }) => each.metadata.callId === callId,
  );
}

export const rowOf = ({ app }: Pick<TestServer, 'app'>, id: string) =>
  app.db.call.findUniqueOrThrow({ where: { id: uuidOf(id) } });

/** The call as Ultravox has it. */
export async function remoteCallOf(server: TestServer, id: string) {
  const { ultravoxId } = await rowOf(server, id);
  return atSimulator(server, 'GET', `/api/calls/${ultravoxId}`);
}
