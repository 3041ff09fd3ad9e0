import type { App } from '../../src/app.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import type { Viewer } from '../../src/viewer.ts';
import { accepted } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

export const TWILIO = {
  accountSid: `AC${'0123456789abcdef'.repeat(2)}`,
  authToken: 'twilio-token-never-to-be-seen',
};
export const TELNYX = {
  accountSid: 'telnyx-account',
  apiKey: 'telnyx-key-never-to-be-seen',
  publicKey: 'telnyx-public-never-to-be-seen',
  applicationSid: '1293384261075731499',
};
export const TRUNK = {
  server: 'sip.example.com:5061;transport=tls',
  username: 'office',
  password: 'trunk-password-never-to-be-seen',
};
export const SECRET = /never-to-be-seen/;

export const NUMBER = `
  id phoneNumber name provider sipServer sipUsername status syncError inboundAddress
  inboundAgent { id } outboundAgent { id } releasedAt createdAt updatedAt`;

let last = 100;
/** A valid number that no other test uses. */
export function newNumber(): string {
  last += 1;
  return `+1415555${String(last).padStart(4, '0')}`;
}

/** The caller of a service function. */
export const viewerOf = ({ organizationId }: TestServer): Viewer => ({
  organizationId,
  apiKeyId: '',
  scopes: new Set(),
});

const inWords = `userErrors { code message path retryAt }`;

/** Runs a mutation. Throws on errors other than user errors. */
export async function run(
  client: GraphQLClient,
  mutation: string,
  input: object,
  headers: Record<string, string> = {},
) {
  const type = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Input`;
  const answer = await client.send(
    `mutation($input: ${type}!) { ${mutation}(input: $input) { phoneNumber { ${NUMBER} } ${inWords} } }`,
    { input },
    { headers },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data[mutation];
}

/** Runs a mutation. Throws on user errors too. */
export async function done(client: GraphQLClient, mutation: string, input: object) {
  const { phoneNumber, userErrors } = await run(client, mutation, input);
  if (userErrors.length > 0) throw new Error(JSON.stringify(userErrors));
  return phoneNumber;
}

/** Imports a new number with this account of a carrier. */
export const importOf = (client: GraphQLClient, provider: object, values: object = {}) =>
  run(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider, ...values });
export const imported = (client: GraphQLClient, provider: object) =>
  done(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider });

export function codes(result: { userErrors: { code: string; path: string[] }[] }): string[] {
  return result.userErrors.map(({ code, path }) => `${code} ${path.join('.')}`).sort();
}

export async function find(client: GraphQLClient, id: string) {
  const answer = await client.send(`query($id: ID!) { phoneNumber(id: $id) { ${NUMBER} } }`, {
    id,
  });
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.phoneNumber;
}

export interface MadeAgent {
  id: string;
  uuid: string;
  remoteId: string | null;
}

/** The app of a process that dies after the commit of an import: its sync first claims a lease. */
export function dyingBeforeSync(app: App): App {
  const db = new Proxy(app.db, {
    get(target, name) {
      if (name === '$executeRaw') throw new Error('The process died');
      return Reflect.get(target, name);
    },
  });
  return { ...app, db } as App;
}

/** Lets the time pass for which a request that died keeps others from changing the account. */
export async function expireAccountLease({ app }: Pick<TestServer, 'app'>): Promise<void> {
  await app.db
    .$executeRaw`UPDATE telephony_configs SET change_lease_until = now() - interval '1 second'`;
}

/** Inserts a synced agent directly. */
export async function newAgent(
  { app }: Pick<TestServer, 'app'>,
  organizationId: string,
  { atUltravox = true } = {},
): Promise<MadeAgent> {
  const uuid = newId();
  const remoteId = atUltravox ? newId() : null;
  const status = atUltravox ? 'ACTIVE' : 'DRAFT';
  const sync = { organizationId, status, revision: 1, syncedRevision: 1 } as const;
  const voice = await app.db.voice.create({
    data: { ...sync, id: newId(), type: 'REFERENCE', name: 'Voice' },
  });
  await app.db.agent.create({
    data: {
      ...sync,
      id: uuid,
      remoteId,
      name: 'Agent',
      voiceId: voice.id,
      systemPrompt: 'Be brief.',
      model: 'ultravox-v0.7',
      temperature: 0.3,
      recordingEnabled: false,
    },
  });
  return { id: publicId('Agent', uuid), uuid, remoteId };
}

export async function newCall(
  { app }: Pick<TestServer, 'app'>,
  organizationId: string,
  values: { agentId: string; phoneNumberId: string; createdAt?: Date; ended?: boolean },
) {
  const { ended = true, ...columns } = values;
  return app.db.call.create({
    data: {
      id: newId(),
      organizationId,
      ...columns,
      direction: 'OUTBOUND',
      medium: 'SIP',
      status: ended ? 'COMPLETED' : 'IN_PROGRESS',
      ...accepted(),
      endedAt: ended ? new Date() : null,
      maxDurationSeconds: 600,
      joinTimeoutSeconds: 30,
    },
  });
}

/** Releases what a test has imported, and waits until the carrier accounts are removed with it. */
export async function releaseAllNumbers(
  server: TestServer,
  clients: readonly GraphQLClient[],
): Promise<void> {
  for (const client of clients) {
    const { data } = await client.send('{ phoneNumbers { nodes { id } } }');
    for (const { id } of data.phoneNumbers.nodes) await done(client, 'releasePhoneNumber', { id });
  }
  await until(
    'the accounts to be gone',
    async () => (await server.app.db.telephonyConfig.count()) === 0,
  );
}
