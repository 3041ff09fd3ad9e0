/** Credentials of carriers that were changed with `updatePhoneNumber`, or at Ultravox by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { App } from '../../src/app.ts';
import { parsePublicId, publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { decryptSip, decryptTelnyx, decryptTwilio } from '../../src/phone-numbers/credentials.ts';
import { importPhoneNumber } from '../../src/phone-numbers/import.ts';
import { telephonyConfigSync } from '../../src/phone-numbers/sync.ts';
import { updatePhoneNumber } from '../../src/phone-numbers/update.ts';
import { nullIfNotFound } from '../../src/sync/null-if-not-found.ts';
import { runSync } from '../../src/sync/service.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { untilRetried } from '../support/jobs.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  codes,
  done,
  dyingBeforeSync,
  expireAccountLease,
  find,
  newAgent,
  newNumber,
  releaseAllNumbers,
  run,
  SECRET,
  TELNYX,
  TRUNK,
  TWILIO,
  viewerOf,
} from './support.ts';

let server: TestServer;
let other: { client: GraphQLClient; id: string };

beforeAll(async () => {
  server = await startTestServer({ settings: { ULTRAVOX_TIMEOUT_SECONDS: '5' } });
  other = await server.newOrganization();
});
afterAll(() => server?.close());

afterEach(async () => {
  server.simulator.clearFaults();
  await releaseAllNumbers(server, [server.client, other.client]);
  for (const provider of ['twilio', 'telnyx'] as const) {
    await nullIfNotFound(accounts().delete(provider));
  }
});

const ANOTHER = { accountSid: `AC${'f'.repeat(32)}`, authToken: 'by-hand-token' };

const accounts = () => server.app.ultravox.telephonyConfigs;
const twilioAtUltravox = () => accounts().get('twilio');
const importOf = (client: GraphQLClient, provider: object) =>
  run(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider });
const imported = (client: GraphQLClient, provider: object) =>
  done(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider });

const NEW_TOKEN = { ...TWILIO, authToken: 'rotated-token-never-to-be-seen' };
const BAD_TOKEN = { ...TWILIO, authToken: 'bad-token-never-to-be-seen' };

const update = (id: string, provider: object | null, values: object = {}) =>
  run(server.client, 'updatePhoneNumber', { id, provider, ...values });
const config = (provider: 'TWILIO' | 'TELNYX' = 'TWILIO') =>
  server.app.db.telephonyConfig.findUniqueOrThrow({ where: { provider } });
const storedToken = async () => decryptTwilio(server.app, await config()).authToken;
const prefixAtUltravox = async () => {
  const account = await twilioAtUltravox();
  return account.authTokenPrefix?.prefix;
};
const failWrites = (fault: object) =>
  server.simulator.setFaults([{ kind: 'status', path: 'telephony_configs', ...fault }]);

describe('updatePhoneNumber with credentials of an account', () => {
  it('replaces them at Ultravox for all numbers of the account, and keeps the agents', async () => {
    const agent = await newAgent(server, server.organizationId);
    const { id, phoneNumber } = await imported(server.client, { twilio: TWILIO });
    const second = await imported(server.client, { twilio: {} });
    await done(server.client, 'assignPhoneNumber', {
      id,
      agentId: agent.id,
      direction: 'INBOUND',
    });
    const answer = await update(id, { twilio: NEW_TOKEN }, { name: 'Desk' });
    expect(answer).toMatchObject({
      phoneNumber: {
        id,
        phoneNumber,
        name: 'Desk',
        inboundAgent: { id: agent.id },
        status: 'ACTIVE',
        syncError: null,
      },
      userErrors: [],
    });
    expect(JSON.stringify(answer)).not.toMatch(SECRET);
    expect(await prefixAtUltravox()).toBe('rota');
    expect(await storedToken()).toBe(NEW_TOKEN.authToken);
    const rows = await server.app.db.$queryRaw`SELECT * FROM telephony_configs`;
    expect(JSON.stringify(rows)).not.toMatch(SECRET);
    expect(await find(server.client, second.id)).toMatchObject({ status: 'ACTIVE' });
    const { revision } = await config();
    expect(codes(await update(second.id, { twilio: NEW_TOKEN }))).toEqual([]);
    expect((await config()).revision).toBe(revision);
  });

  it('replaces all keys of a Telnyx account', async () => {
    const { id } = await imported(server.client, { telnyx: TELNYX });
    const telnyx = { ...TELNYX, apiKey: 'new-key', publicKey: 'new-public', applicationSid: '12' };
    expect(codes(await update(id, { telnyx }))).toEqual([]);
    const { accountSid: _sid, ...secrets } = telnyx;
    expect(decryptTelnyx(server.app, await config('TELNYX'))).toEqual(secrets);
    expect(await accounts().get('telnyx')).toMatchObject({ applicationSid: '12' });
  });

  it('changes nothing when Ultravox refuses them', async () => {
    const number = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 400, method: 'PATCH', count: 1 });
    const answer = await update(number.id, { twilio: BAD_TOKEN }, { name: 'Desk' });
    expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(answer.phoneNumber).toBeNull();
    expect(await find(server.client, number.id)).toEqual(number);
    expect(await storedToken()).toBe(TWILIO.authToken);
    expect(await prefixAtUltravox()).toBe('twil');
    expect((await config()).previousCredentials).toBeNull();
    expect(codes(await update(number.id, { twilio: NEW_TOKEN }))).toEqual([]);
    expect(await prefixAtUltravox()).toBe('rota');
  });

  it('sends them later while Ultravox is unreachable', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 502 });
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual([]);
    const { phoneNumber, userErrors } = await update(id, { twilio: NEW_TOKEN });
    expect(userErrors).toEqual([]);
    expect(phoneNumber.syncError).toEqual(expect.any(String));
    server.simulator.clearFaults();
    await untilRetried(server, 'the new token', async () => (await prefixAtUltravox()) === 'rota');
    await until('the result', async () => (await find(server.client, id)).syncError === null);
  });

  it('sends them when the process died after its commit, and undoes them if it is repeated after a refusal', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    const dying = dyingBeforeSync(server.app);
    const viewer = viewerOf(server);
    await updatePhoneNumber(dying, viewer, { id, provider: { twilio: NEW_TOKEN } });
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual([
      'INVALID_STATE provider.twilio',
    ]);
    await expireAccountLease(server);
    await untilRetried(server, 'the new token', async () => (await prefixAtUltravox()) === 'rota');

    failWrites({ status: 400, method: 'PATCH' });
    await updatePhoneNumber(dying, viewer, { id, provider: { twilio: BAD_TOKEN } });
    await expireAccountLease(server);
    await untilRetried(server, 'the refusal', async () => {
      return (await find(server.client, id)).syncError !== null;
    });
    failWrites({ status: 400, method: 'PATCH', count: 1 });
    const repeated = await update(id, { twilio: BAD_TOKEN });
    expect(codes(repeated)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(await storedToken()).toBe(NEW_TOKEN.authToken);
    expect(await find(server.client, id)).toMatchObject({ status: 'ACTIVE', syncError: null });
  });

  it('corrects the credentials of an account that Ultravox refused', async () => {
    failWrites({ status: 502 });
    const { id } = await imported(server.client, { twilio: BAD_TOKEN });
    failWrites({ status: 400 });
    await untilRetried(server, 'the refusal', async () => {
      return (await find(server.client, id)).status === 'FAILED';
    });
    // A refused change leaves the first ones, although those were refused as well.
    const refused = await update(id, { twilio: NEW_TOKEN });
    expect(codes(refused)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(await storedToken()).toBe(BAD_TOKEN.authToken);
    server.simulator.clearFaults();
    expect(await update(id, { twilio: TWILIO })).toMatchObject({
      phoneNumber: { status: 'ACTIVE', syncError: null },
    });
    expect(await prefixAtUltravox()).toBe('twil');
  });

  it('leaves an account that was replaced by hand at Ultravox as it is', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    await accounts().update('twilio', ANOTHER);
    const answer = await update(id, { twilio: NEW_TOKEN });
    expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
    expect(await prefixAtUltravox()).toBe('by-h');
  });

  it('rejects another carrier, another account, missing credentials and numbers of others', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    const elsewhere = { ...TWILIO, accountSid: ANOTHER.accountSid };
    expect(codes(await update(id, { sip: TRUNK }))).toEqual(['INVALID_INPUT provider.sip']);
    expect(codes(await update(id, { telnyx: TELNYX }))).toEqual(['INVALID_INPUT provider.telnyx']);
    expect(codes(await update(id, { twilio: elsewhere }))).toEqual([
      'INVALID_INPUT provider.twilio.accountSid',
    ]);
    expect(codes(await update(id, { twilio: {} }))).toEqual([
      'REQUIRED provider.twilio.accountSid',
      'REQUIRED provider.twilio.authToken',
    ]);
    expect(codes(await update(id, null, { name: ' ' }))).toEqual([
      'REQUIRED name',
      'REQUIRED provider',
    ]);
    const theirs = await run(other.client, 'updatePhoneNumber', {
      id,
      provider: { twilio: { accountSid: 'SK1', authToken: 'x' } },
    });
    expect(codes(theirs)).toEqual(['INVALID_INPUT provider.twilio.accountSid', 'NOT_FOUND id']);
    const guessed = { id, provider: { twilio: BAD_TOKEN } };
    expect(codes(await run(other.client, 'updatePhoneNumber', guessed))).toEqual(['NOT_FOUND id']);
    await done(server.client, 'releasePhoneNumber', { id });
    expect(codes(await update(id, { twilio: NEW_TOKEN }))).toEqual(['NOT_FOUND id']);
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
  });
});

describe('a carrier account whose credentials a request is changing', () => {
  const WRITE = { method: 'PATCH', path: 'telephony_configs', count: 1 } as const;
  const SLOW = { kind: 'slow', ms: 2_000, ...WRITE } as const;
  const REFUSED = { kind: 'status', status: 400, ...WRITE } as const;
  const INVALID_STATE = ['INVALID_STATE provider.twilio'];
  const ULTRAVOX_REFUSED = ['ULTRAVOX_REFUSED provider.twilio'];

  /** Waits until `count` writes of an account, made since, have reached Ultravox, which has not answered the last one. */
  function writes(method = 'PATCH') {
    const all = () => server.simulator.requests().filter((one) => one.method === method).length;
    const before = all();
    return (count: number) => until(`write ${count}`, () => all() >= before + count);
  }

  async function expectStored(token: string) {
    expect(await storedToken()).toBe(token);
    expect(await config()).toMatchObject({ previousCredentials: null, status: 'ACTIVE' });
    const { revision, syncedRevision } = await config();
    expect(syncedRevision).toBe(revision);
    expect(await prefixAtUltravox()).toBe(token.slice(0, 4));
  }

  it('refuses the same credentials until Ultravox has refused the first ones', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    server.simulator.setFaults([SLOW, REFUSED]);
    const reached = writes();
    const first = update(id, { twilio: BAD_TOKEN });
    await reached(1);
    const second = await update(id, { twilio: BAD_TOKEN }, { name: 'Desk' });
    expect(codes(second)).toEqual(INVALID_STATE);
    expect(Date.parse(second.userErrors[0].retryAt)).toBeGreaterThan(Date.now());
    expect(codes(await importOf(server.client, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
    const without = await imported(server.client, { twilio: {} });
    expect(codes(await first)).toEqual(ULTRAVOX_REFUSED);
    await expectStored(TWILIO.authToken);
    expect(await find(server.client, without.id)).toMatchObject({ status: 'ACTIVE' });
    expect((await find(server.client, id)).name).toBeNull();

    failWrites(REFUSED);
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
    await expectStored(TWILIO.authToken);
  });

  it('refuses other credentials, and keeps those that Ultravox accepts', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    server.simulator.setFaults([SLOW]);
    const reached = writes();
    const first = importOf(server.client, { twilio: NEW_TOKEN });
    await reached(1);
    failWrites(REFUSED);
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
    expect(codes(await first)).toEqual([]);
    await expectStored(NEW_TOKEN.authToken);
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
    await expectStored(NEW_TOKEN.authToken);
  });

  it('refuses other credentials while the earlier ones are restored', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    const reached = writes();
    server.simulator.setFaults([SLOW, REFUSED]);
    const first = importOf(server.client, { twilio: BAD_TOKEN });
    await reached(1);
    server.simulator.setFaults([SLOW]);
    await reached(2);
    failWrites(REFUSED);
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
    expect(codes(await first)).toEqual(ULTRAVOX_REFUSED);
    await expectStored(TWILIO.authToken);
  });

  it('waits for the answer while a job sends earlier credentials again', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 502, method: 'PATCH' });
    expect(codes(await update(id, { twilio: NEW_TOKEN }))).toEqual([]);
    server.simulator.setFaults([SLOW]);
    const reached = writes();
    const job = runSync(server.app, telephonyConfigSync, (await config()).id);
    await reached(1);
    failWrites(REFUSED);
    expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
    await job;
    await expectStored(NEW_TOKEN.authToken);
  });

  it('imports nothing when Ultravox refuses the first credentials of two imports', async () => {
    const write = { method: 'POST' } as const;
    server.simulator.setFaults([
      { ...SLOW, ...write },
      { ...REFUSED, ...write },
    ]);
    const reached = writes('POST');
    const first = importOf(server.client, { twilio: BAD_TOKEN });
    await reached(1);
    const answers = [await importOf(server.client, { twilio: BAD_TOKEN }), await first];
    expect(answers.map(codes)).toEqual([ULTRAVOX_REFUSED, ULTRAVOX_REFUSED]);
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
    expect(await server.app.db.phoneNumber.count({ where: { releasedAt: null } })).toBe(0);
  });
});

describe('updatePhoneNumber with a SIP trunk', () => {
  it('replaces the trunk of this number', async () => {
    const { id } = await imported(server.client, { sip: TRUNK });
    const second = await imported(server.client, { sip: TRUNK });
    const sip = { server: 'trunk.example.org', username: 'new', password: 'new-never-to-be-seen' };
    const answer = await update(id, { sip });
    expect(answer).toMatchObject({
      phoneNumber: { sipServer: sip.server, sipUsername: sip.username, status: 'ACTIVE' },
      userErrors: [],
    });
    expect(JSON.stringify(answer)).not.toMatch(SECRET);
    const row = (of: string) =>
      server.app.db.phoneNumber.findUniqueOrThrow({ where: { id: parsePublicId(of)!.uuid } });
    const { server: _server, ...credentials } = sip;
    const changed = await row(id);
    expect(JSON.stringify(changed)).not.toMatch(SECRET);
    expect(decryptSip(server.app, changed)).toEqual(credentials);
    expect(decryptSip(server.app, await row(second.id)).password).toBe(TRUNK.password);
  });

  it('reports all invalid fields at once, and rejects another carrier', async () => {
    const answer = await update(
      publicId('PhoneNumber', newId()),
      { sip: { server: 'https://sip.example.com', username: '', password: 'p'.repeat(201) } },
      { name: ' ' },
    );
    expect(codes(answer)).toEqual([
      'INVALID_INPUT provider.sip.password',
      'INVALID_INPUT provider.sip.server',
      'NOT_FOUND id',
      'REQUIRED name',
      'REQUIRED provider.sip.username',
    ]);
    const { id } = await imported(server.client, { sip: TRUNK });
    expect(codes(await update(id, { twilio: TWILIO }))).toEqual(['INVALID_INPUT provider.twilio']);
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
  });
});

describe('importPhoneNumber while Ultravox holds an account that was configured by hand', () => {
  it('refuses another Twilio account and leaves the one there as it is', async () => {
    const before = await accounts().create('twilio', ANOTHER);
    for (const client of [server.client, other.client]) {
      const answer = await importOf(client, { twilio: TWILIO });
      expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      expect(answer.phoneNumber).toBeNull();
    }
    expect(await twilioAtUltravox()).toEqual(before);
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
    expect(await server.app.db.phoneNumber.count({ where: { releasedAt: null } })).toBe(0);
  });

  it('refuses another Telnyx account, and the same one with another public key', async () => {
    const account = { ...TELNYX, publicKey: 'by-hand-key' };
    const before = await accounts().create('telnyx', account);
    const answers = [
      await importOf(server.client, { telnyx: { ...account, accountSid: 'another-account' } }),
      await importOf(server.client, { telnyx: TELNYX }),
    ];
    for (const answer of answers) {
      expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.telnyx']);
    }
    expect(await accounts().get('telnyx')).toEqual(before);
  });

  it('refuses a caller that knows the SID but not the token, in later attempts too', async () => {
    const before = await accounts().create('twilio', ANOTHER);
    const twilio = { ...ANOTHER, authToken: 'guessed-token' };
    const phoneNumber = newNumber();
    server.simulator.setFaults([{ kind: 'status', status: 502, path: 'telephony_configs' }]);
    const number = await done(server.client, 'importPhoneNumber', {
      phoneNumber,
      provider: { twilio },
    });
    server.simulator.clearFaults();
    await untilRetried(server, 'the refusal', async () => {
      return (await find(server.client, number.id)).status === 'FAILED';
    });
    expect((await find(server.client, number.id)).syncError).toMatch(/another one is in use/);
    const again = await importOf(server.client, { twilio });
    expect(codes(again)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
    expect(await twilioAtUltravox()).toEqual(before);
  });

  it('uses the same account, which stays there when its last number is released', async () => {
    await accounts().create('twilio', ANOTHER);
    const { id, status } = await imported(server.client, { twilio: ANOTHER });
    expect(status).toBe('ACTIVE');
    expect(await twilioAtUltravox()).toMatchObject({ callCreationAllowAllAgents: true });
    const rotated = { ...ANOTHER, authToken: 'new-token' };
    const { id: second } = await imported(server.client, { twilio: rotated });
    await done(server.client, 'releasePhoneNumber', { id });
    await done(server.client, 'releasePhoneNumber', { id: second });
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
    expect(await twilioAtUltravox()).toMatchObject({
      accountSid: ANOTHER.accountSid,
      authTokenPrefix: { prefix: 'new-' },
    });
  });
});

describe('an imported account that was replaced by hand at Ultravox', () => {
  it('is neither sent again nor removed with its last number', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    await accounts().update('twilio', ANOTHER);
    const answer = await importOf(server.client, { twilio: { ...TWILIO, authToken: 'new-token' } });
    expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
    await done(server.client, 'releasePhoneNumber', { id });
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
    expect(await twilioAtUltravox()).toMatchObject({
      accountSid: ANOTHER.accountSid,
      authTokenPrefix: { prefix: 'by-h' },
    });
  });
});

describe('an account that the server created at Ultravox without recording it', () => {
  const creations = () =>
    server.simulator
      .requests()
      .filter(({ method, path }) => method === 'POST' && path.includes('telephony_configs')).length;

  it('is its own after a response that was lost', async () => {
    const before = creations();
    const path = 'telephony_configs';
    server.simulator.setFaults([{ kind: 'dropAfter', method: 'POST', path, count: 1 }]);
    const { id } = await imported(server.client, { twilio: TWILIO });
    await untilRetried(server, 'the account to be recorded', async () => {
      return (await find(server.client, id)).status === 'ACTIVE';
    });
    expect(creations()).toBe(before + 1);
    await done(server.client, 'releasePhoneNumber', { id });
    await expect(twilioAtUltravox()).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('is its own after a crash, also when the import is repeated', async () => {
    const before = creations();
    const { app } = server;
    let transactions = 0;
    const db = new Proxy(app.db, {
      get(target, name) {
        // The first transaction is the import, the second records what was sent.
        if (name === '$transaction') {
          transactions += 1;
          if (transactions > 1) throw new Error('The process died');
        }
        return Reflect.get(target, name);
      },
    });
    await importPhoneNumber({ ...app, db, closing: AbortSignal.abort() } as App, viewerOf(server), {
      phoneNumber: newNumber(),
      provider: { twilio: TWILIO },
    });
    expect(await app.db.telephonyConfig.findFirst()).toMatchObject({ remoteId: null });
    expect((await twilioAtUltravox()).accountSid).toBe(TWILIO.accountSid);

    // The lease of the process that died has expired.
    await app.db.$executeRaw`UPDATE telephony_configs SET sync_lease_until = now()`;
    const repeated = await imported(server.client, { twilio: TWILIO });
    expect(repeated).toMatchObject({ status: 'ACTIVE', syncError: null });
    expect(creations()).toBe(before + 1);
    const { data } = await server.client.send('{ phoneNumbers { nodes { id } } }');
    for (const { id } of data.phoneNumbers.nodes) {
      await done(server.client, 'releasePhoneNumber', { id });
    }
    await expect(twilioAtUltravox()).rejects.toMatchObject({ kind: 'not_found' });
  });
});
