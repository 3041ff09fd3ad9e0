/** Servers for the same data, and the operations by which they are compared. */
import type { BenchDatabase } from './database.ts';
import { freePort, type Server, startServer } from './processes.ts';
import { keyOf, prepareThisServer } from './this-server.ts';

const CALL = 'id status phoneNumber createdAt endedAt';
export const OPERATIONS = {
  one: 'query one($id: ID!) { agent(id: $id) { id name status systemPrompt createdAt } }',
  list: `query list { calls(first: 50) { nodes { ${CALL} } } }`,
  tree: 'query tree { agents(first: 10) { nodes { id name calls(first: 10) { nodes { id status number { id phoneNumber name } } } } } }',
  dashboard: `query dashboard {
    viewer { organization { id name } }
    organization { id name }
    agents(first: 5) { nodes { id name status } }
    calls(first: 10) { nodes { ${CALL} } }
    campaigns(first: 5) { nodes { id name status } }
    phoneNumbers(first: 5) { nodes { id phoneNumber name } }
    contactFolders(first: 5) { nodes { id name contactCount } }
    contacts(first: 10) { nodes { id firstName phoneNumber } }
  }`,
} as const;
export type Operation = keyof typeof OPERATIONS;

/** Fields of a call in PostGraphile, which derives its names from the tables. */
const POSTGRAPHILE_CALL = 'rowId status phoneNumber createdAt endedAt';
const ORGANIZATION = 'condition: { organizationId: "$organization" }';
const NEWEST = 'orderBy: [CREATED_AT_DESC, ROW_ID_DESC]';
const POSTGRAPHILE: Record<Operation, string> = {
  one: 'query one($id: UUID!) { agentByRowId(rowId: $id) { rowId name status systemPrompt createdAt } }',
  list: `query list { allCalls(first: 50, ${ORGANIZATION}, ${NEWEST}) { nodes { ${POSTGRAPHILE_CALL} } } }`,
  tree: `query tree { allAgents(first: 10, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId name
    callsByOrganizationIdAndAgentId(first: 10, ${NEWEST}) { nodes { rowId status
      phoneNumberByOrganizationIdAndPhoneNumberId { rowId phoneNumber name } } } } } }`,
  dashboard: `query dashboard {
    viewer: organizationByRowId(rowId: "$organization") { rowId name }
    organization: organizationByRowId(rowId: "$organization") { rowId name }
    agents: allAgents(first: 5, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId name status } }
    calls: allCalls(first: 10, ${ORGANIZATION}, ${NEWEST}) { nodes { ${POSTGRAPHILE_CALL} } }
    campaigns: allCampaigns(first: 5, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId name status } }
    phoneNumbers: allPhoneNumbers(first: 5, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId phoneNumber name } }
    contactFolders: allContactFolders(first: 5, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId name contactCount } }
    contacts: allContacts(first: 10, ${ORGANIZATION}, ${NEWEST}) { nodes { rowId firstName phoneNumber } }
  }`,
};

export interface Contender {
  name: string;
  headers: Record<string, string>;
  body(operation: Operation): string;
  /** Whether its response has the same members as those of the others. */
  sameAnswer: boolean;
  start(): Promise<Server>;
}

const JSON_HEADERS = { 'content-type': 'application/json' };

const PEERS = [
  { name: 'floor', args: ['floor.ts'] },
  { name: 'Mercurius 16', args: ['mercurius.ts'] },
  { name: 'Mercurius 16, jit', args: ['mercurius.ts', 'jit'] },
  { name: 'Apollo Server 5', args: ['apollo.ts'] },
  { name: 'PostGraphile 5', args: ['postgraphile.ts'] },
] as const;

/** This server, with limits counted in memory and in Redis, and its peers. */
export async function contendersOf(
  database: BenchDatabase,
  redisUrl: string,
): Promise<Contender[]> {
  return [
    await thisServer('this server', database),
    await thisServer('this server, with Redis', database, { REDIS_URL: redisUrl }),
    ...PEERS.map(({ name, args: [script, ...more] }) =>
      peer(name, [`bench/peers/${script}`, ...more], database),
    ),
  ];
}

async function thisServer(
  name: string,
  database: BenchDatabase,
  settings: Record<string, string> = {},
): Promise<Contender> {
  const ours = await prepareThisServer(database, settings);
  const key = await keyOf(database.organizationId, ours.env);
  return {
    name,
    headers: { ...JSON_HEADERS, authorization: `Bearer ${key}` },
    body: (operation) => bodyOf(OPERATIONS[operation], operation, `agt_${database.agentId}`),
    sameAnswer: true,
    start: () => ours.start(name),
  };
}

function peer(name: string, args: readonly string[], database: BenchDatabase): Contender {
  const { agentId, organizationId } = database;
  const isPostgraphile = name.startsWith('PostGraphile');
  return {
    name,
    headers: JSON_HEADERS,
    body: (operation) => {
      const query = isPostgraphile
        ? POSTGRAPHILE[operation].replaceAll('$organization', organizationId)
        : OPERATIONS[operation];
      return bodyOf(query, operation, agentId);
    },
    sameAnswer: !isPostgraphile,
    start: async () =>
      startServer({
        name,
        args,
        env: {
          NODE_ENV: 'production',
          GRAPHILE_ENV: 'production',
          DATABASE_URL: database.url,
          ORGANIZATION_ID: organizationId,
        },
        ready: /ready/,
        port: await freePort(),
      }),
  };
}

function bodyOf(query: string, operation: Operation, agentId: string): string {
  const variables = operation === 'one' ? { id: agentId } : {};
  return JSON.stringify({ query, operationName: operation, variables });
}

/** The `data` of the response, as text. @throws Error if the response has errors. */
export async function answerOf(
  { url }: Server,
  { name, headers, body }: Contender,
  operation: Operation,
): Promise<string> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers,
    body: body(operation),
  });
  const text = await response.text();
  const { data, errors } = JSON.parse(text) as { data?: unknown; errors?: unknown };
  if (!data || errors) throw new Error(`${name} answers ${operation} with ${text.slice(0, 500)}`);
  return JSON.stringify(data);
}
