/** The recipes in docs/live.md with the published libraries, while tokens expire and the server is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parse } from 'graphql';
import { type ConcreteRequest, requestSubscription } from 'relay-runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApolloClient } from '../../docs/live/apollo.ts';
import { followCalls as followByEventSource } from '../../docs/live/event-source.ts';
import { followCalls as followByGraphQLWs } from '../../docs/live/graphql-ws.ts';
import { createRelayEnvironment } from '../../docs/live/relay.ts';
import { createUrqlClient } from '../../docs/live/urql.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { until } from '../support/wait.ts';
import { eventsOf, WHOLE_LIFE } from './support.ts';

const root = path.resolve(import.meta.dirname, '../..');
const QUERY =
  'subscription FollowCalls($after: Cursor) { callEvents(after: $after) { cursor type } }';

let database: TestDatabase;
let simulator: Simulator;
let server: ServerProcess;
let client: GraphQLClient;
let caller: Caller;
/** Stopped when the test fails, too: a process that is left keeps the suite from ending. */
const followers: { stop(): void }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  simulator = await startSimulator({ speed: 50, settings: { talkSeconds: 5 } });
  server = await startServerProcess({ databaseUrl: database.url, simulator });
  client = createClient(server.url, server.firstKey);
  caller = await prepareCaller(client);
});
afterAll(async () => {
  for (const follower of followers) follower.stop();
  await server?.stop();
  await simulator?.close();
  await database?.drop();
});

interface Follower {
  cursors: string[];
  /** How many credentials it was given. */
  tokens: number;
  stop: () => void;
}

type Recipe = (to: {
  url: string;
  after: string;
  getToken: () => Promise<string>;
  onEvent: (event: { cursor: string }) => void;
  onError: (error: unknown) => void;
}) => () => void;

const keyIds: string[] = [];

function follow(recipe: Recipe): Follower {
  const follower: Follower = { cursors: [], tokens: 0, stop: () => undefined };
  follower.stop = recipe({
    url: `${server.url}/graphql`,
    after: '0',
    async getToken() {
      const input = { name: 'Page', scopes: ['READ'] };
      const made = await runMutation(client, 'createApiKey', input, 'key apiKey { id }');
      keyIds.push(made.apiKey.id);
      follower.tokens += 1;
      return made.key;
    },
    onEvent: ({ cursor }) => follower.cursors.push(cursor),
    // A stream that ends with its credential says so, and is opened again with another.
    onError: () => undefined,
  });
  followers.push(follower);
  return follower;
}

const RECIPES: Record<string, Recipe> = {
  'graphql-ws': ({ url, ...rest }) =>
    followByGraphQLWs({ url: url.replace('http', 'ws'), ...rest }),
  'Apollo Client': ({ onEvent, after, ...rest }) => {
    const apollo = createApolloClient(rest);
    const subscription = apollo
      .subscribe<{ callEvents: { cursor: string } }>({
        query: parse(QUERY),
        variables: { after },
        fetchPolicy: 'no-cache',
      })
      .subscribe({ next: ({ data }) => data && onEvent(data.callEvents) });
    return () => subscription.unsubscribe();
  },
  urql: ({ onEvent, after, ...rest }) => {
    const { unsubscribe } = createUrqlClient(rest)
      .subscription<{ callEvents: { cursor: string } }>(QUERY, { after })
      .subscribe(({ data }) => data && onEvent(data.callEvents));
    return unsubscribe;
  },
  Relay: ({ onEvent, after, ...rest }) => {
    const environment = createRelayEnvironment(rest);
    const { dispose } = requestSubscription(environment, {
      subscription: RELAY_SUBSCRIPTION,
      variables: { after },
      onNext: (data) => onEvent((data as { callEvents: { cursor: string } }).callEvents),
    });
    return dispose;
  },
  EventSource: followByEventSource,
};

/** As the Relay compiler writes it. */
const RELAY_SUBSCRIPTION = ((): ConcreteRequest => {
  const argumentDefinitions = [{ kind: 'LocalArgument', name: 'after', defaultValue: null }];
  const scalar = (name: string) => ({
    kind: 'ScalarField',
    name,
    alias: null,
    args: null,
    storageKey: null,
  });
  const selections = [
    {
      kind: 'LinkedField',
      name: 'callEvents',
      alias: null,
      args: [{ kind: 'Variable', name: 'after', variableName: 'after' }],
      concreteType: 'CallEvent',
      plural: false,
      selections: [scalar('cursor'), scalar('type')],
      storageKey: null,
    },
  ];
  const common = { argumentDefinitions, name: 'FollowCalls', selections };
  return {
    kind: 'Request',
    fragment: {
      ...common,
      kind: 'Fragment',
      type: 'Subscription',
      abstractKey: null,
      metadata: null,
    },
    operation: { ...common, kind: 'Operation' },
    params: {
      cacheID: 'follow-calls',
      id: null,
      metadata: {},
      name: 'FollowCalls',
      operationKind: 'subscription',
      text: QUERY,
    },
  } as unknown as ConcreteRequest;
})();

/** The command of the README, in a directory with nothing but the packages that it installs. */
async function followByReadme(directory: string): Promise<Follower & { process: ChildProcess }> {
  const readme = await readFile(path.join(root, 'README.md'), 'utf8');
  const [, packages = '', script = ''] =
    /npm install ([\w -]+)\nnode --input-type=module <<'JS'\n([\s\S]+?)\nJS\n/.exec(readme) ?? [];
  for (const name of packages.split(' ')) {
    await mkdir(path.join(directory, 'node_modules'), { recursive: true });
    await symlink(
      path.join(root, 'node_modules', name),
      path.join(directory, 'node_modules', name),
    );
  }
  const text = script.replace('127.0.0.1:4000', new URL(server.url).host);
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
    cwd: directory,
    env: { KEY: server.firstKey ?? '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const follower = {
    cursors: [] as string[],
    tokens: 1,
    process: child,
    stop: () => void child.kill(),
  };
  createInterface(child.stdout).on('line', (line) => {
    const [, cursor] = /cursor: '(\d+)'/.exec(line) ?? [];
    if (cursor) follower.cursors.push(cursor);
  });
  followers.push(follower);
  return follower;
}

describe('the recipes for live updates', () => {
  it('lose nothing and repeat nothing when tokens end and the server is killed', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'truedy-recipes-'));
    const readme = await followByReadme(directory);
    const recipes = Object.entries(RECIPES).map(([name, recipe]) => ({
      name,
      ...{ follower: follow(recipe) },
    }));
    const all = [...recipes, { name: 'README', follower: readme }];
    const callIds: string[] = [];
    /** A whole call has been seen by all of them. */
    const wholeCall = async (): Promise<void> => {
      callIds.push((await caller.call()).id);
      for (const { name, follower } of all) {
        const count = callIds.length * WHOLE_LIFE.length;
        await until(`${count} events by ${name}`, () => follower.cursors.length >= count);
      }
    };
    await wholeCall();
    for (const id of keyIds.splice(0)) {
      await runMutation(client, 'revokeApiKey', { id }, 'apiKey { id }');
    }
    await wholeCall();
    await server.restart();
    await wholeCall();

    const log = await until('the last event of every call', async () => {
      const ofCalls = await Promise.all(callIds.map((id) => eventsOf(client, id)));
      const ended = ofCalls.every((events) => events.some(({ type }) => type === 'ANALYZED'));
      return ended && ofCalls.flat().map(({ cursor }) => cursor);
    });
    // The analysis of a call may come after the first events of the next one.
    log.sort((a, b) => Number(a) - Number(b));
    for (const { name, follower } of all) {
      await until(`${log.length} events by ${name}`, () => follower.cursors.length >= log.length);
    }
    for (const { follower } of all) follower.stop();
    for (const { name, follower } of all) {
      expect({ name, cursors: follower.cursors }).toEqual({ name, cursors: log });
    }
    for (const { name, follower } of recipes) {
      // The first, one for the revoked, and one for the server that was killed.
      expect(follower.tokens, name).toBeGreaterThanOrEqual(3);
    }
    if (readme.process.exitCode === null) await once(readme.process, 'exit');
    await rm(directory, { recursive: true, force: true });
  });

  it('stand in the guide as they are tested', async () => {
    const guide = await readFile(path.join(root, 'docs/live.md'), 'utf8');
    for (const name of [
      'resuming-client',
      'graphql-ws',
      'apollo',
      'urql',
      'relay',
      'event-source',
    ]) {
      const code = await readFile(path.join(root, 'docs/live', `${name}.ts`), 'utf8');
      expect(guide).toContain(`\`\`\`ts\n// ${name}.ts\n${code}\`\`\`\n`);
    }
  });
});
