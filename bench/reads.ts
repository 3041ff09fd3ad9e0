/**
 * Reads in comparison with other servers: `node bench/reads.ts [rounds] [seconds]`. All servers use the same
 * database and return the same data over 20 connections. They run one after the other within a round, and
 * the result of a server is the median of its rounds. Only this server authenticates, checks the cost and
 * applies the rate limit.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { startOurs } from './support/ours.ts';
import { freePort, median, run, type Server, startServer } from './support/processes.ts';
import { type Section, table } from './support/results.ts';

const CONNECTIONS = 20;

const CALL = 'id status phoneNumber createdAt endedAt';
const OPERATIONS = {
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
type Operation = keyof typeof OPERATIONS;

/** PostGraphile derives its own names from the tables. */
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

interface Contender {
  server: Server;
  headers: Record<string, string>;
  body(operation: Operation): string;
  /** Whether its answer has the same members as the others'. */
  sameAnswer: boolean;
}

async function startContenders(database: BenchDatabase): Promise<Contender[]> {
  const ours = await startOurs(database);
  const raw = (operation: Operation): string =>
    JSON.stringify({
      query: OPERATIONS[operation],
      operationName: operation,
      variables: operation === 'one' ? { id: database.agentId } : {},
    });
  const json = { 'content-type': 'application/json' };
  const peers = [
    { name: 'floor', file: 'floor.ts', args: [] },
    { name: 'Mercurius 16', file: 'mercurius.ts', args: [] },
    { name: 'Mercurius 16, jit', file: 'mercurius.ts', args: ['jit'] },
    { name: 'Apollo Server 5', file: 'apollo.ts', args: [] },
    { name: 'PostGraphile 5', file: 'postgraphile.ts', args: [] },
  ];
  const contenders: Contender[] = [
    {
      server: ours.server,
      headers: { ...json, authorization: `Bearer ${ours.key}` },
      body: (operation) =>
        JSON.stringify({
          query: OPERATIONS[operation],
          operationName: operation,
          variables: operation === 'one' ? { id: `agt_${database.agentId}` } : {},
        }),
      sameAnswer: true,
    },
  ];
  for (const { name, file, args } of peers) {
    const server = await startServer({
      name,
      args: [`bench/peers/${file}`, ...args],
      env: {
        NODE_ENV: 'production',
        GRAPHILE_ENV: 'production',
        DATABASE_URL: database.url,
        ORGANIZATION_ID: database.organizationId,
      },
      ready: /ready/,
      port: await freePort(),
    });
    const postgraphile = file === 'postgraphile.ts';
    contenders.push({
      server,
      headers: json,
      sameAnswer: !postgraphile,
      body: postgraphile
        ? (operation) =>
            JSON.stringify({
              query: POSTGRAPHILE[operation].replaceAll('$organization', database.organizationId),
              operationName: operation,
              variables: operation === 'one' ? { id: database.agentId } : {},
            })
        : raw,
    });
  }
  return contenders;
}

/** Every server answers the same, but for the prefixes of our ids. */
async function compareAnswers(contenders: readonly Contender[]): Promise<void> {
  for (const operation of Object.keys(OPERATIONS) as Operation[]) {
    let expected: string | null = null;
    for (const { server, headers, body, sameAnswer } of contenders) {
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers,
        body: body(operation),
      });
      const text = await response.text();
      const answer = JSON.parse(text) as { data?: unknown; errors?: unknown };
      if (!answer.data || answer.errors) {
        throw new Error(`${server.name} answers ${operation} with ${text.slice(0, 500)}`);
      }
      if (!sameAnswer) continue;
      const plain = JSON.stringify(answer.data).replace(/"[a-z]{3}_([0-9a-f-]{36})"/g, '"$1"');
      expected ??= plain;
      if (plain !== expected) {
        throw new Error(
          `${server.name} answers ${operation} differently:\n${plain.slice(0, 400)}\n${expected.slice(0, 400)}`,
        );
      }
    }
  }
}

export async function benchReads({
  rounds = 3,
  seconds = 3,
}: {
  rounds?: number;
  seconds?: number;
} = {}): Promise<Section> {
  const database = await startBenchDatabase();
  const contenders: Contender[] = [];
  try {
    contenders.push(...(await startContenders(database)));
    await compareAnswers(contenders);
    const operations = Object.keys(OPERATIONS) as Operation[];
    const figures = new Map<string, number[]>();
    // Round 0 only warms up.
    for (let round = 0; round <= rounds; round += 1) {
      for (const operation of operations) {
        for (const { server, headers, body } of contenders) {
          const perSecond = await load(server, headers, body(operation), round === 0 ? 2 : seconds);
          if (round === 0) continue;
          const key = `${server.name} ${operation}`;
          figures.set(key, [...(figures.get(key) ?? []), perSecond]);
        }
      }
    }
    const of = (name: string, operation: Operation): number =>
      median(figures.get(`${name} ${operation}`) ?? []);
    return {
      title: 'Reads',
      text: `Requests per second at ${CONNECTIONS} connections, and the ratio to the floor. Median of ${rounds} interleaved rounds of ${seconds} s.`,
      table: table(
        ['server', 'one object', 'list of 50', 'tree 10 × 10 × 1', 'dashboard of 8 fields'],
        contenders
          .map(({ server }) => server.name)
          .map((name) => [
            name,
            ...operations.map(
              (operation) =>
                `${of(name, operation).toFixed(0)} (${(of(name, operation) / of('floor', operation)).toFixed(2)})`,
            ),
          ]),
      ),
    };
  } finally {
    await Promise.all(contenders.map(({ server }) => server.stop()));
    await database.stop();
  }
}

/** @returns requests per second. @throws Error when a request failed. */
async function load(
  server: Server,
  headers: Record<string, string>,
  body: string,
  seconds: number,
): Promise<number> {
  await pause(100);
  const output = await run(
    ['bench/peers/load.ts', `${server.url}/graphql`, String(seconds), String(CONNECTIONS)],
    JSON.stringify({ headers, body }),
  );
  const { perSecond, failed } = JSON.parse(output) as { perSecond: number; failed: number };
  if (failed > 0) throw new Error(`${server.name} failed ${failed} requests`);
  return perSecond;
}

if (import.meta.main) {
  const [rounds, seconds] = process.argv.slice(2).map(Number);
  const section = await benchReads({
    ...(rounds ? { rounds } : {}),
    ...(seconds ? { seconds } : {}),
  });
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
}
