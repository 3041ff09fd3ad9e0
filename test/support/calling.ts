/** Prepares calls through GraphQL: a voice, an agent and a phone number. */
import { newId } from '../../src/infra/ids.ts';
import type { GraphQLClient } from './graphql.ts';
import { until } from './wait.ts';

const ERRORS = 'userErrors { code message path }';

interface Selection {
  fields: string;
  headers: Record<string, string>;
}

/** Runs a mutation and returns its payload. Throws on any error. */
export async function runMutation(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  selection: string | Selection,
) {
  const { fields, headers } =
    typeof selection === 'string' ? { fields: selection, headers: {} } : selection;
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

/** Columns of the row of a call that Ultravox has accepted. */
export const accepted = () =>
  ({ placement: 'ACCEPTED', ultravoxId: newId(), claimedAt: new Date() }) as const;

export interface Caller {
  agentId: string;
  voiceId: string;
  phoneNumber: string;
  /** Creates a call and returns it as given in the response. */
  call(
    phoneNumber?: string,
    headers?: Record<string, string>,
  ): Promise<{ id: string; status: string }>;
}

let last = 1000;

/** Creates an ACTIVE agent with an outbound SIP number. */
export async function prepareCaller(client: GraphQLClient): Promise<Caller> {
  const voiceId = await until('the voices', async () => {
    const { data } = await client.send('{ voices(first: 1) { nodes { id } } }');
    return data?.voices.nodes[0]?.id as string | undefined;
  });
  const { agent } = await runMutation(
    client,
    'createAgent',
    { name: 'Ada', systemPrompt: 'You are Ada.', voiceId },
    'agent { id status }',
  );
  last += 1;
  const phoneNumber = `+1415666${last}`;
  const { phoneNumber: number } = await runMutation(
    client,
    'importPhoneNumber',
    {
      phoneNumber,
      provider: { sip: { server: 'sip.example.com', username: 'desk', password: 'secret-1' } },
    },
    'phoneNumber { id }',
  );
  await runMutation(
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
      const selection = { fields: 'call { id status }', headers };
      return (await runMutation(client, 'createCall', input, selection)).call;
    },
  };
}
