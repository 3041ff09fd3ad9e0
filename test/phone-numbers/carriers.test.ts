import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { decryptTelnyx, decryptTwilio } from '../../src/phone-numbers/credentials.ts';
import { importPhoneNumber } from '../../src/phone-numbers/import.ts';
import { chooseOutboundNumber } from '../../src/phone-numbers/service.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { untilRetried } from '../support/jobs.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { recordStatements } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  codes,
  done,
  dyingBeforeSync,
  expireAccountLease,
  find,
  NUMBER,
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
/** All responses to both organizations, and all log lines. */
const seen: string[] = [];

beforeAll(async () => {
  server = await startTestServer({ settings: { ULTRAVOX_TIMEOUT_SECONDS: '5' } });
  other = await server.newOrganization();
  for (const client of [server.client, other.client]) {
    const send = client.send;
    client.send = async (...sent) => {
      const answer = await send(...sent);
      seen.push(JSON.stringify(answer));
      return answer;
    };
  }
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    vi.spyOn(server.app.log, level).mockImplementation((...said: unknown[]) => {
      seen.push(said.map((one) => `${inspectAll(one)}`).join(' '));
    });
  }
});
afterAll(() => server?.close());

afterEach(async () => {
  server.simulator.clearFaults();
  await releaseAllNumbers(server, [server.client, other.client]);
});

const importOf = (client: GraphQLClient, provider: object, values: object = {}) =>
  run(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider, ...values });
const imported = (client: GraphQLClient, provider: object) =>
  done(client, 'importPhoneNumber', { phoneNumber: newNumber(), provider });
const config = (provider: 'TWILIO' | 'TELNYX' = 'TWILIO') =>
  server.app.db.telephonyConfig.findUniqueOrThrow({ where: { provider } });
const atUltravox = () => server.app.ultravox.telephonyConfigs.get('twilio');
const failWrites = (fault: object) =>
  server.simulator.setFaults([{ kind: 'status', path: 'telephony_configs', ...fault }]);

describe('importPhoneNumber with a Twilio account', () => {
  it('sends the account to Ultravox, for calls of any agent', async () => {
    const number = await imported(server.client, { twilio: TWILIO });
    expect(number).toMatchObject({ provider: 'TWILIO', status: 'ACTIVE', syncError: null });
    expect(await atUltravox()).toMatchObject({
      accountSid: TWILIO.accountSid,
      authTokenPrefix: { prefix: TWILIO.authToken.slice(0, 4) },
      callCreationAllowAllAgents: true,
      requestContextMapping: { From: 'from', To: 'to' },
    });
    const agent = await newAgent(server, server.organizationId);
    const input = { id: number.id, agentId: agent.id, direction: 'INBOUND' };
    expect(await done(server.client, 'assignPhoneNumber', input)).toMatchObject({
      inboundAddress: `${server.simulator.url}/api/agents/${agent.remoteId}/telephony_xml`,
    });
  });

  it('imports further numbers without credentials, and accepts a new token', async () => {
    const first = await imported(server.client, { twilio: TWILIO });
    const { revision } = await config();
    expect(await imported(server.client, { twilio: {} })).toMatchObject({ status: 'ACTIVE' });
    await imported(server.client, { twilio: TWILIO });
    expect((await config()).revision).toBe(revision);

    await imported(server.client, {
      twilio: { ...TWILIO, authToken: 'new-token-never-to-be-seen' },
    });
    expect((await atUltravox()).authTokenPrefix).toEqual({ prefix: 'new-' });
    expect(decryptTwilio(server.app, await config())).toEqual({
      authToken: 'new-token-never-to-be-seen',
    });
    expect(await find(server.client, first.id)).toMatchObject({ status: 'ACTIVE' });
  });

  it('requires all credentials with the first number, and always validates them', async () => {
    const without = await importOf(server.client, { twilio: {} });
    expect(codes(without)).toEqual([
      'REQUIRED provider.twilio.accountSid',
      'REQUIRED provider.twilio.authToken',
    ]);
    const half = await importOf(server.client, { twilio: { accountSid: 'SK1' } }, { name: '' });
    expect(codes(half)).toEqual([
      'INVALID_INPUT provider.twilio.accountSid',
      'REQUIRED name',
      'REQUIRED provider.twilio.authToken',
    ]);
    // A token in the wrong field must not be quoted in the error.
    const swapped = await importOf(server.client, {
      twilio: { accountSid: TWILIO.authToken, authToken: TWILIO.accountSid },
    });
    expect(codes(swapped)).toEqual(['INVALID_INPUT provider.twilio.accountSid']);
  });

  it('rejects other organizations without revealing the owner', async () => {
    await imported(server.client, { twilio: TWILIO });
    const elsewhere = { ...TWILIO, accountSid: `AC${'f'.repeat(32)}` };
    const answers = [
      await importOf(other.client, { twilio: TWILIO }),
      await importOf(other.client, { twilio: elsewhere }),
      await importOf(other.client, { twilio: {} }),
      await importOf(server.client, { twilio: elsewhere }),
    ];
    for (const answer of answers) {
      expect(codes(answer)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
      expect(answer.phoneNumber).toBeNull();
    }
    expect(new Set(answers.map((answer) => answer.userErrors[0].message)).size).toBe(1);
    expect(answers[0].userErrors[0].message).toMatch(/SIP/);
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    expect(await importOf(other.client, { telnyx: TELNYX })).toMatchObject({ userErrors: [] });
  });

  it('lets one of two concurrent organizations import an account', async () => {
    const answers = await Promise.all(
      [server.client, other.client, server.client, other.client].map((client) =>
        importOf(client, { twilio: TWILIO }),
      ),
    );
    const owner = (await config()).organizationId;
    for (const [index, answer] of answers.entries()) {
      const mine = owner === (index % 2 === 0 ? server.organizationId : other.id);
      expect(codes(answer)).toEqual(mine ? [] : ['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
    }
  });

  it('imports the account of a number while the account is being deleted', async () => {
    await imported(server.client, { twilio: TWILIO });
    const { importing } = await server.app.db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM telephony_configs FOR UPDATE`;
      const importing = imported(server.client, { twilio: TWILIO });
      const statement = '%FROM telephony_configs WHERE provider%FOR UPDATE';
      await untilBlocked(server.app.db, { holder: await sessionOf(tx), statement, count: 1 });
      await server.app.ultravox.telephonyConfigs.delete('twilio');
      await tx.telephonyConfig.deleteMany();
      return { importing };
    });
    expect(await importing).toMatchObject({ status: 'ACTIVE' });
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
  });

  it('reports a conflict together with invalid fields', async () => {
    await imported(server.client, { twilio: TWILIO });
    const answer = await importOf(other.client, { twilio: TWILIO }, { phoneNumber: '123' });
    expect(codes(answer)).toEqual([
      'CARRIER_ACCOUNT_CONFLICT provider.twilio',
      'INVALID_INPUT phoneNumber',
    ]);
  });

  it('frees the account for other organizations after its last number is released', async () => {
    const one = await imported(server.client, { twilio: TWILIO });
    const two = await imported(server.client, { twilio: {} });
    await done(server.client, 'releasePhoneNumber', { id: one.id });
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    await done(server.client, 'releasePhoneNumber', { id: two.id });
    await expect(atUltravox()).rejects.toMatchObject({ kind: 'not_found' });
    expect(await importOf(other.client, { twilio: TWILIO })).toMatchObject({ userErrors: [] });
  });
});

describe('releasePhoneNumber of the last number of an account', () => {
  it('removes the account when the last two numbers are released concurrently', async () => {
    const ids = [
      (await imported(server.client, { twilio: TWILIO })).id,
      (await imported(server.client, { twilio: {} })).id,
    ];
    const released = await server.app.db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM telephony_configs FOR UPDATE`;
      const both = ids.map((id) => done(server.client, 'releasePhoneNumber', { id }));
      const statement = '%FROM telephony_configs WHERE provider%FOR UPDATE';
      await untilBlocked(server.app.db, { holder: await sessionOf(tx), statement, count: 2 });
      return { both };
    });
    await Promise.all(released.both);
    await expect(atUltravox()).rejects.toMatchObject({ kind: 'not_found' });
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
  });

  it('keeps the account when it is imported again while Ultravox removes it', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    const path = 'telephony_configs';
    server.simulator.setFaults([{ kind: 'slow', method: 'DELETE', path, ms: 3_000, count: 1 }]);
    const before = server.simulator.requests().length;
    const release = done(server.client, 'releasePhoneNumber', { id });
    await until('the removal to be on its way', () =>
      server.simulator
        .requests()
        .slice(before)
        .some(({ method }) => method === 'DELETE'),
    );
    expect((await imported(server.client, { twilio: TWILIO })).status).toBe('ACTIVE');
    await release;
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
  });

  it('keeps the account when another number is imported concurrently', async () => {
    let { id } = await imported(server.client, { twilio: TWILIO });
    for (let round = 0; round < 5; round += 1) {
      const [, next] = await Promise.all([
        done(server.client, 'releasePhoneNumber', { id }),
        imported(server.client, { twilio: TWILIO }),
      ]);
      id = next.id;
      await until('the account to be there', async () => {
        const { status, syncedRevision, revision, deletedAt } = await config();
        return status === 'ACTIVE' && syncedRevision === revision && deletedAt === null;
      });
      expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
    }
  });
});

describe('importPhoneNumber with a Telnyx account', () => {
  it('sends all four credentials to Ultravox', async () => {
    const number = await imported(server.client, { telnyx: TELNYX });
    expect(number).toMatchObject({ provider: 'TELNYX', status: 'ACTIVE' });
    expect(await server.app.ultravox.telephonyConfigs.get('telnyx')).toMatchObject({
      accountSid: TELNYX.accountSid,
      applicationSid: TELNYX.applicationSid,
      callCreationAllowAllAgents: true,
    });
    const { accountSid: _sid, ...secrets } = TELNYX;
    expect(decryptTelnyx(server.app, await config('TELNYX'))).toEqual(secrets);
  });

  it('requires all credentials or none', async () => {
    const answer = await importOf(server.client, {
      telnyx: { apiKey: TELNYX.apiKey, applicationSid: '1'.repeat(41) },
    });
    expect(codes(answer)).toEqual([
      'INVALID_INPUT provider.telnyx.applicationSid',
      'REQUIRED provider.telnyx.accountSid',
      'REQUIRED provider.telnyx.publicKey',
    ]);
  });
});

describe('importPhoneNumber of an account that Ultravox refuses', () => {
  it('imports nothing, gives the reason, and accepts corrected credentials', async () => {
    failWrites({ status: 400, method: 'POST' });
    const phoneNumber = newNumber();
    const input = { phoneNumber, provider: { twilio: TWILIO } };
    const answer = await run(server.client, 'importPhoneNumber', input);
    expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(answer.phoneNumber).toBeNull();
    expect(await server.app.db.phoneNumber.count({ where: { phoneNumber } })).toBe(0);
    expect(await server.app.db.telephonyConfig.count()).toBe(0);
    server.simulator.clearFaults();
    expect(await done(server.client, 'importPhoneNumber', input)).toMatchObject({
      status: 'ACTIVE',
    });
  });

  it('keeps working credentials when new ones are refused', async () => {
    const first = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 400, method: 'PATCH', count: 1 });
    const answer = await importOf(server.client, {
      twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' },
    });
    expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
    expect(await find(server.client, first.id)).toMatchObject({
      status: 'ACTIVE',
      syncError: null,
    });
    expect((await atUltravox()).authTokenPrefix).toEqual({ prefix: TWILIO.authToken.slice(0, 4) });
  });

  it('keeps working credentials when the import that changed them is repeated after a crash', async () => {
    const first = await imported(server.client, { twilio: TWILIO });
    const input = {
      phoneNumber: newNumber(),
      provider: { twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' } },
    };
    const viewer = {
      ...viewerOf(server),
      idempotency: {
        seed: newNumber(),
        at: new Date(),
        results: new Map(),
        committed: new Map(),
        commit: async () => {},
      },
    };
    failWrites({ status: 400, method: 'PATCH', count: 1 });
    await importPhoneNumber(dyingBeforeSync(server.app), viewer, input);
    await untilRetried(server, 'the refusal', async () => {
      const { revision, refusedRevision } = await config();
      return refusedRevision === revision;
    });
    await expireAccountLease(server);
    const repeated = importPhoneNumber(server.app, viewer, input);
    await expect(repeated).rejects.toMatchObject({ problems: [{ code: 'ULTRAVOX_REFUSED' }] });
    expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
    expect(await find(server.client, first.id)).toMatchObject({
      status: 'ACTIVE',
      syncError: null,
    });
    const { phoneNumber } = input;
    expect(await server.app.db.phoneNumber.count({ where: { phoneNumber } })).toBe(0);
    // Nothing is left to restore when the next credentials are refused later.
    expect((await config()).previousCredentials).toBeNull();
  });

  it('keeps the last working credentials when a change is refused that follows one never sent', async () => {
    await imported(server.client, { twilio: TWILIO });
    const viewer = viewerOf(server);
    failWrites({ status: 400, method: 'PATCH', count: 1 });
    await importPhoneNumber(dyingBeforeSync(server.app), viewer, {
      phoneNumber: newNumber(),
      provider: { twilio: { ...TWILIO, authToken: 'bad-token-never-to-be-seen' } },
    });
    await expireAccountLease(server);
    const answer = await importOf(server.client, {
      twilio: { ...TWILIO, authToken: 'worse-token-never-to-be-seen' },
    });
    expect(codes(answer)).toEqual(['ULTRAVOX_REFUSED provider.twilio']);
    expect(decryptTwilio(server.app, await config())).toEqual({ authToken: TWILIO.authToken });
  });
});

describe('carrier accounts while Ultravox is unreachable', () => {
  it('keep the number as DRAFT and are sent later', async () => {
    failWrites({ status: 502 });
    const number = await imported(server.client, { twilio: TWILIO });
    expect(number.status).toBe('DRAFT');
    expect(number.syncError).toEqual(expect.any(String));
    server.simulator.clearFaults();
    await untilRetried(server, 'the account to be there', async () => {
      const { status, syncError } = await find(server.client, number.id);
      return status === 'ACTIVE' && syncError === null;
    });
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
  });

  it('are not used for calls while there is another number', async () => {
    failWrites({ status: 502 });
    const draft = await imported(server.client, { twilio: TWILIO });
    const ready = await imported(server.client, { sip: TRUNK });
    const agent = await newAgent(server, server.organizationId);
    const assign = ({ id }: { id: string }) =>
      done(server.client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
    await assign(draft);
    const choose = async () =>
      (await chooseOutboundNumber(server.app.db, server, agent.uuid)).phoneNumber;
    expect(await choose()).toBe(draft.phoneNumber);
    await assign(ready);
    expect(await choose()).toBe(ready.phoneNumber);
  });

  it('are removed later, after the last number was released', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 502 });
    const released = await done(server.client, 'releasePhoneNumber', { id });
    expect(released.releasedAt).not.toBeNull();
    const early = await importOf(other.client, { twilio: TWILIO });
    expect(codes(early)).toEqual(['CARRIER_ACCOUNT_CONFLICT provider.twilio']);
    const without = await importOf(server.client, { twilio: {} });
    expect(codes(without)).toContain('REQUIRED provider.twilio.authToken');
    server.simulator.clearFaults();
    await untilRetried(server, 'the account to be removed', async () =>
      atUltravox().then(
        () => false,
        (error) => error.kind === 'not_found',
      ),
    );
  });

  it('are kept when they are imported again before their removal', async () => {
    const { id } = await imported(server.client, { twilio: TWILIO });
    failWrites({ status: 502 });
    await done(server.client, 'releasePhoneNumber', { id });
    const number = await imported(server.client, { twilio: TWILIO });
    expect(number.status).not.toBe('ACTIVE');
    server.simulator.clearFaults();
    await untilRetried(server, 'the account to be there', async () => {
      return (await find(server.client, number.id)).status === 'ACTIVE';
    });
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
  });

  it('are sent when the process of the import died after its commit', async () => {
    const viewer = viewerOf(server);
    const phoneNumber = newNumber();
    const input = { phoneNumber, provider: { twilio: TWILIO } };
    // The import succeeded although sending failed: the number and the job exist.
    const number = await importPhoneNumber(dyingBeforeSync(server.app), viewer, input);
    expect(number.phoneNumber).toBe(phoneNumber);
    await untilRetried(
      server,
      'the account to be there',
      async () => (await config()).status === 'ACTIVE',
    );
    expect((await atUltravox()).accountSid).toBe(TWILIO.accountSid);
  });
});

describe('carrier credentials', () => {
  it('are encrypted at rest and appear in no response and no log line', async () => {
    await imported(server.client, { twilio: TWILIO });
    await imported(server.client, { telnyx: TELNYX });
    await imported(server.client, { sip: TRUNK });
    failWrites({ status: 400 });
    await importOf(server.client, { twilio: { ...TWILIO, authToken: 'other-never-to-be-seen' } });
    const malformed = [
      { sip: TRUNK, twilio: TWILIO },
      { twilio: { ...TWILIO, auth_token: TWILIO.authToken } },
      { sip: { ...TRUNK, username: null } },
    ];
    for (const provider of malformed) {
      const answer = await server.client.send(
        'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { userErrors { code } } }',
        { input: { phoneNumber: newNumber(), provider } },
      );
      expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    }
    for (const provider of [
      `{ sip: { server: "a", username: "b", passwort: "${TRUNK.password}" } }`,
      `[{ sip: { server: "a", username: "b", password: "${TRUNK.password}" } }, 1]`,
      `{ sip: { server: "a", username: "b", password: "${TRUNK.password}" }, twilio: {} }`,
    ]) {
      const answer = await server.client.send(
        `mutation { importPhoneNumber(input: { phoneNumber: "+14155550100", provider: ${provider} }) { userErrors { code } } }`,
      );
      expect(answer.errors?.length).toBeGreaterThan(0);
    }
    const tables = await Promise.all([
      server.app.db.$queryRaw`SELECT * FROM telephony_configs`,
      server.app.db.$queryRaw`SELECT * FROM phone_numbers`,
      server.app.db.$queryRaw`SELECT * FROM pgboss.job`,
    ]);
    const stored = JSON.stringify(tables, (_key, value) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    expect(stored).toContain(TRUNK.username);
    expect(stored).not.toMatch(SECRET);
    expect(seen.length).toBeGreaterThan(6);
    expect(seen.join('\n')).not.toMatch(SECRET);
  });
});

describe('phoneNumbers', () => {
  it('takes a number of statements that does not grow with the list', async () => {
    const { client, organizationId } = server;
    const agent = await newAgent(server, organizationId);
    const add = async (account: object) => {
      const { id } = await imported(client, { twilio: account });
      for (const direction of ['INBOUND', 'OUTBOUND']) {
        await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction });
      }
    };
    const api = await startApiBeside(server);
    const measure = async () => {
      const query = `{ phoneNumbers { nodes { ${NUMBER} } } }`;
      return (await recordStatements(api.app, () => api.client.send(query))).length;
    };
    await add(TWILIO);
    const one = await measure();
    expect(one).toBeGreaterThan(0);
    for (let index = 0; index < 4; index += 1) await add({});
    expect(await measure()).toBe(one);
    await api.close();
  });
});

/** Includes properties of errors that are not enumerable, such as messages. */
function inspectAll(value: unknown): string {
  return JSON.stringify(value, (_key, item) =>
    item instanceof Error
      ? { ...item, message: item.message, stack: item.stack, cause: item.cause }
      : item,
  );
}
