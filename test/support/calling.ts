/** What it takes to make calls: a voice, an agent and a number, made through GraphQL. */
import type { GraphQLClient } from './graphql.ts';
import { until } from './wait.ts';

const ERRORS = 'userErrors { code message path }';

/** Runs one mutation and gives its payload; fails on every kind of error. */
export async function perform(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  fields: string,
  headers: Record<string, string> = {},
) {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} ${ERRORS} } }`,
    { input },
    { headers },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  const payload = answer.data[name];
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors));
  return payload;
}

export interface Caller {
  agentId: string;
  voiceId: string;
  phoneNumber: string;
  /** Calls somebody; the call as it is in the answer. */
  call(
    phoneNumber?: string,
    headers?: Record<string, string>,
  ): Promise<{ id: string; status: string }>;
}

let last = 1000;

/** An organization's first agent, active, with a SIP number to call from. */
export async function prepareCaller(client: GraphQLClient): Promise<Caller> {
  const voiceId = await until('the voices', async () => {
    const { data } = await client.send('{ voices(first: 1) { nodes { id } } }');
    return data?.voices.nodes[0]?.id as string | undefined;
  });
  const { agent } = await perform(
    client,
    'createAgent',
    { name: 'Ada', systemPrompt: 'You are Ada.', voiceId },
    'agent { id status }',
  );
  last += 1;
  const phoneNumber = `+1415666${last}`;
  const { phoneNumber: number } = await perform(
    client,
    'importPhoneNumber',
    {
      phoneNumber,
      provider: { sip: { server: 'sip.example.com', username: 'desk', password: 'secret-1' } },
    },
    'phoneNumber { id }',
  );
  await perform(
    client,
    'assignPhoneNumber',
    { id: number.id, agentId: agent.id, direction: 'OUTBOUND' },
    'phoneNumber { id }',
  );
  await until('the agent', async () => {
    const { data } = await client.send('query ($id: ID!) { agent(id: $id) { status } }', {
      id: agent.id,
    });
    return data.agent.status === 'ACTIVE';
  });
  return {
    agentId: agent.id,
    voiceId,
    phoneNumber,
    async call(to = '+14155550142', headers = {}) {
      const input = { agentId: agent.id, phoneNumber: to };
      return (await perform(client, 'createCall', input, 'call { id status }', headers)).call;
    },
  };
}
